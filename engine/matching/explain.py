"""An explanation, step by step, of whether a source's read may match an entry, and by which rule.

It checks the worker's conditions in the worker's order and describes for each one whether it holds
and why. The worker's own functions decide: `admission` whether an entry is admissible,
`eligibility` what a policy allows, and `conditions` which reads an entry excludes. A test compares
the verdict with the worker's.

Pure: it takes the last records of the entry and the policy, and one point in time. It sees no plate
except the entry's, and does not show that one.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.documents.admission import Purposes, admitted
from engine.documents.codec import decode_entry, decode_policy
from engine.documents.hours import day_and_time, one_line, within
from engine.documents.model import Entry, Location, Policy, Vehicle
from engine.errors import DocumentError, RuleError
from engine.index import eligibility as decides
from engine.matching.conditions import area_in_words, circle_of, place_in_words
from engine.matching.vehicles import compare_vehicles, vehicle_in_words

#: The reasons why the worker does not hold an entry; `engine.index.eligibility` has the others.
NOT_LISTED = "not_listed"
REFUSED = "refused"
EXPIRED = "expired"


class Condition(NamedTuple):
    """One condition that the worker checks; `holds` is None if an earlier one makes it moot."""

    question: str
    holds: bool | None
    found: str
    #: The worker's reason if it does not hold.
    denial: str


class DescribedRead(NamedTuple):
    """The fields of a read that conditions check, without its plate; None if it lacks one."""

    captured_ms: int
    region: str | None = None
    vehicle: Vehicle | None = None
    location: Location | None = None


class LastEntry(NamedTuple):
    """The last record of an entry: its value, and its timestamp in milliseconds since 1970."""

    value: bytes
    sent_ms: int


class Explanation(NamedTuple):
    """All conditions in order, and the rule that allows, counted from 1; None if none does."""

    conditions: tuple[Condition, ...]
    rule: int | None

    @property
    def denial(self) -> str | None:
        """The reason of the first condition that does not hold; None if all hold."""
        return next((each.denial for each in self.conditions if not each.holds), None)

    @property
    def may_match(self) -> bool:
        """Whether a read may match."""
        return self.denial is None


def explain(
    entry: tuple[str, LastEntry | None],
    policy: tuple[str, bytes | None],
    read: DescribedRead,
    purposes: Purposes,
    now_ms: int,
) -> Explanation:
    """Explain whether a source's read may match an entry.

    `entry` is an entry id with its last record, and `policy` a source with the value of its last
    record; None if there is no such record.
    """
    entry_id, entry_record = entry
    source, policy_value = policy
    listed, entry_conditions = _entry(entry_id, entry_record, purposes, now_ms)
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
    entry_id: str, record: LastEntry | None, purposes: Purposes, now_ms: int
) -> tuple[Entry | None, tuple[Condition, ...]]:
    """Return the entry, if the worker admits its record, and the conditions on it."""
    entry, refusal = None, ""
    if record is not None:
        try:
            entry = admitted(decode_entry(record.value), purposes, record.sent_ms)
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
    if record is None:
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
        found = f"{found}; {_described(read_region)}"
    question = "the policy covers the read's region"
    return Condition(question, holds, found, decides.POLICY_REGION)


def _entry_region(entry: Entry | None, read_region: str | None) -> Condition:
    holds, found = None, ""
    if entry is not None:
        holds = not decides.region_excludes(entry.region, read_region)
        found = f"{entry.region or 'any'}; {_described(read_region)}"
    question = "the entry's region does not rule the read out"
    return Condition(question, holds, found, decides.ENTRY_REGION)


def _entry_vehicle(entry: Entry | None, read: Vehicle | None) -> Condition:
    holds, found = None, ""
    if entry is not None:
        listed = entry.vehicle or Vehicle()
        compared = compare_vehicles(read, listed)
        differing = [field for field, result in compared.items() if result == "differs"]
        holds = not differing
        said = _described(None if read is None else vehicle_in_words(read))
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
        found = f"{area}; {_described(None if place is None else place_in_words(place))}"
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


def _described(what: str | None) -> str:
    return f"the read says {what or 'nothing'}"


def _named(names: tuple[str, ...] | str) -> str:
    return names if isinstance(names, str) else " ".join(names) or "none"
