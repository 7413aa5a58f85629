"""How functions are compiled, so that a first start compiles only what is needed, and once.

`compiled` is for functions that Python calls: numba keeps their machine code beside their source.
`inner` is for functions that only compiled ones call. Their code is kept with that of their
callers, and they get no wrapper for calls from Python: such wrappers take a third of the time
(https://github.com/pymc-devs/pytensor/pull/765). Without one, a call from Python crashes the
process; `tests/repository/compiled_calls.py` finds such calls. `inlined` is for the small ones that
are called for each read or each byte: LLVM puts their code into their callers'.

numba types a constant argument as a literal, and compiles a function again for each of them. It
does so too while it still takes a variable for the constant that it begins with
(https://github.com/numba/numba/issues/6956 is of the same kind). Here a constant is a number.

numba compiles a function again if its own file has changed, but not if a function that it calls, or
a constant, has changed in another file
(https://numba.readthedocs.io/en/stable/developer/caching.html). After an update of a checkout, old
machine code would then read new tables. Here what is kept has a digest of all of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numba
import numpy as np

if TYPE_CHECKING:
    from numba.core.dispatcher import Dispatcher

F = TypeVar("F", bound=Callable[..., object])

_WITHOUT_WRAPPERS: Final[dict[str, Any]] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: F) -> Dispatcher[F]:
    """Compile a function that Python calls; it runs without the GIL."""
    dispatcher = numba.njit(nogil=True, cache=True)(function)
    _keep_with_digest(dispatcher, function)
    return _without_literals(dispatcher)


def inner(function: F) -> Dispatcher[F]:
    """Compile a function as a part of those that call it."""
    return _without_literals(numba.njit(**_WITHOUT_WRAPPERS)(function))


def inlined(function: F) -> Dispatcher[F]:
    """Compile a function into those that call it."""
    return _without_literals(numba.njit(forceinline=True, **_WITHOUT_WRAPPERS)(function))


def _without_literals(dispatcher: Dispatcher[F]) -> Dispatcher[F]:
    """Let calls by compiled functions take a literal for any number of its type."""
    by_types: Any = getattr(dispatcher, "get_call_template", None)
    if by_types is not None:  # else NUMBA_DISABLE_JIT is set

        def get_call_template(args: Any, kws: Any) -> Any:
            return by_types(tuple(map(numba.types.unliteral, args)), kws)

        setattr(dispatcher, "get_call_template", get_call_template)  # noqa: B010 - it is a method
    return dispatcher


def _keep_with_digest(dispatcher: Any, function: Callable[..., object]) -> None:
    """Let numba's cache find machine code only if it was made of the same functions and numbers."""
    cache = getattr(dispatcher, "_cache", None)
    if cache is None:  # NUMBA_DISABLE_JIT is set
        return
    index_key = cache._index_key

    def with_digest(signature: Any, codegen: Any) -> Any:
        # Not sooner: what it is made of may be defined behind it.
        return *index_key(signature, codegen), digest_of_code(function)

    cache._index_key = with_digest


def digest_of_code(function: Callable[..., object]) -> str:
    """Return a digest of a function and of all functions and constants that it is compiled with."""
    hashed = hashlib.sha256()
    for part in _parts_of(function, set()):
        hashed.update(repr(part).encode())
    return hashed.hexdigest()


def _parts_of(value: Any, seen: set[Any]) -> Iterator[object]:
    """Yield what a function or a constant consists of, each function once."""
    # A compiled function has its source's, and one that is made of LLVM's instructions too.
    function = getattr(value, "py_func", None) or getattr(value, "_defn", None) or value
    if isinstance(function, FunctionType):
        if function not in seen and not _is_foreign(function.__module__):
            seen.add(function)
            yield from _parts_of_code(function.__code__, function, seen)
            for each in (*(function.__defaults__ or ()), *_cells(function)):
                yield from _parts_of(each, seen)
    elif isinstance(value, np.ndarray):
        yield value.dtype.str, value.shape, value.tobytes()
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts_of(each, seen)
    elif value is None or isinstance(value, int | float | str | bytes | np.generic):
        yield type(value).__name__, value


def _parts_of_code(code: CodeType, function: FunctionType, seen: set[Any]) -> Iterator[object]:
    yield code.co_code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts_of_code(constant, function, seen)
        elif constant != function.__doc__:
            yield from _parts_of(constant, seen)
    for name in code.co_names:
        value = function.__globals__.get(name)
        yield name
        if not isinstance(value, ModuleType):
            yield from _parts_of(value, seen)
        elif not _is_foreign(value.__name__):
            for of_module in code.co_names:
                yield from _parts_of(vars(value).get(of_module), seen)


def _cells(function: FunctionType) -> Iterator[object]:
    return (cell.cell_contents for cell in function.__closure__ or ())


def _is_foreign(module: str) -> bool:
    """Return whether a module is of those that compile. numba looks at its own version itself."""
    return module.partition(".")[0] in ("numba", "numpy", "llvmlite")
