"""Which modules of a package others may import.

A package's `__all__` names what is public: its modules, by name, and what `__init__` itself gives
out. A module that it does not name is private to the package. Names that begin with an underscore
are private to their module. Modules are named instead of their contents, and not imported by
`__init__`: so `from engine.plates.normal_form import normalize` brings no compiler along, and
importing a package costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.repository.source import Module, Source, Violation

#: Imports of a private module from outside its package that have a reason.
ALLOWED: Final[dict[tuple[str, str], str]] = {
    ("engine.matching.scanner", "engine.index.deletion_hashes"): "compiled into the scanner's loop",
    ("engine.matching.scanner", "engine.index.edit_distance"): "compiled into the scanner's loop",
    ("engine.matching.scanner", "engine.index.fuzzy_index"): "compiled into the scanner's loop",
    ("engine.matching.scanner", "engine.index.hash_table"): "compiled into the scanner's loop",
    ("engine.matching.scanner", "engine.index.pattern_shapes"): "compiled into the scanner's loop",
    ("engine.matching.scanner", "engine.index.wildcards"): "compiled into the scanner's loop",
    ("engine.matching.group_scans", "engine.index.fuzzy_index"): "the tables that a scan is given",
    ("engine.matching.group_scans", "engine.index.hash_table"): "the tables that a scan is given",
    ("engine.matching.like_reads", "engine.index.hash_table"): "compiled into its loop",
    ("engine.matching.like_reads", "engine.index.only_entry"): "compiled into its loop",
    ("engine.matching.like_reads", "engine.index.wildcards"): "compiled into its loop",
    ("engine.matching.matcher", "engine.index.hash_table"): "the tables that the scan is given",
    ("engine.library.library_index", "engine.index.hash_table"): "copies the tables whole",
    ("engine.library.saved_entries", "engine.index.hash_table"): "saves the tables as arrays",
    ("engine.library.saved_entries", "engine.index.entry_store"): "saves the entries as they lie",
}


def private_imports(
    source: Source, allowed: dict[tuple[str, str], str] | None = None
) -> Iterator[Violation]:
    """One violation for each private module or name that another package imports."""
    allowed = ALLOWED if allowed is None else allowed
    used, complained = set(), set()
    for module in source.modules.values():
        for each in dict.fromkeys(source.imports(module)):
            if hidden := _hidden_from(source, module, each.module):
                if (module.name, each.module) in complained:
                    continue
                complained.add((module.name, each.module))
                if (module.name, each.module) in allowed:
                    used.add((module.name, each.module))
                else:
                    yield Violation(
                        f"{module.name} imports {each.module}",
                        f"{module.path}: imports {each.module}, which is private to {hidden}; add "
                        f'"{each.module.removeprefix(hidden + ".").partition(".")[0]}" to its '
                        "__all__, or the import and its reason to ALLOWED in boundaries.py",
                    )
            if each.name.startswith("_") and each.module != module.name:
                yield Violation(
                    f"{module.name} imports {each.module}.{each.name}",
                    f"{module.path}: imports {each.name}, which is private to {each.module}",
                )
    for importer, imported in sorted(allowed.keys() - used):
        yield Violation(
            f"{importer} may import {imported}",
            f"boundaries.py: ALLOWED has {importer} -> {imported}, which is not needed",
        )


def _hidden_from(source: Source, module: Module, imported: str) -> str:
    """The package that keeps a module from this importer, empty if none does."""
    parts = imported.split(".")
    for length in range(2, len(parts)):
        package = ".".join(parts[:length])
        if module.name == package or module.name.startswith(f"{package}."):
            continue
        if parts[length] not in (source.modules[package].public_list or ()):
            return package
    return ""


def wrong_lists(source: Source) -> Iterator[Violation]:
    """Packages without `__all__`, and what one names that is not there or not needed outside."""
    outside = _imported_outside(source)
    for package in source.modules.values():
        if not package.is_package:
            continue
        if package.public_list is None:
            yield Violation(package.name, f"{package.path}: has no __all__")
        for name in package.public_list or ():
            module = f"{package.name}.{name}"
            if name in package.bound:
                continue
            if module not in source.modules:
                yield Violation(module, f"{package.path}: __all__ names {name}: not there")
            elif module not in outside:
                yield Violation(
                    module, f"{package.path}: __all__ names {name}, which nothing outside imports"
                )


def _imported_outside(source: Source) -> set[str]:
    """The modules and packages that something outside of the package that holds them imports."""
    found = set()
    for module in source.modules.values():
        for each in source.imports(module):
            parts = each.module.split(".")
            for length in range(2, len(parts) + 1):
                package = ".".join(parts[: length - 1])
                if module.name != package and not module.name.startswith(f"{package}."):
                    found.add(".".join(parts[:length]))
    return found
