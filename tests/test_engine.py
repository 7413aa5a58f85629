"""The package's reading map, and what it promises to those who import it."""

from __future__ import annotations

import pkgutil
import re

import engine


def _mapped() -> list[str]:
    assert engine.__doc__ is not None
    return re.findall(r"^    ([a-z_]+) +\S", engine.__doc__, re.MULTILINE)


def test_the_map_names_every_module_once() -> None:
    modules = sorted(
        module.name for module in pkgutil.iter_modules(engine.__path__) if module.name != "__main__"
    )
    assert sorted(_mapped()) == modules


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
