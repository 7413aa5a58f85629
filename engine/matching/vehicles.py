"""Whether a vehicle as read may be the one as listed: many words, few meanings.

Cameras, agencies and NCIC each have words of their own for makes, models, colours and types. The
tables in `vehicles.toml` beside this module, and the codes in `profiles/ncic.toml`, say which of
them mean the same, and which meanings at least do not contradict each other: a general word (`car`)
does not contradict a special one (`sedan`), nor silver gray. Of a text with several words
(`BLK/WHI`) one that agrees is enough.

Two texts differ only if the tables know both of them and they mean different things. A text that
is not known says nothing: it is the same as an equal text, without case, accents and punctuation,
and contradicts none. So a code that no table lists, or a camera's private word, never costs a
match. A part of a text that is not known (`BLK/ZZZ`) may mean anything too.

Models have a table of common ones; the others, among them the codes of NCIC's model field, are
not known.

Pure, except for the tables, which are read once. No word of a read or an entry is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from engine.documents.fields import CheckResult
from engine.documents.model import Vehicle
from engine.errors import ConfigError
from engine.resources import load_toml, read_toml

#: In the usual order of speech.
VEHICLE_FIELDS: Final = ("make", "model", "color", "type")

_SHIPPED: Final = "vehicles.toml"
_CODES: Final = "profiles/ncic.toml"
_WORD: Final = re.compile(r"[^\W_]+")
#: What separates the values of one text, such as two colours.
_PARTS: Final = re.compile(r"[/\\,;|&+]")
#: A meaning that contradicts none.
_ANY: Final = "*"

#: A read that says nothing of the vehicle.
_UNSEEN: Final = Vehicle()

Meanings = frozenset[str]
_NEAR_TO_NONE: Final[Meanings] = frozenset()


_Texts = Annotated[list[str], Meta(description="a list of texts")]
_Table = dict[str, _Texts]


class _Tables(msgspec.Struct):
    make: _Table = {}
    model: _Table = {}
    color: _Table = {}
    type: _Table = {}


class VehicleTables(_Tables):
    """The content of `vehicles.toml`; its comments explain each table."""

    near: _Tables = msgspec.field(default_factory=_Tables)
    nothing: _Texts = []


class Words:
    """The meanings of each field's words, the meanings that do not contradict each other, and the
    texts that say nothing. All texts are normalized."""

    def __init__(
        self,
        words: Mapping[str, dict[str, Meanings]],
        near: Mapping[str, dict[str, Meanings]],
        nothing: frozenset[str],
    ) -> None:
        self._words = words
        self._near = near
        self._nothing = nothing

    def meanings(self, field: str, text: str) -> Meanings:
        """Return the possible meanings of a text of this field; empty if it says nothing.

        `*` is among them if some of the text is not known, and then the text contradicts none.
        """
        words = self._words[field]
        plain_words = _plain_words(text)
        whole = "".join(plain_words)
        if not whole or whole in self._nothing:
            return frozenset()
        if field == "model":
            plain_words = self._without_make(plain_words)
            whole = "".join(plain_words)
        known = words.get(whole)
        if known is not None:
            return known
        found: set[str] = set()
        for part in _PARTS.split(text):
            part_words = _plain_words(part)
            found |= set(_found(words, part_words)) or ({_ANY} if part_words else set())
        return frozenset(found) if found - {_ANY} else frozenset((whole, _ANY))

    def compare(self, field: str, read: str | None, listed: str) -> CheckResult:
        """Compare a read's text of this field with the listed one.

        `differs` only if both are known and mean different things. `unknown` if one of them says
        nothing or is not known, or if they do not contradict each other but are not known to mean
        the same.
        """
        if read is None:
            return "unknown"
        words = self._words[field]
        one = words.get(read.lower())
        if one is not None and (read == listed or one is words.get(listed.lower())):
            return "same"  # most of the time, and without normalizing
        meant_read, meant_listed = self.meanings(field, read), self.meanings(field, listed)
        if not meant_read or not meant_listed:
            return "unknown"
        if (meant_read & meant_listed) - {_ANY}:
            return "same"
        if _ANY in meant_read or _ANY in meant_listed:
            return "unknown"
        near = self._near[field]
        for meaning in meant_read:
            close = near.get(meaning, _NEAR_TO_NONE)
            if _ANY in close or close & meant_listed:
                return "unknown"
        if any(_ANY in near.get(meaning, _NEAR_TO_NONE) for meaning in meant_listed):
            return "unknown"
        return "differs"

    def _without_make(self, words: list[str]) -> list[str]:
        """Return a model's words without a make before them."""
        makes = self._words["make"]
        for count in range(len(words) - 1, 0, -1):
            if "".join(words[:count]) in makes:
                return words[count:]
        return words


def compare_vehicles(read: Vehicle | None, listed: Vehicle) -> dict[str, CheckResult]:
    """Compare each field of the listed vehicle with the read vehicle.

    `unknown` if the read lacks the field, or if its text does not decide.
    """
    if read is None:
        read = _UNSEEN
    # Written out, because each match of an entry with a vehicle comes here.
    compare = shipped_words().compare
    found: dict[str, CheckResult] = {}
    if listed.make is not None:
        found["make"] = compare("make", read.make, listed.make)
    if listed.model is not None:
        found["model"] = compare("model", read.model, listed.model)
    if listed.color is not None:
        found["color"] = compare("color", read.color, listed.color)
    if listed.type is not None:
        found["type"] = compare("type", read.type, listed.type)
    return found


def vehicle_in_words(vehicle: Vehicle) -> str:
    """Return a vehicle in the sender's words; empty if it has none."""
    make, model, color, kind = vehicle.make, vehicle.model, vehicle.color, vehicle.type
    if make and model and color and kind:
        return f"{make} {model} {color} {kind}"  # without a join, because most matches come here
    return " ".join(filter(None, (make, model, color, kind)))


def vehicle_differs(read: Vehicle, listed: Vehicle) -> bool:
    """Return whether any field that both vehicles have differs."""
    compare = shipped_words().compare
    return (
        _differs(compare, "make", read.make, listed.make)
        or _differs(compare, "model", read.model, listed.model)
        or _differs(compare, "color", read.color, listed.color)
        or _differs(compare, "type", read.type, listed.type)
    )


def _differs(compare: Any, field: str, read: str | None, listed: str | None) -> bool:
    # No text differs from itself, which is the usual case.
    return (
        read != listed
        and read is not None
        and listed is not None
        and compare(field, read, listed) == "differs"
    )


def _plain_words(text: str) -> list[str]:
    if not text.isascii():
        plain = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in plain if not unicodedata.combining(char))
    return _WORD.findall(text.casefold())


def _plain(text: str) -> str:
    return "".join(_plain_words(text))


def _found(words: Mapping[str, Meanings], plain_words: list[str]) -> Iterator[str]:
    """Yield the meanings of the known runs of words, the longest first; skip other words."""
    at = 0
    while at < len(plain_words):
        for end in range(len(plain_words), at, -1):
            known = words.get("".join(plain_words[at:end]))
            if known is not None:
                yield from known
                at = end - 1
                break
        at += 1


@cache
def shipped_words() -> Words:
    """Return the shipped words."""
    codes, _ = read_toml(_CODES)
    tables, _ = load_toml(VehicleTables, _SHIPPED)
    return words_of(tables, codes["values"])


def words_of(tables: VehicleTables, codes: Mapping[str, Mapping[str, str]]) -> Words:
    """Return the words of `vehicles.toml`, with the codes of a profile's values.

    Raises ConfigError if a word has two meanings, or a code has no meaning.
    """
    near = {field: getattr(tables.near, field) for field in VEHICLE_FIELDS}
    words = {field: _words(field, getattr(tables, field)) for field in VEHICLE_FIELDS}
    for field in VEHICLE_FIELDS:
        _add_codes(field, words[field], codes.get(f"vehicle_{field}", {}))
    close = {field: _near(field, words[field], near[field]) for field in VEHICLE_FIELDS}
    return Words(words, close, frozenset(map(_plain, tables.nothing)))


def _words(field: str, content: Mapping[str, list[str]]) -> dict[str, Meanings]:
    words: dict[str, Meanings] = {}
    for meaning, synonyms in content.items():
        means = frozenset((_plain(meaning),))
        for word in (meaning, *synonyms):
            plain = _plain(word)
            if plain in words:
                raise _refused(f"{field}.{meaning}", f"{word!r} has a meaning already")
            words[plain] = means
    return words


def _add_codes(field: str, words: dict[str, Meanings], codes: Mapping[str, str]) -> None:
    for code, word in codes.items():
        if not word:
            continue  # the code says nothing
        means = words.get(_plain(word))
        if means is None:
            raise _refused(field, f"lacks {word!r}, the word for {code} in {_CODES}")
        if words.setdefault(_plain(code), means) != means:
            raise _refused(field, f"{code!r} has another meaning in {_CODES}")


def _near(
    field: str, words: Mapping[str, Meanings], content: Mapping[str, list[str]]
) -> dict[str, Meanings]:
    near: dict[str, set[str]] = {}
    for meaning, others in content.items():
        for other in others:
            pair = [_plain(meaning), "*" if other == "*" else _plain(other)]
            for side in pair:
                if side != "*" and words.get(side) != frozenset((side,)):
                    raise _refused(f"near.{field}.{meaning}", f"{side!r} is no meaning of a word")
            near.setdefault(pair[0], set()).add(pair[1])
            near.setdefault(pair[1], set()).add(pair[0])
    return {meaning: frozenset(others) for meaning, others in near.items() if meaning != "*"}


def _refused(key: str, rule: str) -> ConfigError:
    return ConfigError(rule, where=f"{_SHIPPED}: {key}")
