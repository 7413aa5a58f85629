"""Digests: two entries have the same content exactly where nothing but their life differs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from engine.documents.model import Area, Authority, Entry, Hours, Vehicle, Window
from engine.list_files.digests import Digests, Names

ENTRY = Entry(
    entry_id="e-1",
    list_id="list",
    plate="ABC123",
    agency="agency",
    purpose="theft",
    authority=Authority(kind="case", reference="1"),
    requested_by="someone",
    created_at="2026-01-01T00:00:00.000Z",
    expires_at="2026-02-01T00:00:00.000Z",
)
#: Another value of every field.
CHANGES: dict[str, Any] = {
    "entry_id": "e-2",
    "list_id": "other",
    "plate": "ABC124",
    "agency": "other",
    "purpose": "other",
    "authority": Authority(kind="warrant", reference="1"),
    "requested_by": "other",
    "created_at": "2026-01-02T00:00:00.000Z",
    "expires_at": "2026-02-02T00:00:00.000Z",
    "starts_at": "2026-01-01T00:00:00.000Z",
    "region": "NL",
    "confusables": False,
    "distance": 0,
    "vehicle": Vehicle(make="x"),
    "priority": 3,
    "instructions": "",
    "area": (Area(lat=1, lon=1, radius_m=1),),
    "hours": Hours(time_zone="UTC", windows=(Window(days=("mon",), start="00:00", end="24:00"),)),
    "suppress_s": 60,
}
NOT_CONTENT = {"entry_id", "requested_by", "created_at", "expires_at"}


def digests(*entries: Entry) -> Digests:
    made = Digests(Names())
    for entry in entries:
        made.add(entry.entry_id.encode(), entry, entry.created_ms, entry.expires_ms)
    return made


def test_every_field_is_looked_at() -> None:
    assert set(CHANGES) == set(Entry.__struct_fields__)


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_what_makes_a_difference(field: str) -> None:
    other = msgspec.structs.replace(ENTRY, **{field: CHANGES[field]})
    columns = digests(ENTRY, other).columns()
    differing = {name for name, column in columns._asdict().items() if column[0] != column[1]}
    expected = {
        "entry_id": {"ids"},
        "created_at": {"created_ms"},
        "expires_at": {"expires_ms"},
        "requested_by": {"requested_by"},
        "list_id": {"contents", "lists"},
        "agency": {"contents", "agencies"},
    }
    assert differing == expected.get(field, {"contents"})
    assert (field in NOT_CONTENT) == ("contents" not in differing)


def test_reference() -> None:
    other = msgspec.structs.replace(ENTRY, authority=Authority(kind="case", reference="2"))
    columns = digests(ENTRY, other).columns()
    assert columns.references[0] != columns.references[1]


def test_names_are_kept_once() -> None:
    names = Names()
    assert [names.number(text) for text in ("a", "b", "a", "")] == [0, 1, 0, 2]
    assert [names.text(number) for number in range(3)] == ["a", "b", ""]


def test_columns_of_nothing() -> None:
    columns = digests().columns().at(np.array([-1, -1]))
    assert [len(column) for column in columns] == [2] * 8
