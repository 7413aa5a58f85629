"""A request that the engine defines is written as Kafka's protocol guide says."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.protocol.types import CompactArray, Int16, Int32, Schema

from engine.kafka.request_fields import COMPACT_TEXT, NO_TAGS, TAGS, TEXT, define_request

COMPACT = define_request(
    65,
    0,
    asked=Schema(("ids", CompactArray(COMPACT_TEXT)), TAGS),
    answered=Schema(("error_code", Int16), TAGS),
)(["x", "yz"], NO_TAGS)
OLD = define_request(
    12,
    3,
    asked=Schema(("group", TEXT), ("generation", Int32)),
    answered=Schema(("error_code", Int16)),
)("g", 7)


def test_its_fields_are_written_in_order() -> None:
    assert COMPACT.prepare({65: (0, 1)}).encode() == b"\x03\x02x\x03yz\x00"
    assert OLD.prepare({12: (0, 4)}).encode() == b"\x00\x01g\x00\x00\x00\x07"


@pytest.mark.parametrize(("request_", "tags"), [(COMPACT, b"\x00"), (OLD, b"")])
def test_only_the_headers_of_a_compact_one_end_with_tags(request_: Any, tags: bytes) -> None:
    written = request_.prepare({request_.API_KEY: (0, 3)})
    assert written.build_request_header(5, "c").encode().endswith(b"\x00\x01c" + tags)
    assert written.RESPONSE_TYPE.decode(b"\x00\x03" + tags).get_item("error_code") == 3


def test_a_broker_that_lacks_the_version_is_not_asked() -> None:
    with pytest.raises(NotImplementedError):
        OLD.prepare({12: (0, 2)})
