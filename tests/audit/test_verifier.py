"""Verification of chains: what is whole passes, and whatever was done to it is found and placed.

Each kind of tampering is tried at a random place of random chains; the place of at least one
problem must be that of the record, or of the next one of its chain, and no problem may point
anywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.audit.chain import GENESIS_HASH, Chain
from engine.audit.problems import Place
from engine.audit.verifier import Verifier
from engine.wire.record_batch import Record
from tests.fakes.chains import (
    MATCH,
    NOON_MS,
    TOPIC,
    KeyValue,
    Partitions,
    as_records,
    changed,
    follows,
    lines,
    resealed,
    sealed,
    verified,
)

BOOLS = st.booleans()


class Spot(NamedTuple):
    """Where a record lies, and what it is."""

    partition: int
    offset: int
    chain: str
    sequence: int


@st.composite
def topics(draw: st.DrawFn, least: int = 0) -> Partitions:
    """Several chains at once on a few partitions, each chain in one; some follow another."""
    count = draw(st.integers(1, 3))
    partitions: Partitions = [[] for _ in range(count)]
    chains: list[tuple[Chain, int]] = []
    for _ in range(draw(st.integers(least, 30))):
        named: dict[str, str | int] = {}
        if not chains or draw(st.integers(0, 6)) == 0:
            written = [known for known, _ in chains if known.sequence]
            wants: bool = draw(BOOLS)
            if written and wants:
                named = follows(draw(st.sampled_from(written)))
            chains.append((Chain(f"w{len(chains)}"), draw(st.integers(0, count - 1))))
            chain, partition = chains[-1]
        else:
            chain, partition = draw(st.sampled_from(chains))
        partitions[partition] += sealed(chain, 1, **named)
    return partitions


def spots(partitions: Partitions) -> list[Spot]:
    return [
        Spot(number, offset, record["chain"], record["sequence"])
        for number, partition in enumerate(partitions)
        for offset, (_, value) in enumerate(partition)
        if value is not None
        for record in [json.loads(value)]
    ]


def value_at(partitions: Partitions, spot: Spot) -> bytes:
    value = partitions[spot.partition][spot.offset][1]
    assert value is not None
    return value


def tampered(partitions: Partitions, spot: Spot, *instead: KeyValue) -> Partitions:
    """The topic with other records in the place of one."""
    copy = [list(partition) for partition in partitions]
    copy[spot.partition][spot.offset : spot.offset + 1] = instead
    return copy


def successor(partitions: Partitions, spot: Spot) -> Spot | None:
    """The next record of the same chain."""
    for other in spots(partitions):
        if (other.chain, other.sequence) == (spot.chain, spot.sequence + 1):
            return other
    return None


def places(verifier: Verifier) -> set[tuple[int, int] | None]:
    return {
        None if problem.place is None else (problem.place.partition, problem.place.offset)
        for problem in verifier.problems.shown
    }


def kinds(verifier: Verifier) -> list[str]:
    return [problem.kind for problem in verifier.problems.shown]


# ---- what is whole


@given(topics(), st.randoms(use_true_random=False))
def test_whole_chains_verify_however_the_partitions_alternate(
    partitions: Partitions, random: Random
) -> None:
    verifier = Verifier(TOPIC)
    left = {number: as_records(partition) for number, partition in enumerate(partitions)}
    while any(left.values()):
        number = random.choice([number for number, records in left.items() if records])
        cut = random.randint(1, len(left[number]))
        verifier.take(number, left[number][:cut])
        left[number] = left[number][cut:]
    for number, (first, end) in verifier.second_look().items():
        verifier.look_again(as_records(partitions[number])[first:end])
    verifier.finish()
    assert lines(verifier.problems.shown) == []
    assert (verifier.records, verifier.repeats) == (sum(map(len, partitions)), 0)
    last = {spot.chain: spot for spot in sorted(spots(partitions), key=lambda s: s.sequence)}
    assert [(head.chain, head.sequence) for head in verifier.heads()] == sorted(
        (spot.chain, spot.sequence) for spot in last.values()
    )
    for head in verifier.heads():
        assert json.loads(value_at(partitions, last[head.chain]))["hash"] == head.hash


@given(topics(1), st.data())
def test_records_sent_twice_are_counted_and_no_problem(
    partitions: Partitions, data: st.DataObject
) -> None:
    number = data.draw(st.sampled_from([n for n, records in enumerate(partitions) if records]))
    first = data.draw(st.integers(0, len(partitions[number]) - 1))
    end = data.draw(st.integers(first + 1, len(partitions[number])))
    later = data.draw(st.integers(end, len(partitions[number])))
    again = partitions[number][first:end]
    partitions[number][later:later] = again
    verifier = verified(partitions)
    assert lines(verifier.problems.shown) == []
    assert verifier.repeats == len(again)
    assert verifier.records == sum(map(len, partitions)) - len(again)


@given(topics(1), st.integers(1, 4))
def test_what_a_checkpoint_holds_is_still_there_when_the_chains_have_grown(
    partitions: Partitions, part: int
) -> None:
    before = [partition[: len(partition) // part] for partition in partitions]
    whole = verified(partitions, expected=verified(before))
    assert lines(whole.problems.shown) == []


# ---- what is tampered with


@given(topics(1), st.data())
def test_a_changed_record_is_found(partitions: Partitions, data: st.DataObject) -> None:
    spot = data.draw(st.sampled_from(spots(partitions)))
    value = value_at(partitions, spot)
    record = json.loads(value)
    changes = data.draw(
        st.sampled_from(
            [
                {"chain": "other"},
                {"sequence": record["sequence"] + 1},
                {"sequence": record["sequence"] + 1000},
                {"sequence": 0 if record["sequence"] else 5},
                {"recorded_at": "2026-01-31T11:59:59.999Z"},
                {"event": "entry_added"},
                {"fields": {**record["fields"], "agency": "somebody"}},
                {"fields": {**record["fields"], "extra": 1}},
                {"fields": {}},
                {"previous_hash": "a" * 64},
                {"hash": "a" * 64},
                {"hash": "no hash"},
            ]
        )
    )
    partitions = tampered(partitions, spot, (spot.chain.encode(), changed(value, **changes)))
    verifier = verified(partitions)
    wanted = ["wrong_key"] if "chain" in changes else []
    # What follows it may have named the hash that it had.
    lost = [kind for kind in kinds(verifier) if kind == "unfollowed"]
    assert kinds(verifier) == [*wanted, "changed", *lost]
    assert len(lost) == 0 or "hash" in changes
    problem = verifier.problems.shown[len(wanted)]
    assert problem.place == Place(TOPIC, spot.partition, spot.offset)
    assert (problem.chain, problem.sequence) == (spot.chain, spot.sequence)


@given(topics(1), st.data())
def test_a_record_that_was_sealed_anew_is_found_by_what_came_after(
    partitions: Partitions, data: st.DataObject
) -> None:
    spot = data.draw(st.sampled_from(spots(partitions)))
    value = value_at(partitions, spot)
    before = verified(partitions)
    after = successor(partitions, spot)
    partitions = tampered(
        partitions, spot, (spot.chain.encode(), resealed(value, fields={"agency": "x"}))
    )
    found = verified(partitions, expected=before)
    assert found.problems.count
    if after is not None:
        assert "broken_link" in kinds(found)
        assert (after.partition, after.offset) in places(found)
    else:
        assert "rewritten" in kinds(found)
    for problem in found.problems.shown:
        if problem.kind in ("rewritten", "unfollowed"):
            assert (problem.chain, problem.sequence) == (spot.chain, spot.sequence)
        else:
            assert problem.place == Place(TOPIC, after.partition, after.offset)  # type: ignore[union-attr]


@given(topics(1), st.data())
def test_a_missing_record_is_found(partitions: Partitions, data: st.DataObject) -> None:
    spot = data.draw(st.sampled_from(spots(partitions)))
    before = verified(partitions)
    after = successor(partitions, spot)
    found = verified(tampered(partitions, spot), expected=before)
    if after is None:
        assert set(kinds(found)) <= {"rewritten", "unfollowed"}
        assert "rewritten" in kinds(found)
        for problem in found.problems.shown:
            assert (problem.chain, problem.sequence) == (spot.chain, spot.sequence)
        # Without a checkpoint only a later chain could tell.
        assert set(kinds(verified(tampered(partitions, spot)))) <= {"unfollowed"}
    else:
        missing = next(p for p in found.problems.shown if p.kind == "missing")
        assert missing.place == Place(TOPIC, after.partition, after.offset - 1)
        assert (missing.chain, missing.sequence) == (spot.chain, spot.sequence)
        others = [p for p in found.problems.shown if p is not missing]
        assert {p.kind for p in others} <= {"unfollowed"}
        assert all((p.chain, p.sequence) == (spot.chain, spot.sequence) for p in others)


@given(topics(2), st.data())
def test_records_in_another_order_are_found(partitions: Partitions, data: st.DataObject) -> None:
    spot = data.draw(st.sampled_from(spots(partitions)))
    of_chain = [other for other in spots(partitions) if other.chain == spot.chain]
    other = data.draw(st.sampled_from(of_chain))
    if other.sequence == spot.sequence:
        return
    early, late = sorted((spot, other), key=lambda at: at.sequence)
    partition = partitions[early.partition]
    partition[early.offset], partition[late.offset] = (
        partition[late.offset],
        partition[early.offset],
    )
    found = verified(partitions)
    assert set(kinds(found)) == {"reordered"}
    assert (late.partition, late.offset) in places(found)
    assert places(found) <= {(at.partition, at.offset) for at in of_chain}
    assert found.records == sum(map(len, partitions))


@given(topics(1), st.data())
def test_a_forged_record_is_found(partitions: Partitions, data: st.DataObject) -> None:
    """Put in before or behind a true one, with its sequence, and with or without its own hash."""
    spot = data.draw(st.sampled_from(spots(partitions)))
    value = value_at(partitions, spot)
    make: Callable[..., bytes] = data.draw(st.sampled_from([changed, resealed]))
    forged = (spot.chain.encode(), make(value, fields={"agency": "somebody"}))
    is_before = data.draw(BOOLS)
    true = partitions[spot.partition][spot.offset]
    pair = (forged, true) if is_before else (true, forged)
    found = verified(tampered(partitions, spot, *pair))
    if make is resealed:
        assert kinds(found) == ["forked"]
        assert places(found) == {(spot.partition, spot.offset + 1)}
    else:
        assert kinds(found)[0] == "changed"
        assert (spot.partition, spot.offset + (not is_before)) in places(found)
        assert places(found) <= {(spot.partition, spot.offset), (spot.partition, spot.offset + 1)}


@given(topics(1), st.data())
def test_a_chain_sealed_anew_from_some_record_on_is_found_by_an_old_checkpoint(
    partitions: Partitions, data: st.DataObject
) -> None:
    spot = data.draw(st.sampled_from(spots(partitions)))
    before = verified(partitions)
    of_chain = [at for at in spots(partitions) if at.chain == spot.chain]
    is_inserted = data.draw(BOOLS)
    copy = [list(partition) for partition in partitions]
    previous = json.loads(value_at(partitions, of_chain[spot.sequence]))["previous_hash"]
    later: list[KeyValue] = []
    for at in of_chain[spot.sequence :]:
        value = value_at(partitions, at)
        if at is of_chain[spot.sequence]:
            value = resealed(value, fields={"agency": "x"})
        record = json.loads(value) | {"previous_hash": previous}
        forged = resealed(value, **record)
        previous = json.loads(forged)["hash"]
        copy[at.partition][at.offset] = (at.chain.encode(), forged)
    if is_inserted:
        end = Chain(spot.chain)
        extra = resealed(
            end.seal("match", MATCH, NOON_MS), sequence=len(of_chain), previous_hash=previous
        )
        later = [(spot.chain.encode(), extra)]
        copy[spot.partition] += later
    # The chain itself tells nothing, a later one that follows it may.
    assert set(kinds(verified(copy))) <= {"unfollowed"}
    found = verified(copy, expected=before)
    last = of_chain[-1]
    assert "rewritten" in kinds(found)
    rewritten = next(p for p in found.problems.shown if p.kind == "rewritten")
    assert (rewritten.chain, rewritten.sequence) == (last.chain, last.sequence)
    assert set(kinds(found)) <= {"rewritten", "unfollowed"}


@given(topics(1), st.data())
def test_a_chain_that_was_taken_away_is_found_by_a_checkpoint(
    partitions: Partitions, data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(spots(partitions)))
    before = verified(partitions)
    copy = [[at for at in part if at[0] != gone.chain.encode()] for part in partitions]
    found = verified(copy, expected=before)
    assert set(kinds(found)) <= {"rewritten", "unfollowed"}
    assert "rewritten" in kinds(found)
    assert {problem.chain for problem in found.problems.shown} == {gone.chain}


@given(topics(1), st.data())
def test_a_record_moved_to_another_chain_is_found(
    partitions: Partitions, data: st.DataObject
) -> None:
    spot = data.draw(st.sampled_from(spots(partitions)))
    other = data.draw(st.sampled_from(sorted({at.chain for at in spots(partitions)} | {"none"})))
    if other == spot.chain:
        return
    value = value_at(partitions, spot)
    before = verified(partitions)
    how = data.draw(st.sampled_from(["key", "chain", "both", "sealed"]))
    key = spot.chain if how == "chain" else other
    if how in ("chain", "both"):
        value = changed(value, chain=other)
    elif how == "sealed":
        value = resealed(value, chain=other)
    found = verified(tampered(partitions, spot, (key.encode(), value)), expected=before)
    assert found.problems.count
    if how in ("key", "chain"):
        assert "wrong_key" in kinds(found)
    if how in ("chain", "both"):
        assert "changed" in kinds(found)
    told = {(spot.partition, spot.offset)}
    after = successor(partitions, spot)
    if after is not None:
        told.add((after.partition, after.offset))
    assert places(found) & told or {(p.chain, p.sequence) for p in found.problems.shown} & {
        (spot.chain, spot.sequence)
    }


@given(
    topics(1),
    st.data(),
    st.sampled_from([None, b"", b"{}", b"\xff", b'{"chain":"w0"}', b"null", b"[" * 2000]),
)
def test_what_is_no_audit_record_is_found(
    partitions: Partitions, data: st.DataObject, value: bytes | None
) -> None:
    spot = data.draw(st.sampled_from(spots(partitions)))
    true = partitions[spot.partition][spot.offset]
    found = verified(tampered(partitions, spot, (true[0], value), true))
    assert kinds(found) == ["no_record"]
    assert places(found) == {(spot.partition, spot.offset)}


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.none() | st.sampled_from([b"w0", b"w1", b"\xff", b""]),
                st.sampled_from(
                    [
                        None,
                        *(value for _, value in sealed(Chain("w0"), 4)),
                        *(value for _, value in sealed(Chain("w0"), 4, agency="other")),
                        *(value for _, value in sealed(Chain("w1"), 2, **follows(Chain("w0")))),
                        *(
                            changed(v or b"", sequence=n)
                            for n, (_, v) in enumerate(sealed(Chain("w1"), 3), 1)
                        ),
                    ]
                ),
            ),
            max_size=30,
        ),
        max_size=3,
    )
)
def test_any_heap_of_records_is_taken(partitions: Partitions) -> None:
    found = verified(partitions)
    count = sum(map(len, partitions))
    assert found.records + found.repeats <= count
    for problem in found.problems.shown:
        assert "\n" not in str(problem)
    seen: dict[str, list[tuple[int, int]]] = {}
    for spot in spots(partitions):
        seen.setdefault(spot.chain, []).append((spot.partition, spot.sequence))
    if found.problems.count == 0:  # then it is what a model calls whole
        for of_chain in seen.values():
            assert len({partition for partition, _ in of_chain}) == 1
            assert {sequence for _, sequence in of_chain} == set(range(len(set(of_chain))))


# ---- exact words, and bounds


def _chain(name: str, count: int) -> list[KeyValue]:
    return sealed(Chain(name), count)


def _with(records: list[KeyValue], at: int, **changes: object) -> list[KeyValue]:
    key, value = records[at]
    return [*records[:at], (key, changed(value or b"", **changes)), *records[at + 1 :]]


FIVE = _chain("a", 5)
KEY, SECOND = FIVE[1]
assert SECOND is not None
FORGED = (KEY, resealed(SECOND, fields={}))
FORK = "chain a, sequence 1: a second record with this sequence: one of the two is forged"
UNLINKED = "its previous hash is not"
INCOMPLETE = "follows_chain, follows_sequence, follows_hash: it must have all of them, or none"


@pytest.mark.parametrize(
    ("partition", "wanted"),
    [
        (FIVE, []),
        (
            _with(FIVE, 1, fields={}),
            ["t/0/1: chain a, sequence 1: its hash is not that of its content: it was changed"],
        ),
        (
            [*FIVE[:1], *FIVE[2:]],
            ["t/0/1: chain a, sequence 1: 1 is missing before this record"],
        ),
        (
            [*FIVE[:1], *FIVE[4:]],
            ["t/0/1: chain a, sequence 1: 1 to 3 are missing before this record"],
        ),
        (FIVE[2:], ["t/0/0: chain a, sequence 0: 0 to 1 are missing before this record"]),
        (
            [FIVE[0], FIVE[2], FIVE[1], *FIVE[3:]],
            ["t/0/2: chain a, sequence 1: it comes after a later record of its chain, at offset 1"],
        ),
        (
            [*FIVE[:2], FORGED, *FIVE[2:]],
            [f"t/0/2: {FORK}; the other is at offset 1"],
        ),
        (
            [*FIVE, FORGED],
            [f"t/0/5: {FORK}"],
        ),
        (
            [FIVE[0], FORGED, *FIVE[2:]],
            [f"t/0/2: chain a, sequence 2: {UNLINKED} that of the record before, at offset 1"],
        ),
        (
            [(KEY, resealed(FIVE[0][1] or b"", previous_hash="a" * 64))],
            ["t/0/0: chain a, sequence 0: its previous hash is not 64 zeros, and it is the first"],
        ),
        (
            [FIVE[0], (b"b", SECOND), *FIVE[2:]],
            ["t/0/1: chain a, sequence 1: its key is 'b', but must be its chain"],
        ),
        (
            [FIVE[0], (None, SECOND), *FIVE[2:]],
            ["t/0/1: chain a, sequence 1: it has no key, but must be its chain"],
        ),
        ([*FIVE, (KEY, None)], ["t/0/5: not an audit record: it has no value"]),
        ([*FIVE, (KEY, b"{}")], ["t/0/5: not an audit record: $.chain: is required"]),
    ],
)
def test_what_is_said(partition: list[KeyValue], wanted: list[str]) -> None:
    assert lines(verified([partition]).problems.shown) == wanted


def test_a_chain_lies_in_one_partition() -> None:
    found = verified([FIVE[:3], FIVE[3:]])
    assert lines(found.problems.shown) == [
        "t/1/0: chain a, sequence 3: the chain is in partition 0, but must be in a single one"
    ]
    # A copy elsewhere is no repeat, either.
    assert kinds(verified([FIVE, FIVE[1:2]])) == ["two_partitions"]


def test_what_the_topic_has_lost_and_what_cannot_be_read() -> None:
    verifier = Verifier(TOPIC)
    verifier.begins(0, 0)
    verifier.begins(1, 7)
    verifier.unreadable(1, 7, "corrupt_batch")
    verifier.finish()
    assert lines(verifier.problems.shown) == [
        "t/1/7: the records before offset 7 are gone, but the topic must be kept for ever",
        "t/1/7: cannot be read (corrupt_batch)",
    ]


def _followed() -> tuple[list[KeyValue], list[KeyValue], list[KeyValue]]:
    """A chain, what it wrote after another one began, and that one, which follows it."""
    first = Chain("a")
    before = sealed(first, 3)
    named = follows(first)
    return before, sealed(first, 2), sealed(Chain("b"), 2, **named)


@pytest.mark.parametrize("is_read_before", [True, False])
def test_a_later_chain_misses_what_it_follows(is_read_before: bool) -> None:
    before, after, later = _followed()

    def read(first: list[KeyValue]) -> tuple[int, list[str]]:
        partitions = [first, later] if is_read_before else [later, first]
        return int(is_read_before), lines(verified(partitions).problems.shown)

    assert read([*before, *after])[1] == []
    assert read(before)[1] == []
    for gone, why in [
        ([], "there is no such chain"),
        (before[:2], "the chain ends at sequence 1"),
        ([*before[:2], *after], "it is missing"),
        (
            [*before[:2], (b"a", resealed(before[2][1] or b"", fields={}))],
            "another record is there",
        ),
    ]:
        number, said = read(gone)
        assert said[-1] == (
            f"t/{number}/0: chain a, sequence 2: chain b begins after this record, and {why}"
        )
    # In the same partition, too, though it has passed by then.
    whole = [*before, *after, *later]
    assert lines(verified([whole]).problems.shown) == []
    assert kinds(verified([[*before[:2], *later]])) == ["unfollowed"]


def test_what_is_followed_may_have_come_after_reading_began() -> None:
    before, _, later = _followed()
    verifier = Verifier(TOPIC)
    verifier.take(0, as_records(before[:2]))
    assert not verifier.is_waiting()
    verifier.take(1, as_records(later))
    assert verifier.is_waiting()
    assert verifier.second_look() == {}
    verifier.look_again(as_records(before)[2:])
    assert not verifier.is_waiting()
    verifier.finish()
    assert lines(verifier.problems.shown) == []


def test_a_chain_must_say_all_of_what_it_follows() -> None:
    chain = Chain("b")
    records = sealed(chain, 1, follows_chain="a", follows_sequence=2)
    assert lines(verified([records]).problems.shown) == [
        f"t/0/0: chain b, sequence 0: {INCOMPLETE}"
    ]
    records = sealed(Chain("b"), 1, follows_chain="a", follows_sequence="2", follows_hash="0")
    assert kinds(verified([records])) == ["unfollowed"]


@pytest.mark.parametrize(
    ("partition", "why"),
    [
        ([], "there is no such chain"),
        (FIVE[:2], "the chain ends at sequence 1"),
        ([FIVE[0], FORGED], "the chain ends at sequence 1"),
        ([*FIVE[:4], (KEY, resealed(FIVE[4][1] or b"", fields={}))], "another record is there"),
    ],
)
def test_what_a_checkpoint_misses(partition: list[KeyValue], why: str) -> None:
    found = verified([partition], expected=verified([FIVE]))
    assert lines(found.problems.shown) == [
        f"chain a, sequence 4: checkpoint checkpoint.json holds this record, and {why}"
    ]


def test_a_repeat_is_known_for_a_while_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUDIT_REPEAT_RECORDS", 4)
    chain = _chain("a", 20)
    assert kinds(verified([[*chain, chain[-4]]])) == []
    assert kinds(verified([[*chain, chain[0]]])) == ["forked"]


def test_memory_does_not_grow_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUDIT_PROBLEMS", 5)
    monkeypatch.setattr(limits, "AUDIT_GAPS", 3)
    every_other = _chain("a", 40)[::2]
    verifier = Verifier(TOPIC)
    verifier.take(0, as_records(every_other))
    assert max(len(state.gaps) for state in verifier._chains.values()) == 3
    verifier.finish()
    assert (verifier.problems.count, len(verifier.problems.shown)) == (19, 5)


def test_a_second_look_passes_over_what_is_no_record() -> None:
    before, after, later = _followed()
    verifier = Verifier(TOPIC)
    verifier.take(0, as_records([*before, *after, *later]))
    assert verifier.second_look() == {0: (0, 5)}
    named = json.loads(later[0][1] or b"")["fields"]["follows_hash"].encode()
    verifier.look_again(
        [
            Record(0, 0, None, None, ()),
            Record(1, 0, b"a", None, ()),
            Record(2, 0, b"a", b'"' + named + b'"', ()),
        ]
    )
    assert verifier.second_look() == {0: (0, 5)}
    verifier.look_again(as_records(before))
    assert verifier.second_look() == {}
    verifier.finish()
    assert verifier.problems.count == 0
    assert GENESIS_HASH not in named.decode()
