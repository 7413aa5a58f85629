"""The project's own Python, parsed: modules, what they import, what they define.

By `ast` alone, so that nothing is imported to be looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Import:
    """What one module imports of another one: a name, or the module itself where name is empty."""

    module: str
    name: str
    for_types_alone: bool


@dataclass(frozen=True)
class Violation:
    """Where a rule is broken: a key that stays when lines move, and a line for people."""

    key: str
    text: str


@dataclass(frozen=True)
class Module:
    """A module by its dotted name, its path in the repository and its text."""

    name: str
    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of its tree."""
        return list(ast.walk(self.tree))

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def room(self) -> str:
        """What of engine/ it lies in: a package directly under it, or a module beside those."""
        return self.name.split(".")[1] if "." in self.name else ""

    @cached_property
    def public_list(self) -> tuple[str, ...] | None:
        """Its `__all__`, None without one."""
        for statement in self.tree.body:
            if isinstance(statement, ast.Assign) and _names_all(statement.targets[0]):
                return tuple(ast.literal_eval(statement.value))
        return None

    @cached_property
    def bound(self) -> set[str]:
        """The names that it defines, assigns or imports, those of `if TYPE_CHECKING` too."""
        names = {each.name for each in self.definitions()}
        for node in self.nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {(alias.asname or alias.name) for alias in node.names}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
        return names

    def definitions(self) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
        """Its classes and functions, not those inside of others."""
        for each in self.tree.body:
            if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield each


class Source:
    """All modules of a package of ours, by name.

    Without those in engine/public, which are another package's.
    """

    def __init__(self, modules: dict[str, Module]) -> None:
        self.modules = modules
        self._imports: dict[str, list[Import]] = {}

    @classmethod
    def read(cls, package: str = "engine", root: Path = ROOT) -> Source:
        """The modules that lie under a directory of the repository."""
        modules = {}
        for path in sorted((root / package).rglob("*.py")):
            relative = path.relative_to(root)
            if relative.parts[:2] == ("engine", "public"):
                continue
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            modules[name] = Module(name, relative.as_posix(), path.read_text("utf-8"))
        return cls(modules)

    @classmethod
    def of(cls, **texts: str) -> Source:
        """Made-up modules by dotted name, with `__` for a dot; packages follow from them."""
        names = {name.replace("__", "."): text for name, text in texts.items()}
        packages = {name.rpartition(".")[0] for name in names} - {""}
        modules = {}
        for name in sorted(packages | names.keys()):
            path = name.replace(".", "/") + ("/__init__.py" if name in packages else ".py")
            modules[name] = Module(name, path, names.get(name, '"""A package."""\n'))
        return cls(modules)

    def imports(self, module: Module) -> list[Import]:
        """What a module imports of these modules, wherever in it."""
        if module.name not in self._imports:
            self._imports[module.name] = list(self._find_imports(module))
        return self._imports[module.name]

    def _find_imports(self, module: Module) -> Iterator[Import]:
        for node, for_types in _walk(module.tree, for_types=False):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    if whole in self.modules:
                        yield Import(whole, "", for_types)
                    elif node.module in self.modules:
                        yield Import(node.module, alias.name, for_types)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in self.modules:
                        yield Import(alias.name, "", for_types)


def _names_all(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == "__all__"


def called(call: ast.Call) -> str:
    """The last part of the name that is called, empty where there is none."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _walk(node: ast.AST, *, for_types: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, for_types
    if isinstance(node, ast.If) and _is_for_types(node.test):
        for child in node.body:
            yield from _walk(child, for_types=True)
        for child in node.orelse:
            yield from _walk(child, for_types=for_types)
        return
    for inner in ast.iter_child_nodes(node):
        yield from _walk(inner, for_types=for_types)


def _is_for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
