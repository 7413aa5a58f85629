"""Documents of the version before this one, and of one that is still to come.

`tests/data/documents-0.1` holds documents of each kind as version 0.1 wrote them. It is never made
anew: whatever this version cannot read of it, it cannot read in the topics of a deployment. For
what comes after us, fields that nobody knows are put in everywhere; a fleet of workers is of two
versions while it is upgraded, and the older one must go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest
import xxhash
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from engine.audit.chain import GENESIS_HASH, Chain, Opener
from engine.audit.report import AuditReport
from engine.delivery.audit_chains import last_record
from engine.documents import model
from engine.documents.codec import (
    decode_audit,
    decode_detection,
    decode_entry,
    decode_match,
    decode_policy,
    decode_reject,
    decode_suppression,
    encode,
    read_audit,
    read_match,
)
from engine.errors import DocumentError
from engine.kafka.topics import Topics
from engine.library.hot_list_index import HotListIndex
from engine.matching.match import audit_fields, match_id
from engine.matching.suppression import SUPPRESSED, Suppression
from engine.matching.suppression_key import LATE_MS
from tests.fakes.chains import as_records
from tests.fakes.documents import NOW_MS, detection, entry, sighting

Json = Any

DIRECTORY = Path(__file__).parents[1] / "data" / "documents-0.1"
#: What reads documents of each kind: of a topic that somebody else may have written.
READERS: dict[str, Callable[[bytes], model.Document]] = {
    "detection": decode_detection,
    "entry": decode_entry,
    "policy": decode_policy,
    "match": read_match,
    "audit": read_audit,
    "suppression": decode_suppression,
}
#: And as its schema has it, which says what this version writes.
STRICT: dict[str, Callable[[bytes], model.Document]] = {
    **READERS,
    "match": decode_match,
    "reject": decode_reject,
    "audit": decode_audit,
}


def kept(kind: str) -> list[bytes]:
    """The documents of a kind as version 0.1 wrote them."""
    lines = (DIRECTORY / f"{kind}.jsonl").read_bytes().splitlines()
    if kind == "suppression":
        return [orjson.dumps(orjson.loads(line)["state"]) for line in lines]
    return lines


@pytest.mark.parametrize("kind", sorted(STRICT))
def test_what_version_0_1_wrote_is_read_and_written_alike(kind: str) -> None:
    lines = kept(kind)
    assert lines
    for line in lines:
        assert json.loads(encode(STRICT[kind](line))) == json.loads(line)


def test_a_chain_of_version_0_1_is_whole() -> None:
    opener, head = Opener(), GENESIS_HASH
    for number, line in enumerate(kept("audit")):
        record, true_hash = opener.open(line)
        assert (record.sequence, record.previous_hash, record.hash) == (number, head, true_hash)
        head = record.hash


def test_states_of_version_0_1_suppress_nothing_and_their_counts_are_audited() -> None:
    """Their keys hold neither the source nor what the entry lists, so a match more is made."""
    states = [
        (bytes.fromhex(line["key"]), decode_suppression(orjson.dumps(line["state"])))
        for line in map(orjson.loads, (DIRECTORY / "suppression.jsonl").read_bytes().splitlines())
    ]
    restored = Suppression()
    restored.turn_to(NOW_MS)
    restored.restore(0, states, 4)

    def admit(camera: str, captured_ms: int, offset: int) -> int:
        seen = sighting(camera=camera, captured_ms=captured_ms, offset=offset)
        return restored.admit(entry(), seen)

    assert admit("C1", NOW_MS - 1_000, 4) == 0, "a match of four seconds before is not its own"
    assert admit("C2", NOW_MS - 900, 5) == 0
    assert admit("C1", NOW_MS - 800, 6) == SUPPRESSED, "the state of now"
    assert admit("C1", NOW_MS + 60_000, 7) == 1

    # While it is new it stays, for a worker of version 0.1 that may own the partition again.
    restored.take_changes()
    restored.tidy(lambda entry_id: [entry(entry_id=entry_id)])
    assert (restored.take_unmatched(), restored.take_changes()) == ([], [])
    restored.turn_to(NOW_MS + 3 * LATE_MS)
    restored.tidy(lambda entry_id: [entry(entry_id=entry_id)])
    unmatched = restored.take_unmatched()
    audited = [(each.entry_id, each.source, each.suppressed) for each in unmatched]
    assert audited == [("E1", None, 1)]
    restored.audited(unmatched)
    gone = {change.key for change in restored.take_changes() if change.value is None}
    assert gone >= {key for key, _ in states}


def test_version_0_1_reads_the_states_of_now() -> None:
    """All fields that it needs are there, and it ignores the others."""
    state = Suppression()
    for offset in range(2):
        state.admit(entry(), sighting(offset=offset))
    ((_, _, value),) = state.take_changes()
    document = orjson.loads(value or b"")
    needed = orjson.loads(kept("suppression")[0])
    assert needed.keys() - document.keys() == set()
    for match in document["matches"]:
        assert needed["matches"][0].keys() - match.keys() == set()


def test_a_state_that_version_0_1_has_written_again_loses_no_match() -> None:
    """It drops the fields that it does not know, and any other match is better than such a one."""
    state = Suppression()
    assert state.admit(entry(), sighting(match_type="distance", confidence=0.5)) == 0
    ((_, key, value),) = state.take_changes()
    document = orjson.loads(value or b"")
    for name in ("source", "listing"):
        del document[name]
    for match in document["matches"]:
        del match["match_type"], match["confidence"]
    restored = Suppression()
    restored.turn_to(NOW_MS)
    restored.restore(0, [(key, decode_suppression(orjson.dumps(document)))], 1)
    assert restored.admit(entry(), sighting(offset=0)) == 0, "the same read again"
    assert restored.admit(entry(), sighting(match_type="distance", offset=1)) == 0
    assert restored.admit(entry(), sighting(match_type="distance", offset=2)) == SUPPRESSED


def test_an_index_that_version_0_1_saved_answers_as_it_did() -> None:
    index = HotListIndex.load(DIRECTORY / "index.hotlist")
    matches = index.snapshot().match(detection(), NOW_MS)
    answered = [
        [match.entry.entry_id, match.match_type, id_of_version_0_1(json.loads(encode(match)))]
        for match in matches
    ]
    assert answered == [json.loads(line) for line in kept("index_matches")]
    assert len(matches) == 4, "one of each type"


def id_of_version_0_1(match: Json) -> str:
    """The id of a match as version 0.1 made it, without the source."""
    parts = (match["entry"]["entry_id"], str(match["entry_revision"]), match["read"]["read_id"])
    return xxhash.xxh3_128_hexdigest("\x1f".join(parts).encode())


def test_a_match_of_version_0_1_holds_what_both_ids_are_made_of() -> None:
    """So a consumer finds the match that the other version made of the same read."""
    line = kept("match")[1]
    assert read_match(line).match_id == id_of_version_0_1(json.loads(line))
    assert new_id_of(read_match(line)) != read_match(line).match_id


def new_id_of(match: model.Match) -> str:
    read = match.read
    return match_id(match.entry.entry_id, match.entry_revision, read.source, read.read_id)


def test_the_report_counts_a_match_of_both_versions_twice_and_says_for_whom() -> None:
    """After a crash in an upgrade two records of one match may have two ids."""
    old = read_match(kept("match")[1])
    new = msgspec.structs.replace(old, match_id=new_id_of(old))
    chain = Chain("worker-1")
    records = as_records(
        [
            (b"worker-1", chain.seal("match", audit_fields(each), NOW_MS))
            for each in (old, new, new, old)
        ]
    )
    report = AuditReport(["source"], 0, 2 * NOW_MS)
    report.take(0, records)
    (row,) = report.rows()
    assert (row.values, row.counts["match"], report.repeats) == ((old.read.source,), 2, 2)


def places(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where objects stand in a document."""
    if isinstance(value, dict):
        yield path
        for name, each in value.items():
            yield from places(each, (*path, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from places(each, (*path, number))


def at(value: Json, path: tuple[str | int, ...]) -> Json:
    for step in path:
        value = value[step]
    return value


#: What a newer version may write: what everybody writes alike.
further = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"\A[a-z_]{1,8}\Z"), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.from_regex(r"\Anewer_[a-z_]{1,8}\Z")


@pytest.mark.parametrize("kind", sorted(READERS))
@given(st.data())
def test_fields_of_a_newer_version_are_passed_over_wherever_they_stand(
    kind: str, data: st.DataObject
) -> None:
    """What comes of the document is what comes of it without them."""
    line = data.draw(st.sampled_from(kept(kind)))
    document = json.loads(line)
    # An audit record's `fields` are for any names; they are what it is about.
    where = [path for path in places(document) if not (kind == "audit" and path)]
    for path in data.draw(st.lists(st.sampled_from(where), min_size=1, max_size=4)):
        at(document, path)[data.draw(names)] = data.draw(further)
    reader = READERS[kind]
    newer = json.dumps(document, ensure_ascii=data.draw(st.booleans())).encode()
    assert reader(newer) == reader(line)
    assert json.loads(encode(reader(newer))) == json.loads(line)


def newer_record(record: dict[str, Json], **fields: Json) -> dict[str, Json]:
    """A record as a newer version seals it: with further fields, which its hash is over too."""
    rest = {name: value for name, value in record.items() if name != "hash"} | fields
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = rest["previous_hash"] + canonical
    return {**rest, "hash": hashlib.sha256(text.encode()).hexdigest()}


@given(st.dictionaries(names, further, min_size=1, max_size=3), st.data())
def test_a_newer_versions_audit_record_is_opened_and_its_further_fields_count(
    fields: dict[str, Json], data: st.DataObject
) -> None:
    line = data.draw(st.sampled_from(kept("audit")))
    record = newer_record(json.loads(line), **fields)
    opened, true_hash = Opener().open(json.dumps(record).encode())
    assert opened.hash == true_hash == record["hash"]
    # Whoever takes one away, or changes it, is found out.
    name = data.draw(st.sampled_from(sorted(fields)))
    changed = {**record, name: [record[name]]}
    _, other_hash = Opener().open(json.dumps(changed).encode())
    assert other_hash != record["hash"]
    del changed[name]
    _, other_hash = Opener().open(json.dumps(changed).encode())
    assert other_hash != record["hash"]


class OneRecord:
    """A consumer of a topic with one partition and one record."""

    def __init__(self, value: bytes) -> None:
        self.partition = TopicPartition("lpr.audit.v1", 0)
        self.record = SimpleNamespace(offset=0, timestamp=0, value=value)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def subscribe(self, topics: list[str]) -> None:
        assert topics == [self.partition.topic]

    def assignment(self) -> set[TopicPartition]:
        return {self.partition}

    async def beginning_offsets(self, _: object) -> dict[TopicPartition, int]:
        return {self.partition: 0}

    async def end_offsets(self, _: object) -> dict[TopicPartition, int]:
        return {self.partition: 1}

    def seek(self, _: TopicPartition, offset: int) -> None:
        assert offset == 0

    async def getmany(self, *_: TopicPartition, **__: int) -> dict[TopicPartition, list[Any]]:
        return {self.partition: [self.record]}

    async def position(self, _: TopicPartition) -> int:
        return 1


async def test_a_worker_follows_a_newer_versions_chain() -> None:
    """Its own chain's first record names the last one that it found."""
    record = newer_record(json.loads(kept("audit")[-1]), newer=1)
    consumer = OneRecord(json.dumps(record).encode())
    cluster: Any = SimpleNamespace(topics=Topics("lpr."), reader=lambda: consumer)
    found = await last_record(cluster)
    assert found is not None
    assert (found.sequence, found.hash) == (record["sequence"], record["hash"])


def test_what_this_version_writes_has_no_further_fields() -> None:
    for kind in ("match", "reject", "audit"):
        document = {**json.loads(kept(kind)[0]), "newer": 1}
        with pytest.raises(DocumentError, match="must not have unknown fields"):
            STRICT[kind](json.dumps(document).encode())
