"""Every field of an entry has one place in the packed form; that of saved files is fixed."""

from __future__ import annotations

from engine.documents.model import Authority, Entry
from engine.index.packed_entry import AT, COMMON, RARE, TABLES


def test_each_field_has_one_place() -> None:
    names = [place.name for place in COMMON + RARE]
    fields = {*Entry.__struct_fields__, *Authority.__struct_fields__} - {"authority"}
    assert sorted(names) == sorted(fields)
    assert [AT[name] for name in names] == list(range(len(names)))


def test_what_may_be_left_out_is_rare_but_for_the_vehicle() -> None:
    assert [place.name for place in COMMON if place.is_optional] == ["vehicle"]
    assert all(place.is_optional for place in RARE)


def test_saved_files_can_still_be_read() -> None:
    """Their packed entries have this order; another one needs another format of the file."""
    assert " ".join(AT) == (
        "entry_id plate reference list_id agency purpose kind requested_by created_at expires_at "
        "vehicle starts_at region confusables priority instructions area suppress_s distance hours"
    )


def test_each_shared_value_has_a_table() -> None:
    assert {place.table for place in COMMON + RARE} - {None} == set(TABLES)
