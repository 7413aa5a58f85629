"""The errors that people see.

Each says what went wrong, where, and what to do about it, in one line. Code that meets a
problem it cannot handle raises one of these; the command line prints `str(error)` and exits
with a non-zero status. An error never carries a plate, a read or any other part of a payload,
because it may end up in a log: the caller adds the value only if a person is editing a file of
their own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final, Literal

#: Why a read, or a batch of them, is rejected.
RejectReason = Literal[
    "invalid_json",
    "framed",
    "unframed",
    "envelope",
    "quoted",
    "unknown_schema",
    "invalid_avro",
    "invalid_protobuf",
    "schema",
    "plate_length",
    "key_mismatch",
    "value_missing",
    "value_too_large",
    "corrupt_batch",
    "batch_too_large",
    "unknown_codec",
]


class HotlistError(Exception):
    """The base of all errors that are meant for people.

    Parameters: `what` went wrong, `where` (a file and line, a topic, a setting) and `hint`,
    what to do. `str()` joins them on one line.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.hint:
            text = f"{text}; {self.hint}"
        text = " ".join(text.split())
        # Names of files, keys and ids come from outside: none of them may move a terminal's
        # cursor, or look like a line of ours in a log.
        return "".join(
            letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
        )


class ConfigError(HotlistError):
    """A setting, a flag or the configuration file cannot be used."""


def toml_fault(error: Exception) -> str:
    """Return what the TOML parser found wrong, with the line and column that it names."""
    fault = str(error)
    if fault.startswith(("Cannot overwrite", "Duplicate")) or " twice" in fault:
        _, _, place = fault.rpartition(" (")
        return f"a key or a table stands twice; keep one of them ({place}"
    return fault


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """Return `did you mean NAME?` with the name that is most like the given one, else nothing.

    Letter case and the dashes of flags do not count. A name that begins with what is given comes
    before one that looks like it.
    """
    by_word = {name.lstrip("-").lower(): name for name in names}
    word = given.lstrip("-").lower()
    near = [each for each in by_word if len(word) >= _BEGINNING and each.startswith(word)]
    near += difflib.get_close_matches(word, by_word, n=1, cutoff=_ALIKE)
    return f"did you mean {by_word[near[0]]}?" if near else ""


#: How alike, from 0 to 1, a name must be to be proposed; so many letters are the beginning of one.
_ALIKE: Final = 0.6
_BEGINNING: Final = 3


class BrokerError(HotlistError):
    """The broker cannot be reached, or denies what we need."""


class TopicError(BrokerError):
    """A topic is missing or not configured as the contract says."""


class DocumentError(HotlistError):
    """A document does not match its schema.

    `reason` is why it is rejected, `field` a JSON path such as `$.location.lat` and `rule` what the
    schema requires there. None of them has a value from the document.
    """

    def __init__(
        self, reason: RejectReason, *, field: str = "$", rule: str = "", where: str = ""
    ) -> None:
        super().__init__(f"{field}: {rule}" if rule else reason, where=where)
        self.reason = reason
        self.field = field
        self.rule = rule


class RuleError(HotlistError):
    """An entry is well-formed but the rules do not admit it.

    `field` names the field, `value` is its value and `rule` the rule that it breaks.
    Entries are the lists' own documents, so their values may be shown to their editors.
    """

    def __init__(self, field: str, value: object, rule: str, *, where: str = "") -> None:
        super().__init__(f"{field} {value!r}: {rule}", where=where)
        self.field = field
        self.value = value
        self.rule = rule


class IndexFileError(HotlistError):
    """A saved index cannot be written, read or trusted."""
