"""What is demanded and what is allowed; finds what is wrong. Pure: evidence in, problems out.

Demanded of all that lies on the topics when everything has drained:

* Reads that meet entries which nobody changes: the distinct match ids are those that
  `tests.models.oracle` gives for the reads as they lie on their topic, and
  `tests.models.contract_oracle` for those of vehicles that are read again and again, by several
  sources with the same camera names and read ids. None is lost, none invented.
  Where reads are folded, none that must match is lost either. A read that must be folded may
  match all the same only with at_least_once (a worker that fell silent and wakes up writes an
  older state of what it remembers over a newer one); with exactly_once never.
* Reads that meet what changes: each id is that of a revision which was in force at some time
  between the read's production and its processing, together with a policy that was. Where the
  read matched under each pair of revision and policy that was in force then, it must have
  matched. With exactly_once it has no second id; with at_least_once it may have one of each of
  several revisions, because it may have been processed twice.
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

A revision is in force from the beginning of its sending on, and until SLACK_S after the end of
its successor's way to a consumer that reads committed records: a worker takes reads for as long
as that while it does not hear of the lists, because it must first notice. A read is processed by
the time at which its match was seen, and if it has none, at which its offset was seen to be
committed.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from engine import limits
from engine.audit.verifier import Verifier
from engine.wire.record_batch import Record
from tests.models.contract_oracle import ContractOracle
from tests.models.contract_records import ReadRecord
from tests.models.naive import Naive, time_ms
from tests.models.oracle import Oracle
from tests.torture.churn import CHURN, FOLDING, PAIR, Churn
from tests.torture.evidence import Evidence, Read, SeenMatch, State, name_of
from tests.torture.town import at_now

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
    #: Records of matches beyond the first of each id, and reads with a second id.
    repeats: int = 0
    second_ids: int = 0
    #: By how much the oldest revision that matched had been out of force, in seconds.
    oldest_revision_s: float = 0.0
    lost_reads: set[str] = field(default_factory=set)


class Judge:
    """Looks at what has come since it last looked; the oracle remembers what was folded."""

    def __init__(
        self,
        evidence: Evidence,
        oracle: Oracle,
        contract: ContractOracle,
        churn: Churn,
        *,
        is_exactly_once: bool,
    ) -> None:
        self._evidence = evidence
        self._churn = churn
        self._oracle = oracle
        self._contract = contract
        self._is_exactly_once = is_exactly_once
        self._judged: Counter[int] = Counter()
        self._judged_names: set[str] = set()
        self._sent_twice: set[str] = set()
        self._expected: set[str] = set()
        self._optional: set[str] = set()
        self._new: defaultdict[str, list[str]] = defaultdict(list)
        self.findings = Findings()

    def judge(self) -> list[str]:
        """Everything that is wrong by now and was not before."""
        self._new.clear()
        at = at_now()
        pairs: dict[str, list[set[int]]] = {}
        for partition, reads in self._evidence.reads.items():
            for read in reads[self._judged[partition] :]:
                self.findings.reads += 1
                read_id, name = read.document["read_id"], name_of(read.document)
                if name in self._judged_names:
                    self._sent_twice.add(name)
                self._judged_names.add(name)
                if not read_id.startswith((CHURN, PAIR)):
                    self._judge_steady(read, at)
                    continue
                versions = self._judge_churn(read, time_ms(at.isoformat()))
                if read_id.startswith(PAIR):
                    pairs.setdefault(read_id[:-2], []).append(versions)
            self._judged[partition] = len(reads)
        for name, versions_of in pairs.items():
            # One that did not match at all is lost, and said so.
            if all(versions_of) and not set.intersection(*versions_of):
                self._add("reads of one batch saw different versions of a list", name)
        self._judge_matches()
        self._judge_audit()
        for problem in chain_problems(self._evidence.audit):
            self._add("breaks of audit chains", problem)
        for reject in self._evidence.rejects:
            self._add("rejects", str(reject))
        self._evidence.rejects.clear()
        found = [
            f"{len(which)} {what}: {', '.join(which[:_SHOWN])}{' ...' * (len(which) > _SHOWN)}"
            for what, which in self._new.items()
        ]
        self.findings.problems += found
        return found

    def _add(self, what: str, which: str) -> None:
        self._new[what].append(which)

    # ---- reads of what nobody changes

    def _judge_steady(self, read: Read, at: datetime.datetime) -> None:
        expected, suppressed = self._answer(read, at)
        name = name_of(read.document)
        found = {match.match_id for match in self._evidence.matches_of.get(name, ())}
        self._expected |= expected
        for _ in expected - found:
            self._add("matches lost", name)
            self.findings.lost_reads.add(name)
        if not suppressed:
            return
        self.findings.folded += suppressed
        unfolded = found - self._expected
        if unfolded and not self._is_exactly_once:
            each = self._oracle.answer(read.document, at, read.headers, suppresses=False)
            unfolded &= {match.match_id for match in each.matches}
            self._optional |= unfolded
            self.findings.unfolded += len(unfolded)

    def _answer(self, read: Read, at: datetime.datetime) -> tuple[set[str], int]:
        """Return the match ids that must come of a read, and how many matches are suppressed."""
        if not read.document["read_id"].startswith(FOLDING):
            answer = self._oracle.answer(read.document, at, read.headers)
            return {match.match_id for match in answer.matches}, answer.suppressed
        at_ms = time_ms(at.isoformat())
        place = read.partition, read.offset
        outcome = self._contract.process(ReadRecord(read.document, *place, at_ms, at_ms))
        assert outcome is not None
        return {match.match_id for match in outcome.matches}, len(outcome.suppressed)

    # ---- reads of what changes

    def _judge_churn(self, read: Read, at_ms: int) -> set[int]:
        """The changes whose revisions the read matched."""
        self.findings.churn_reads += 1
        evidence, document = self._evidence, read.document
        name = name_of(document)
        key = self._churn.entry_of(document["plate"])
        sent_s = evidence.sent_s(read)
        found = evidence.matches_of.get(name, [])
        until_s = max((match.seen_s[-1] for match in found), default=evidence.processed_s(read))
        outcomes = self._outcomes(read, key, sent_s, until_s, at_ms)
        if len(outcomes) == 1:
            self.findings.churn_certain += 1
        if not found and outcomes and None not in outcomes:
            self._add("matches lost", name)
            self.findings.lost_reads.add(name)
        versions = set()
        for match in found:
            state = outcomes.get(match.match_id)
            if state is None:
                self._add("matches of a revision that was not in force", _named(match))
                continue
            self._expected.add(match.match_id)
            versions.add(state.change)
            gone_s = self._gone_s(evidence.entries[key], state)
            self.findings.oldest_revision_s = max(self.findings.oldest_revision_s, sent_s - gone_s)
        if len(found) > 1:
            self.findings.second_ids += len(found) - 1
            if self._is_exactly_once and name not in self._sent_twice:
                self._add("reads with several match ids", name)
        return versions

    def _outcomes(
        self, read: Read, key: str, from_s: float, until_s: float, at_ms: int
    ) -> dict[str | None, State]:
        """What the read may come to: a match id, or None for no match; and by which revision."""
        source = read.document["source"]
        outcomes: dict[str | None, State] = {}
        entries = self._in_force(self._evidence.entries[key], from_s, until_s)
        policies = self._in_force(self._evidence.policies[source], from_s, until_s)
        for entry, policy in product(entries, list(policies)):
            naive = Naive()
            naive.put(entry.offset, key, entry.document)
            naive.put_policy(source, policy.document)
            answer = naive.read(read.document, at_ms)
            match_id = answer.matches[0].match_id if answer.matches else None
            outcomes[match_id] = entry
        return outcomes

    def _in_force(self, states: Sequence[State], from_s: float, until_s: float) -> Iterator[State]:
        """The states of a key that may have counted in a time."""
        for state in (_ABSENT, *states):
            begins_s = self._evidence.change_sent_s.get(state.change, -math.inf)
            if state is _ABSENT:
                begins_s = -math.inf
            if begins_s <= until_s and self._gone_s(states, state) >= from_s - SLACK_S:
                yield state

    def _gone_s(self, states: Sequence[State], state: State) -> float:
        """When a consumer had seen a later state of the same key."""
        return min(
            (other.seen_s for other in states if other.offset > state.offset), default=math.inf
        )

    # ---- all matches, and the audit

    def _judge_matches(self) -> None:
        matches = self._evidence.matches
        self.findings.matches = len(matches)
        self.findings.repeats = sum(len(match.seen_s) - 1 for match in matches.values())
        for match_id in matches.keys() - self._expected - self._optional:
            self._add("matches invented", _named(matches[match_id]))
        if self._is_exactly_once:
            for match in matches.values():
                if len(match.seen_s) > 1 and match.read not in self._sent_twice:
                    self._add("matches doubled", _named(match))

    def _judge_audit(self) -> None:
        audited = self._evidence.audited_matches
        for match_id in self._evidence.matches.keys() - audited.keys():
            self._add("matches without an audit record", _named(self._evidence.matches[match_id]))
        if self._is_exactly_once:
            for match_id, count in audited.items():
                match = self._evidence.matches.get(match_id)
                if match is None:
                    self._add("audit records of matches that are not there", match_id)
                elif count > 1 and match.read not in self._sent_twice:
                    self._add("matches audited several times", match_id)
        for topic, offset in sorted(self._evidence.changes - self._evidence.audited_changes.keys()):
            self._add("changes without an audit record", f"{topic}/{offset}")


def chain_problems(audit: Mapping[int, Sequence[Record]]) -> list[str]:
    """What is wrong with the chains of the audit, by the engine's own verifier."""
    verifier = Verifier("audit")
    for partition, records in audit.items():
        verifier.take(partition, records)
    for partition, (first, end) in verifier.second_look().items():
        verifier.look_again(each for each in audit[partition] if first <= each.offset < end)
    verifier.finish()
    return [str(problem) for problem in verifier.problems.shown]


def _named(match: SeenMatch) -> str:
    return f"{match.match_id} of {match.read} and {match.entry_id}"
