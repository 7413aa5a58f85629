"""`engine.ingest.adapters.form_message`: the fields of forms and queries, as cameras write them."""

from __future__ import annotations

import pytest

from engine import limits
from engine.ingest.adapters import AdapterError
from engine.ingest.adapters.form_message import parse_form


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (b"plate=AB12&time=1", {"plate": "AB12", "time": "1"}),
        (b" plate=AB12\r\n", {"plate": "AB12"}),
        (b"plate=AB+12&plate=XY&note", {"plate": "AB 12"}),
        (b"plate=M%C3%9C%20A1&=x&a.b=", {"plate": "M\u00dc A1", "a.b": ""}),
        (b"x={%22a%22:1}&y=a=b", {"x": '{"a":1}', "y": "a=b"}),
        # A plus sign is a space, but not before the offset of a time.
        (b"t=2026-11-22T17:00:00+01:00", {"t": "2026-11-22T17:00:00+01:00"}),
        (b"t=2026-11-22+17:00:00.25+0100", {"t": "2026-11-22 17:00:00.25+0100"}),
        (b"t=2026-11-22T17:00:00%2B01:00", {"t": "2026-11-22T17:00:00+01:00"}),
        (b"t=2026-11-22+17:00", {"t": "2026-11-22 17:00"}),
    ],
)
def test_the_fields(message: bytes, fields: dict[str, str]) -> None:
    assert parse_form(message).value == fields


@pytest.mark.parametrize(
    ("message", "rule", "reason"),
    [
        (b"", "must be a form such as", "not_form"),
        (b"{}", "must be a form such as", "not_form"),
        (b"plate=%ff", "must be a form in UTF-8", "not_form"),
        (b"pl\xffte=1", "must be a form in UTF-8", "not_form"),
        (b"a=1&" * limits.INGEST_MAPPED_FIELDS, "must have at most 256 fields", "not_form"),
        (b"a" * (limits.INGEST_MESSAGE_BYTES + 1), "must have at most", "too_long"),
    ],
)
def test_what_is_no_form(message: bytes, rule: str, reason: str) -> None:
    with pytest.raises(AdapterError) as raised:
        parse_form(message)
    assert (raised.value.field, raised.value.reason) == ("$", reason)
    assert raised.value.rule.startswith(rule)
