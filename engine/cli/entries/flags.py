"""Flags that supply fields of entries: what is wrong with one is a usage error that names it.

Those that supply a field to all rows are checked before the first row is read. A wrong flag would
otherwise be an error of each row, and so would a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from engine.clock import format_time, parse_time
from engine.documents.admission import Purposes, check_entry, unknown_purpose
from engine.documents.codec import decode_entry
from engine.errors import ConfigError, DocumentError, HotlistError, RuleError, did_you_mean
from engine.list_files.rows import Supplied, problem_of
from engine.list_files.text import EntryFileError
from engine.list_files.unfilled import UnfilledError, listed

_FLAGS: Final = {
    "list_id": "--list",
    "agency": "--agency",
    "purpose": "--purpose",
    "authority": "--authority-kind and --authority-ref",
    "authority.kind": "--authority-kind",
    "authority.reference": "--authority-ref",
    "requested_by": "--requested-by",
    "expires_at": "--expires-in",
}
_HOUR_MS: Final = 3_600_000
#: Right in every field, so that what is wrong is a flag. It has as many characters as a plate may.
_SAMPLE: Final[dict[str, Any]] = {
    "entry_id": "sample",
    "list_id": "sample",
    "plate": "ABCDEFGH12345678",
    "agency": "SAMPLE",
    "requested_by": "sample",
}


def check_flags(supplied: Supplied, purposes: Purposes) -> None:
    """Raise ConfigError if a flag has a value that no row can have.

    How far off `--expires-in` may be depends on the purpose, so it counts only with `--purpose`.
    """
    fresh = dict(supplied.fresh)
    if "purpose" not in supplied.flags or "expires_at" not in fresh:
        fresh["expires_at"] = format_time(parse_time(fresh["created_at"]) + _HOUR_MS)
    authority = {"kind": "case", "reference": "sample"} | dict(supplied.flags.get("authority", {}))
    sample = {
        **_SAMPLE,
        "purpose": purposes.codes[0],
        **fresh,
        **supplied.flags,
        "authority": authority,
    }
    try:
        entry = decode_entry(orjson.dumps(sample))
        if "purpose" in supplied.flags and purposes.get(entry.purpose) is None:
            raise unknown_purpose(entry.purpose, purposes)
        if "purpose" in supplied.flags and "expires_at" in supplied.fresh:
            check_entry(entry, purposes)
    except DocumentError as error:
        field = error.field.removeprefix("$.")
        raise ConfigError(error.rule, where=_FLAGS.get(field, field)) from None
    except RuleError as error:
        value = "" if error.field == "expires_at" else f"{error.value!r}: "
        meant = did_you_mean(str(error.value), purposes.codes) if error.field == "purpose" else ""
        raise ConfigError(
            f"{value}{error.rule}", where=_FLAGS.get(error.field, error.field), hint=meant
        ) from None


def wrong_entry(error: DocumentError | RuleError, document: Mapping[str, Any]) -> ConfigError:
    """Return the error of an entry that flags describe and that breaks a rule."""
    flag = _FLAGS.get(error.field.removeprefix("$."))
    is_missing = flag is not None and error.rule == "is required"
    return ConfigError(problem_of(error, document), hint=f"set {flag}" if is_missing else "")


def missing_flags(error: UnfilledError) -> HotlistError:
    """Return the error of a file without columns for these fields, with what gives them."""
    flags = [_FLAGS[path] for path in error.paths if path in _FLAGS]
    if len(flags) < len(error.paths):
        # No flag gives a plate: the columns have other names than the profile's.
        hint = "--profile auto --dry-run proposes a profile for its columns"
        return EntryFileError(error.what, where=error.where, hint=hint)
    return ConfigError(error.what, where=error.where, hint=f"set {listed(flags, 'and')}")
