"""Whether an entry is admissible on a hot list.

The schema defines the form of an entry. The rules here decide which entries are admissible. An
entry needs a known purpose and a term no longer than that purpose allows. It also needs enough
known characters not to be a dragnet, and one more if one of them may be wrong. The commands check
every entry before they send it. The worker checks it again, because anyone with access to the
broker can produce one by hand.

`admitted` is for entries of the topic: it also takes a plate in the normal form of version 0.1.

`check_entry` checks one entry alone and, with the time at which it was sent, that it was not
created after that. `check_change` checks an entry against the one that it replaces. Only the
commands refuse by `check_change`, because compaction may have removed the older entry, and workers
would then reach different states.

Pure: no clock (an expired entry is not a bad entry), no input or output.
"""

from __future__ import annotations

from typing import Final

import msgspec

from engine import limits
from engine.clock import format_time
from engine.documents.hours import zone_names
from engine.documents.model import Entry
from engine.documents.purposes import Purpose as Purpose
from engine.documents.purposes import Purposes as Purposes
from engine.errors import RuleError
from engine.plates.normal_form import WILDCARD, PlateError, is_normal_pattern, normalize, updated

_DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000


def check_entry(entry: Entry, purposes: Purposes, sent_ms: int | None = None) -> None:
    """Raise RuleError for the first rule that the entry breaks, with its field and value.

    `sent_ms` is the timestamp of the entry's record. A worker that starts later must decide the
    same, so its own clock does not count. None if there is no record.
    """
    purpose = purposes.get(entry.purpose)
    if purpose is None:
        raise unknown_purpose(entry.purpose, purposes)
    created_ms = entry.created_ms
    _check_plate(entry, purpose)
    _check_term(entry, purpose, created_ms, entry.expires_ms)
    if sent_ms is not None and created_ms > sent_ms:
        check_created(entry.created_at, created_ms, sent_ms)
    if entry.hours is not None and entry.hours.time_zone not in zone_names():
        raise RuleError(
            "hours.time_zone",
            entry.hours.time_zone,
            "must be a time zone of the IANA database such as America/Los_Angeles",
        )


def unknown_purpose(code: str, purposes: Purposes) -> RuleError:
    """Return the error of a purpose that the purposes file does not have."""
    known = ", ".join(purposes.codes)
    return RuleError("purpose", code, f"is not in the purposes file, which has {known}")


def admitted(entry: Entry, purposes: Purposes, sent_ms: int) -> Entry:
    """Return the entry of a record as it is listed, with its plate in today's normal form.

    An entry that version 0.1 sent may have the normal form of that version, and must not end with
    an upgrade. Raises RuleError as `check_entry` does.
    """
    plate = entry.plate
    if not plate.isascii():
        plate = updated(plate) or plate
        if plate != entry.plate:
            entry = msgspec.structs.replace(entry, plate=plate)
    check_entry(entry, purposes, sent_ms)
    return entry


def check_created(created_at: str, created_ms: int, sent_ms: int) -> None:
    """Raise RuleError if an entry was created after it was sent, clock skew aside.

    Its term would otherwise begin in the future, and the entry would match long before that. A
    record without a timestamp (-1) proves nothing, so its entry is refused as well.
    """
    if created_ms > sent_ms + limits.CREATED_AHEAD_MS:
        minutes = limits.CREATED_AHEAD_MS // _MINUTE_MS
        rule = f"must be at most {minutes} minutes after the time at which the entry is sent"
        raise RuleError(
            "created_at", created_at, f"{rule}, {format_time(sent_ms)}" if sent_ms >= 0 else rule
        )


def check_change(old: Entry, new: Entry, purposes: Purposes) -> None:
    """Raise RuleError if `new` extends `old`, which it replaces, without a new authority.

    Each is admissible by itself (`check_entry`). While the authority reference stays the same, the
    term counts from the same day. So the entry may not expire later than its purpose's longest
    term after `old.created_at`, and may not take a later `created_at`. Otherwise it could be
    extended for ever, a day at a time.
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
    """Check as `check_change` does, with less knowledge of the older entry.

    Only its time of creation is known, and whether it has the authority reference of `new`.
    """
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
    """Return `, which is ABC123` if that is certain: `?` may be a character or noise."""
    if WILDCARD not in plate:
        try:
            return f", which is {normalize(plate)}"
        except PlateError:
            pass
    return ": capital letters and digits, and ? for one unknown character"


def _check_term(entry: Entry, purpose: Purpose, created_ms: int, expires_ms: int) -> None:
    term_ms = expires_ms - created_ms
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
    starts_ms = entry.starts_ms
    if starts_ms is not None and starts_ms >= expires_ms:
        raise RuleError(
            "starts_at", entry.starts_at, f"must be before expires_at, {entry.expires_at}"
        )
