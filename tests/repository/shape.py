"""The size and the naming of what stands in engine/: long modules, wide constructors, names that
mean two things, times outside of `limits`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tests.repository.compiled_calls import is_compiled
from tests.repository.source import Module, Source, Violation, called

LINES: Final = 300
PARAMETERS: Final = 6
#: How a docstring says why its module is longer than that.
_REASON: Final = "Long because "

#: Constructors and factories that may be given more, by dotted name.
WIDE: Final[dict[str, str]] = {}

#: Names that several modules define, all with one meaning.
SHARED: Final[dict[str, str]] = {
    "adapt": "each vendor's adapter is one function of this name, and ADAPTERS holds them",
    "main": "what a module runs as a program",
}

#: Module constants that end in _S or _MS and bound no waiting.
NO_WAITING: Final[dict[str, str]] = {
    "_BEFORE_ALL_MS": "a time before all times",
    "_DAY_MS": "a unit",
    "_DEFAULT_S": "a document's default",
    "_EARLIEST_MS": "a time of day that a message may name",
    "_FIRST_MS": "a time of day that a document may name",
    "_FOREVER_MS": "a time after all times",
    "_HOUR_MS": "a unit",
    "_LAST_MS": "a time of day that a document may name",
    "_LATEST_MS": "a time of day that a message may name",
    "_LONGEST_MS": "the longest term that a flag may name",
    "_MINUTE_MS": "a unit",
    "_NS_IN_MS": "a unit",
    "_SECOND_MS": "a unit",
    "_UNITS_MS": "units",
    "LATE_MS": "SUPPRESSION_LATE_S in milliseconds",
    "NEVER_MS": "a time after all times",
}
#: The made-up city's clock, its speed and what it draws bound nothing of the engine.
_NO_ENGINE: Final = ("engine.demo.",)

_FACTORY: Final = re.compile(r"__init__|__new__|(?:make|build|create|open)_\w+")
_WAITS: Final = frozenset({"sleep", "wait_for", "timeout", "timeout_at", "call_later", "wait"})
_WAIT_ARGUMENT: Final = re.compile(
    r"timeout|timeout_s|timeout_ms|(?:retry|reconnect)_backoff\w*|\w+_timeout(?:_s|_ms)?|pause_s"
)
_TIME_CONSTANT: Final = re.compile(r"[A-Z_][A-Z0-9_]*_M?S")


def long_modules(source: Source) -> Iterator[Violation]:
    """Modules of more than LINES lines whose docstring gives no reason for it."""
    for module in source.modules.values():
        if module.lines > LINES and _REASON not in " ".join(module.docstring.split()):
            yield Violation(
                module.name,
                f"{module.path}: {module.lines} lines, more than {LINES}; split it, or say in its "
                f'docstring "{_REASON}..."',
            )


def wide_constructors(source: Source) -> Iterator[Violation]:
    """Constructors and factories of more than PARAMETERS parameters besides self.

    What a compiler compiles is let off: numba takes no objects in their stead.
    """
    for module in source.modules.values():
        for name, function in _functions(module):
            named = f"{module.name}.{name}"
            count = _parameters(function)
            if (
                count > PARAMETERS
                and _FACTORY.fullmatch(function.name)
                and not is_compiled(function)
                and named not in WIDE
            ):
                yield Violation(
                    named,
                    f"{module.path}: {name} takes {count} parameters, more than {PARAMETERS}; "
                    "give it one object that holds them, or name it with its reason in shape.py",
                )


def _functions(module: Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """All functions of a module, by name; a method's name has its class before it."""
    for node in module.nodes:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                inside = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
                yield f"{inside}{child.name}", child


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    own = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    own = own[1:] if own[:1] in (["self"], ["cls"]) else own
    return len(own) + len(function.args.kwonlyargs)


def names_twice(source: Source) -> Iterator[Violation]:
    """Public classes and functions that two modules or more define.

    Commands are let off: they have the names that people type.
    """
    where = defaultdict(set)
    for module in source.modules.values():
        for node in module.definitions():
            command = any(
                re.search(r"\b(?:command|group)\(", ast.unparse(each))
                for each in node.decorator_list
            )
            if not node.name.startswith("_") and node.name not in SHARED and not command:
                where[node.name].add(module.name)
    for name, modules in sorted(where.items()):
        if len(modules) > 1:
            yield Violation(
                name, f"{name}: {', '.join(sorted(modules))}; one name, one thing: rename one"
            )


def times_outside(source: Source) -> Iterator[Violation]:
    """Timeouts, pauses and intervals that are given as numbers, outside of `limits`."""
    for module in source.modules.values():
        if module.name == "engine.limits" or module.name.startswith(_NO_ENGINE):
            continue
        for node in module.tree.body:
            name, value = _constant(node)
            if value is None or name in NO_WAITING or not _TIME_CONSTANT.fullmatch(name):
                continue
            if _has_number(value):
                yield Violation(
                    f"{module.name}.{name}",
                    f"{module.path}: {name} = {ast.unparse(value)}; times stand in limits",
                )
        for call in module.nodes:
            if isinstance(call, ast.Call):
                for text in _waits(call):
                    yield Violation(
                        f"{module.name} {text}",
                        f"{module.path}, line {call.lineno}: {text}; times stand in limits",
                    )


def _constant(node: ast.stmt) -> tuple[str, ast.expr | None]:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return "", None


def _waits(call: ast.Call) -> Iterator[str]:
    function = called(call)
    if function in _WAITS:
        for argument in call.args:
            if _is_time(argument):
                yield f"{function}({ast.unparse(argument)})"
    for keyword in call.keywords:
        if keyword.arg and _WAIT_ARGUMENT.fullmatch(keyword.arg) and _is_time(keyword.value):
            yield f"{function}({keyword.arg}={ast.unparse(keyword.value)})"


def _has_number(node: ast.expr) -> bool:
    return any(
        isinstance(each, ast.Constant) and isinstance(each.value, int | float)
        for each in ast.walk(node)
    )


def _is_time(node: ast.expr) -> bool:
    """Whether it is a number by itself; 0 waits for nothing, and is no time."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
        and node.value > 0
    )
