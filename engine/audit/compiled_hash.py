"""SHA-256 by the processor's own instructions, for compiled code.

`hashlib` takes longer for its call than for the hash of a short text, and has to be called from
Python, with the GIL. Here LLVM's functions for the instructions are called, as far as numba
compiles for a processor that has them (`HAS_SHA256`); else the caller stays with hashlib. A test
compares the two.

The order of the words and of the steps is that of Intel's description,
https://www.intel.com/content/www/us/en/developer/articles/technical/intel-sha-extensions.html;
the constants are those of FIPS 180-4.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from engine.arrays import Bytes
from engine.compiled import inner

BLOCK_BYTES: Final = 64
#: What a text is filled up with to whole blocks, at most: a bit, and its length.
PADDING_BYTES: Final = BLOCK_BYTES + 8
_LENGTH_BYTES: Final = 8


def _has_sha256() -> bool:
    """Return whether numba compiles for a processor with these instructions."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return triple.startswith("x86_64") and "+sha," in f"{features},"


HAS_SHA256: Final = _has_sha256()


def _fraction(root: int, power: int) -> int:
    """Return the first 32 bits of the fraction of a root of a prime."""
    low, high = 0, root << 32
    while low < high:
        middle = (low + high + 1) // 2
        if middle**power <= root << 32 * power:
            low = middle
        else:
            high = middle - 1
    return low & 0xFFFFFFFF


_PRIMES: Final = [n for n in range(2, 312) if all(n % other for other in range(2, n))]
_ROUNDS: Final = [_fraction(prime, 3) for prime in _PRIMES]
FIRST: Final = np.array([_fraction(prime, 2) for prime in _PRIMES[:8]], dtype=np.uint32)

#: What LLVM's code is built of; numba brings it.
ir: Final[Any] = vars(cgutils)["ir"]
_I32: Final = ir.IntType(32)
_WORDS: Final = ir.VectorType(_I32, 4)
_BYTES: Final = ir.VectorType(ir.IntType(8), 16)


def _shuffled(builder: Any, one: Any, other: Any, *lanes: int) -> Any:
    mask = ir.Constant(ir.VectorType(_I32, len(lanes)), lanes)
    return builder.shuffle_vector(one, other, mask)


def _loaded(builder: Any, address: Any, at: int, kind: Any) -> Any:
    place = builder.add(address, ir.Constant(address.type, at))
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=1)


def _stored(builder: Any, value: Any, address: Any, at: int) -> None:
    place = builder.add(address, ir.Constant(address.type, at))
    builder.store(value, builder.inttoptr(place, value.type.as_pointer()), align=1)


def _one_block(builder: Any, state: Any, data: Any) -> None:
    """Take in one block."""

    def called(name: str, *arguments: Any) -> Any:
        kind = ir.FunctionType(_WORDS, [_WORDS] * len(arguments))
        name = f"llvm.x86.sha256{name}"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, arguments)

    abcd, efgh = (_loaded(builder, state, at, _WORDS) for at in (0, 16))
    before = abef, cdgh = (
        _shuffled(builder, abcd, efgh, 5, 4, 1, 0),
        _shuffled(builder, abcd, efgh, 7, 6, 3, 2),
    )
    words: list[Any] = []
    for number in range(16):
        if number < 4:
            some = _loaded(builder, data, 16 * number, _BYTES)
            turned = [place ^ 3 for place in range(16)]  # the first byte is the highest
            words.append(builder.bitcast(_shuffled(builder, some, some, *turned), _WORDS))
        else:
            first, second, third, last = words[-4:]
            between = _shuffled(builder, third, last, 1, 2, 3, 4)
            added = builder.add(called("msg1", first, second), between)
            words.append(called("msg2", added, last))
        constants = ir.Constant(_WORDS, _ROUNDS[4 * number : 4 * number + 4])
        added = builder.add(words[-1], constants)
        cdgh = called("rnds2", cdgh, abef, added)
        abef = called("rnds2", abef, cdgh, _shuffled(builder, added, added, 2, 3, 2, 3))
    abef, cdgh = builder.add(abef, before[0]), builder.add(cdgh, before[1])
    _stored(builder, _shuffled(builder, abef, cdgh, 3, 2, 7, 6), state, 0)
    _stored(builder, _shuffled(builder, abef, cdgh, 1, 0, 5, 4), state, 16)


@intrinsic
def _take_in(typingctx: Any, state: Any, data: Any) -> Any:
    """Take the block at an address into the state at another one."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _one_block(builder, *arguments)
        return context.get_dummy_value()

    return types.none(types.uintp, types.uintp), codegen


@inner
def hash_text(text: Bytes, length: int, state: Any) -> None:
    """Put the hash of a text into `state`, eight numbers. Behind the text there must be room for
    PADDING_BYTES, which are overwritten."""
    blocks = (length + _LENGTH_BYTES) // BLOCK_BYTES + 1
    end = blocks * BLOCK_BYTES
    text[length] = 0x80
    text[length + 1 : end - _LENGTH_BYTES] = 0
    bits = np.uint64(length) << np.uint64(3)
    for index in range(_LENGTH_BYTES):
        text[end - 1 - index] = np.uint8(bits >> np.uint64(8 * index))
    for index in range(8):
        state[index] = FIRST[index]
    for number in range(blocks):
        block = text.ctypes.data + np.uint64(number * BLOCK_BYTES)
        _take_in(state.ctypes.data, block)  # type: ignore[call-arg]
