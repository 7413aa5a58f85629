"""Which private attributes tests reach into.

A test module stands beside one module of engine/, `tests/<package>/test_<module>.py` or
`tests/kafka/<package>/test_<module>.py`, and may look at that one's private parts, where there is
no other way to see. Every other private part of engine/ is none of its business: a test that
reaches further breaks when somebody else's module changes inside.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from tests.repository.source import Module, Source, Violation, called

#: Calls that name an attribute by text.
_BY_TEXT: Final = frozenset({"setattr", "getattr", "delattr", "hasattr", "object"})
#: What Python's own classes call so, and is public.
_PUBLIC: Final = frozenset({"_asdict", "_fields", "_make", "_replace", "_exit", "_getframe"})
#: tests/kafka/ holds the tests on a real Kafka, so those of engine/kafka/ lie elsewhere.
_MIRRORS: Final = {"kafka_package": "kafka"}
#: Private names of other libraries that the engine happens to use too; and what is no test of it.
_OTHERS: Final = {
    ("tests.kafka_package.test_fetch_limit", "_topics"): "of a request of aiokafka",
    ("tests.repository.reference", "_name"): "of a metric of prometheus_client",
    ("tests.torture.load", "_closed"): "of a producer of aiokafka",
}
_ELSEWHERE: Final = "tests.benchmarks."


def private_reaches(engine: Source, tests: Source) -> Iterator[Violation]:
    """One violation for each private name of engine/ that a test uses and its module lacks."""
    private = {name: _private_names(module) for name, module in engine.modules.items()}
    everywhere = set[str]().union(*private.values())
    helpers = {name: _private_names(module) for name, module in tests.modules.items()}
    for test in tests.modules.values():
        if test.name.startswith(_ELSEWHERE):
            continue
        own = helpers[test.name] | private.get(_mirrored(test, engine), set()) | _PUBLIC
        own = own.union(*(helpers[each.module] for each in tests.imports(test)))
        for name in sorted(_reached(test) - own):
            if name in everywhere and (test.name, name) not in _OTHERS:
                holders = sorted(each for each, names in private.items() if name in names)
                yield Violation(
                    f"{test.name} {name}",
                    f"{test.path}: reaches into {name} of {' or '.join(holders[:3])}",
                )


def _mirrored(test: Module, engine: Source) -> str:
    """The module that a test module stands beside, empty where it stands beside none."""
    parts = test.name.split(".")[1:]
    if parts[:1] == ["kafka"]:
        parts = parts[1:]
    parts = [_MIRRORS.get(part, part) for part in parts]
    parts[-1:] = [part.removeprefix("test_") for part in parts[-1:]]
    name = ".".join(["engine", *parts])
    return name if name in engine.modules else ""


def _private_names(module: Module) -> set[str]:
    """The private names that a module gives to its own: attributes of self, methods, globals."""
    found = set()
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return {name for name in found if _is_private(name)}


def _reached(test: Module) -> set[str]:
    """The private names that a test takes of other objects: by a dot, by an import, by text."""
    found = set()
    for node in test.nodes:
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("engine"):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and called(node) in _BY_TEXT:
            found |= {
                each.value.rpartition(".")[2]
                for each in node.args[:2]
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            }
    return {name for name in found if _is_private(name)}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"
