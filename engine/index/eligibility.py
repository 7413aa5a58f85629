"""Eligibility: which entries may match on which sources' reads now, as bitmap algebra.

Each entry has a slot number; a roaring bitmap is a set of slots. There are three kinds of sets:

* `active`: the entries that have started and not expired;
* by (agency, purpose): the entries that share both, the only fields that a policy rules on;
* by source: the entries that the source's policy allows, the union of the second kind over its
  rules.

An entry may match a source's read if its slot is in `active` and in the source's set. A source
without a policy has no set, so nothing matches: default-deny. A rule names agencies and purposes,
or `"*"` for all. Every change updates the sets by source. So a question costs two membership
tests, and a change costs one insertion for each source that allows the pair.

Holds slots, agencies, purposes and sources; never plates or reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyroaring import BitMap

from engine.documents.model import Policy, Rule

Pair = tuple[str, str]

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
    policy: Policy
    revision: int
    allowed: BitMap


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
        #: The sets by source that contain a pair, to be updated with each entry of that pair.
        self._granted: dict[Pair, list[BitMap]] = {}

    def copy(self) -> Eligibility:
        """Return an independent copy."""
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
        """File entries under the agency and purpose that they share, without activating them."""
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
        """Remove entries that share an agency and purpose from all sets."""
        self.active -= slots
        members = self._by_pair[pair]
        members -= slots
        for allowed in self._granted[pair]:
            allowed.difference_update(slots)
        if not members:
            del self._by_pair[pair], self._granted[pair]

    def set_policy(self, policy: Policy, revision: int) -> None:
        """Set a source's policy, which replaces its former one."""
        self.remove_policy(policy.source)
        granted = [pair for pair in self._by_pair if _allows(policy, pair)]
        allowed = BitMap.union(*(self._by_pair[pair] for pair in granted)) if granted else BitMap()
        for pair in granted:
            self._granted[pair].append(allowed)
        self._by_source[policy.source] = _SourcePolicy(policy, revision, allowed)

    def remove_policy(self, source: str) -> None:
        """Remove a source's policy, after which nothing matches on its reads."""
        removed = self._by_source.pop(source, None)
        if removed is not None:
            for sets in self._granted.values():
                sets[:] = [allowed for allowed in sets if allowed is not removed.allowed]

    def denial(self, slot: int, source: str, read_region: str | None) -> str | None:
        """Return why an entry may not match a source's read, or None if it may.

        The entry's own region is not checked here.
        """
        if slot not in self.active:
            return NOT_STARTED
        return self.policy_denial(slot, source, read_region)

    def policy_denial(self, slot: int, source: str, read_region: str | None) -> str | None:
        """Do as `denial` does, but ignore whether the entry has started."""
        found = self._by_source.get(source)
        if found is None:
            return NO_POLICY
        if slot not in found.allowed:
            return NOT_ALLOWED
        if not policy_covers(found.policy, read_region):
            return POLICY_REGION
        return None

    def eligible(self, source: str) -> BitMap:
        """Return the slots that may match on a source's reads now, regardless of regions."""
        found = self._by_source.get(source)
        return BitMap() if found is None else found.allowed & self.active

    def allowed(self, source: str) -> BitMap:
        """Return a new set of the slots that a source's policy allows, started or not."""
        found = self._by_source.get(source)
        return BitMap() if found is None else found.allowed.copy()

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


def _allows(policy: Policy, pair: Pair) -> bool:
    return allowing_rule(policy, pair) is not None
