"""The fault campaign without Kafka: its schedule, and that its judge finds what is planted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from engine.audit.chain import Chain
from engine.clock import SystemClock
from engine.wire.record_batch import Record as AuditRecord
from tests.fakes.chains import MATCH, NOON_MS, changed
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka import records as records_module
from tests.models.contract_oracle import ContractOracle
from tests.models.contract_records import EntryRecord, PolicyRecord, ReadRecord
from tests.models.contract_rules import PLAIN_RULES
from tests.models.naive import match_id
from tests.torture import report
from tests.torture.campaign import Done, Plan, Result
from tests.torture.churn import (
    CHANGE_HEADER,
    CHURN,
    CORRECTED,
    CORRECTED_PLATES,
    FOLDING,
    NEIGHBOUR,
    PAIR,
    STEADY,
    Churn,
    records,
)
from tests.torture.evidence import Evidence, name_of
from tests.torture.judge import SLACK_S, Judge
from tests.torture.load import Session
from tests.torture.schedule import COPY, KINDS, Fault, kinds_with, rounds
from tests.torture.town import TortureTown
from tests.torture.waits import StuckError, bounded
from tests.torture.workers import fault_of
from tests.torture.wrapped_worker import STEP

# ---- the schedule


@pytest.mark.parametrize("seconds", [20, 90, 700])
def test_a_schedule_is_a_function_of_its_seed(seconds: float) -> None:
    assert rounds(7, seconds) == rounds(7, seconds)
    assert rounds(7, seconds) != rounds(8, seconds)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_comes_and_the_brokers_faults_never_together(seed: int) -> None:
    for seconds in (20, 700):
        made = rounds(seed, seconds)
        faults = [fault for each in made for fault in each.faults]
        assert {fault.kind for fault in faults} == KINDS.keys()
        assert all(fault.at_s >= 0 and fault.lasts_s >= 0 for fault in faults)
        for each in made:
            of_broker = [f for f in each.faults if KINDS[f.kind].exclusive]
            for before, after in pairwise(of_broker):
                assert before.ends_s < after.at_s
            if each.name == report.ALONE:
                for before, after in pairwise(each.faults):
                    assert before.ends_s + KINDS[before.kind].costs_s <= after.at_s
            else:
                begins = [fault.at_s for fault in each.faults]
                assert begins == sorted(begins)
                assert begins[-1] < each.lasts_s, "reads come beside every fault"


def test_a_long_campaign_has_hundreds_of_faults() -> None:
    made = rounds(1, 1500)
    assert made[0].name == report.ALONE
    assert sum(len(each.faults) for each in made) > 400
    assert sum(each.lasts_s for each in made) == pytest.approx(1500, rel=0.05)


def test_a_copy_has_a_round_of_its_own_behind_the_first_storm_and_some_later_ones() -> None:
    made = rounds(1, 500, ["kill", COPY])
    kinds = [{fault.kind for fault in each.faults} for each in made]
    assert kinds[:3] == [{"kill"}, {"kill"}, {COPY}], "alone, in a storm, and the copy"
    assert kinds.count({COPY}) > 1
    assert all(each in ({"kill"}, {COPY}) for each in kinds)
    assert [each.name for each in rounds(1, 10, [COPY])] == ["copy 0", "copy 1"]


def test_only_the_kinds_that_are_asked_for() -> None:
    faults = rounds(1, 60, ["kill", "silent"])[0].faults
    assert {fault.kind for fault in faults} == {"kill", "silent"}


def test_faults_of_a_cluster_need_one() -> None:
    assert set(kinds_with(3, "exactly_once")) == KINDS.keys()
    assert set(KINDS) - set(kinds_with(1, "at_least_once")) == {
        *("leader_kill", "coordinator_kill", "two_kill", "rolling", "move", "elect"),
        "transaction_coordinator_kill",
    }
    refused = refused_faults("kill,rolling")
    assert refused.startswith(
        "no such fault with --brokers 1 --delivery at_least_once: rolling; there are kill, "
    )


def test_faults_of_transactions_need_workers_that_deliver_in_them() -> None:
    kind = "transaction_coordinator_kill"
    assert set(KINDS) - set(kinds_with(3, "at_least_once")) == {kind}
    assert kind not in kinds_with(1, "exactly_once")
    refused = refused_faults(f"kill,{kind}", "--brokers", "3")
    assert refused.startswith(f"no such fault with --brokers 3 --delivery at_least_once: {kind}; ")


def refused_faults(faults: str, *options: str) -> str:
    """What a campaign says of faults that it does not have."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--faults", faults, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr


# ---- a worker's clock


def test_a_clock_is_stepped_and_monotonic_time_is_not(tmp_path: Path) -> None:
    """In a process of its own, whose time of day is patched."""
    file = tmp_path / "step"
    file.write_bytes(STEP.pack(0))
    program = """
import sys, time
from pathlib import Path
real_s, monotonic_s = time.time(), time.monotonic()
from tests.torture.wrapped_worker import STEP, step_clock
path = Path(sys.argv[1])
step_clock(path)
from engine.clock import SystemClock
def ahead_s():
    now_s = time.time(), time.time_ns() / 1e9, SystemClock().now_ms() / 1000
    return [round((each - real_s) / 1000) for each in now_s]  # to within minutes
seen = [ahead_s()]
for step_ms in (7_200_000, -3_600_000, 0):
    with path.open("r+b") as file:
        file.write(STEP.pack(step_ms))
    seen.append(ahead_s())
assert time.monotonic() - monotonic_s < 1000
print(seen)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{[[0] * 3, [7] * 3, [-4] * 3, [0] * 3]}\n"


# ---- the judge


@dataclass
class Sent:
    """A record as a consumer gives it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class World:
    """A campaign that never took place: an entry that stays, those that change, and whatever a
    test lets be seen of it. Everything happens at the seconds that the test says."""

    def __init__(
        self,
        *,
        is_exactly_once: bool = False,
        suppress_s: int = 0,
        evidence: Evidence | None = None,
    ) -> None:
        self.evidence = Evidence() if evidence is None else evidence
        self.churn = Churn(1)
        stays = an_entry(suppress_s=suppress_s)
        policies = [("city", a_policy()), (STEADY, a_policy(source=STEADY))]
        self.is_exactly_once = is_exactly_once
        self.judge = Judge(self.evidence, is_exactly_once=is_exactly_once)
        self._source_of: dict[str, str] = {}
        self._offsets: dict[str, int] = {"hotlist": 0}
        self._changes = 0
        self._chain = Chain("g/1")
        self.control("hotlist", "E-1", stays, at_s=0)
        self.control("policies", "city", policies[0][1], at_s=0)
        self.control("policies", STEADY, policies[1][1], at_s=0)
        self.evidence.started_s = 0.5

    def _next(self, topic: str) -> int:
        offset = self._offsets.setdefault(topic, 0)
        self._offsets[topic] += 1
        return offset

    def control(self, topic: str, key: str, document: dict[str, Any] | None, *, at_s: float) -> int:
        """A change of the lists, sent at a time and seen a tenth of a second later."""
        self._changes += 1
        self.evidence.change_sent_s[self._changes] = at_s
        offset = self._next(topic)
        sent = next(records(((key, document),), self._changes))
        self.evidence.note(topic, [Sent(0, offset, sent.key, sent.value, sent.headers)], at_s + 0.1)
        event = "entry_changed" if topic == "hotlist" else "policy_changed"
        self.audited(event, {"revision": offset})
        return offset

    def read(
        self, read_id: str, plate: str, source: str = "city", *, at_s: float, **fields: Any
    ) -> None:
        """A read, committed a second later."""
        document = a_read(read_id=read_id, plate=plate, source=source, **fields)
        self.evidence.read_sent_s[name_of(document)] = at_s
        self._source_of[read_id] = source
        offset = self._next("detections")
        self.evidence.note("detections", [Sent(0, offset, b"", orjson.dumps(document))], at_s)
        self.evidence.note_committed(0, offset + 1, at_s + 1)

    def match(
        self, read_id: str, entry_id: str, revision: int, *, at_s: float, is_audited: bool = True
    ) -> str:
        """A record of a match."""
        found = match_id(entry_id, revision, self._source_of[read_id], read_id)
        document = {
            "match_id": found,
            "entry": {"entry_id": entry_id},
            "read": {"read_id": read_id, "source": self._source_of[read_id]},
        }
        offset = self._next("matches")
        self.evidence.note("matches", [Sent(0, offset, b"", orjson.dumps(document))], at_s)
        if is_audited:
            self.audited("match", dict(MATCH) | {"match_id": found})
        return found

    def audited(self, event: str, fields: dict[str, str | int]) -> None:
        value = self._chain.seal(event, fields, NOON_MS)
        self.evidence.note("audit", [Sent(0, self._next("audit"), b"g/1", value)], 0)

    def of_churn(self, kind: str) -> Iterator[tuple[str, str]]:
        """Entries that change one by one or together, and their plates."""
        for plate in self.churn.plates:
            entry_id = self.churn.entry_of(plate)
            if entry_id.startswith(kind):
                yield entry_id, plate


def test_a_good_campaign_has_no_problems() -> None:
    world = World()
    world.read("R-1", "abc-1234", at_s=1)
    world.match("R-1", "E-1", 0, at_s=2)
    world.match("R-1", "E-1", 0, at_s=3)
    world.read("R-2", "QQQ1111", at_s=4)
    assert world.judge.judge() == []
    findings = world.judge.findings
    assert (findings.reads, findings.matches, findings.repeats) == (2, 1, 1)
    world.read("R-3", "ABC1234", at_s=5)
    world.match("R-3", "E-1", 0, at_s=6)
    assert world.judge.judge() == []
    assert (findings.reads, findings.matches) == (3, 2)


def test_it_finds_a_match_that_is_lost() -> None:
    world = World()
    world.read("R-1", "ABC1234", at_s=1)
    assert world.judge.judge() == ["1 matches lost: R-1@city"]
    assert world.judge.findings.lost_reads == {"R-1@city"}


def test_it_finds_a_match_that_is_invented() -> None:
    world = World()
    world.read("R-1", "ABC1235", at_s=1)
    made = world.match("R-1", "E-1", 0, at_s=2)
    assert world.judge.judge() == [f"1 matches invented: {made} of R-1@city and E-1"]


def test_it_finds_a_match_that_is_doubled_where_none_may_be() -> None:
    world = World(is_exactly_once=True)
    world.read("R-1", "ABC1234", at_s=1)
    made = [world.match("R-1", "E-1", 0, at_s=at_s) for at_s in (2, 3)]
    assert world.judge.judge() == [
        f"1 matches doubled: {made[0]} of R-1@city and E-1",
        f"1 matches audited several times: {made[0]}",
    ]


def test_a_read_that_was_sent_twice_may_match_twice() -> None:
    world = World(is_exactly_once=True)
    for at_s in (1, 2):
        world.read("R-1", "ABC1234", at_s=at_s)
        world.match("R-1", "E-1", 0, at_s=at_s)
    assert world.judge.judge() == []
    assert world.judge.findings.repeats == 0, "the worker repeated nothing"


def test_a_read_that_was_sent_twice_may_match_two_revisions() -> None:
    """Both copies are known to be copies before either is judged."""
    world = World(is_exactly_once=True)
    entry_id, plate = next(world.of_churn("EDIT"))
    for change_s, read_s, number in ((1, 100, 1), (100.5, 102, 2)):
        entry = listed(entry_id, plate, priority=number)
        revision = world.control("hotlist", entry_id, entry, at_s=change_s)
        world.read(f"{CHURN}1", plate, STEADY, at_s=read_s)
        world.match(f"{CHURN}1", entry_id, revision, at_s=read_s + 0.1)
    assert world.judge.judge() == []


def test_it_finds_a_match_and_a_change_that_are_not_audited() -> None:
    world = World()
    world.read("R-1", "ABC1234", at_s=1)
    made = world.match("R-1", "E-1", 0, at_s=2, is_audited=False)
    del world.evidence.audited_changes["policies", 1]
    assert world.judge.judge() == [
        f"1 matches without an audit record: {made} of R-1@city and E-1",
        "1 changes without an audit record: policies/1",
    ]


def test_exactly_once_it_finds_an_audit_record_of_no_match() -> None:
    for is_exactly_once in (False, True):
        world = World(is_exactly_once=is_exactly_once)
        world.audited("match", dict(MATCH) | {"match_id": "f00d"})
        expected = ["1 audit records of matches that are not there: f00d"]
        assert world.judge.judge() == (expected if is_exactly_once else [])


def test_it_finds_a_chain_that_is_broken() -> None:
    world = World()
    last = world.evidence.audit[0][-1]
    world.evidence.audit[0][-1] = last._replace(
        value=changed(last.value or b"", recorded_at="2026-01-31T12:00:00.001Z")
    )
    (problem,) = world.judge.judge()
    assert problem.startswith("1 breaks of audit chains: audit/0/2: chain g/1, sequence 2: ")
    world = World()
    del world.evidence.audit[0][1]
    assert world.judge.judge() == []
    (problem,) = world.judge.finish()
    assert "sequence 1: 1 is missing before this record" in problem


def test_it_finds_a_reject() -> None:
    world = World()
    world.evidence.note("rejects", [Sent(0, 0, b"", b'{"reason":"json"}')], 1)
    assert world.judge.judge() == ["1 rejects: {'reason': 'json'}"]


# ---- what changes


def listed(entry_id: str, plate: str, **fields: Any) -> dict[str, Any]:
    return an_entry(entry_id=entry_id, plate=plate, **fields)


def test_a_read_must_match_what_was_in_force_all_the_time() -> None:
    world = World()
    entry_id, plate = next(world.of_churn("EDIT"))
    revision = world.control("hotlist", entry_id, listed(entry_id, plate), at_s=1)
    world.read(f"{CHURN}1", plate, STEADY, at_s=100)
    assert world.judge.judge() == [f"1 matches lost: {CHURN}1@{STEADY}"]
    world.read(f"{CHURN}2", plate, STEADY, at_s=101)
    world.match(f"{CHURN}2", entry_id, revision, at_s=102)
    assert world.judge.judge() == []
    assert world.judge.findings.churn_certain == 2


def test_a_read_beside_a_change_may_match_either_revision() -> None:
    for matched in ((0,), (1,), (0, 1)):
        world = World()
        entry_id, plate = next(world.of_churn("EDIT"))
        revisions = [
            world.control("hotlist", entry_id, listed(entry_id, plate, priority=number), at_s=at_s)
            for number, at_s in ((1, 1), (2, 100.5))
        ]
        world.read(f"{CHURN}1", plate, STEADY, at_s=100)
        for which in matched:
            world.match(f"{CHURN}1", entry_id, revisions[which], at_s=101)
        assert world.judge.judge() == []
        assert world.judge.findings.churn_certain == 0
        assert world.judge.findings.second_ids == len(matched) - 1


def test_exactly_once_no_read_matches_two_revisions() -> None:
    world = World(is_exactly_once=True)
    entry_id, plate = next(world.of_churn("EDIT"))
    revisions = [
        world.control("hotlist", entry_id, listed(entry_id, plate), at_s=at_s)
        for at_s in (1, 100.5)
    ]
    world.read(f"{CHURN}1", plate, STEADY, at_s=100)
    for revision in revisions:
        world.match(f"{CHURN}1", entry_id, revision, at_s=101)
    assert world.judge.judge() == [f"1 reads with several match ids: {CHURN}1@{STEADY}"]


@pytest.mark.parametrize("which", ["too old", "not yet", "aborted"])
def test_it_finds_a_match_of_a_revision_that_was_not_in_force(which: str) -> None:
    world = World()
    entry_id, plate = next(world.of_churn("EDIT"))
    first = world.control("hotlist", entry_id, listed(entry_id, plate), at_s=1)
    late_s = 100 + SLACK_S
    second = world.control("hotlist", entry_id, listed(entry_id, plate), at_s=100)
    third = world.control("hotlist", entry_id, listed(entry_id, plate), at_s=late_s + 10)
    world.read(f"{CHURN}1", plate, STEADY, at_s=late_s + 1)
    revision = {"too old": first, "not yet": third, "aborted": third + 1}[which]
    made = world.match(f"{CHURN}1", entry_id, revision, at_s=late_s + 2)
    named = f"{made} of {CHURN}1@{STEADY} and {entry_id}"
    assert world.judge.judge() == [
        f"1 matches lost: {CHURN}1@{STEADY}",
        f"1 matches of a revision that was not in force: {named}",
        f"1 matches invented: {named}",
    ]
    assert second not in (first, third)


def test_a_policy_that_denies_is_in_force_too() -> None:
    world = World()
    entry_id, plate = next(world.of_churn("EDIT"))
    revision = world.control("hotlist", entry_id, listed(entry_id, plate), at_s=1)
    world.control("policies", STEADY, a_policy(source=STEADY, rules=[]), at_s=50)
    world.read(f"{CHURN}1", plate, STEADY, at_s=51)
    world.read(f"{CHURN}2", plate, STEADY, at_s=52)
    world.match(f"{CHURN}2", entry_id, revision, at_s=53)
    assert world.judge.judge() == []
    world.read(f"{CHURN}3", plate, STEADY, at_s=52 + SLACK_S)
    world.match(f"{CHURN}3", entry_id, revision, at_s=53 + SLACK_S)
    assert world.judge.judge()[0].startswith("1 matches of a revision that was not in force: ")


def test_reads_of_one_batch_see_one_version_of_a_list() -> None:
    for first_version, second_version in ((0, 0), (1, 1), (0, 1)):
        world = World()
        (one, one_plate), (two, two_plate), *_ = world.of_churn("SYNC")
        revisions: list[tuple[int, int]] = []
        for at_s in (1, 100):
            both = tuple(
                world.control("hotlist", entry_id, listed(entry_id, plate), at_s=at_s)
                for entry_id, plate in ((one, one_plate), (two, two_plate))
            )
            together(world, both)
            revisions.append((both[0], both[1]))
        for name, plate in (("a", one_plate), ("b", two_plate)):
            world.read(f"{PAIR}1-{name}", plate, STEADY, at_s=99)
        world.match(f"{PAIR}1-a", one, revisions[first_version][0], at_s=101)
        world.match(f"{PAIR}1-b", two, revisions[second_version][1], at_s=101)
        torn = ["1 reads of one batch saw different versions of a list: pair-1"]
        assert world.judge.judge() == ([] if first_version == second_version else torn)


def together(world: World, offsets: tuple[int, ...]) -> None:
    """Let these records be of one change."""
    for states in world.evidence.entries.values():
        for number, state in enumerate(states):
            if state.offset in offsets:
                states[number] = state._replace(change=1000 + offsets[0])
    world.evidence.change_sent_s[1000 + offsets[0]] = 0.0


# ---- folding


def test_what_must_be_folded_may_match_at_least_once_and_never_exactly_once() -> None:
    for is_exactly_once in (False, True):
        world = World(is_exactly_once=is_exactly_once, suppress_s=60)
        for number in range(2):
            world.read(f"R-{number}", "ABC1234", at_s=1)
        world.match("R-0", "E-1", 0, at_s=2)
        made = world.match("R-1", "E-1", 0, at_s=3)
        invented = [f"1 matches invented: {made} of R-1@city and E-1"]
        assert world.judge.judge() == (invented if is_exactly_once else [])
        assert world.judge.findings.folded == 1
        assert world.judge.findings.unfolded == (0 if is_exactly_once else 1)


def test_what_must_match_is_lost_where_it_is_folded() -> None:
    world = World(suppress_s=60)
    world.read("R-0", "ABC1234", at_s=1)
    world.read("R-1", "ABC1234", at_s=1)
    world.match("R-1", "E-1", 0, at_s=3)
    assert world.judge.judge() == ["1 matches lost: R-0@city"]


# ---- copies of the topics


def copy_of(world: World, **begins: int) -> World:
    """The same on a copy of the topics, where nothing is read and matched yet. Of the reads, the
    lists, the matches and the audit it counts what comes from these offsets on."""
    places = {(kind, 0): offset for kind, offset in begins.items()}
    left = set() if world.evidence.left_from is None else world.evidence.left()
    evidence = world.evidence.of_copy(places, {("detections", 0): 100}, left)
    return World(is_exactly_once=world.is_exactly_once, suppress_s=60, evidence=evidence)


def test_what_waits_is_lost_only_if_the_copy_loses_it() -> None:
    for is_found in (True, False):
        world = World()
        world.read("R-1", "ABC1234", at_s=1)
        world.match("R-1", "E-1", 0, at_s=2)
        world.read("R-2", "ABC1234", at_s=3)
        world.evidence.left_from = {("detections", 0): 1, ("hotlist", 0): 9, ("policies", 0): 9}
        copy = copy_of(world, detections=2)  # too high: the read is awaited all the same
        assert world.judge.judge() == world.judge.finish() == []
        copy.read("R-1", "ABC1234", at_s=1)
        copy.read("R-2", "ABC1234", at_s=3)
        if is_found:
            copy.match("R-2", "E-1", 0, at_s=9)
        assert copy.judge.judge() == ([] if is_found else ["1 matches lost: R-2@city"])


def test_what_was_done_on_the_original_is_told_again_only_where_the_group_stands_too_low() -> None:
    for stands, again in ((0, []), (1, ["1 matches invented: {} of R-1@city and E-1"])):
        world = World(is_exactly_once=True)
        world.read("R-1", "ABC1234", at_s=1)
        world.match("R-1", "E-1", 0, at_s=2)
        world.evidence.left_from = {("detections", 0): 1, ("hotlist", 0): 9, ("policies", 0): 9}
        assert world.judge.judge() == []
        copy = copy_of(world, detections=stands)
        copy.read("R-1", "ABC1234", at_s=1)
        made = copy.match("R-1", "E-1", 0, at_s=9)
        assert copy.judge.judge() == [text.format(made) for text in again]
        assert copy.judge.findings.told_again == 1


def test_exactly_once_nothing_is_told_of_what_is_left_for_the_copy() -> None:
    for is_exactly_once in (True, False):
        world = World(is_exactly_once=is_exactly_once)
        world.read("R-1", "ABC1234", at_s=1)
        world.match("R-1", "E-1", 0, at_s=2)
        world.evidence.left_from = {("hotlist", 0): 9, ("policies", 0): 9}
        found = ["1 reads that matched and are not committed: R-1@city"]
        assert world.judge.judge() == (found if is_exactly_once else [])
        assert world.judge.findings.reads == 0


def test_suppression_begins_empty_on_a_copy() -> None:
    world = World(is_exactly_once=True, suppress_s=60)
    world.read("R-1", "ABC1234", at_s=1)
    world.match("R-1", "E-1", 0, at_s=2)
    world.read("R-2", "ABC1234", at_s=3)
    assert world.judge.judge() == []
    copy = copy_of(world, detections=1)
    copy.read("R-1", "ABC1234", at_s=1)
    copy.read("R-2", "ABC1234", at_s=3)
    assert copy.judge.judge() == ["1 matches lost: R-2@city"]


def test_a_change_is_audited_on_the_original_or_on_the_copy() -> None:
    world = World()
    del world.evidence.audited_changes["hotlist", 0]
    del world.evidence.audited_changes["policies", 1]
    world.evidence.left_from = {("hotlist", 0): 0, ("policies", 0): 1}
    assert world.judge.judge() == []
    world.evidence.left_from = {("hotlist", 0): 1, ("policies", 0): 2}
    lacks = ["2 changes without an audit record: hotlist/0, policies/1"]
    assert world.judge.judge() == lacks
    copy = copy_of(world, policies=1, audit=3)  # its audit is a copy
    assert copy.judge.judge() == lacks
    copy = copy_of(world, hotlist=1, policies=2, audit=3)
    assert copy.judge.judge() == []
    world.evidence.left_from = {("hotlist", 0): 0, ("policies", 0): 1}
    copy = copy_of(world, hotlist=1, policies=2, audit=3)  # the group stands too high
    assert copy.judge.judge() == lacks


def test_reads_of_one_batch_may_be_in_two_batches_of_a_copy() -> None:
    world = World()
    copy = copy_of(world)
    for number, (entry_id, plate) in zip("ab", copy.of_churn("SYNC"), strict=False):
        revision = copy.control("hotlist", entry_id, listed(entry_id, plate), at_s=1)
        copy.read(f"{PAIR}1-{number}", plate, STEADY, at_s=99)
        copy.match(f"{PAIR}1-{number}", entry_id, revision, at_s=101)
    assert copy.judge.judge() == []


def test_what_is_copied_is_not_judged_again() -> None:
    world = World(is_exactly_once=True)
    copy = copy_of(world, hotlist=1, policies=2, matches=1, audit=4)
    copy.read("R-1", "QQQ1111", at_s=1)
    copy.match("R-1", "E-1", 0, at_s=2)
    assert copy.judge.judge() == []
    copy.match("R-1", "E-1", 7, at_s=2)
    assert copy.judge.judge()[0].startswith("1 matches invented: ")


# ---- entries that are corrected


_CORRECTIONS = [
    {"plate": "MOVES01001"},
    {"agency": "AG0002"},
    {"purpose": "wanted_person"},
]


def corrected(**fields: Any) -> dict[str, Any]:
    return {**an_entry(entry_id="CORRECTED-1", plate="MOVES01000", suppress_s=60), **fields}


@pytest.mark.parametrize("change", _CORRECTIONS)
def test_an_entry_that_is_corrected_matches_again_and_must(change: dict[str, str]) -> None:
    for is_found in (True, False):
        world = World(is_exactly_once=True)
        first = world.control("hotlist", "CORRECTED-1", corrected(), at_s=0.2)
        world.read(f"{CORRECTED}1", "MOVES01000", STEADY, at_s=100)
        world.match(f"{CORRECTED}1", "CORRECTED-1", first, at_s=101)
        second = world.control("hotlist", "CORRECTED-1", corrected(**change), at_s=110)
        plate = change.get("plate", "MOVES01000")
        world.read(f"{CORRECTED}2", plate, STEADY, at_s=120 + SLACK_S)
        if is_found:
            world.match(f"{CORRECTED}2", "CORRECTED-1", second, at_s=121 + SLACK_S)
        lost = [f"1 matches lost: {CORRECTED}2@{STEADY}"]
        assert world.judge.judge() == ([] if is_found else lost)


def test_beside_a_correction_the_topic_says_what_suppresses() -> None:
    """Which revision a read met beside a change is open; what came of it counts from then on."""
    for matched in (0, 1):
        world = World(is_exactly_once=True)
        revisions = [
            world.control("hotlist", "CORRECTED-1", corrected(agency=agency), at_s=at_s)
            for agency, at_s in (("AG0001", 0.2), ("AG0002", 100.5))
        ]
        world.read(f"{CORRECTED}1", "MOVES01000", STEADY, at_s=100)
        world.match(f"{CORRECTED}1", "CORRECTED-1", revisions[matched], at_s=101)
        world.read(f"{CORRECTED}2", "MOVES01000", STEADY, at_s=110 + SLACK_S)
        later = [f"1 matches lost: {CORRECTED}2@{STEADY}"]
        assert world.judge.judge() == ([] if matched else later)


def test_reads_of_two_sources_with_one_id_and_camera_both_match() -> None:
    world = World(is_exactly_once=True, suppress_s=60)
    world.control("policies", NEIGHBOUR, a_policy(source=NEIGHBOUR), at_s=0.2)
    for number, source in enumerate((STEADY, NEIGHBOUR)):
        world.read("R-1", "ABC1234", source, at_s=1 + number)
    world.match("R-1", "E-1", 0, at_s=3)
    assert world.judge.judge() == [f"1 matches lost: R-1@{STEADY}"]


def test_a_better_match_must_come_and_a_worse_one_may_not() -> None:
    as_read = ["F0LDAAAAAA", "FOLDAAAAAA"]
    for plates, is_lost in ((as_read, True), (reversed(as_read), False)):
        world = World(is_exactly_once=True)
        entry = an_entry(plate="FOLDAAAAAA", confusables=True, suppress_s=60)
        revision = world.control("hotlist", "E-1", entry, at_s=0.2)
        for number, plate in enumerate(plates):
            world.read(f"R-{number}", plate, at_s=1 + number)
        world.match("R-0", "E-1", revision, at_s=2)
        assert world.judge.judge() == (["1 matches lost: R-1@city"] if is_lost else [])


def test_a_campaigns_reads_take_no_more_memory_than_they_are_long() -> None:
    """orjson leaves its buffer at the size to which it grew; a quarter of a million of them took
    a gigabyte."""
    tracemalloc.start()
    try:
        town = TortureTown(5, 1000)
        held = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(True, records_module.__file__)]
        )
    finally:
        tracemalloc.stop()
    long = sum(len(read.value or b"") for reads in town.reads.values() for read in reads)
    assert long < sum(each.size for each in held.statistics("filename")) < 2 * long


def test_the_towns_repeated_reads_have_better_matches_and_worse_ones_after_them() -> None:
    town, now_ms = TortureTown(5, 4000), SystemClock().now_ms()
    oracle = ContractOracle(PLAIN_RULES)
    for number, record in enumerate(town.entries[0]):
        entry = orjson.loads(record.value or b"")
        oracle.process(EntryRecord(entry["entry_id"], entry, number, now_ms))
    for source in (STEADY, NEIGHBOUR):
        oracle.process(PolicyRecord(source, a_policy(source=source), 0, now_ms))
    of_identity: dict[object, list[str]] = {}
    suppressed = 0
    for partition, records_of in town.reads.items():
        for offset, record in enumerate(records_of):
            read = orjson.loads(record.value or b"")
            if read["read_id"].startswith(FOLDING):
                taken = ReadRecord(read, partition, offset, now_ms, now_ms)
                outcome = oracle.process(taken)
                assert outcome is not None
                suppressed += len(outcome.suppressed)
    for identity, matches in oracle.matches.items():
        of_identity[identity] = [match.likeness.match_type for match in matches]
    assert suppressed > 20
    assert len({identity[-2:] for identity in of_identity if isinstance(identity, tuple)}) > 1
    better = [types for types in of_identity.values() if ("distance", "exact") in pairwise(types)]
    assert len(better) > 3


def test_corrections_never_come_back_to_what_was_listed_before() -> None:
    churn = Churn(3)
    listed = [document for change in churn.begin() for _, document in change.entries]
    listed += [document for _, document in (churn.correct() for _ in range(400))]
    identities = [
        (each["entry_id"], each["plate"], each["agency"], each["purpose"])
        for each in listed
        if each is not None and each["entry_id"] in CORRECTED_PLATES
    ]
    assert len(set(identities)) == len(identities) == 410
    for key, plates in CORRECTED_PLATES.items():
        of_key = [identity for identity in identities if identity[0] == key]
        assert {plate for _, plate, _, _ in of_key} == set(plates)
        for before, after in pairwise(of_key):
            assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


# ---- how a worker ends


@pytest.mark.parametrize(
    ("status", "text", "fault"),
    [
        (0, "info: stopped\n", None),
        (1, "info: begun\nhotlist: cannot reach the broker at 127.0.0.1:1\n", None),
        (-9, "info: begun\n", None),
        (
            1,
            "x\nTraceback (most recent call last):\n  File 1\nRuntimeError: no\nlater\n",
            "Traceback (most recent call last):: RuntimeError: no",
        ),
        (1, "hotlist: the worker failed (RuntimeError)\n", "the worker failed (RuntimeError)"),
        (2, "hotlist: what\n", "status 2: hotlist: what"),
        (-11, "info: begun\n", "signal 11: info: begun"),
        (
            0,
            "error Task exception was never retrieved\n",
            "error Task exception was never retrieved: ",
        ),
    ],
)
def test_an_end_that_is_none_of_the_workers_own_errors(
    status: int, text: str, fault: str | None
) -> None:
    assert fault_of(status, text) == fault


# ---- waits


async def test_a_wait_says_what_it_waited_for() -> None:
    with pytest.raises(StuckError, match=r"not within 0\.01 s: the moon"):
        await bounded(asyncio.Event().wait(), 0.01, "the moon")
    with pytest.raises(TimeoutError):  # of what was waited for, and not of the wait
        await bounded(_timed_out(), 60, "the moon")


async def _timed_out() -> None:
    raise TimeoutError


async def test_what_waits_for_a_producer_ends_when_the_producer_is_put_away() -> None:
    """aiokafka never resolves the futures of a producer that is closed."""

    class Closes:
        async def close(self) -> None:
            pass

    producer = SimpleNamespace(_closed=False, _sender=Closes(), client=Closes())
    session = Session(cast(AIOKafkaProducer, producer))

    async def never(_: object) -> None:
        await asyncio.Event().wait()

    waiting = [asyncio.create_task(session.do(never)) for _ in range(3)]
    await asyncio.sleep(0)
    await session.put_away()
    async with asyncio.timeout(60):
        assert await asyncio.gather(*waiting) == [False] * 3


# ---- what changes is a matter of the seed, and the table


def test_changes_and_reads_are_functions_of_the_seed() -> None:
    def some(seed: int) -> list[Any]:
        churn = Churn(seed)
        made = [*churn.begin(), *(churn.single() for _ in range(20)), churn.transaction()]
        reads = [
            {**orjson.loads(read.value or b""), "captured_at": None}
            for own in churn.reads(50).values()
            for read in own
        ]
        return [[(c.how, c.entries) for c in made], reads]

    assert some(3) == some(3)
    assert some(3) != some(4)


def test_what_changes_is_told_apart_by_its_plate() -> None:
    churn = Churn(5)
    assert len({churn.entry_of(plate) for plate in churn.plates}) == len(churn.plates)
    names = []
    for own in churn.reads(500).values():
        for sent in own:
            read = orjson.loads(sent.value or b"")
            assert read["plate"][:6] in churn.entry_of(read["plate"])
            names.append((read["read_id"], read["source"], read["camera"]))
    assert len(set(names)) == len(names)
    ids = [read_id for read_id, _, _ in names]
    assert len(set(ids)) < len(ids), "some read ids are those of two sources"
    (sent,) = records((("E-1", None),), 17)
    assert (sent.key, sent.value, sent.headers) == (b"E-1", None, ((CHANGE_HEADER, b"17"),))


def test_the_table_says_what_each_fault_cost() -> None:
    world = World()
    for number, at_s in enumerate((10.5, 12.0, 50.0)):
        world.read(f"R-{number}", "ABC1234", at_s=at_s)
        world.match(f"R-{number}", "E-1", 0, at_s=15.0 if at_s < 20 else 50.5)
    world.match("R-0", "E-1", 0, at_s=20)
    world.read("R-3", "ABC1234", at_s=51.0)
    assert world.judge.judge() == ["1 matches lost: R-3@city"]
    result = Result(Plan(1, 60, ("kill", "silent")), "", world.judge.findings)
    result.evidence = [world.evidence]
    kill, silent = Fault("kill", 1, 2, 0, 0), Fault("silent", 40, 5, 0, 0)
    result.done = [
        Done(report.ALONE, kill, 11.0, 13.0, True),
        Done("storm 1", silent, 50.5, 55.0, True),
        Done("storm 1", kill, 56.0, 57.0, False),
    ]
    assert report.table(result).splitlines()[2:] == [
        "| a worker gets SIGKILL and is restarted | 1 | 0 | 1 | 4.5 s |  |",
        "| a worker's connections transmit nothing | 1 | 1 | 0 |  | 0.5 s |",
        "| **all** | **2** | **1** | **1** | | |",
    ]
    assert "seed 1: 4 reads, 3 different matches" in next(report.summary(result))
    assert orjson.dumps(report.as_json(result))
    assert isinstance(world.evidence.audit[0][0], AuditRecord)
