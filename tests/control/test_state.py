"""`engine.control.state`: when what was received counts, and when the gate is open.

The state machine holds it to a model of two topics with transactions and to a consumer of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from engine import limits
from engine.control.state import (
    Action,
    CatchUp,
    CloseGate,
    CommitLists,
    ControlPartition,
    ControlState,
    HandOn,
    OpenGate,
    Received,
    SeenTopic,
)
from engine.errors import BrokerError
from engine.matching.lists import Phase

STALE_S = 10.0
LISTS: ControlPartition = ("lists", 0)
POLICIES: ControlPartition = ("policies", 0)
TOPICS = [SeenTopic("lists", 1), SeenTopic("policies", 1)]
GONE = [SeenTopic("policies", 0, is_gone=True), SeenTopic("lists", 0, is_gone=True)]


def a_state(lists: int = 0, policies: int = 0) -> ControlState:
    return ControlState("lists", {LISTS: lists, POLICIES: policies}, STALE_S)


def received(lists: int = 0, policies: int = 0, **of_lists: int) -> dict[tuple[str, int], Received]:
    """Partitions received so far; of the lists further facts, else all is received and whole."""
    facts = {"log_end": lists, "answered_ms": 0, "is_partial": 0} | of_lists
    answered_ms = of_lists.get("policies_ms", facts["answered_ms"])
    return {
        LISTS: Received(lists, facts["log_end"], facts["answered_ms"], bool(facts["is_partial"])),
        POLICIES: Received(policies, policies, answered_ms, False),
    }


def loaded() -> ControlState:
    state = a_state()
    assert state.turn(received(), 0.0, is_open=False) == [CommitLists(), OpenGate()]
    return state


def test_empty_topics_are_loaded_at_once() -> None:
    loaded()


def test_the_load_ends_where_the_topics_ended_at_the_start() -> None:
    state = a_state(lists=5, policies=2)
    assert state.turn(received(), 0.0, is_open=False) == []
    assert state.batches(LISTS, [False, True]) == [HandOn(0, 2, Phase.LOADING)]
    assert state.turn(received(5, 1), 1.0, is_open=False) == []
    assert state.batches(POLICIES, [False]) == [HandOn(0, 1, Phase.LOADING)]
    assert state.turn(received(5, 2), 2.0, is_open=False) == [CommitLists(), OpenGate()]


def test_the_load_does_not_end_within_a_transaction() -> None:
    state = a_state(lists=5)
    part = received(5, log_end=9, is_partial=1)
    assert state.turn(part, 0.0, is_open=False) == []
    assert state.turn(received(9, log_end=9, is_partial=1), 0.0, is_open=False) == [
        CommitLists(),
        OpenGate(),
    ], "all that the partition holds is received: the end of the transaction is lost"


def test_what_was_sent_together_is_staged_until_it_is_whole() -> None:
    state = loaded()
    assert state.batches(LISTS, [False]) == [HandOn(0, 1, Phase.FOLLOWING)]
    assert state.batches(LISTS, [False, True, False]) == [
        HandOn(0, 1, Phase.FOLLOWING),
        HandOn(1, 3, Phase.STAGED),
    ]
    assert state.batches(LISTS, [False]) == [HandOn(0, 1, Phase.STAGED)], "it keeps its order"
    assert state.turn(received(4, log_end=9, is_partial=1), 1.0, is_open=True) == []
    assert state.turn(received(6, log_end=9), 2.0, is_open=True) == [CommitLists()]
    assert state.turn(received(6, log_end=9), 2.0, is_open=True) == []
    assert state.batches(LISTS, [False]) == [HandOn(0, 1, Phase.FOLLOWING)]


def test_policies_are_never_staged() -> None:
    assert loaded().batches(POLICIES, [True, True]) == [HandOn(0, 2, Phase.FOLLOWING)]


def test_no_batches_are_no_action() -> None:
    assert loaded().batches(LISTS, []) == []


def test_silence_closes_the_gate_and_catching_up_opens_it() -> None:
    state = loaded()
    assert state.turn(received(answered_ms=1), 100.0, is_open=True) == []
    assert state.turn(received(answered_ms=1), 110.0, is_open=True) == []
    assert state.turn(received(answered_ms=1), 110.1, is_open=True) == [
        CloseGate("nothing heard of lists/0, policies/0 for over 10 s")
    ]
    assert state.turn(received(answered_ms=2, policies_ms=1), 111.0, is_open=False) == [
        CloseGate("nothing heard of policies/0 for over 10 s")
    ]
    heard = received(answered_ms=3, log_end=7)
    assert state.turn(heard, 112.0, is_open=False) == [CatchUp()]
    assert state.caught_up(heard, {LISTS: 7, POLICIES: 0}) == []
    assert state.caught_up(received(7), {LISTS: 7, POLICIES: 0}) == [OpenGate()]


def test_a_gate_that_another_part_has_closed_opens_after_catching_up() -> None:
    assert loaded().turn(received(), 1.0, is_open=False) == [CatchUp()]


@pytest.mark.parametrize(
    ("topic", "error"),
    [
        (SeenTopic("lists", 1, is_anew=True), r"^lists: the topic was recreated"),
        (SeenTopic("policies", 3), r"^policies: .* 3 partitions now, and had 1"),
    ],
)
def test_another_topic_ends_the_worker(topic: SeenTopic, error: str) -> None:
    state = loaded()
    state.described(TOPICS)
    with pytest.raises(BrokerError, match=error):
        state.described([topic])


def test_a_topic_that_is_gone_ends_the_worker_when_it_is_gone_for_sure() -> None:
    """A broker that has just started may not know it yet."""
    state = loaded()
    for _ in range(limits.GONE_LOOKS - 1):
        state.described([TOPICS[1], GONE[1]])
        assert state.look_again_s == limits.RETRY_PAUSE_S
    state.described(TOPICS)
    assert state.look_again_s == limits.METADATA_MAX_AGE_S
    for _ in range(limits.GONE_LOOKS - 1):
        state.described(GONE)
    with pytest.raises(BrokerError, match=r"^lists and policies: the broker does not know"):
        state.described(GONE)


@dataclass
class Slot:
    """What an offset of a log holds: a record, of a transaction or of none, or one's end."""

    transaction: int | None = None
    is_end: bool = False


@dataclass
class Log:
    """A partition at its broker, and what a consumer that reads committed has had of it."""

    slots: list[Slot] = field(default_factory=list)
    #: By transaction, its editor and its first offset.
    open: dict[int, tuple[str, int]] = field(default_factory=dict)
    aborted: set[int] = field(default_factory=set)
    #: What the last answer brought: where it ended, and where the log did; and when it came.
    fetched_to: int = 0
    log_end: int = 0
    answered_ms: int = 0
    position: int = 0
    in_part: set[int] = field(default_factory=set)

    def stable_end(self) -> int:
        return min((first for _, first in self.open.values()), default=len(self.slots))

    def answer(self) -> None:
        self.fetched_to, self.log_end = self.stable_end(), len(self.slots)
        self.answered_ms += 1

    def deliver(self, most: int) -> list[int]:
        """The offsets of the next records, as aiokafka and the seam give them out."""
        offsets: list[int] = []
        while self.position < self.fetched_to and len(offsets) < most:
            slot = self.slots[self.position]
            if slot.is_end:
                assert slot.transaction is not None
                self.in_part.discard(slot.transaction)
            elif slot.transaction not in self.aborted:
                offsets.append(self.position)
                if slot.transaction is not None:
                    self.in_part.add(slot.transaction)
            self.position += 1
        return offsets

    def committed(self, end: int) -> list[int]:
        """The records below an offset that a consumer must have."""
        return [
            offset
            for offset, slot in enumerate(self.slots[:end])
            if not slot.is_end and slot.transaction not in self.aborted
        ]


BOTH = {LISTS, POLICIES}
steps = st.lists(
    st.sampled_from(
        ["plain", *(f"{verb} {e}" for verb in ("send", "commit", "abort") for e in "ab")]
    )
    | st.sampled_from(["send a", "send b", "commit a"]),
    max_size=8,
)


class Following(RuleBasedStateMachine):
    """The two topics, and a replica that does what the state says."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = {LISTS: Log(), POLICIES: Log()}
        self.transactions = 0
        self.now_s = 0.0
        self.is_open = False
        self.has_opened = False
        #: By partition: what was handed on, and of that what counts, in order.
        self.handed_on: dict[ControlPartition, list[int]] = {LISTS: [], POLICIES: []}
        self.counts: dict[ControlPartition, list[int]] = {LISTS: [], POLICIES: []}
        self.heard_s: dict[ControlPartition, tuple[int, float]] = {}

    @initialize(steps=steps, policies=st.integers(0, 3))
    def start(self, steps: list[str], policies: int) -> None:
        """Topics that hold something already."""
        self.write(LISTS, steps)
        self.write(POLICIES, ["plain"] * policies)
        self.ends = {partition: log.stable_end() for partition, log in self.logs.items()}
        self.state = ControlState("lists", self.ends, STALE_S)

    @rule(partition=st.sampled_from([LISTS, LISTS, POLICIES]), steps=steps)
    def write(self, partition: ControlPartition, steps: list[str]) -> None:
        """Records of two editors' transactions, which may overlap, and of neither."""
        log = self.logs[partition]
        for step in steps:
            verb, _, editor = step.partition(" ")
            transaction = next((each for each in log.open if log.open[each][0] == editor), None)
            if verb == "send" and transaction is None:
                self.transactions += 1
                transaction = self.transactions
                log.open[transaction] = editor, len(log.slots)
            elif verb in ("commit", "abort"):
                if transaction is None:
                    continue
                del log.open[transaction]
                if verb == "abort":
                    log.aborted.add(transaction)
            log.slots.append(Slot(transaction, is_end=verb in ("commit", "abort")))

    @rule()
    def lose_an_end(self) -> None:
        """The broker has cleaned a transaction's end away before it was received."""
        self.logs[LISTS].in_part.add(-1)

    @rule(
        answered=st.sampled_from([BOTH, BOTH, {LISTS}, {POLICIES}, set()]),
        most=st.integers(0, 4),
        pause_s=st.sampled_from([0.2, 0.2, 0.2, STALE_S + 1]),
    )
    def loop(self, answered: set[ControlPartition], most: int, pause_s: float) -> None:
        """One turn of the replica, and a fetch after it."""
        self._turn()
        for partition, log in self.logs.items():
            if partition in answered:
                log.answer()
            offsets = log.deliver(most)
            transactional = [log.slots[offset].transaction is not None for offset in offsets]
            for each in self.state.batches(partition, transactional):
                self._hand_on(partition, offsets[each.first : each.stop], each.phase)
        self.now_s += pause_s

    @precondition(lambda self: self.is_open)
    @rule()
    def close(self) -> None:
        """Changes wait for the audit, say."""
        self.is_open = False

    @rule()
    def settle(self) -> None:
        """While the brokers answer and nothing new comes, all counts and the gate is open."""
        if any(log.open for log in self.logs.values()):
            return
        for _ in range(3):
            self.loop(BOTH, 1000, 0.2)
        assert self.is_open
        assert self.handed_on == self.counts
        for partition, log in self.logs.items():
            assert self.counts[partition] == log.committed(len(log.slots))

    def _turn(self) -> None:
        if self.has_opened:  # what comes while all is loaded is not looked at
            for partition, log in self.logs.items():
                if self.heard_s.get(partition, (None, 0.0))[0] != log.answered_ms:
                    self.heard_s[partition] = log.answered_ms, self.now_s
        self._act(self.state.turn(self._received(), self.now_s, is_open=self.is_open))
        if self.has_opened:
            self._transactions_are_whole()

    def _received(self) -> dict[ControlPartition, Received]:
        found = {}
        for partition, log in self.logs.items():
            found[partition] = Received(
                log.position, log.log_end, log.answered_ms, bool(log.in_part)
            )
            if found[partition].is_whole:
                log.in_part.clear()
        return found

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case CommitLists():
                    self.counts = {each: list(of_it) for each, of_it in self.handed_on.items()}
                case CloseGate():
                    self.is_open = False
                    assert self._silent()
                case OpenGate():
                    self._opens()
                case CatchUp():
                    assert not self._silent()
                    ends = {each: log.stable_end() for each, log in self.logs.items()}
                    self._act(self.state.caught_up(self._received(), ends))

    def _opens(self) -> None:
        ends = self.ends
        if self.has_opened:
            ends = {each: log.stable_end() for each, log in self.logs.items()}
        for partition, end in ends.items():
            of_it = self.handed_on if self.has_opened else self.counts
            assert of_it[partition][: len(self.logs[partition].committed(end))] == self.logs[
                partition
            ].committed(end)
        self.is_open = self.has_opened = True

    def _silent(self) -> list[ControlPartition]:
        return [each for each, (_, at_s) in self.heard_s.items() if self.now_s - at_s > STALE_S]

    def _hand_on(self, partition: ControlPartition, offsets: list[int], phase: Phase) -> None:
        assert (phase is Phase.LOADING) is not self.has_opened
        self.handed_on[partition] += offsets
        if phase is Phase.FOLLOWING or (self.has_opened and partition == POLICIES):
            assert (
                partition == POLICIES
                or self.counts[partition] == self.handed_on[partition][: -len(offsets)]
            ), "what is staged counts before what comes after it"
            self.counts[partition] += offsets

    def _transactions_are_whole(self) -> None:
        log = self.logs[LISTS]
        of_transaction = defaultdict(set)
        for offset in log.committed(len(log.slots)):
            if log.slots[offset].transaction is not None:
                of_transaction[log.slots[offset].transaction].add(offset)
        counting = set(self.counts[LISTS])
        for offsets in of_transaction.values():
            assert not offsets & counting or offsets <= counting


TestFollowing = Following.TestCase
