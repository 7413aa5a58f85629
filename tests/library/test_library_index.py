"""A saved index comes back as it was, and none that contradicts itself gets in."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pyroaring import BitMap

from engine import HotListIndex
from engine.documents.codec import decode_match, encode
from engine.documents.model import Match
from engine.documents.purposes import Purpose, Purposes
from engine.errors import IndexFileError
from engine.library.archive import write_parts
from engine.library.hot_list_index import Added
from engine.plates.misreads import Misreads
from tests.fakes.documents import DAY_MS, NOW_MS, Json, at, detection, entry_json, policy_json
from tests.models.real_matcher import MISREADS, PURPOSES

_READ_PLATES = ["ABC123", "A8C123", "ABCI23", "ABC12", "ABC1234", "ABX123"]


def held(*entries: Json) -> HotListIndex:
    """An index with these entries and a policy that allows all."""
    index = HotListIndex(PURPOSES, MISREADS)
    assert index.add_many(entries) == Added(len(entries), 0, [])
    index.set_policy(policy_json())
    return index


def ids_of(matches: list[Match]) -> list[str]:
    return sorted(match.entry.entry_id for match in matches)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of every kind of entry, with slots that are free again."""
    path = tmp_path_factory.mktemp("saved") / "hot.index"
    asked: list[tuple[str, Json]] = [
        ("ABC123", {}),
        ("ABC124", {"confusables": True, "starts_at": at(0)}),
        ("ABC12", {"distance": 1, "instructions": "Call."}),
        ("AB?123", {"vehicle": {"make": "Audi"}}),
        ("XYZ123", {}),
    ]
    entries = [
        entry_json(entry_id=f"E{number}", plate=plate, agency=f"AG{number % 2}", **asking)
        for number, (plate, asking) in enumerate(asked)
    ]
    index = held(*entries)
    index.remove_many(["E4"])
    index.save(path)
    return path


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_is_in_the_file(saved: Path) -> None:
    """As another program would read it."""
    parts = parts_of(saved)
    manifest = json.loads(parts["manifest.json"])
    assert manifest.pop("purposes")
    assert manifest == {"entries": 4, "slots": 5, "revision": 7}
    pairs = json.loads(parts["pairs.json"])
    assert [(pair["agency"], pair["purpose"]) for pair in pairs] == [
        ("AG0", "stolen_vehicle"),
        ("AG1", "stolen_vehicle"),
    ]
    # RoaringFormatSpec: no runs, one container, of key 0 and two values, at byte 16.
    expected_bytes = np.array([12346, 1], "<u4").tobytes() + np.array([0, 1], "<u2").tobytes()
    expected_bytes += np.array([16], "<u4").tobytes()
    assert parts["pairs/0.roaring"] == expected_bytes + np.array([0, 2], "<u2").tobytes()
    assert parts["pairs/1.roaring"] == expected_bytes + np.array([1, 3], "<u2").tobytes()
    [held_policy] = json.loads(parts["policies.json"])
    assert held_policy == {"policy": policy_json(), "revision": 6}


def test_a_loaded_index_goes_on(saved: Path) -> None:
    index = HotListIndex.load(str(saved), PURPOSES, MISREADS)
    assert (len(index), index.revision) == (4, 7)
    assert ids_of(index.snapshot().match(detection(), NOW_MS)) == ["E0", "E2", "E3"]
    assert index.add_many([entry_json(entry_id="E4"), entry_json()]) == Added(1, 1, [])
    [match] = [
        match
        for match in index.snapshot().match(detection(), NOW_MS)
        if match.entry.entry_id == "E4"
    ]
    assert (match.entry_revision, match.policy.revision, match.list_revision) == (8, 6, 9)


def test_a_loaded_index_knows_the_times(saved: Path) -> None:
    index = HotListIndex.load(saved, PURPOSES, MISREADS)
    snapshot = index.snapshot()
    read = detection(plate="ABC124")
    assert ids_of(snapshot.match(read, NOW_MS - 1)) == ["E2"]
    assert ids_of(snapshot.match(read, NOW_MS)) == ["E1", "E2"]
    assert len(snapshot.eligible("S1", NOW_MS - 1)) == 3
    assert len(snapshot.eligible("S1", NOW_MS)) == 4
    assert index.remove_expired(NOW_MS + DAY_MS - 1) == 0
    assert index.remove_expired(NOW_MS + DAY_MS) == 4
    assert len(index) == 0


def test_other_misreads_make_other_look_alikes(saved: Path) -> None:
    shipped = HotListIndex.load(saved, PURPOSES, MISREADS).snapshot()
    assert [one.entry.entry_id for one in shipped.find("A8C124")] == ["E1"]
    none_alike = Misreads(msgspec.structs.replace(MISREADS.table, groups=[]))
    assert HotListIndex.load(saved, PURPOSES, none_alike).snapshot().find("A8C124") == []


def test_other_purposes_are_refused(saved: Path) -> None:
    with pytest.raises(IndexFileError) as caught:
        HotListIndex.load(saved, misreads=MISREADS)
    assert str(caught.value) == (
        f"{saved}: was saved with other purposes; "
        "load it with those, or add its entries to a new index"
    )
    # What does not decide who is admitted may be another.
    renamed = [
        Purpose(
            code,
            "Another title",
            longest_term_days=found.longest_term_days,
            known_characters_floor=found.known_characters_floor,
        )
        for code in reversed(PURPOSES.codes)
        if (found := PURPOSES.get(code)) is not None
    ]
    assert len(HotListIndex.load(saved, Purposes(renamed), MISREADS)) == 4


def with_part(saved: Path, path: Path, name: str, data: bytes | None) -> Path:
    """A file with another part, or without one, whose checksum is right."""
    with write_parts(path) as parts:
        for each, content in parts_of(saved).items():
            if each != name:
                parts.blob(each, content)
        if data is not None:
            parts.blob(name, data)
    return path


def bitmap(*slots: int) -> bytes:
    return BitMap(slots).serialize()


def numbers(*values: int, dtype: str = "<i8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array(values, dtype=dtype), allow_pickle=False)
    return file.getvalue()


_OTHERS = "pairs/{} does not go with the entries"


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("pairs/0.roaring", bitmap(0), "pairs.json does not name every agency and purpose"),
        ("pairs/0.roaring", bitmap(0, 1), "pairs/0.roaring does not go with the entries"),
        ("pairs/0.roaring", bitmap(0, 2, 4), "pairs/0.roaring does not go with the entries"),
        ("pairs/1.roaring", bitmap(1, 5), "pairs/1.roaring holds a slot that is not below 5"),
        ("pairs/1.roaring", None, "pairs/1.roaring is missing"),
        ("pairs.json", b"[]", "pairs.json does not name every agency and purpose"),
        (
            "pairs.json",
            b'[{"agency":"AG9","purpose":"permit"}]',
            "pairs/0.roaring does not go with the entries",
        ),
        ("pairs.json", b'[{"agency":9}]', "pairs.json is not valid JSON for this part"),
        ("revisions.npy", numbers(1, 2, 3, -4, 0), "revisions.npy holds a number out of range"),
        ("revisions.npy", numbers(1, 2, 3, 8, 0), "revisions.npy holds a number out of range"),
        (
            "revisions.npy",
            numbers(1, 2, 3),
            "revisions.npy is no flat array of 5 int64 in little-endian",
        ),
        ("policies.json", b'[{"revision": 1}]', "policies.json is not valid JSON for this part"),
        ("manifest.json", b"{}", "manifest.json is not valid JSON for this part"),
        ("entries/packed.bin", b"", "entries/packed.bin has not the length that entries/lengths"),
    ],
)
def test_parts_that_contradict_each_other(
    saved: Path, tmp_path: Path, name: str, data: bytes | None, what: str
) -> None:
    path = with_part(saved, tmp_path / "hot.index", name, data)
    with pytest.raises(IndexFileError) as caught:
        HotListIndex.load(path, PURPOSES, MISREADS)
    assert str(caught.value).startswith(f"{path}: {what}")


@pytest.mark.parametrize(("name", "value"), [("entries", 5), ("slots", 4), ("slots", 6)])
def test_a_manifest_that_counts_otherwise(
    saved: Path, tmp_path: Path, name: str, value: int
) -> None:
    manifest = json.loads(parts_of(saved)["manifest.json"]) | {name: value}
    path = with_part(saved, tmp_path / "hot.index", "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(IndexFileError):
        HotListIndex.load(path, PURPOSES, MISREADS)


class Damage(RuleBasedStateMachine):
    """Parts of a saved index are damaged on purpose, and sealed again."""

    @initialize()
    def whole(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "hot.index"
        held(
            entry_json(confusables=True),
            entry_json(entry_id="E2", plate="AB?123"),
            entry_json(entry_id="E3", agency="AG2", distance=1),
        ).save(path)
        self.parts = parts_of(path)
        self.path = path

    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.parts)))
        part = bytearray(self.parts[name])
        place = data.draw(st.integers(0, max(0, len(part) - 1)))
        length = data.draw(st.integers(0, 3))
        part[place : place + length] = data.draw(st.binary(max_size=3))
        self.parts[name] = bytes(part)

    @invariant()
    def refused_or_sound(self) -> None:
        """What is taken is an index that answers, and says what it holds without a failure."""
        with write_parts(self.path) as parts:
            for name, data in self.parts.items():
                parts.blob(name, data)
        try:
            index = HotListIndex.load(self.path, PURPOSES, MISREADS)
        except IndexFileError:
            return
        snapshot = index.snapshot()
        entries = list(snapshot)
        assert len(entries) == len(index)
        for one in entries:
            assert index.get(one.entry_id) == one
            if "?" not in one.plate:
                assert one.entry_id in {hit.entry.entry_id for hit in snapshot.find(one.plate)}
        for plate in _READ_PLATES:
            for match in snapshot.match(detection(plate=plate), NOW_MS):
                assert decode_match(encode(match)) == match
        assert index.remove_many(one.entry_id for one in entries) == len(entries)
        assert len(index) == 0

    def teardown(self) -> None:
        self.folder.cleanup()


TestDamage = Damage.TestCase
TestDamage.settings = settings(stateful_step_count=8)
