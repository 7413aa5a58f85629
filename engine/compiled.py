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
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numba

if TYPE_CHECKING:
    from numba.core.dispatcher import Dispatcher

F = TypeVar("F", bound=Callable[..., object])

_WITHOUT_WRAPPERS: Final[dict[str, Any]] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: F) -> Dispatcher[F]:
    """Compile a function that Python calls; it runs without the GIL."""
    return _without_literals(numba.njit(nogil=True, cache=True)(function))


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
