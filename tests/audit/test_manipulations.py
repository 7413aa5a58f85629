"""What an attacker can do to the audit and the matches, and what finds it.

Each case is one row of the table in deploy/guides/privacy.md, and the two must agree. The topic is
one that workers of today write: a chain that begins it, two that ended, one whose worker was
killed, one that runs. The checkpoints are from before the manipulation: a complete one of an
earlier time, and the partial ones that the workers make.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pytest

from engine.audit.chain import Chain
from engine.audit.chain_state import Head
from engine.audit.checkpoints import (
    CheckpointError,
    new_key_pair,
    open_all,
    private_key,
    public_key,
    sign,
)
from engine.audit.match_comparison import DueTimes, MatchComparison, sum_up
from engine.audit.verifier import Verifier
from engine.documents.codec import encode
from engine.documents.fields import CHAIN_ENDED
from engine.matching.match import audit_fields
from engine.wire.record_batch import Record
from tests.fakes.chains import (
    NOON_MS,
    KeyValue,
    changed,
    follows,
    hash_by_hand,
    resealed,
    to_json,
)
from tests.fakes.documents import detection, entry, exact_match
from tests.repository.pages import ROOT

PAIR = new_key_pair()
SIGNING, PUBLIC = private_key(PAIR.private, "key"), public_key(PAIR.public, "key.pub")
TOPICS = ("m", "t")
GUIDE = ROOT / "deploy/guides/privacy.md"
#: Matches recorded after this are younger than the retention of the matches topic.
RETAINED_MS = NOON_MS

Found = Literal["found", "note", "no"]


@dataclass
class World:
    """The two topics by partition, with their first offsets, and the checkpoints by name."""

    audit: list[list[KeyValue]] = field(default_factory=lambda: [[], [], []])
    begins: list[int] = field(default_factory=lambda: [0, 0, 0])
    matches: list[list[bytes]] = field(default_factory=lambda: [[], []])
    checkpoints: list[tuple[str, bytes]] = field(default_factory=list)

    def of(self, chain: str) -> tuple[list[KeyValue], list[int]]:
        """The partition of a chain, and where its records lie there."""
        for partition in self.audit:
            at = [n for n, (_, value) in enumerate(partition) if _chain_of(value) == chain]
            if at:
                return partition, at
        raise KeyError(chain)

    def edit(self, chain: str, sequence: int, change: Callable[[bytes], bytes]) -> None:
        """Put another value in the place of a record."""
        partition, at = self.of(chain)
        key, value = partition[at[sequence]]
        partition[at[sequence]] = key, change(value or b"")

    def drop(self, chain: str, first: int, end: int | None = None) -> None:
        """Remove records of a chain."""
        partition, at = self.of(chain)
        gone = set(at[first:end])
        partition[:] = [each for n, each in enumerate(partition) if n not in gone]

    def reseal(
        self, chain: str, sequence: int = 0, agency: str | None = None, name: str | None = None
    ) -> None:
        """Compute the hashes of a chain again from a record on, with another agency or id."""
        partition, at = self.of(chain)
        previous = None
        for number in at[sequence:]:
            record: dict[str, Any] = json.loads(partition[number][1] or b"")
            if agency is not None and "agency" in record["fields"]:
                record["fields"]["agency"] = agency
            record["chain"] = name or chain
            record["previous_hash"] = previous or record["previous_hash"]
            previous = record["hash"] = hash_by_hand(record)
            partition[number] = record["chain"].encode(), to_json(record)

    def append(self, chain: str, events: int = 1, event: str = "match") -> None:
        """Append forged records to a chain, with the right sequence and hashes."""
        partition, at = self.of(chain)
        last: dict[str, Any] = json.loads(partition[at[-1]][1] or b"")
        for _ in range(events):
            fields = audit_fields(_match(900 + last["sequence"])) if event == "match" else {}
            last = {
                **last,
                "event": event,
                "fields": fields,
                "previous_hash": last["hash"],
                "sequence": last["sequence"] + 1,
            }
            last["hash"] = hash_by_hand(last)
            partition.append((chain.encode(), to_json(last)))

    def head(self, chain: str) -> Head:
        partition, at = self.of(chain)
        last = json.loads(partition[at[-1]][1] or b"")
        return Head(chain, last["sequence"], last["hash"])


def _chain_of(value: bytes | None) -> str | None:
    try:
        found = json.loads(value or b"{}")
    except ValueError:
        return None
    return found.get("chain") if isinstance(found, dict) else None


def _match(number: int) -> Any:
    return exact_match(entry(), detection(read_id=f"R{number}"))


def _write(
    world: World, partition: int, chain: Chain, numbers: range, named: dict[str, str | int]
) -> None:
    for number in numbers:
        match = _match(number)
        fields = {**audit_fields(match), **(named if number == numbers.start else {})}
        value = chain.seal("match", fields, NOON_MS + number)
        world.audit[partition].append((chain.id.encode(), value))
        world.matches[number % 2].append(encode(match))


def _end(world: World, partition: int, chain: Chain) -> None:
    value = chain.seal(CHAIN_ENDED, {}, NOON_MS)
    world.audit[partition].append((chain.id.encode(), value))


def a_world() -> World:
    """As the module says."""
    world = World()
    g0, g1, g2, g3, g4 = (Chain(f"g/{number}") for number in range(5))
    _end(world, 0, g0)
    _write(world, 0, g1, range(10, 15), follows(g0))
    _write(world, 1, g2, range(20, 26), follows(g1))
    earlier = [world.head(f"g/{number}") for number in range(3)]
    first = sign(SIGNING, "t", earlier[:2], NOON_MS)
    world.checkpoints = [
        ("one.json", first),
        ("two.json", sign(SIGNING, "t", earlier, NOON_MS, first)),
    ]
    _end(world, 0, g1)
    _write(world, 0, g3, range(30, 34), follows(g1))
    _end(world, 0, g3)
    _write(world, 2, g4, range(40, 45), follows(g3))
    for number in range(1, 5):
        signed = sign(SIGNING, "t", [world.head(f"g/{number}")], NOON_MS, partial=True)
        world.checkpoints.append((f"worker-{number}.json", signed))
    return world


# ---- what finds it


def _records(partition: list[KeyValue], begin: int) -> list[Record]:
    return [Record(begin + n, NOON_MS, key, value, ()) for n, (key, value) in enumerate(partition)]


def verified(world: World, *, with_checkpoints: bool) -> Verifier:
    """What `hotlist audit verify` finds."""
    verifier = Verifier("t")
    if with_checkpoints:
        opened = open_all(world.checkpoints, PUBLIC)
        for (name, _), checkpoint in zip(world.checkpoints, opened, strict=True):
            verifier.trust(name, checkpoint.heads, is_complete=not checkpoint.partial)
    parts = [_records(*each) for each in zip(world.audit, world.begins, strict=True)]
    for number, records in enumerate(parts):
        verifier.begins(number, world.begins[number])
        verifier.take(number, records)
    for number, (start, end) in verifier.second_look().items():
        verifier.look_again(each for each in parts[number] if start <= each.offset < end)
    verifier.finish()
    return verifier


def differences(world: World, parts: int = 3) -> set[str]:
    """What `hotlist audit verify --matches` finds beside."""
    found = []
    for part in range(parts):
        window = DueTimes(RETAINED_MS, NOON_MS + 1_000)
        comparison = MatchComparison(TOPICS, audit_fields, window, part, parts)
        for number, values in enumerate(world.matches):
            records = [Record(n, NOON_MS, b"E1", value, ()) for n, value in enumerate(values)]
            comparison.take_matches(number, records)
        for number, partition in enumerate(world.audit):
            comparison.take_audit(number, _records(partition, 0))
        found.append(comparison.discrepancies())
    return {each.kind for each in sum_up(found)}


def _notes(verifier: Verifier) -> set[tuple[str, int]]:
    return {(note.kind, note.count) for note in verifier.notes()}


def outcome(world: World) -> tuple[Found, Found, Found]:
    """How it is found: by `verify` alone, with checkpoints, with --matches (the last one without
    what `verify` alone finds)."""
    return (
        _found(world, with_checkpoints=False),
        _found(world, with_checkpoints=True),
        "found" if differences(world) else "no",
    )


def _found(world: World, *, with_checkpoints: bool) -> Found:
    try:
        verifier = verified(world, with_checkpoints=with_checkpoints)
    except CheckpointError:
        return "found"
    if verifier.problems.count:
        return "found"
    more = _notes(verifier) - _notes(verified(a_world(), with_checkpoints=with_checkpoints))
    return "note" if {kind for kind, _ in more} & {"no_predecessor", "unsigned"} else "no"


# ---- the manipulations


class Case(NamedTuple):
    """A manipulation in words, what it does, and how it is found: alone, with checkpoints, by
    --matches."""

    what: str
    do: Callable[[World], None]
    alone: Found
    checkpoint: Found
    matches: Found


def _swap(world: World) -> None:
    partition, at = world.of("g/1")
    partition[at[1]], partition[at[2]] = partition[at[2]], partition[at[1]]


def _repeat(world: World) -> None:
    partition, at = world.of("g/2")
    partition.append(partition[at[-1]])


def _replay_elsewhere(world: World) -> None:
    partition, at = world.of("g/1")
    world.audit[2] += [partition[n] for n in at]


def _move_chain(world: World) -> None:
    world.audit[2] += world.audit[1]
    world.audit[1].clear()


def _move_record(world: World) -> None:
    partition, at = world.of("g/2")
    world.audit[2].append(partition.pop(at[-1]))


def _change(**fields: Any) -> Callable[[World], None]:
    return lambda world: world.edit("g/1", 2, lambda value: changed(value, **fields))


def _forge(
    partition: int, named: dict[str, str | int], event: str = "match", at: int | None = None
) -> Callable[[World], None]:
    """A whole chain, sealed as a worker would."""

    def forge(world: World) -> None:
        chain = Chain("g/forged")
        records = []
        for number in range(3):
            fields = audit_fields(_match(700 + number)) if event == "match" else {"entry_id": "E"}
            value = chain.seal(event, {**fields, **(named if not number else {})}, NOON_MS + 50)
            records.append((b"g/forged", value))
        end = chain.seal(CHAIN_ENDED, {}, NOON_MS + 50)
        records.append((b"g/forged", end))
        where = world.audit[partition]
        place = len(where) if at is None else at
        where[place:place] = records

    return forge


def _named_last() -> dict[str, str | int]:
    last = a_world().head("g/4")
    return {
        "follows_chain": last.chain,
        "follows_sequence": last.sequence,
        "follows_hash": last.hash,
    }


def _over_the_end(world: World) -> None:
    world.drop("g/1", 5)
    world.append("g/1", 2)


def _before_the_worker_goes_on(event: str) -> Callable[[World], None]:
    def forge(world: World) -> None:
        partition, at = world.of("g/4")
        true = partition.pop(at[-1])
        world.append("g/4", event=event)
        partition.append(true)

    return forge


def _splice(world: World) -> None:
    """The records of g/3 as if g/1 had gone on."""
    partition, at = world.of("g/3")
    moved = [json.loads(partition[n][1] or b"") for n in at]
    world.drop("g/3", 0)
    world.drop("g/1", 5)
    head = world.head("g/1")
    for record in moved:
        record["fields"] = {k: v for k, v in record["fields"].items() if "follows" not in k}
        record |= {"chain": "g/1", "sequence": head.sequence + 1, "previous_hash": head.hash}
        record["hash"] = hash_by_hand(record)
        partition.append((b"g/1", to_json(record)))
        head = Head("g/1", record["sequence"], record["hash"])


def _rewrite(*, as_older: bool, agency: str | None) -> Callable[[World], None]:
    """The whole topic, every hash and reference computed again."""

    def rewrite(world: World) -> None:
        heads: dict[str, list[str]] = {}
        for name in ("g/0", "g/1", "g/2", "g/3", "g/4"):
            partition, at = world.of(name)
            for number in at:
                record = json.loads(partition[number][1] or b"")
                named = record["fields"]
                if agency and "agency" in named:
                    named["agency"] = agency
                if "follows_chain" in named:
                    of = named["follows_chain"]
                    named["follows_hash"] = heads[of][named["follows_sequence"]]
                    if as_older:
                        for each in ("follows_chain", "follows_sequence", "follows_hash"):
                            del named[each]
                if record["sequence"]:
                    record["previous_hash"] = heads[name][-1]
                record["hash"] = hash_by_hand(record)
                heads.setdefault(name, []).append(record["hash"])
                partition[number] = name.encode(), to_json(record)
        if as_older:
            for partition in world.audit:
                partition[:] = [each for each in partition if b"chain_ended" not in each[1]]  # type: ignore[operator]

    return rewrite


def _cut_off(world: World) -> None:
    del world.audit[0][:3]
    world.begins[0] = 3


def _recreate_without_the_beginning(world: World) -> None:
    del world.audit[0][:7]


def _junk(value: bytes | None) -> Callable[[World], None]:
    return lambda world: world.audit[1].append((b"g/2", value))


def _other_key(world: World) -> None:
    partition, at = world.of("g/2")
    partition[at[2]] = b"g/1", partition[at[2]][1]


def _edit_match(**fields: Any) -> Callable[[World], None]:
    def edit(world: World) -> None:
        match = json.loads(world.matches[0][2])
        for name, value in fields.items():
            if isinstance(value, dict):
                match[name] |= value
            else:
                match[name] = value
        world.matches[0][2] = json.dumps(match).encode()

    return edit


def _remove_both(world: World) -> None:
    world.drop("g/4", 4)
    del world.matches[0][-1]


def _edit_checkpoint(world: World) -> None:
    name, content = world.checkpoints[1]
    world.checkpoints[1] = name, content.replace(b'"sequence":5', b'"sequence":4')


def _sign_with_another_key(world: World) -> None:
    own = private_key(new_key_pair().private, "")
    world.checkpoints[1] = "two.json", sign(own, "t", [], NOON_MS)


def _middle_checkpoint(world: World) -> None:
    third = sign(SIGNING, "t", [world.head("g/4")], NOON_MS, world.checkpoints[1][1])
    world.checkpoints = [world.checkpoints[0], ("three.json", third)]


def _withhold(world: World) -> None:
    world.checkpoints = [world.checkpoints[0]]
    world.drop("g/4", 3)


NOWHERE: dict[str, str | int] = {
    "follows_chain": "g/none",
    "follows_sequence": 3,
    "follows_hash": "a" * 64,
}

CASES = [
    Case("nothing", lambda _: None, "no", "no", "no"),
    # Records removed.
    Case("remove a record", lambda w: w.drop("g/1", 2, 3), "found", "found", "found"),
    Case("remove a chain's first record", lambda w: w.drop("g/2", 0, 1), "found", "found", "found"),
    Case(
        "remove the last record of a chain that a later chain names",
        lambda w: w.drop("g/1", 5),
        *("found", "found", "no"),
    ),
    Case(
        "remove the last records of the newest chain",
        lambda w: w.drop("g/4", 3),
        *("no", "found", "found"),
    ),
    Case(
        "remove the last records of a chain that no chain names",
        lambda w: w.drop("g/2", 4),
        *("no", "found", "found"),
    ),
    Case("remove a whole chain", lambda w: w.drop("g/1", 0), "found", "found", "found"),
    Case(
        "remove a whole chain that no chain names",
        lambda w: w.drop("g/2", 0),
        *("no", "found", "found"),
    ),
    Case("remove the newest chain", lambda w: w.drop("g/4", 0), "no", "found", "found"),
    Case(
        "remove the chain that begins the topic",
        lambda w: w.drop("g/0", 0),
        *("found", "found", "no"),
    ),
    Case("cut off the topic's beginning", _cut_off, "found", "found", "found"),
    Case(
        "write the topic again without its beginning",
        _recreate_without_the_beginning,
        *("found", "found", "found"),
    ),
    # Records moved.
    Case("exchange two records", _swap, "found", "found", "no"),
    Case("repeat a recent record, as a producer's retry does", _repeat, "no", "no", "no"),
    Case("repeat old records in another partition", _replay_elsewhere, "found", "found", "no"),
    Case("move a record to another partition", _move_record, "found", "found", "no"),
    Case("move a whole chain to another partition", _move_chain, "no", "no", "no"),
    # Records edited.
    Case("edit the event", _change(event="entry_added"), "found", "found", "found"),
    Case(
        "edit the time", _change(recorded_at="2026-01-31T11:00:00.000Z"), "found", "found", "found"
    ),
    Case("edit the fields", _change(fields={"agency": "x"}), "found", "found", "found"),
    Case("edit the sequence", _change(sequence=7), "found", "found", "found"),
    Case("edit the chain's id", _change(chain="g/2"), "found", "found", "found"),
    Case("edit the previous hash", _change(previous_hash="a" * 64), "found", "found", "found"),
    Case("edit the hash", _change(hash="a" * 64), "found", "found", "found"),
    Case("edit the key", _other_key, "found", "found", "no"),
    Case(
        "edit a record and compute its hash again",
        lambda w: w.edit("g/2", 2, lambda value: resealed(value, fields={"agency": "x"})),
        *("found", "found", "found"),
    ),
    Case(
        "edit a chain that a later one names, and compute all its hashes again",
        lambda w: w.reseal("g/1", 0, "x"),
        *("found", "found", "found"),
    ),
    Case(
        "edit a chain that no chain names, and compute its hashes from there on again",
        lambda w: w.reseal("g/2", 3, "x"),
        *("no", "found", "found"),
    ),
    Case(
        "edit the newest chain, and compute all its hashes again",
        lambda w: w.reseal("g/4", 0, "x"),
        *("no", "found", "found"),
    ),
    Case(
        "seal a chain that no chain names again under another id",
        lambda w: w.reseal("g/2", 0, name="g/other"),
        *("no", "found", "no"),
    ),
    Case(
        "edit the whole topic, and compute all hashes again",
        _rewrite(as_older=False, agency="x"),
        *("no", "found", "found"),
    ),
    Case(
        "write the whole topic again as an earlier version would have",
        _rewrite(as_older=True, agency=None),
        *("note", "found", "no"),
    ),
    # Records added.
    Case("add a record without a value", _junk(None), "found", "found", "no"),
    Case("add something that is not a record", _junk(b"{}"), "found", "found", "no"),
    Case(
        "append a record to an ended chain",
        lambda w: w.append("g/1"),
        *("found", "found", "found"),
    ),
    Case(
        "replace the end of a chain by further records",
        _over_the_end,
        *("found", "found", "found"),
    ),
    Case(
        "append a record to a running chain, whose worker goes on",
        _before_the_worker_goes_on("match"),
        *("found", "found", "found"),
    ),
    Case(
        "append an end to a running chain, whose worker goes on",
        _before_the_worker_goes_on(CHAIN_ENDED),
        *("found", "found", "no"),
    ),
    Case(
        "append a match to the chain of a killed worker",
        lambda w: w.append("g/2"),
        *("no", "no", "found"),
    ),
    Case("append one chain to another", _splice, "found", "found", "no"),
    Case("forge a chain that follows nothing", _forge(0, {}), "found", "found", "found"),
    Case(
        "forge a chain that follows nothing in a partition without an end",
        _forge(2, {}),
        *("found", "found", "found"),
    ),
    Case("insert a chain before all others", _forge(0, {}, at=0), "found", "found", "found"),
    Case(
        "forge a chain that follows a record that is not there",
        _forge(1, NOWHERE),
        *("found", "found", "found"),
    ),
    Case(
        "forge a chain that names only the chain before it",
        _forge(1, {"follows_chain": "g/4"}),
        *("found", "found", "found"),
    ),
    Case(
        "forge a chain of matches that follows the newest record",
        _forge(1, _named_last()),
        *("no", "note", "found"),
    ),
    Case(
        "forge a chain of list changes that follows the newest record",
        _forge(1, _named_last(), "entry_added"),
        *("no", "note", "no"),
    ),
    # The matches topic.
    Case("remove a match", lambda w: w.matches[0].__delitem__(3), "no", "no", "found"),
    Case(
        "add a match",
        lambda w: w.matches[0].append(encode(_match(500))),
        *("no", "no", "found"),
    ),
    Case("edit a match's agency", _edit_match(entry={"agency": "x"}), "no", "no", "found"),
    Case("edit a match's id", _edit_match(match_id="0" * 32), "no", "no", "found"),
    Case("edit a match's plate as read", _edit_match(read={"plate": "ZZZ999"}), "no", "no", "no"),
    Case("repeat a match", lambda w: w.matches[1].append(w.matches[0][0]), "no", "no", "no"),
    Case(
        "add something that is not a match",
        lambda w: w.matches[0].append(b"{}"),
        *("no", "no", "found"),
    ),
    Case(
        "remove the newest match and its audit record",
        _remove_both,
        *("no", "found", "no"),
    ),
    # The checkpoints.
    Case("edit a checkpoint", _edit_checkpoint, "no", "found", "no"),
    Case("sign a checkpoint with another key", _sign_with_another_key, "no", "found", "no"),
    Case("remove a checkpoint between two", _middle_checkpoint, "no", "found", "no"),
    Case(
        "withhold the newest checkpoints, and remove the records since",
        _withhold,
        *("no", "note", "found"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what.replace(" ", "-"))
def test_what_finds_it(case: Case) -> None:
    world = a_world()
    case.do(world)
    assert outcome(world) == (case.alone, case.checkpoint, case.matches)


def test_the_guide_has_each_manipulation_and_what_finds_it() -> None:
    rows = [
        tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        for line in GUIDE.read_text().splitlines()
        if line.startswith("| ")
    ]
    start = rows.index(("manipulation", "`verify`", "with checkpoints", "with `--matches`")) + 1
    cases = [(each.what, each.alone, each.checkpoint, each.matches) for each in CASES[1:]]
    assert rows[start : start + len(cases)] == cases, "the table is not that of the cases"
    assert len(cases) >= 30


def test_the_whole_world_has_no_difference_and_says_what_is_open() -> None:
    world = a_world()
    assert [str(note) for note in verified(world, with_checkpoints=False).notes()] == [
        (
            "no last record: 2 chains, the first g/2 at t/1/0; a record that is appended to such a "
            "chain looks true"
        )
    ]
    assert verified(world, with_checkpoints=True).heads() == [
        world.head(f"g/{number}") for number in range(5)
    ]


@pytest.mark.parametrize("name", audit_fields(_match(10)))
def test_a_match_is_compared_by_all_that_the_audit_records_of_it(name: str) -> None:
    world = a_world()
    fields = audit_fields(_match(10))
    value = fields[name]
    fields[name] = "x" if isinstance(value, str) else value + 1
    world.edit("g/1", 0, lambda each: resealed(each, fields=fields))
    assert differences(world) & {"edited", "not_audited"}
