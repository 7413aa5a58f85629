"""This distribution's package `engine`, whatever else has that name.

A program's own `engine.py`, or its own package `engine`, comes first on the path and hides ours. If
nothing does, `load` imports `engine`. Otherwise it imports the same files under the name
`hotlist_engine._engine`, where `import engine` means that name: each of these modules has an
`__import__` of its own among its builtins. The program's `import engine` still finds the program's.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_NAME: Final = "engine"
_PRIVATE: Final = "hotlist_engine._engine"
#: What a module with machine code imports.
_COMPILERS: Final = ("numba", f"{_NAME}.compiled")
_HERE: Final = Path(__file__).resolve().parent
#: Beside this package if it is installed; around it in the repository.
_ENGINE: Final = next(
    place for place in (_HERE.parent / _NAME, _HERE.parents[1]) if (place / "documents").is_dir()
)


def load(module: str = "") -> ModuleType:
    """Import our `engine`, or one of its modules by its name within the package."""
    return importlib.import_module(f"{_root()}.{module}".rstrip("."))


@cache
def _root() -> str:
    """The name under which our `engine` can be imported."""
    try:
        spec = importlib.util.find_spec(_NAME)
    except ValueError:  # a module that somebody made by hand
        spec = None
    origin = None if spec is None else spec.origin
    if origin is not None and Path(origin).resolve() == _ENGINE / "__init__.py":
        return _NAME
    sys.meta_path.insert(0, _Finder())
    return _PRIVATE


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of our `engine` under their private name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's specification; None for any other module."""
        if fullname == _PRIVATE:
            file = str(_ENGINE / "__init__.py")
            return importlib.util.spec_from_file_location(
                fullname, file, loader=_Loader(fullname, file)
            )
        if not fullname.startswith(f"{_PRIVATE}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    """Loads a module that imports our `engine` by that name."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code with the builtins that import ours."""
        vars(module)["__builtins__"] = _BUILTINS
        super().exec_module(module)


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,  # noqa: A002
    locals: Mapping[str, Any] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Import a module as `builtins.__import__` does, ours under its private name."""
    own = str(globals["__name__"]) if globals is not None else ""
    if name in _COMPILERS and own.startswith(_PRIVATE):
        # Machine code in numba's files names its module, and is the same whichever name `engine`
        # was imported under. So modules with machine code keep their public name.
        module = sys.modules[own]
        module.__name__ = _NAME + own.removeprefix(_PRIVATE)
        sys.modules.setdefault(module.__name__, module)
    if name == _NAME or name.startswith(f"{_NAME}."):
        module = importlib.import_module(_PRIVATE + name.removeprefix(_NAME))
        for each in fromlist or ():
            if not hasattr(module, each) and hasattr(module, "__path__"):
                importlib.import_module(f"{module.__name__}.{each}")
        return module if fromlist else sys.modules[_PRIVATE]
    return builtins.__import__(name, globals, locals, fromlist or (), level)


_BUILTINS: Final = {**vars(builtins), "__import__": _import}
