"""The reading maps of the packages, and what `engine` promises to those who import it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from types import ModuleType

import pytest

import engine
import hotlist_engine
import hotlist_engine.adapters
from engine.ingest import adapters


def _packages() -> list[ModuleType]:
    names = [
        module.name for module in pkgutil.walk_packages(engine.__path__, "engine.") if module.ispkg
    ]
    return [engine, *map(importlib.import_module, names)]


@pytest.mark.parametrize("package", _packages(), ids=lambda package: package.__name__)
def test_a_package_names_each_of_its_modules_once(package: ModuleType) -> None:
    assert package.__doc__ is not None
    named = re.findall(r"^    ([a-z_]+) +\S", package.__doc__, re.MULTILINE)
    held = {module.name for module in pkgutil.iter_modules(package.__path__)} - {"__main__"}
    assert sorted(named) == sorted(held)


def test_every_module_says_what_it_is_for() -> None:
    for module in pkgutil.walk_packages(engine.__path__, "engine."):
        if module.name == "engine.__main__":
            continue
        doc = __import__(module.name, fromlist=["_"]).__doc__
        assert doc, module.name
        assert doc.split("\n")[0].endswith((".", ":")), module.name


def test_public_names() -> None:
    assert engine.normalize("abc-123") == "ABC123"
    assert engine.Detection.__doc__
    assert engine.HotListIndex.__doc__
    assert sorted(engine.__all__) == ["Detection", "HotListIndex", "encode", "normalize"]


@pytest.mark.parametrize(
    ("public", "defined"), [(hotlist_engine, engine), (hotlist_engine.adapters, adapters)]
)
def test_the_library_gives_the_same_names(public: ModuleType, defined: ModuleType) -> None:
    assert public.__all__ == defined.__all__
    assert {*defined.__all__} <= {*dir(public)}
    for name in defined.__all__:
        assert getattr(public, name) is getattr(defined, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = public.nothing
