"""How producers compress: as little as LZ4 can, and large batches without the GIL.

aiokafka compresses at LZ4's level 9, in the event loop and with the GIL held. For matches and audit
records level 1 takes a twelfth of that time, and its output is a fifth larger; measure it with
`python -m benchmarks.micro compress`. aiokafka has no option for the level.

cramjam lets go of the GIL in its function for a block, but not in its compressor of frames, and its
function for frames makes blocks that refer to each other, which brokers do not take. So a large
batch is one block, in a frame that is written here. A small one is left to the compressor: taking
the GIL again would last longer than compressing it.

Format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
"""

from __future__ import annotations

from typing import Any, Final

import cramjam
import xxhash
from aiokafka.record import default_records
from typing_extensions import Buffer

from engine import limits

_LEVEL: Final = 1
#: What the compressor makes one block of.
_SMALL_BYTES: Final = 64 * limits.KIB

_MAGIC: Final = bytes.fromhex("04224d18")
#: Version 1, independent blocks, no checksums.
_FLAGS: Final = 0x60
#: The most that a block holds, by the number in the frame's header.
_BLOCK_BYTES: Final = {5: 256 * limits.KIB, 6: limits.MIB, 7: 4 * limits.MIB}
_END: Final = bytes(4)
_STORED: Final = 1 << 31  # the bit of a block's length that says that it is not compressed


def use_fast_compression() -> None:
    """Make aiokafka's producers compress fast, all of this process. It may be called again."""
    default_records.lz4_encode = lz4_encode  # what the builder written in Python calls
    compiled = _compiled_builder()
    if compiled is not None:
        compiled.lz4_encode = lz4_encode


def lz4_encode(payload: Any) -> bytes:
    """Return the payload as an LZ4 frame of independent blocks, the only kind that brokers take."""
    size_bytes = len(payload)
    if size_bytes <= _SMALL_BYTES:
        compressor = cramjam.lz4.Compressor(
            level=_LEVEL, content_checksum=False, block_linked=False
        )
        compressor.compress(bytes(payload))
        return bytes(compressor.finish())
    number = next((each for each, room in _BLOCK_BYTES.items() if size_bytes <= room), 7)
    parts: list[Buffer] = [_HEADERS[number]]
    view = memoryview(payload)
    for at in range(0, size_bytes, _BLOCK_BYTES[number]):
        plain = view[at : at + _BLOCK_BYTES[number]]
        packed = cramjam.lz4.compress_block(plain, store_size=False)
        if len(packed) < len(plain):
            parts += (len(packed).to_bytes(4, "little"), packed)
        else:
            parts += ((_STORED | len(plain)).to_bytes(4, "little"), plain)
    parts.append(_END)
    return b"".join(parts)


def _header(number: int) -> bytes:
    described = bytes((_FLAGS, number << 4))
    return _MAGIC + described + bytes([xxhash.xxh32_intdigest(described) >> 8 & 0xFF])


_HEADERS: Final = {number: _header(number) for number in _BLOCK_BYTES}


def _compiled_builder() -> Any:
    try:
        from aiokafka.record._crecords import default_records as compiled
    except ImportError:  # aiokafka was installed without its extensions
        return None
    return compiled
