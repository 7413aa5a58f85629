"""Eligibility: which entries may match on which sources' reads now, as bitmap algebra.

Each entry has a slot number; a roaring bitmap is a set of slots. An agency and a purpose are a
pair, the only fields that a policy rules on; each pair in use has a number too. There are:

* `active`: the slots of the entries that have started and not expired;
* by pair: the slots of the entries that share both;
* by slot: the number of its pair;
* by source: the policy, and the numbers of the pairs that it allows.

An entry may match a source's read if its slot is in `active` and its pair is one of the source's. A
source without a policy has none, so nothing matches: default-deny. A rule names agencies and
purposes, or `"*"` for all.

A change of a policy only stores it, and an entry of a known pair changes no source. The pairs of a
source are found when it is asked for after a change of its policy or of the pairs in use, by a
union of the pairs of its agencies and one of its purposes. So a question costs two membership
tests, a policy costs time by its own length, and no change costs time by the number of sources.

Holds slots, agencies, purposes and sources; never plates or reads.

Long because the sets stand beside all that is asked of them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np
from pyroaring import BitMap

from engine.documents.model import Policy, Rule

Pair = tuple[str, str]

#: The number of no pair, which no policy allows: that of a slot without an entry.
_NO_PAIR: Final = 0

#: The reasons why an entry did not match a read that it is like (label `reason` of
#: hotlist_denied_total).
NOT_STARTED = "not_started"
NO_POLICY = "no_policy"
NOT_ALLOWED = "not_allowed"
POLICY_REGION = "policy_region"
ENTRY_REGION = "entry_region"
ENTRY_VEHICLE = "entry_vehicle"
ENTRY_AREA = "entry_area"
ENTRY_HOURS = "entry_hours"
DENIAL_REASONS = (
    NOT_STARTED,
    NO_POLICY,
    NOT_ALLOWED,
    POLICY_REGION,
    ENTRY_REGION,
    ENTRY_VEHICLE,
    ENTRY_AREA,
    ENTRY_HOURS,
)
#: The reasons that come from a source's policy or from its absence.
POLICY_DENIALS = (NO_POLICY, NOT_ALLOWED, POLICY_REGION)


def region_covers(region: str, other: str) -> bool:
    """Return whether a region equals another or contains it: `US` covers `US-CA`."""
    return other == region or other.startswith(region + "-")


def allowing_rule(policy: Policy, pair: Pair) -> int | None:
    """Return the place, from 0, of the first rule that allows an agency and purpose; None: none
    does."""
    for place, rule in enumerate(policy.rules):
        if _rule_allows(rule, pair):
            return place
    return None


def policy_covers(policy: Policy, read_region: str | None) -> bool:
    """Return whether a policy applies to a read: if it names regions, one covers the read's.

    A permission must be shown to hold, so a read without a region is in none of them.
    """
    return policy.regions is None or any(
        read_region is not None and region_covers(region, read_region) for region in policy.regions
    )


def region_excludes(entry_region: str | None, read_region: str | None) -> bool:
    """Return whether an entry's region excludes a read's; a read without one is not excluded."""
    return (
        entry_region is not None
        and read_region is not None
        and not region_covers(entry_region, read_region)
        and not region_covers(read_region, entry_region)
    )


@dataclass(slots=True)
class _SourcePolicy:
    """`pairs` are the numbers of the allowed pairs, as of a `version` of the pairs in use."""

    policy: Policy
    revision: int
    pairs: BitMap
    version: int


def _rule_allows(rule: Rule, pair: Pair) -> bool:
    agency, purpose = pair
    return (rule.agencies == "*" or agency in rule.agencies) and (
        rule.purposes == "*" or purpose in rule.purposes
    )


class Eligibility:
    """The sets that the module describes. Belongs to one thread."""

    def __init__(self) -> None:
        self.active: BitMap = BitMap()
        self._by_pair: dict[Pair, BitMap] = {}
        self._by_source: dict[str, _SourcePolicy] = {}
        self._numbers: dict[Pair, int] = {}
        #: The slots of each pair by its number, those of the map by pair.
        self._slots: list[BitMap] = [BitMap()]
        self._free: list[int] = []
        self._of_agency: dict[str, BitMap] = {}
        self._of_purpose: dict[str, BitMap] = {}
        self._every: BitMap = BitMap()
        #: The number of each slot's pair.
        self._pair_of = array("i")
        #: Changes with each pair that comes into use or goes out of it.
        self._version = 0
        #: Grows with each call that changes anything but `active`.
        self.changes: int = 0

    def copy(self) -> Eligibility:
        """Return an independent copy."""
        copied = Eligibility()
        copied.active = self.active.copy()
        copied._by_pair = {pair: members.copy() for pair, members in self._by_pair.items()}
        copied._by_source = {
            # The set of pairs is replaced and never changed, so that both may hold it.
            source: _SourcePolicy(held.policy, held.revision, held.pairs, held.version)
            for source, held in self._by_source.items()
        }
        copied._numbers = self._numbers.copy()
        copied._slots = [BitMap() for _ in self._slots]
        for pair, number in self._numbers.items():
            copied._slots[number] = copied._by_pair[pair]
        copied._free = self._free.copy()
        copied._of_agency = {name: pairs.copy() for name, pairs in self._of_agency.items()}
        copied._of_purpose = {name: pairs.copy() for name, pairs in self._of_purpose.items()}
        copied._every = self._every.copy()
        copied._pair_of = self._pair_of[:]
        copied._version = self._version
        return copied

    def file(self, slots: list[int] | BitMap, pair: Pair) -> None:
        """File entries under the agency and purpose that they share, without activating them."""
        self.changes += 1
        members = self._by_pair.get(pair)
        if members is None:
            members = self._use(pair)
        members.update(slots)
        if slots:
            missing = max(slots) + 1 - len(self._pair_of)
            if missing > 0:
                self._pair_of.extend(array("i", [_NO_PAIR]) * max(missing, len(self._pair_of) // 8))
        self._set_pair(slots, self._numbers[pair])

    def unfile(self, slots: BitMap, pair: Pair) -> None:
        """Remove entries that share an agency and purpose from all sets."""
        self.changes += 1
        self.active -= slots
        members = self._by_pair[pair]
        members -= slots
        self._set_pair(slots, _NO_PAIR)
        if not members:
            self._drop(pair)

    def set_policy(self, policy: Policy, revision: int) -> None:
        """Set a source's policy, which replaces its former one."""
        self.changes += 1
        self._by_source[policy.source] = _SourcePolicy(policy, revision, BitMap(), -1)

    def remove_policy(self, source: str) -> None:
        """Remove a source's policy, after which nothing matches on its reads."""
        self.changes += 1
        self._by_source.pop(source, None)

    def _use(self, pair: Pair) -> BitMap:
        """Give a pair a number, and return the set of its slots."""
        number = self._free.pop() if self._free else len(self._slots)
        if number == len(self._slots):
            self._slots.append(BitMap())
        members = self._by_pair[pair] = self._slots[number] = BitMap()
        self._numbers[pair] = number
        agency, purpose = pair
        self._of_agency.setdefault(agency, BitMap()).add(number)
        self._of_purpose.setdefault(purpose, BitMap()).add(number)
        self._every.add(number)
        self._version += 1
        return members

    def _drop(self, pair: Pair) -> None:
        """Take back the number of a pair that no entry has any more."""
        number = self._numbers.pop(pair)
        del self._by_pair[pair]
        self._free.append(number)
        self._every.remove(number)
        for name, pairs in zip(pair, (self._of_agency, self._of_purpose), strict=True):
            pairs[name].remove(number)
            if not pairs[name]:
                del pairs[name]
        self._version += 1

    def _set_pair(self, slots: list[int] | BitMap, number: int) -> None:
        pair_of = self._pair_of
        if len(slots) > 32:  # below that an array costs more
            np.frombuffer(pair_of, dtype=np.int32)[np.array(slots, dtype=np.int64)] = number
            return
        for slot in slots:
            pair_of[slot] = number

    def _pairs_of(self, held: _SourcePolicy) -> BitMap:
        """Return the numbers of the pairs that a policy allows now."""
        if held.version != self._version:
            allowed = BitMap()
            for rule in held.policy.rules:
                of_agencies = self._named(rule.agencies, self._of_agency)
                allowed |= of_agencies & self._named(rule.purposes, self._of_purpose)
            held.pairs = allowed
            held.version = self._version
        return held.pairs

    def _named(self, names: tuple[str, ...] | str, pairs: dict[str, BitMap]) -> BitMap:
        """Return the pairs of some agencies or purposes, or of all for `"*"`."""
        if isinstance(names, str):
            return self._every
        found = [pairs[name] for name in names if name in pairs]
        return BitMap.union(*found) if found else BitMap()

    def denial(self, slot: int, source: str, read_region: str | None) -> str | None:
        """Return why an entry may not match a source's read, or None if it may.

        The entry's own region is not checked here.
        """
        if slot not in self.active:
            return NOT_STARTED
        # What `policy_denial` does, without a further call: each match asks this.
        found = self._by_source.get(source)
        if found is None:
            return NO_POLICY
        if found.version != self._version:
            self._pairs_of(found)
        if self._pair_of[slot] not in found.pairs:
            return NOT_ALLOWED
        policy = found.policy
        if policy.regions is not None and not policy_covers(policy, read_region):
            return POLICY_REGION
        return None

    def is_denied(self, slot: int, source: str) -> bool:
        """Return whether the policy of a source, which has one, denies an entry whatever the read's
        region is."""
        return self._pair_of[slot] not in self._pairs_of(self._by_source[source])

    def has_regions(self, source: str) -> bool:
        """Return whether the policy of a source, which has one, asks for the read's region."""
        return self._by_source[source].policy.regions is not None

    def pair_of(self, slot: int) -> int:
        """Return the number of an entry's agency and purpose, which is theirs while any has it."""
        return self._pair_of[slot]

    def policy_denial(self, slot: int, source: str, read_region: str | None) -> str | None:
        """Do as `denial` does, but ignore whether the entry has started."""
        found = self._by_source.get(source)
        if found is None:
            return NO_POLICY
        if self.is_denied(slot, source):
            return NOT_ALLOWED
        if not policy_covers(found.policy, read_region):
            return POLICY_REGION
        return None

    def eligible(self, source: str) -> BitMap:
        """Return the slots that may match on a source's reads now, regardless of regions."""
        return self.allowed(source) & self.active

    def allowed(self, source: str) -> BitMap:
        """Return a new set of the slots that a source's policy allows, started or not."""
        found = self._by_source.get(source)
        if found is None:
            return BitMap()
        return BitMap.union(BitMap(), *[self._slots[each] for each in self._pairs_of(found)])

    @property
    def pairs(self) -> dict[Pair, BitMap]:
        """The slots of each agency and purpose. Callers must not change them."""
        return self._by_pair

    @property
    def policies(self) -> list[tuple[Policy, int]]:
        """All policies, with their revisions."""
        return [(held.policy, held.revision) for held in self._by_source.values()]

    def has_policy(self, source: str) -> bool:
        """Return whether a source has a policy, even one that denies everything."""
        return source in self._by_source

    def revision_of(self, source: str) -> int:
        """Return the revision of a source's policy; KeyError if it has none."""
        return self._by_source[source].revision

    @property
    def policy_count(self) -> int:
        """The number of sources with a policy."""
        return len(self._by_source)
