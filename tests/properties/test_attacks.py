"""What somebody would try who may send reads, or put entries on a list: each attack by itself.

The answers stay right, and what an attack costs is held to numbers of steps, of values opened and
of bytes, which are the same on every machine.
"""

from __future__ import annotations

import itertools
import logging
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from engine import limits
from engine.audit.chain import Chain
from engine.documents.codec import encode
from engine.errors import ConfigError, DocumentError, RuleError
from engine.index.fuzzy_index import Similar
from engine.index.hash_table import NO_SLOT, HashTable, hashes_of
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.plates.plate_hash import EMPTY, hash_of
from engine.wire.batch_reader import BatchReader, operator_of
from engine.wire.record_batch import RawFetch
from tests.fakes.documents import (
    NOW_MS,
    Json,
    as_bytes,
    detection_json,
    entry_json,
    policy_json,
)
from tests.fakes.record_batches import ZSTD, Sent, batch_bytes, raw_batch, raw_fetch
from tests.index.test_hash_table import BY_LOW_BITS
from tests.models.naive import Naive, likeness
from tests.models.real_confidence import how_sure
from tests.models.real_matcher import FLOORS, MISREADS, PURPOSES, Read, keyed, matched, ordered


class Deployment:
    """A matcher with entries and a policy that allows all, and the naive model beside it."""

    def __init__(self, *entries: Json) -> None:
        self.lists = Lists(PURPOSES, MISREADS)
        self.naive = Naive(FLOORS, how_sure)
        self.matcher = Matcher(self.lists, 0, parse, Suppression())
        self.put(*entries)
        value = as_bytes(policy_json())
        policy = ControlRecord(ControlKind.POLICY, 0, 0, NOW_MS, b"S1", value)
        self.lists.apply([policy], NOW_MS, Phase.FOLLOWING)
        self.naive.put_policy("S1", policy_json())

    def put(self, *entries: Json) -> None:
        """Entries, all at once."""
        records = []
        for offset, entry in enumerate(entries):
            key = entry["entry_id"].encode()
            value = as_bytes(entry)
            records.append(ControlRecord(ControlKind.ENTRY, 0, offset, NOW_MS, key, value))
            self.naive.put(offset, entry["entry_id"], entry, staged=True)
        self.naive.commit()
        self.lists.apply(records, NOW_MS, Phase.FOLLOWING)

    def process(self, fetch: RawFetch) -> Outcome:
        """What a fetch comes to, all its parts together."""
        whole = self.matcher.process(fetch, NOW_MS)
        following = whole.next_offset
        while following is not None:
            part = self.matcher.process(fetch.since(following), NOW_MS)
            following = part.next_offset
            whole.matches = [*whole.matches, *part.matches]
            whole.rejects += part.rejects
            whole.reads += part.reads
            whole.values_opened += part.values_opened
        return whole

    def check(self, *reads: Read) -> Outcome:
        """Reads come to what the model says."""
        sent = [read.sent(arrived_ms=NOW_MS) for read in reads]
        outcome = self.process(raw_fetch(raw_batch(batch_bytes(sent))))
        wanted = [
            match
            for read in reads
            for match in self.naive.read(
                read.document, NOW_MS, key=read.key, headers=read.headers
            ).matches
        ]
        assert ordered(matched(outcome)) == ordered(wanted)
        return outcome


def a_read(plate: str, headers: tuple[bytes, ...] = (), **fields: Any) -> Read:
    """A read of a plate."""
    return keyed(detection_json(plate=plate, read_id=f"of {plate}"[:64], **fields), headers)


# ---- plates whose hashes begin their probe at the same place


_COLLIDING = 500
#: Places of a table for so many.
_PLACES = 1024


@pytest.fixture(scope="module")
def colliding() -> list[str]:
    """Plates that all begin at one place, where the low bits of their hashes say where."""
    plates = (f"A{number:07d}" for number in itertools.count())
    found = (plate for plate in plates if hash_of(plate.encode()) % _PLACES == 5)
    return list(itertools.islice(found, _COLLIDING))


def _longest_run(table: HashTable) -> int:
    """Places in use in a row: as many as the longest probe looks at."""
    used = table.hashes != EMPTY
    runs = [len(list(run)) for is_used, run in itertools.groupby(used) if is_used]
    return max(runs, default=0)


def _filled(plates: Sequence[str], **how: Any) -> HashTable:
    table = HashTable(**how)
    slots = np.arange(len(plates), dtype=np.int32)
    table.push_many(hashes_of(plates), slots, np.full(len(plates), NO_SLOT, dtype=np.int32))
    return table


@pytest.mark.parametrize("selective", [False, True])
def test_chosen_plates_do_not_come_to_stand_in_one_run(
    colliding: list[str], selective: bool
) -> None:
    """By the low bits of their hashes they would, whatever the table's size."""
    attacked = _filled(colliding, selective=selective, placing=BY_LOW_BITS)
    assert len(attacked.hashes) == _PLACES
    assert _longest_run(attacked) == _COLLIDING
    assert _longest_run(_filled(colliding, selective=selective)) < 100


def test_every_process_places_hashes_in_a_way_of_its_own() -> None:
    """Not by what can be read here, and not by half of the bits."""
    placing = int(HashTable().placing)
    assert placing % 2 == 1
    assert placing not in (1, BY_LOW_BITS)
    assert 8 < placing.bit_count() < 56
    assert HashTable().placing == HashTable(selective=True).placing == HashTable().copy().placing


def test_chosen_plates_are_found_and_no_others(colliding: list[str]) -> None:
    listed, others = colliding[::2], colliding[1::2]
    entries = [entry_json(entry_id=plate, plate=plate) for plate in listed]
    deployment = Deployment(*entries)
    for plates, count in ((listed, len(listed)), (others, 0)):
        sent = [a_read(plate).sent(arrived_ms=NOW_MS) for plate in plates]
        outcome = deployment.process(raw_fetch(raw_batch(batch_bytes(sent))))
        assert sorted(found.match.entry.plate for found in outcome.matches) == sorted(
            plates[:count]
        )
        assert outcome.values_opened == count
    for plate in listed[:150]:
        assert deployment.lists.index.remove(plate)
    left = [plate for plate in colliding if [*deployment.lists.index.slots_of(plate)]]
    assert sorted(left) == sorted(listed[150:])


# ---- entries that are all alike


def test_thousands_of_entries_that_are_all_look_alikes() -> None:
    plates = ["".join(letters) for letters in itertools.product("O0QD", repeat=5)][:1000]
    entries = [
        entry_json(entry_id=plate, plate=plate, confusables=True, suppress_s=0) for plate in plates
    ]
    deployment = Deployment(*entries)
    outcome = deployment.check(a_read("OQ0DO"))
    assert len(outcome.matches) == 1000
    assert deployment.check(a_read("OQ0D"), a_read("OQ0DX")).values_opened == 0


def test_thousands_of_entries_one_character_from_each_other() -> None:
    plates = ["O" + "".join(letters) for letters in itertools.product("O0", repeat=7)]
    entries = [
        entry_json(entry_id=plate, plate=plate, confusables=number % 2 == 0, distance=1)
        for number, plate in enumerate(plates)
    ]
    deployment = Deployment(*entries)
    listed = plates[7]
    outcome = deployment.check(a_read(listed), a_read(f"{listed}X"), a_read("A" + listed[1:]))
    assert len(outcome.matches) > len(plates) / 2
    assert deployment.check(a_read("XXXXXXXX")).values_opened == 0


def test_thousands_of_patterns_with_no_more_than_the_floor_known() -> None:
    letters = "ABCDEFGHJK"
    plates = [
        "".join(known if at in places else "?" for at, known in enumerate(text))
        for places in itertools.combinations(range(8), 4)
        for text in ("ABCD1234", *(letter * 8 for letter in letters))
    ]
    entries = [
        entry_json(entry_id=f"{number}", plate=plate, purpose="missing_person", suppress_s=0)
        for number, plate in enumerate(plates)
    ]
    deployment = Deployment(*entries)
    wanted = Counter(plate for plate in plates if likeness("ABCD1234", {"plate": plate}))
    outcome = deployment.check(a_read("ABCD1234"), a_read("ABCD123"), a_read("ZBYDXW5V"))
    assert Counter(found.match.entry.plate for found in outcome.matches) == wanted
    assert outcome.values_opened == 1


def test_thousands_of_entries_with_one_plate() -> None:
    count = 2_500
    entries = [entry_json(entry_id=f"{n}", plate="ABC123", suppress_s=0) for n in range(count)]
    deployment = Deployment(*entries)
    other = entry_json(entry_id="other", plate="XYZ999", suppress_s=0)
    deployment.put(other)
    fetch = raw_fetch(
        raw_batch(batch_bytes([a_read("ABC123").sent(arrived_ms=NOW_MS)] * 2)),
    )
    part = deployment.matcher.process(fetch, NOW_MS)
    # A fetch that comes to a lot comes in parts, and a read is not torn apart.
    assert part.next_offset == 1
    assert len(part.matches) == count
    outcome = deployment.check(a_read("ABC124"), a_read("XYZ999"))
    assert [found.match.entry.entry_id for found in outcome.matches] == ["other"]
    assert outcome.values_opened == 1
    for entry in entries[1:]:
        deployment.lists.index.remove(entry["entry_id"])
    assert [entry.entry_id for _, entry in deployment.lists.index.slots_of("ABC123")] == ["0"]


def test_a_read_whose_alternates_hit_everything() -> None:
    plates = [f"AB{number:02d}CD" for number in range(17)]
    entries = [
        entry_json(entry_id=f"{plate}-{n}", plate=plate, suppress_s=0)
        for plate in plates
        for n in range(20)
    ]
    everywhere = entry_json(entry_id="everywhere", plate="AB??CD", suppress_s=0)
    deployment = Deployment(*entries, everywhere)
    alternates = [{"plate": plate, "confidence": 0.5} for plate in plates[1:]]
    headers = (",".join(plates[1:]).encode(),)
    outcome = deployment.check(a_read(plates[0], headers, alternates=alternates))
    # Each entry once, however many of the texts it is like.
    assert len(outcome.matches) == 17 * 20 + 1
    assert outcome.values_opened == 1
    too_many = (",".join(["ABC"] * 10_000).encode(),)
    outcome = deployment.check(a_read(plates[0], too_many, alternates=alternates))
    assert len(outcome.matches) == 17 * 20 + 1


def test_a_thousand_plates_that_are_alike_by_their_hash_alone() -> None:
    """The hash of folded plates can be worked out by anybody too; what it finds is compared."""
    similar = Similar(MISREADS)
    entries = [_Asking(f"{n:06d}A", False, 1) for n in range(1000)]
    similar.put(enumerate(entries))
    assert len(similar.slots_like("000001A")) < 1000
    assert 1 in similar.slots_like("000001A")


class _Asking:
    def __init__(self, plate: str, confusables: bool, distance: int) -> None:
        self.plate, self.confusables, self.distance = plate, confusables, distance
        self.region: str | None = None


# ---- reads that are bad, large or odd


def test_a_flood_of_bad_records_is_pointed_to_in_bounded_parts() -> None:
    """Less than a byte for each on the wire, twenty thousand bad records, and one good read."""
    count = 20_000
    good = a_read("ABC123").sent(arrived_ms=NOW_MS)
    records = [Sent(b"", None)] * (count - 1) + [good]
    data = batch_bytes(records, codec=ZSTD)
    assert len(data) < count
    deployment = Deployment(entry_json())
    fetch = raw_fetch(raw_batch(data))
    pointed: list[int] = []
    parts, reads, most = 0, 0, 0
    following: int | None = 0
    tracemalloc.start()
    try:
        while following is not None:
            outcome = deployment.matcher.process(fetch.since(following), NOW_MS)
            following = outcome.next_offset
            pointed += [reject.offset for reject in outcome.rejects]
            assert {reject.reason for reject in outcome.rejects} <= {"value_missing"}
            parts, reads = parts + 1, reads + outcome.reads
            most = max(most, len(outcome.rejects))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pointed == list(range(count - 1)), "each is pointed to, and once"
    assert reads == count
    assert [found.match.read.read_id for found in outcome.matches] == ["of ABC123"]
    assert most * 256 < limits.OUTCOME_BYTES
    assert parts > 3
    assert peak_bytes < 16 * limits.OUTCOME_BYTES + 16 * len(pointed)


@pytest.mark.parametrize("odd", [(), (("ключ", b""),)], ids=["scanned", "parsed"])
def test_keys_of_megabytes_and_thousands_of_headers(odd: Iterable[tuple[str, bytes]]) -> None:
    deployment = Deployment(entry_json(suppress_s=0))
    document = detection_json()
    value = as_bytes(document)
    many = tuple((f"h{number}", b"v") for number in range(10_000)) + tuple(odd)
    sent = [
        Sent(b"A" * (3 * limits.MIB), value, tuple(odd)),
        Sent(b"ABC123", value, many),
        Sent(b"ABC123", value, (*many, ("alternates", b"X" * limits.MIB))),
        Sent(b"ABC123", value, (("x" * limits.MIB, b"v"), *odd)),
        Sent(b"\xff" * limits.MIB, value, tuple(odd)),
    ]
    outcome = deployment.process(raw_fetch(raw_batch(batch_bytes(sent))))
    assert len(outcome.matches) == len(sent)
    assert not outcome.rejects


def test_a_control_record_with_thousands_of_headers() -> None:
    """Who made the change is looked for among the first."""
    first = (("operator", b"\x1b[2Jmallory\n"),)
    many = tuple(("operator", b"x") for _ in range(10_000))
    batch = raw_batch(batch_bytes([Sent(b"E", b"{}", first + many), Sent(b"E", b"{}", first)]))
    records = BatchReader(parse).records(batch, headers_from=0)
    assert [len(record.headers) for record in records] == [limits.CONTROL_HEADERS, 1]
    assert operator_of(records[1].headers) == "\x1b[2Jmallory\n"  # for whoever shows it to see to


@pytest.mark.parametrize("depth", [100, 900, 5_000, 30_000])
def test_documents_that_are_nested_deeply(depth: int) -> None:
    """In reads, entries and policies: taken where it can be read, else refused, and never more."""
    nest = b', "x": ' + b"[" * depth + b"]" * depth + b"}"
    deployment = Deployment(entry_json(suppress_s=0))
    read = as_bytes(detection_json())[:-1] + nest
    outcome = deployment.process(raw_fetch(raw_batch(batch_bytes([Sent(b"ABC123", read)]))))
    assert (len(outcome.matches), len(outcome.rejects)) == ((1, 0) if depth < 1000 else (0, 1))
    for kind, key, document in (
        (ControlKind.ENTRY, b"E2", entry_json(entry_id="E2")),
        (ControlKind.POLICY, b"S2", policy_json(source="S2")),
    ):
        record = ControlRecord(kind, 0, 9, NOW_MS, key, as_bytes(document)[:-1] + nest)
        applied = deployment.lists.apply([record], NOW_MS, Phase.FOLLOWING)
        assert applied.refused.total() == int(depth > 1000)


def test_a_number_out_of_range_deep_in_what_nobody_knows() -> None:
    """The path to it is as long as its sender likes; what is told of it is not."""
    nest = b', "x": ' + b"[" * 900 + b"1e999" + b"]" * 900 + b"}"
    deployment = Deployment()
    # 1.0 for an integer: then all numbers are looked at.
    read = as_bytes(detection_json())[:-1] + b', "camera": 5' + nest
    [reject] = deployment.process(raw_fetch(raw_batch(batch_bytes([Sent(b"", read)])))).rejects
    assert len(reject.field or "") <= 256
    entry = as_bytes(entry_json(entry_id="E2"))[:-1] + b', "priority": 1.0' + nest
    record = ControlRecord(ControlKind.ENTRY, 0, 9, NOW_MS, b"E2", entry)
    applied = deployment.lists.apply([record], NOW_MS, Phase.FOLLOWING)
    assert applied.refused.total() == 1
    [change] = applied.changes
    assert Chain("chain").seal(change.event, change.fields, change.at_ms)


# ---- texts that want to be something else in a log or a terminal

_TRICKS = [
    "line\nhotlist: all is well",
    "carriage\rreturn",
    "\x1b[2J\x1b[1;31mred",
    "\x1b]0;title\x07",
    "nul\0",
    "\u202egnirts",
    "\u2028separator",
    "\x9bcsi",
    "half\ud800",
]


@pytest.mark.parametrize("trick", _TRICKS)
def test_errors_are_one_printable_line_whatever_they_name(trick: str) -> None:
    for error in (
        ConfigError(trick, where=trick, hint=trick),
        RuleError(f"field {trick}", trick, trick, where=trick),
        DocumentError("schema", field=trick, rule=trick, where=trick),
    ):
        text = str(error)
        assert text.isprintable()
        assert text.encode()  # half of a surrogate pair has no UTF-8


@pytest.mark.parametrize("trick", _TRICKS)
def test_nothing_of_a_bad_entry_or_read_reaches_the_log(
    trick: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    trick = trick.encode(errors="replace").decode()
    deployment = Deployment(entry_json(instructions=trick, list_id=trick, suppress_s=0))
    entry = as_bytes(entry_json(entry_id=trick, plate=trick[:16]))
    record = ControlRecord(ControlKind.ENTRY, 0, 5, NOW_MS, trick.encode(), entry)
    deployment.lists.apply([record], NOW_MS, Phase.FOLLOWING)
    sent = [
        Sent(trick.encode(), as_bytes(detection_json(plate=trick[:64], read_id=trick))),
        Sent(b"ABC123", as_bytes(detection_json(camera=trick))),
        Sent(b"ABC123", trick.encode()),
    ]
    outcome = deployment.process(raw_fetch(raw_batch(batch_bytes(sent))))
    for reject in outcome.rejects:
        assert encode(reject).decode().isprintable()
    # In JSON, what could move a cursor is written in letters.
    for found in outcome.matches:
        assert not any(byte < 0x20 for byte in encode(found.match))
    assert not caplog.records
