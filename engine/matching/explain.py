"""Whether a read of a source may match an entry, and by which rule: step by step, for people.

Goes through what the worker asks, in the worker's order, and says of each condition whether it
holds and what was found. What decides is the worker's own: `admission` says whether an entry is
admissible, `eligibility` what a policy allows, `conditions` and what it stands on which reads an
entry rules out. A test holds the verdict to what the worker does.

Pure: looks at the last records of the entry and of the policy, and at one point in time. It
knows no plate but the entry's, and does not show that one.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import decode_entry, decode_policy
from engine.documents.hours import day_and_time, one_line, within
from engine.documents.model import Entry, Location, Policy, Vehicle
from engine.errors import DocumentError, RuleError
from engine.index import eligibility as decides
from engine.matching.conditions import area_in_words, circle_of
from engine.matching.conditions import in_words as place_in_words
from engine.matching.vehicles import compare_vehicles
from engine.matching.vehicles import in_words as vehicle_in_words

#: Why the worker does not hold an entry; the further reasons are those of
#: `engine.index.eligibility`.
NOT_LISTED = "not_listed"
REFUSED = "refused"
EXPIRED = "expired"


class Condition(NamedTuple):
    """One of the worker's questions. `holds` None: what came before leaves nothing to ask."""

    question: str
    holds: bool | None
    found: str
    #: What the worker calls it where it does not hold.
    denial: str


class Said(NamedTuple):
    """What a read says of itself, its plate apart; None: it does not say so."""

    captured_ms: int
    region: str | None = None
    vehicle: Vehicle | None = None
    location: Location | None = None


class Explanation(NamedTuple):
    """All conditions in order; `rule` counts from 1, None where none allows."""

    conditions: tuple[Condition, ...]
    rule: int | None

    @property
    def denial(self) -> str | None:
        """What denies: the first condition that does not hold. None where all do."""
        return next((each.denial for each in self.conditions if not each.holds), None)

    @property
    def may_match(self) -> bool:
        """Whether a read may match."""
        return self.denial is None


def explain(
    entry: tuple[str, bytes | None],
    policy: tuple[str, bytes | None],
    read: Said,
    purposes: Purposes,
    now_ms: int,
) -> Explanation:
    """Explain for an entry id and a source, each with its last record's value.

    A value is None where there is no such record.
    """
    entry_id, entry_value = entry
    source, policy_value = policy
    listed, entry_conditions = _entry(entry_id, entry_value, purposes, now_ms)
    in_force, policy_condition = _policy(source, policy_value)
    place = None
    if listed is not None and in_force is not None:
        place = decides.allowing_rule(in_force, (listed.agency, listed.purpose))
    return Explanation(
        (
            *entry_conditions,
            policy_condition,
            _rule(listed, in_force, place),
            _policy_region(in_force, read.region),
            _entry_region(listed, read.region),
            _entry_vehicle(listed, read.vehicle),
            _entry_area(listed, read.location),
            _entry_hours(listed, read.captured_ms),
        ),
        None if place is None else place + 1,
    )


def _entry(
    entry_id: str, value: bytes | None, purposes: Purposes, now_ms: int
) -> tuple[Entry | None, tuple[Condition, ...]]:
    """The entry, if its record is one that the worker takes, and what there is to say of it."""
    entry, refusal = None, ""
    if value is not None:
        try:
            entry = decode_entry(value)
            check_entry(entry, purposes)
            if entry.entry_id != entry_id:
                raise DocumentError("key_mismatch")
        except (DocumentError, RuleError) as error:
            entry, refusal = None, str(error)
    questions = (
        ("the entry is on a hot list", NOT_LISTED),
        ("the entry is admissible", REFUSED),
        ("the entry has not expired", EXPIRED),
        ("the entry has started", decides.NOT_STARTED),
    )
    answers: list[tuple[bool | None, str]]
    if value is None:
        answers = [(False, "no record of it"), *[(None, "")] * 3]
    elif entry is None:
        answers = [(True, "its last record"), (False, refusal), *[(None, "")] * 2]
    else:
        starts_ms = entry.starts_ms
        answers = [
            (True, f"list {entry.list_id}, agency {entry.agency}, for {entry.purpose}"),
            (True, f"{entry.authority.kind} {entry.authority.reference}"),
            (entry.expires_ms > now_ms, f"expires at {entry.expires_at}"),
            (
                starts_ms is None or starts_ms <= now_ms,
                "from the beginning" if starts_ms is None else f"starts at {entry.starts_at}",
            ),
        ]
    conditions = tuple(
        Condition(question, holds, found, denial)
        for (question, denial), (holds, found) in zip(questions, answers, strict=True)
    )
    return entry, conditions


def _policy(source: str, value: bytes | None) -> tuple[Policy | None, Condition]:
    policy, found = None, "none: by default nothing matches"
    if value is not None:
        try:
            policy = decode_policy(value)
            if policy.source != source:
                raise DocumentError("key_mismatch")
            found = f"set by {policy.updated_by} at {policy.updated_at}"
        except DocumentError as error:
            policy, found = None, f"its last record is none: {error}"
    question = "the source has a policy"
    return policy, Condition(question, policy is not None, found, decides.NO_POLICY)


def _rule(entry: Entry | None, policy: Policy | None, place: int | None) -> Condition:
    holds, found = None, ""
    if entry is not None and policy is not None:
        holds = place is not None
        if place is None:
            found = f"none of {len(policy.rules)} allows {entry.agency} for {entry.purpose}"
        else:
            rule = policy.rules[place]
            found = (
                f"rule {place + 1} of {len(policy.rules)}: agencies {_named(rule.agencies)}, "
                f"purposes {_named(rule.purposes)}"
            )
    question = "a rule of the policy allows agency and purpose"
    return Condition(question, holds, found, decides.NOT_ALLOWED)


def _policy_region(policy: Policy | None, read_region: str | None) -> Condition:
    holds, found = None, ""
    if policy is not None:
        holds = decides.policy_covers(policy, read_region)
        found = "all" if policy.regions is None else f"only {_named(policy.regions)}"
        found = f"{found}; {_said(read_region)}"
    question = "the policy covers the read's region"
    return Condition(question, holds, found, decides.POLICY_REGION)


def _entry_region(entry: Entry | None, read_region: str | None) -> Condition:
    holds, found = None, ""
    if entry is not None:
        holds = not decides.region_excludes(entry.region, read_region)
        found = f"{entry.region or 'any'}; {_said(read_region)}"
    question = "the entry's region does not rule the read out"
    return Condition(question, holds, found, decides.ENTRY_REGION)


def _entry_vehicle(entry: Entry | None, read: Vehicle | None) -> Condition:
    holds, found = None, ""
    if entry is not None:
        listed = entry.vehicle or Vehicle()
        compared = compare_vehicles(read, listed)
        differing = [field for field, result in compared.items() if result == "differs"]
        holds = not differing
        said = _said(None if read is None else vehicle_in_words(read))
        found = f"{vehicle_in_words(listed) or 'any'}; {said}"
        if differing:
            found += f", another {' and '.join(differing)}"
    question = "the entry's vehicle does not rule the read out"
    return Condition(question, holds, found, decides.ENTRY_VEHICLE)


def _entry_area(entry: Entry | None, place: Location | None) -> Condition:
    holds, found = None, ""
    if entry is not None:
        area = "anywhere"
        holds = True
        if entry.area is not None:
            circle = None if place is None else circle_of(entry.area, place)
            area = area_in_words(entry.area, circle)
            holds = place is None or circle is not None
        found = f"{area}; {_said(None if place is None else place_in_words(place))}"
    question = "the entry's area does not rule the read out"
    return Condition(question, holds, found, decides.ENTRY_AREA)


def _entry_hours(entry: Entry | None, captured_ms: int) -> Condition:
    holds, found = None, ""
    if entry is not None:
        hours = entry.hours
        holds = hours is None or within(hours, captured_ms)
        found = "at any time"
        if hours is not None:
            found = f"{one_line(hours)}; the read is of {day_and_time(hours, captured_ms)} there"
    question = "the entry's hours do not rule the read out"
    return Condition(question, holds, found, decides.ENTRY_HOURS)


def _said(what: str | None) -> str:
    return f"the read says {what or 'nothing'}"


def _named(names: tuple[str, ...] | str) -> str:
    return names if isinstance(names, str) else " ".join(names) or "none"
