"""Whether the audit's chains are intact, and where not.

`Verifier.take` needs the records of each partition in order; the order of the partitions does not
matter. It keeps a few hundred bytes for each chain, and for each partition the hashes of the last
records, because a batch may have been sent twice: exact repeats are counted, not reported.

After a problem the rest of a chain is judged by what its own records say, so that one fault is
reported as one problem where possible. A chain alone cannot show that its end is missing or that it
was sealed again; references to its records show that (`chain_state`). For these, some records may
have to be read separately: after the first reading, `second_look` and `is_waiting` say which,
`look_again` takes them, and `finish` reports what is missing. `notes` then lists the chains for
which the answer is incomplete (`roots`).

Pure: no Kafka, no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from engine import limits
from engine.audit.chain import GENESIS_HASH, Opener, SealedRecord
from engine.audit.chain_state import (
    ChainState,
    ExpectedRecord,
    ExpectedRecords,
    Head,
    Recent,
    tick_off,
)
from engine.audit.gaps import fill_gap, open_gap, report_gap
from engine.audit.lost_records import report_lost, second_look
from engine.audit.problems import Place, ProblemKind, Problems
from engine.audit.roots import Note, Roots
from engine.documents.fields import CHAIN_ENDED
from engine.errors import DocumentError
from engine.wire.record_batch import Record

#: Hashes that the next record may name as the previous one, after a fork or a change.
_HEADS = 4
_FOLLOWS = ("follows_chain", "follows_sequence", "follows_hash")


class Verifier:
    """Verifies the chains; see the module. `topic` is for the places of problems."""

    def __init__(self, topic: str) -> None:
        self.problems = Problems()
        self.records = 0
        self.repeats = 0
        self._topic = topic
        self._opener = Opener()
        self._chains: dict[str, ChainState] = {}
        self._recent: defaultdict[int, Recent] = defaultdict(Recent)
        self._expected = ExpectedRecords()
        self._roots = Roots(topic)

    def heads(self) -> list[Head]:
        """Return the last record of each chain, by the chains' ids."""
        return [Head(name, at.next - 1, at.head) for name, at in sorted(self._chains.items())]

    def trust(self, name: str, heads: Sequence[Head], *, is_complete: bool) -> None:
        """Expect what a checkpoint holds. `is_complete` if it holds every chain of its time. Call
        it before any record is taken."""
        for head in heads:
            self._expect(ExpectedRecord(head, "rewritten", name, None))
        self._roots.trust(name, {head.chain for head in heads}, is_complete=is_complete)

    def notes(self) -> list[Note]:
        """Return what is not a problem and yet cannot be verified. Call it after `finish`."""
        return self._roots.notes(self._chains)

    def begins(self, partition: int, offset: int) -> None:
        """Check a partition's first offset. The topic is kept for ever, so it is 0."""
        if offset:
            self.problems.add(
                "cut_off",
                f"the records before offset {offset} are gone, but the topic must be kept for ever",
                place=Place(self._topic, partition, offset),
            )

    def unreadable(self, partition: int, offset: int, reason: str) -> None:
        """Report a batch that cannot be read, and that begins there."""
        place = Place(self._topic, partition, offset)
        self.problems.add("unreadable", f"cannot be read ({reason})", place=place)

    def take(self, partition: int, records: Iterable[Record]) -> None:
        """Verify the next records of a partition."""
        for record in records:
            opened = self._opened(partition, record)
            if opened is None:
                continue
            sealed, true_hash = opened
            state = self._chains.get(sealed.chain)
            if (
                state is not None
                and sealed.sequence == state.next
                and sealed.previous_hash == state.head
                and sealed.hash == true_hash
                and record.key == state.key
                and partition == state.partition
                and state.end_offset < 0
            ):
                self._advance(state, record.offset, sealed)
            else:
                self._look_closer(Place(self._topic, partition, record.offset), record.key, opened)

    def _opened(self, partition: int, record: Record) -> tuple[SealedRecord, str] | None:
        what = "it has no value"
        if record.value is not None:
            try:
                return self._opener.open(record.value)
            except DocumentError as error:
                what = error.what
        place = Place(self._topic, partition, record.offset)
        self.problems.add("no_record", f"not an audit record: {what}", place=place)
        return None

    def _advance(self, state: ChainState, offset: int, sealed: SealedRecord) -> None:
        """Advance the chain by this record."""
        if state.expected:
            tick_off(state.expected, state.next, sealed)
        state.next += 1
        state.head = sealed.hash
        if state.others:
            state.others = ()
        if sealed.event == CHAIN_ENDED:
            state.end_offset = offset
            self._roots.note_end(state.partition, offset)
        else:
            state.has_events = True
        state.last_offset = offset
        state.recent.add(sealed.hash)
        self.records += 1

    def _look_closer(
        self, place: Place, key: bytes | None, opened: tuple[SealedRecord, str]
    ) -> None:
        """Check a record that does not continue its chain: a new chain, or a problem."""
        sealed, true_hash = opened
        named = _text(key)
        if named != sealed.chain:
            what = "it has no key" if named is None else f"its key is {named!r}"
            self._add("wrong_key", f"{what}, but must be its chain", place, sealed)
        if sealed.hash != true_hash:
            self._changed(place, named, sealed, true_hash)
            return
        state = self._chains.get(sealed.chain)
        is_new = state is None
        if state is None:
            state = self._begin(sealed.chain, place)
        self._check_partition(state, place, sealed)
        if sealed.sequence < state.next:
            self._go_back(state, place, sealed)
            return
        if state.end_offset >= 0:
            what = f"it comes after the chain's last record, at offset {state.end_offset}"
            self._add("after_end", what, place, sealed)
        if sealed.sequence > state.next:
            open_gap(self.problems, state, place, sealed)
        elif sealed.previous_hash not in state.heads:
            before = (
                f"that of the record before, at offset {state.last_offset}"
                if state.next
                else "64 zeros, and it is the first"
            )
            self._add("broken_link", f"its previous hash is not {before}", place, sealed)
        self._advance(state, place.offset, sealed)
        if is_new:
            self._note_follows(state, place, sealed)

    def _changed(
        self, place: Place, named: str | None, sealed: SealedRecord, true_hash: str
    ) -> None:
        """Handle a record with a wrong hash, whose own fields cannot be trusted.

        It counts as the next record of a chain if it links to the last one, or has the next
        sequence. The following record may name either of its two hashes.
        """
        owner = named if named in self._chains or sealed.chain not in self._chains else None
        owner = owner or sealed.chain
        state = self._chains.get(owner)
        heads = (GENESIS_HASH,) if state is None else state.heads
        following = 0 if state is None else state.next
        stands_in = sealed.previous_hash in heads or sealed.sequence == following
        self.problems.add(
            "changed",
            "its hash is not that of its content: it was changed",
            place=place,
            chain=owner,
            sequence=following if stands_in else sealed.sequence,
        )
        if stands_in and len(owner) <= limits.AUDIT_CHAIN_CHARACTERS:
            state = state or self._begin(owner, place)
            self._advance(state, place.offset, sealed)
            state.others = (true_hash,)

    def _begin(self, chain: str, place: Place) -> ChainState:
        state = self._chains[chain] = ChainState(
            key=chain.encode(),
            partition=place.partition,
            first_offset=place.offset,
            recent=self._recent[place.partition],
            expected=self._expected.of(chain),
        )
        return state

    def _check_partition(self, state: ChainState, place: Place, sealed: SealedRecord) -> None:
        if place.partition != state.partition and place.partition not in state.elsewhere:
            state.elsewhere.add(place.partition)
            what = f"the chain is in partition {state.partition}, but must be in a single one"
            self._add("two_partitions", what, place, sealed)

    def _go_back(self, state: ChainState, place: Place, sealed: SealedRecord) -> None:
        """Handle a record whose sequence has passed: a repeat, a late record, or a forgery."""
        if sealed.hash in state.recent:
            self.repeats += 1
            return
        state.late_offset = place.offset
        if state.expected:
            tick_off(state.expected, sealed.sequence, sealed)
        if fill_gap(self.problems, state, place, sealed):
            self.records += 1
            return
        what = "a second record with this sequence: one of the two is forged"
        if sealed.sequence == state.next - 1:
            what += f"; the other is at offset {state.last_offset}"
            state.others = (*state.others, sealed.hash)[-_HEADS:]
        state.recent.add(sealed.hash)
        self._add("forked", what, place, sealed)

    # ---- expected records

    def _expect(self, expected: ExpectedRecord) -> None:
        head = expected.head
        state = self._chains.get(head.chain)
        if state is not None and head.sequence < state.next:
            if head.sequence == state.next - 1 and head.hash in state.heads:
                return
            expected.has_passed = True
        of_chain = self._expected.add(expected)
        if state is not None:
            state.expected = of_chain

    def _note_follows(self, state: ChainState, place: Place, sealed: SealedRecord) -> None:
        """Expect the record of another chain that the first record of a chain may name."""
        named = [sealed.fields.get(name) for name in _FOLLOWS]
        match named:
            case [None, None, None]:
                state.follows_nothing = sealed.sequence == 0
            case [str(chain), int(sequence), str(found)]:
                head = Head(chain, sequence, found)
                self._expect(ExpectedRecord(head, "unfollowed", sealed.chain, place))
            case _:
                what = f"{', '.join(_FOLLOWS)}: it must have all of them, or none"
                self._add("unfollowed", what, place, sealed)

    def second_look(self) -> dict[int, tuple[int, int]]:
        """Return what must be read again, for `look_again`: first offset and end by partition."""
        return second_look(self._expected, self._chains)

    def is_waiting(self) -> bool:
        """Return whether an expected record has not come yet, and may come after the end of what
        was read: a later chain may name a record that came just after its partition's end was
        noted."""
        return any(not expected.has_passed for expected in self._expected.lost())

    def look_again(self, records: Iterable[Record]) -> None:
        """Search these records, in any order, for expected ones."""
        self._expected.look_again(self._opener, records)

    def finish(self) -> None:
        """Report what is missing, after all records were taken."""
        self._roots.judge(self.problems, self._chains)
        for chain, state in sorted(self._chains.items()):
            for gap in state.gaps:
                report_gap(self.problems, chain, gap)
        for expected in self._expected.lost():
            report_lost(self.problems, self._chains, expected)

    def _add(self, kind: ProblemKind, what: str, place: Place, sealed: SealedRecord) -> None:
        self.problems.add(kind, what, place=place, chain=sealed.chain, sequence=sealed.sequence)


def _text(key: bytes | None) -> str | None:
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key.decode(errors="replace")
