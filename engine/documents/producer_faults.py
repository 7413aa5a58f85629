"""What producers of reads get wrong for all of their reads, and what to do about it.

Values are opened for listed plates and a sample alone, so such a producer loses matches without any
error of its own. The worker counts each fault, `hotlist doctor` finds it in the latest reads. Pure;
nothing of a read is part of a fault.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

from engine.documents.model import Detection
from engine.plates.normal_form import PlateError, is_normal, normalize

ProducerFault = Literal[
    "framed",
    "unframed",
    "envelope",
    "quoted",
    "byte_order_mark",
    "key_is_camera",
    "key_is_read_id",
    "key_is_source",
    "other_partitioner",
]
PRODUCER_FAULTS: Final[tuple[str, ...]] = get_args(ProducerFault)


class Described(NamedTuple):
    """A fault in words: what the reads are like, and what the producer must change."""

    what: str
    todo: str


_KEY_TODO: Final = "the key must be engine.normalize(plate), or be left out"
#: Each fault in words.
DESCRIBED: Final[dict[str, Described]] = {
    "framed": Described(
        "are framed for a schema registry",
        "run the workers with --value-format schema-registry, or send plain JSON",
    ),
    "unframed": Described(
        "are neither framed for a schema registry nor JSON",
        "use the registry's serializer, with the schema's id in the value and not in a header",
    ),
    "envelope": Described(
        "are wrapped in an envelope (Kafka Connect, Debezium or CloudEvents)",
        "send the document alone: schemas.enable=false, ExtractNewRecordState, or binary mode",
    ),
    "quoted": Described(
        "are JSON inside a JSON string", "serialize once: the serializer must not quote the JSON"
    ),
    "byte_order_mark": Described(
        "begin with a byte order mark", "write UTF-8 without a mark; the reads are matched"
    ),
    "key_is_camera": Described("have keys that look like cameras", _KEY_TODO),
    "key_is_read_id": Described("have keys that look like read ids", _KEY_TODO),
    "key_is_source": Described("have keys that look like sources", _KEY_TODO),
    "other_partitioner": Described(
        "lie on another partition than Java's murmur2 gives for their key",
        "set partitioner=murmur2_random (librdkafka), or see deploy/guides/producers.md; else two "
        "workers may each match one vehicle",
    ),
}

_KEY_FIELDS: Final = (
    ("camera", "key_is_camera"),
    ("read_id", "key_is_read_id"),
    ("source", "key_is_source"),
)


def key_fault(key: bytes, read: Detection) -> tuple[str, str] | None:
    """Return the field of the read that a wrong key repeats, and the fault; None if none does.

    The key is as in the field, or in the normal form that a plate would have.
    """
    text = key.decode("utf-8", "replace")
    normal = is_normal(text)  # if it is not, it is no field's normal form either
    for field, fault in _KEY_FIELDS:
        stated: str = getattr(read, field)
        if text == stated or (normal and text == _normal(stated)):
            return field, fault
    return None


def _normal(text: str) -> str | None:
    try:
        return normalize(text)
    except PlateError:
        return None
