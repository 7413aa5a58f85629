"""Calls by Python of functions that only compiled ones may call.

These have no wrapper for it, and such a call crashes the process.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from tests.repository.source import Source, Violation

#: What compiles a function, and what does so without a wrapper.
_COMPILERS: Final = frozenset({"compiled", "inlined", "inner", "njit"})
_INNER: Final = frozenset({"inlined", "inner"})


def inner_calls(engine: Source, *others: Source) -> Iterator[Violation]:
    """Calls by Python of functions that only compiled ones may call: such a call crashes."""
    inner = {
        (module.name, each.name)
        for module in engine.modules.values()
        for each in module.definitions()
        if _decorators(each) & _INNER
    }
    for source in (engine, *others):
        for module in source.modules.values():
            names = {name for holder, name in inner if holder == module.name}
            for each in engine.imports(module):
                if each.name:
                    names |= {name for _, name in inner & {(each.module, each.name)}}
                else:
                    alias = each.module.rpartition(".")[2]
                    names |= {f"{alias}.{name}" for holder, name in inner if holder == each.module}
            for name in sorted(names & set(_called_by_python(module.tree))):
                yield Violation(
                    f"{module.name} calls {name}",
                    f"{module.path}: calls {name}, which only compiled functions may call; "
                    "use @compiled, or its py_func",
                )


def is_compiled(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a compiler compiles a function."""
    return bool(_decorators(function) & _COMPILERS)


def _called_by_python(node: ast.AST) -> Iterator[str]:
    """The names that are called outside of compiled functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and is_compiled(child):
            continue
        if isinstance(child, ast.Call):
            yield ast.unparse(child.func)
        yield from _called_by_python(child)


def _decorators(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The last parts of the names of its decorators."""
    return {
        ast.unparse(each.func if isinstance(each, ast.Call) else each).rpartition(".")[2]
        for each in node.decorator_list
    }
