"""Whether an entry may stand on a hot list.

The schema says what an entry looks like; the rules here say which entries are admissible: for a
known purpose, for no longer than that purpose allows, and on enough known characters that it
is no dragnet, one more where one of them may be wrong. The commands check every entry before
they send it, and the worker checks it again, because anyone with access to the broker can
produce one by hand.

`check_entry` looks at an entry alone, `check_change` at what one puts in the place of another.
Only the commands refuse by the second: after compaction the older entry is gone, and workers
would come to differ.

Pure: no clock (an entry that has expired is not a bad entry), no input or output.
"""

from __future__ import annotations

from typing import Final

from engine.clock import format_time
from engine.documents.hours import zone_names
from engine.documents.model import Entry
from engine.documents.purposes import Purpose as Purpose
from engine.documents.purposes import Purposes as Purposes
from engine.errors import RuleError
from engine.plates.normal_form import WILDCARD, PlateError, is_normal_pattern, normalize

_DAY_MS: Final = 86_400_000


def check_entry(entry: Entry, purposes: Purposes) -> None:
    """Raise RuleError, with field, value and rule, for the first rule that the entry breaks."""
    purpose = purposes.get(entry.purpose)
    if purpose is None:
        raise RuleError(
            "purpose",
            entry.purpose,
            f"is not in the purposes file, which has {', '.join(purposes.codes)}",
        )
    _check_plate(entry, purpose)
    _check_term(entry, purpose)
    if entry.hours is not None and entry.hours.time_zone not in zone_names():
        raise RuleError(
            "hours.time_zone",
            entry.hours.time_zone,
            "must be a time zone of the IANA database such as America/Los_Angeles",
        )


def check_change(old: Entry, new: Entry, purposes: Purposes) -> None:
    """Raise RuleError where `new`, in the place of `old`, reaches further without new authority.

    Both are admissible by themselves (`check_entry`); this is the rule between the two. While
    the authority reference stays the same, so does the day from which the term counts: the
    entry may neither expire later than its purpose's longest term after `old.created_at`, nor
    take a later `created_at`, or it could be carried on for ever, a day at a time.
    """
    check_extension(
        new,
        purposes,
        created_ms=old.created_ms,
        same_reference=old.authority.reference == new.authority.reference,
    )


def check_extension(
    new: Entry, purposes: Purposes, *, created_ms: int, same_reference: bool
) -> None:
    """As `check_change`, of an entry of which only this is known: when it was created, and
    whether its authority reference is the one of `new`."""
    if not same_reference:
        return
    purpose = purposes.get(new.purpose)
    if purpose is None:
        return  # `check_entry` refuses it
    days = purpose.longest_term_days
    if new.expires_ms > created_ms + days * _DAY_MS:
        raise RuleError(
            "authority.reference",
            new.authority.reference,
            f"must be a new one to extend the entry beyond {days} days after "
            f"{format_time(created_ms)}",
        )
    if new.created_ms > created_ms:
        raise RuleError(
            "created_at",
            new.created_at,
            f"must stay {format_time(created_ms)} while authority.reference stays the same",
        )


def _check_plate(entry: Entry, purpose: Purpose) -> None:
    plate = entry.plate
    if not is_normal_pattern(plate):
        raise RuleError("plate", plate, f"must be in normal form{_normal_form(plate)}")
    distance = entry.distance or 0
    if distance and WILDCARD in plate:
        raise RuleError("distance", distance, "a plate with unknown characters takes no distance")
    known = len(plate) - plate.count(WILDCARD)
    # A character that may be wrong narrows as little as an unknown one.
    floor = purpose.known_characters_floor + distance
    if known < floor:
        at_distance = f" with distance {distance}" if distance else ""
        raise RuleError(
            "plate",
            plate,
            f"must have at least {floor} known characters for {purpose.code}{at_distance}, "
            f"not {known}",
        )


def _normal_form(plate: str) -> str:
    """`, which is ABC123`, where that is certain: `?` may stand for a character or for noise."""
    if WILDCARD not in plate:
        try:
            return f", which is {normalize(plate)}"
        except PlateError:
            pass
    return ": capital letters and digits, and ? for one unknown character"


def _check_term(entry: Entry, purpose: Purpose) -> None:
    term_ms = entry.expires_ms - entry.created_ms
    if term_ms <= 0:
        raise RuleError(
            "expires_at", entry.expires_at, f"must be after created_at, {entry.created_at}"
        )
    if term_ms > purpose.longest_term_days * _DAY_MS:
        raise RuleError(
            "expires_at",
            entry.expires_at,
            f"must be at most {purpose.longest_term_days} days after created_at, "
            f"{entry.created_at}, for {purpose.code}",
        )
    if entry.starts_ms is not None and entry.starts_ms >= entry.expires_ms:
        raise RuleError(
            "starts_at", entry.starts_at, f"must be before expires_at, {entry.expires_at}"
        )
