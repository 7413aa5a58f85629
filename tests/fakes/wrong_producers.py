"""Producers that get something wrong for all of their reads, each as a function that makes them.

The shapes come from public documentation and reports; the reads are our own.

framing       https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop
Connect       https://github.com/confluentinc/kafka-connect-datagen/issues/8 (schemas.enable)
Debezium      https://debezium.io/documentation/reference/stable/transformations/event-flattening.html
CloudEvents   https://github.com/cloudevents/spec, the Kafka binding's structured mode
partitioners  https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md,
              https://github.com/confluentinc/confluent-kafka-dotnet/issues/1103
optional fields  https://github.com/colinhacks/zod/issues/6296 for times; the rest is usual
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiokafka.partitioner import murmur2

Json = dict[str, Any]
#: Makes a read of a plate with this number.
Make = Callable[[str, int], Json]
#: What a producer makes of a read: the key, the value and the partition of so many.
Produced = tuple[bytes | None, bytes, int]

PARTITIONS: Final = 4
#: Not in the normal form of a plate, or in it.
CAMERAS: Final = ("gate-7", "CAM7")


class Placed(NamedTuple):
    """A record, and the partition that its producer chose."""

    key: bytes | None
    value: bytes
    partition: int


@dataclass(frozen=True, slots=True)
class WrongProducer:
    """A producer, the fault that must be found (or the field that is dropped), and whether a read
    of a listed plate is matched all the same."""

    name: str
    send: Callable[[Json], Placed]
    fault: str | None = None
    dropped: str | None = None
    matches: bool = False
    value_format: str = "json"
    camera: str = CAMERAS[0]


def java_partition(key: bytes) -> int:
    """The partition that Java's producer chooses, by aiokafka's copy of its hash."""
    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS)


def plate_key(read: Mapping[str, Any]) -> bytes:
    return str(read["plate"]).upper().replace("-", "").encode()


def _as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _wrapped(wrap: Callable[[Json], bytes]) -> Callable[[Json], Placed]:
    """A producer with the right key, whose value is made by `wrap`."""
    return lambda read: Placed(plate_key(read), wrap(read), java_partition(plate_key(read)))


def _keyed(key_of: Callable[[Json], str]) -> Callable[[Json], Placed]:
    def send(read: Json) -> Placed:
        key = key_of(read).encode()
        return Placed(key, _as_json(read), java_partition(key))

    return send


def _with(**fields: Any) -> Callable[[Json], Placed]:
    return _wrapped(lambda read: _as_json(read | fields))


def _by_crc32(read: Json) -> Placed:
    """As librdkafka's `consistent_random`, if the key then lies elsewhere than with Java."""
    key = plate_key(read)
    return Placed(key, _as_json(read), zlib.crc32(key) % PARTITIONS)


def _debezium(read: Json) -> bytes:
    return _as_json({"before": None, "after": read, "source": {"db": "lpr"}, "op": "c", "ts_ms": 1})


WRONG: Final = (
    WrongProducer("framed", _wrapped(lambda r: b"\0\0\0\0\7" + _as_json(r)), "framed"),
    WrongProducer("framed with long ids", _wrapped(lambda r: bytes(9) + _as_json(r)), "framed"),
    WrongProducer("framed Avro", _wrapped(lambda _: b"\0\0\0\0\7\x0cABC123\x02\x04"), "framed"),
    WrongProducer(
        "framed Avro for workers that take frames",
        _wrapped(lambda _: b"\0\0\0\0\7\x0cABC123\x02\x04"),
        "framed",
        value_format="json-schema-registry",
    ),
    WrongProducer(
        "Avro without a frame where workers ask a registry",
        _wrapped(lambda _: b"\x0cABC123\x02\x04"),
        "unframed",
        value_format="schema-registry",
    ),
    WrongProducer(
        "framed for Glue", _wrapped(lambda r: b"\3\0" + bytes(16) + _as_json(r)), "framed"
    ),
    WrongProducer(
        "Connect",
        _wrapped(lambda r: _as_json({"schema": {"type": "struct"}, "payload": r})),
        "envelope",
    ),
    WrongProducer("Debezium", _wrapped(_debezium), "envelope"),
    WrongProducer(
        "CloudEvents",
        _wrapped(lambda r: _as_json({"specversion": "1.0", "type": "read", "data": r})),
        "envelope",
    ),
    WrongProducer("quoted", _wrapped(lambda r: _as_json(json.dumps(r))), "quoted"),
    WrongProducer(
        "a mark", _wrapped(lambda r: b"\xef\xbb\xbf" + _as_json(r)), "byte_order_mark", matches=True
    ),
    WrongProducer(
        "camera as key", _keyed(lambda r: str(r["camera"])), "key_is_camera", matches=True
    ),
    WrongProducer(
        "camera as key in normal form",
        _keyed(lambda r: str(r["camera"])),
        "key_is_camera",
        camera=CAMERAS[1],
    ),
    WrongProducer(
        "read id as key", _keyed(lambda r: str(r["read_id"])), "key_is_read_id", matches=True
    ),
    WrongProducer("source as key", _keyed(lambda r: str(r["source"])), "key_is_source"),
    WrongProducer("crc32", _by_crc32, "other_partitioner", matches=True),
    WrongProducer("lower case region", _with(region="us-ca"), dropped="region", matches=True),
    WrongProducer("empty region", _with(region=""), dropped="region", matches=True),
    WrongProducer("percent", _with(confidence=93.1), dropped="confidence", matches=True),
    WrongProducer(
        "location of nulls",
        _with(location={"lat": None, "lon": None}),
        dropped="location",
        matches=True,
    ),
    WrongProducer("vehicle in words", _with(vehicle="white van"), dropped="vehicle", matches=True),
)
#: What is right, and must be found by nothing.
RIGHT: Final = (
    WrongProducer("plain", _wrapped(_as_json), matches=True),
    WrongProducer(
        "framed JSON Schema where workers take it",
        _wrapped(lambda r: b"\0\0\0\0\7" + _as_json(r)),
        matches=True,
        value_format="json-schema-registry",
    ),
    WrongProducer(
        "framed with long ids where workers take it",
        _wrapped(lambda r: bytes(8) + b"\7" + _as_json(r)),
        matches=True,
        value_format="json-schema-registry",
    ),
    WrongProducer(
        "plain where workers take frames",
        _wrapped(_as_json),
        matches=True,
        value_format="json-schema-registry",
    ),
    WrongProducer(
        "null for what is not known", _with(region=None, location=None, vehicle=None), matches=True
    ),
    WrongProducer("an offset", _with(captured_at="2026-09-21T15:13:18.123456+01:00"), matches=True),
)


def reads_of(wrong: WrongProducer, make: Make, plates: Mapping[str, int]) -> Iterator[Placed]:
    """The producer's records of so many reads of each plate."""
    number = 0
    for plate, count in plates.items():
        for _ in range(count):
            number += 1
            yield wrong.send(make(plate, number) | {"camera": wrong.camera})
