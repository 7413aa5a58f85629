"""What is demanded and what is allowed; finds what is wrong. Pure: evidence in, problems out.

Every read is held to `tests.models.contract_oracle`, with the lists and policies as they lie on
their topics. Demanded of all that lies on the topics when everything has drained:

* Reads that meet entries and policies which do not change at that time: the distinct match ids are
  those that the oracle gives for the reads in the order of their topic. None is lost, none
  invented. Where reads are suppressed, none that must match is lost either. A read that must be
  suppressed may match all the same only with at_least_once (a worker that fell silent and wakes up
  writes an older state of what it remembers over a newer one); with exactly_once never.
* Reads that meet what changes: each id is that of a revision which was in force at some time
  between the read's production and its processing, together with a policy that was. Where the
  oracle gives a match under each pair of revision and policy that was in force then, the read must
  have matched. Which of them it was, the topic says: the oracle goes on from there, so that what
  comes next at an entry that was corrected is certain again. With exactly_once a read has no second
  id of an entry; with at_least_once it may have one of each of several revisions, because it may
  have been processed twice.
* Two reads of one batch that meet entries which are always changed together: some version of
  the list is common to both. It changes from one version to the next in one step.
* Nothing of a transaction that was aborted matches: its revisions are never in force.
* Each match has its audit record, and each change of the lists has one. With exactly_once every
  match lies on its topic once and once in the audit, which has no other; with at_least_once a
  crash may leave there the record of a match that was not sent, whose read came to another one
  later. (A read that our own producer had to send twice is left out of what exactly_once is held
  to.)
* Every chain of the audit is whole.
* Nothing is rejected.

When the workers have gone on at a copy of the topics, a judge of its own takes what lies there,
with an oracle that has suppressed nothing yet. A read or a change of the lists counts on the copy
from where the group stands there. That is rather too low, so the copy tells some matches again;
below it, it may tell none. It counts on the original below what the group had committed there. What
was told of later reads is allowed with at_least_once. With exactly_once there is none, because a
match and the offset behind its read count together.

A revision is in force from the beginning of its sending on, and until SLACK_S after the end of
its successor's way to a consumer that reads committed records: a worker takes reads for as long
as that while it does not hear of the lists, because it must first notice. What was replaced before
the first worker started never is. A read is processed by the time at which its match was seen, and
if it has none, at which its offset was seen to be committed.

What it costs grows with the reads, not with their square: a read is judged once and let go, a
state in force is found by bisection, and matches and audit records are looked at as they come.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Final, NamedTuple

from engine import limits
from engine.audit.verifier import Verifier
from engine.clock import SystemClock
from tests.models.contract_oracle import NO_POLICY, ContractOracle, policy_of
from tests.models.contract_records import (
    EntryRecord,
    ExpectedMatch,
    Listed,
    PolicyInForce,
    PolicyRecord,
    ReadRecord,
    SuppressedRead,
)
from tests.models.contract_rules import PLAIN_RULES, with_asked_alternates
from tests.torture.churn import CHANGING, PAIR
from tests.torture.evidence import Evidence, Read, SeenMatch, State, name_of

#: A worker is told of no silence before CONTROL_STALE_S; the rest is for one that was stopped.
SLACK_S: Final = limits.CONTROL_STALE_S + 10.0
#: Problems of a kind that are spelled out.
_SHOWN: Final = 5
_ABSENT: Final = State(-1, None, 0, 0.0)


@dataclass
class Findings:
    """What a campaign has come to. `problems` is empty where all is as demanded."""

    problems: list[str] = field(default_factory=list)
    reads: int = 0
    matches: int = 0
    #: Reads that meet what changes, and how many of them could come to one thing only.
    churn_reads: int = 0
    churn_certain: int = 0
    #: Reads that had to be folded, and those that matched all the same.
    folded: int = 0
    unfolded: int = 0
    #: Reads that the campaign's own producer had to send twice. Their matches may repeat.
    sent_twice: set[str] = field(default_factory=set)
    #: Records of other matches beyond the first of each id, and reads with a second id.
    repeats: int = 0
    second_ids: int = 0
    #: Matches of reads and entries that had matched before the topics were copied.
    told_again: int = 0
    #: By how much the oldest revision that matched had been out of force, in seconds.
    oldest_revision_s: float = 0.0
    lost_reads: set[str] = field(default_factory=set)


class _Timeline:
    """The states of a key in their order, the absent one first, and when each may have counted.
    States that come later are added, however many there are already."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._states = [_ABSENT]
        self._begins_s = [-math.inf]
        #: When a consumer had seen a later state.
        self._gone_s = [math.inf]
        #: The earliest beginning of a state and those behind it.
        self._from_s = [-math.inf]

    def add(self, state: State) -> None:
        """Add the next state."""
        begins_s = self._evidence.change_sent_s.get(state.change, -math.inf)
        self._states.append(state)
        self._begins_s.append(begins_s)
        _append_earliest(self._from_s, begins_s)
        self._gone_s.pop()
        _append_earliest(self._gone_s, state.seen_s)
        self._gone_s.append(math.inf)

    def between(self, from_s: float, until_s: float) -> list[State]:
        """The states that may have counted in a time."""
        found = []
        place = bisect_left(self._gone_s, max(from_s - SLACK_S, self._evidence.started_s))
        while place < len(self._states) and self._from_s[place] <= until_s:
            if self._begins_s[place] <= until_s:
                found.append(self._states[place])
            place += 1
        return found

    def gone_s(self, state: State) -> float:
        """When a consumer had seen a later state."""
        after = bisect_left(self._states, state.offset, key=lambda each: each.offset)
        return self._gone_s[after]


def _append_earliest(times_s: list[float], time_s: float) -> None:
    """Append a time to others, each of which is the earliest of its own and those behind it."""
    times_s.append(time_s)
    place = len(times_s) - 1
    while place and times_s[place - 1] > time_s:
        place -= 1
        times_s[place] = time_s


class _OfRead(NamedTuple):
    """A read that is judged: as the oracle takes it, and what was found of it until when."""

    name: str
    record: ReadRecord
    found: Sequence[SeenMatch]
    sent_s: float
    until_s: float
    is_of_changes: bool
    is_left: bool


class Judge:
    """Looks at what has come since it last looked, and lets go of the reads that it has judged.

    What it finds is added to `findings`.
    """

    def __init__(
        self, evidence: Evidence, *, is_exactly_once: bool, findings: Findings | None = None
    ) -> None:
        self._evidence = evidence
        self._oracle = ContractOracle(PLAIN_RULES)
        self._is_exactly_once = is_exactly_once
        self._now_ms = 0
        #: The names of all reads.
        self._names: set[str] = set()
        self._expected: set[str] = set()
        self._optional: set[str] = set()
        self._new: defaultdict[str, list[str]] = defaultdict(list)
        #: By offset, what each record of the lists says.
        self._listed: dict[int, Listed | None] = {_ABSENT.offset: None}
        self._policies: dict[int, PolicyInForce] = {_ABSENT.offset: NO_POLICY}
        #: By key, how many of its states were taken, of the entries and of the policies.
        self._taken: tuple[Counter[str], Counter[str]] = Counter(), Counter()
        self._entry_times = defaultdict[str, _Timeline](partial(_Timeline, evidence))
        self._policy_times = defaultdict[str, _Timeline](partial(_Timeline, evidence))
        self._verifier = Verifier("audit")
        self._verified: Counter[int] = Counter()
        self.findings = Findings() if findings is None else findings

    def judge(self) -> list[str]:
        """Everything that is wrong by now and was not before."""
        self._new.clear()
        self._now_ms = SystemClock().now_ms()
        self._take_lists()
        self._note_copies()
        pairs: dict[str, list[set[int]]] = {}
        for reads in self._evidence.reads.values():
            for read in reads:
                versions = self._judge_read(read)
                read_id = read.document["read_id"]
                # Two reads of a batch may be in two batches of a copy.
                if read_id.startswith(PAIR) and not read.is_copied:
                    pairs.setdefault(read_id[:-2], []).append(versions)
            reads.clear()
        for name, versions_of in pairs.items():
            # One that did not match at all is lost, and said so.
            if all(versions_of) and not set.intersection(*versions_of):
                self._add("reads of one batch saw different versions of a list", name)
        self._judge_matches()
        self._judge_audit()
        for reject in self._evidence.rejects:
            self._add("rejects", str(reject))
        self._evidence.rejects.clear()
        return self._reported()

    def finish(self) -> list[str]:
        """What is missing from the audit's chains, when all was judged."""
        self._new.clear()
        self._verify(is_all=True)
        return self._reported()

    def _add(self, what: str, which: str) -> None:
        self._new[what].append(which)

    def _reported(self) -> list[str]:
        found = [
            f"{len(which)} {what}: {', '.join(which[:_SHOWN])}{' ...' * (len(which) > _SHOWN)}"
            for what, which in self._new.items()
        ]
        self.findings.problems += found
        return found

    # ---- the lists

    def _take_lists(self) -> None:
        """Take what has come onto the lists' topics."""
        oracle, now_ms = self._oracle, self._now_ms
        of_entries, of_policies = self._taken
        for key, state in _new_states(self._evidence.entries, of_entries):
            self._entry_times[key].add(state)
            record = EntryRecord(key, state.document, state.offset, now_ms)
            listed = self._listed[state.offset] = oracle.listed(record)
            if listed is not None:
                oracle.find_by_texts(key, listed.entry)
        for source, state in _new_states(self._evidence.policies, of_policies):
            self._policy_times[source].add(state)
            policy = PolicyRecord(source, state.document, state.offset, now_ms)
            self._policies[state.offset] = policy_of(policy)

    # ---- reads

    def _note_copies(self) -> None:
        """Note the names of reads that our own producer had to send twice."""
        for reads in self._evidence.reads.values():
            for read in reads:
                name = name_of(read.document)
                if name in self._names:
                    self.findings.sent_twice.add(name)
                self._names.add(name)

    def _judge_read(self, read: Read) -> set[int]:
        """Judge a read; return the changes whose revisions it matched."""
        evidence, document = self._evidence, read.document
        name = name_of(document)
        is_left = evidence.is_left(("detections", read.partition), read.offset)
        self.findings.reads += not is_left
        detection = with_asked_alternates(document, read.headers)
        near = self._oracle.near(detection)
        is_of_changes = document["read_id"].startswith(CHANGING)
        is_counted_change = is_of_changes and not is_left
        self.findings.churn_reads += is_counted_change
        if not near:
            self.findings.churn_certain += is_counted_change
            return set()
        found = evidence.matches_of.get(name, [])
        of_read = _OfRead(
            name,
            ReadRecord(detection, read.partition, read.offset, self._now_ms, self._now_ms),
            found,
            evidence.sent_s(read),
            max((match.seen_s[-1] for match in found), default=evidence.processed_s(read)),
            is_of_changes,
            is_left,
        )
        versions: set[int] = set()
        is_certain = True
        for key in near:
            certain, matched = self._judge_entry(of_read, key)
            is_certain = is_certain and certain
            versions |= matched
        self.findings.churn_certain += is_counted_change and is_certain
        is_once = self._is_exactly_once and name not in self.findings.sent_twice
        if is_left and found and is_once:
            self._add("reads that matched and are not committed", name)
        return versions

    def _judge_entry(self, read: _OfRead, key: str) -> tuple[bool, set[int]]:
        """Judge what came of a read and an entry: whether it could come to one thing only, and
        the changes whose revisions it matched."""
        outcomes, suppressed = self._outcomes(read, key)
        found = {match.match_id: match for match in read.found if match.entry_id == key}
        is_certain = len(outcomes) == 1
        if not (read.is_left or None in outcomes or found.keys() & outcomes.keys()):
            self._add("matches lost", read.name)
            self.findings.lost_reads.add(read.name)
        versions = set()
        for match_id, (state, made) in outcomes.items():
            if made is None or not (is_certain or match_id in found):
                continue
            self._note(made)
            if match_id in found:
                versions.add(state.change)
                gone_s = self._entry_times[key].gone_s(state)
                self.findings.oldest_revision_s = max(
                    self.findings.oldest_revision_s, read.sent_s - gone_s
                )
        self._judge_suppressed(read, found, suppressed)
        for match_id, match in found.items():
            if read.is_of_changes and not self._is_explained(match_id):
                self._add("matches of a revision that was not in force", _named(match))
        if len(found) > 1:
            self.findings.second_ids += len(found) - 1
            if self._is_exactly_once and read.name not in self.findings.sent_twice:
                self._add("reads with several match ids", read.name)
        return is_certain, versions

    def _is_explained(self, match_id: str) -> bool:
        return match_id in self._expected or match_id in self._optional

    def _note(self, made: ExpectedMatch) -> None:
        if made.match_id not in self._expected:
            self._expected.add(made.match_id)
            # One of an entry that suppresses nothing is never asked for again.
            if made.entry.get("suppress_s") != 0:
                self._oracle.note_match(made)

    def _judge_suppressed(
        self, read: _OfRead, found: dict[str, SeenMatch], suppressed: Sequence[Listed]
    ) -> None:
        """Take note of a read that may be suppressed; with at_least_once it may match too."""
        if not suppressed:
            return
        self.findings.folded += 1
        if self._is_exactly_once:
            return
        for listed in suppressed:
            match_id = self._oracle.match_id(read.record, listed)
            if match_id in found and not self._is_explained(match_id):
                self._optional.add(match_id)
                self.findings.unfolded += 1

    def _outcomes(
        self, read: _OfRead, key: str
    ) -> tuple[dict[str | None, tuple[State, ExpectedMatch | None]], list[Listed]]:
        """What a read may come to at an entry: match ids, or None for no match, each with the
        state that gives it; and the states under which it is suppressed."""
        source = read.record.detection["source"]
        outcomes: dict[str | None, tuple[State, ExpectedMatch | None]] = {}
        suppressed = []
        entries = self._entry_times[key].between(read.sent_s, read.until_s)
        policies = self._policy_times[source].between(read.sent_s, read.until_s)
        for entry, policy in product(entries, policies):
            listed = self._listed[entry.offset]
            found = None
            if listed is not None:
                found = self._oracle.verdict(read.record, listed, self._policies[policy.offset])
            match found:
                case ExpectedMatch():
                    outcomes[found.match_id] = entry, found
                case SuppressedRead() if listed is not None:
                    outcomes[None] = entry, None
                    suppressed.append(listed)
                case _:
                    outcomes[None] = entry, None
        return outcomes, suppressed

    # ---- all matches, and the audit

    def _judge_matches(self) -> None:
        evidence = self._evidence
        self.findings.matches += len(evidence.new_matches)
        for match in evidence.new_matches:
            self.findings.told_again += (match.entry_id, match.read) in evidence.told
            if not self._is_explained(match.match_id):
                self._add("matches invented", _named(match))
        repeated = [
            match for match in evidence.repeated if match.read not in self.findings.sent_twice
        ]
        self.findings.repeats += len(repeated)
        if self._is_exactly_once:
            for match_id in dict.fromkeys(match.match_id for match in repeated):
                self._add("matches doubled", _named(evidence.matches[match_id]))
        evidence.repeated.clear()

    def _judge_audit(self) -> None:
        evidence = self._evidence
        audited = evidence.audited_matches
        for match in evidence.new_matches:
            if match.match_id not in audited:
                self._add("matches without an audit record", _named(match))
        evidence.new_matches.clear()
        if self._is_exactly_once:
            for match_id in dict.fromkeys(evidence.new_audited):
                found = evidence.matches.get(match_id)
                if found is None:
                    self._add("audit records of matches that are not there", match_id)
                elif audited[match_id] > 1 and found.read not in self.findings.sent_twice:
                    self._add("matches audited several times", match_id)
        evidence.new_audited.clear()
        for topic, offset in sorted(evidence.changes - evidence.audited_changes.keys()):
            if evidence.is_left((topic, 0), offset):
                continue
            self._add("changes without an audit record", f"{topic}/{offset}")
        self._verify(is_all=False)

    def _verify(self, *, is_all: bool) -> None:
        """Have the engine's own verifier take the audit's records; what it finds."""
        verifier, audit = self._verifier, self._evidence.audit
        before = set(map(str, verifier.problems.shown))
        for partition, records in audit.items():
            verifier.take(partition, records[self._verified[partition] :])
            self._verified[partition] = len(records)
        if is_all:
            for partition, (first, end) in verifier.second_look().items():
                verifier.look_again(each for each in audit[partition] if first <= each.offset < end)
            verifier.finish()
        for problem in map(str, verifier.problems.shown):
            if problem not in before:
                self._add("breaks of audit chains", problem)


def _new_states(
    of_topic: Mapping[str, Sequence[State]], taken: Counter[str]
) -> Iterator[tuple[str, State]]:
    """Each state that was not taken yet, with its key; count it as taken."""
    for key, states in of_topic.items():
        for state in states[taken[key] :]:
            yield key, state
        taken[key] = len(states)


def _named(match: SeenMatch) -> str:
    return f"{match.match_id} of {match.read} and {match.entry_id}"
