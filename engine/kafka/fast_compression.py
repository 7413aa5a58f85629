"""How hard producers compress: as little as LZ4 can.

aiokafka compresses at LZ4's level 9, in the event loop and with the GIL held. For matches and audit
records level 1 takes a twelfth of that time, and its output is a fifth larger; measure it with
`python -m benchmarks.micro compress`. aiokafka has no option for the level.
"""

from __future__ import annotations

from typing import Any, Final

import cramjam
from aiokafka.record import default_records

_LEVEL: Final = 1


def use_fast_compression() -> None:
    """Make aiokafka's producers compress fast, all of this process. It may be called again."""
    default_records.lz4_encode = lz4_encode  # what the builder written in Python calls
    compiled = _compiled_builder()
    if compiled is not None:
        compiled.lz4_encode = lz4_encode


def lz4_encode(payload: Any, level: int = _LEVEL) -> bytes:
    """Return the payload as an LZ4 frame of independent blocks, the only kind that brokers take."""
    compressor = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    compressor.compress(payload)
    return bytes(compressor.finish())


def _compiled_builder() -> Any:
    try:
        from aiokafka.record._crecords import default_records as compiled
    except ImportError:  # aiokafka was installed without its extensions
        return None
    return compiled
