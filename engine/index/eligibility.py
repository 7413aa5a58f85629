"""Who may match on whose reads, and when: eligibility as bitmap algebra.

Each entry has a slot number; a roaring bitmap is a set of slots. Three kinds of sets are kept:

* `active`: started and not expired;
* by (agency, purpose): the entries that share both, the only fields that a policy rules on;
* by source: what the source's policy allows, the union of the former over its rules.

An entry may match a source's read where its slot is in `active` and in the source's set. A
source without a policy has no set, so nothing matches: default-deny. A rule names agencies and
purposes, or `"*"` for all. The sets by source are kept current with every change, so that a
question costs two membership tests and a change costs one insertion for each source that
allows the pair.

Knows slots, agencies, purposes and sources; never plates or reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyroaring import BitMap

from engine.documents.model import Policy, Rule

Pair = tuple[str, str]

#: Why an entry did not match a read of its plate (label `reason` of hotlist_denied_total).
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
#: Those of them that a source's policy, or its absence, is the cause of.
POLICY_DENIALS = (NO_POLICY, NOT_ALLOWED, POLICY_REGION)


def region_covers(region: str, other: str) -> bool:
    """Whether a region is another or contains it: `US` covers `US-CA`."""
    return other == region or other.startswith(region + "-")


def allowing_rule(policy: Policy, pair: Pair) -> int | None:
    """The place, from 0, of the first rule that allows an agency and purpose; None: none does."""
    for place, rule in enumerate(policy.rules):
        if _rule_allows(rule, pair):
            return place
    return None


def policy_covers(policy: Policy, read_region: str | None) -> bool:
    """Whether a policy is about a read: if it names regions, one of them covers the read's.

    A permission must be shown to hold, so a read without a region is in none.
    """
    return policy.regions is None or any(
        read_region is not None and region_covers(region, read_region) for region in policy.regions
    )


def region_excludes(entry_region: str | None, read_region: str | None) -> bool:
    """Whether an entry's region rules a read's out. A read without a region is not excluded."""
    return (
        entry_region is not None
        and read_region is not None
        and not region_covers(entry_region, read_region)
        and not region_covers(read_region, entry_region)
    )


@dataclass(slots=True)
class _SourcePolicy:
    policy: Policy
    revision: int
    allowed: BitMap


def _rule_allows(rule: Rule, pair: Pair) -> bool:
    agency, purpose = pair
    return (rule.agencies == "*" or agency in rule.agencies) and (
        rule.purposes == "*" or purpose in rule.purposes
    )


class Eligibility:
    """The sets of the module's description. Belongs to one thread."""

    def __init__(self) -> None:
        self.active: BitMap = BitMap()
        self._by_pair: dict[Pair, BitMap] = {}
        self._by_source: dict[str, _SourcePolicy] = {}
        #: Which sources' sets a pair is part of: what to change with an entry of that pair.
        self._granted: dict[Pair, list[BitMap]] = {}

    def copy(self) -> Eligibility:
        """Sets of their own with the same slots and policies."""
        copied = Eligibility()
        copied.active = self.active.copy()
        copied._by_pair = {pair: members.copy() for pair, members in self._by_pair.items()}
        copied._by_source = {
            source: _SourcePolicy(held.policy, held.revision, held.allowed.copy())
            for source, held in self._by_source.items()
        }
        sets = {
            id(held.allowed): copied._by_source[source].allowed
            for source, held in self._by_source.items()
        }
        copied._granted = {
            pair: [sets[id(allowed)] for allowed in granted]
            for pair, granted in self._granted.items()
        }
        return copied

    def file(self, slots: list[int] | BitMap, pair: Pair) -> None:
        """Note the agency and purpose that entries share; they are not active by that."""
        members = self._by_pair.get(pair)
        if members is None:
            members = self._by_pair[pair] = BitMap()
            self._granted[pair] = [
                source.allowed
                for source in self._by_source.values()
                if _allows(source.policy, pair)
            ]
        members.update(slots)
        for allowed in self._granted[pair]:
            allowed.update(slots)

    def unfile(self, slots: BitMap, pair: Pair) -> None:
        """Take entries that share an agency and purpose out of all sets."""
        self.active -= slots
        members = self._by_pair[pair]
        members -= slots
        for allowed in self._granted[pair]:
            allowed.difference_update(slots)
        if not members:
            del self._by_pair[pair], self._granted[pair]

    def set_policy(self, policy: Policy, revision: int) -> None:
        """Put a source's policy in place of the one it had."""
        self.remove_policy(policy.source)
        granted = [pair for pair in self._by_pair if _allows(policy, pair)]
        allowed = BitMap.union(*(self._by_pair[pair] for pair in granted)) if granted else BitMap()
        for pair in granted:
            self._granted[pair].append(allowed)
        self._by_source[policy.source] = _SourcePolicy(policy, revision, allowed)

    def remove_policy(self, source: str) -> None:
        """Drop a source's policy: nothing matches on its reads any more."""
        removed = self._by_source.pop(source, None)
        if removed is not None:
            for sets in self._granted.values():
                sets[:] = [allowed for allowed in sets if allowed is not removed.allowed]

    def denial(self, slot: int, source: str, read_region: str | None) -> str | None:
        """Why an entry may not match a source's read; None where it may.

        The entry's own region is not looked at here.
        """
        if slot not in self.active:
            return NOT_STARTED
        return self.policy_denial(slot, source, read_region)

    def policy_denial(self, slot: int, source: str, read_region: str | None) -> str | None:
        """As `denial`, whether the entry has started or not."""
        found = self._by_source.get(source)
        if found is None:
            return NO_POLICY
        if slot not in found.allowed:
            return NOT_ALLOWED
        if not policy_covers(found.policy, read_region):
            return POLICY_REGION
        return None

    def eligible(self, source: str) -> BitMap:
        """The slots that may match on a source's reads now, regions left aside."""
        found = self._by_source.get(source)
        return BitMap() if found is None else found.allowed & self.active

    def allowed(self, source: str) -> BitMap:
        """The slots that a source's policy allows, started or not; the caller's own."""
        found = self._by_source.get(source)
        return BitMap() if found is None else found.allowed.copy()

    @property
    def pairs(self) -> dict[Pair, BitMap]:
        """The slots of each agency and purpose. To be read, not changed."""
        return self._by_pair

    @property
    def policies(self) -> list[tuple[Policy, int]]:
        """All policies, with their revisions."""
        return [(held.policy, held.revision) for held in self._by_source.values()]

    def has_policy(self, source: str) -> bool:
        """Whether a source has a policy, if only one that denies all."""
        return source in self._by_source

    def revision_of(self, source: str) -> int:
        """The revision of a source's policy; KeyError where it has none."""
        return self._by_source[source].revision

    @property
    def policy_count(self) -> int:
        """Sources with a policy."""
        return len(self._by_source)


def _allows(policy: Policy, pair: Pair) -> bool:
    return allowing_rule(policy, pair) is not None
