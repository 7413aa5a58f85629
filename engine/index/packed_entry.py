"""The layout of a packed entry, said once: for the store, and for what is saved to a file.

A packed entry is a MessagePack array. The places of COMMON are those that nearly every entry fills.
The places of RARE follow only if the entry fills one of them. A place that names a table holds the
number of a value in this table of shared values, or the value itself when the table is full.

An optional field of an entry needs one line in `RARE`, behind the others. Saved files hold
packed entries, so this changes their format.

Pure.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from types import NoneType
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import Meta

from engine.documents.fields import Name, Time
from engine.documents.model import Authority, Entry, Vehicle

#: The tables of shared values, and what each holds.
TABLES: Final[dict[str, Any]] = {
    "times": Time,
    "requesters": Name,
    "names": Name,
    "vehicles": Vehicle,
    "instructions": Annotated[str, Meta(max_length=2000)],
}


class PackedField(NamedTuple):
    """One place of a packed entry.

    `kind` is what the entry's field may hold when it is not None, `is_optional` whether it may be
    None, and `table` the table of shared values that a number at this place belongs to.
    """

    name: str
    kind: Any
    is_optional: bool
    table: str | None

    @property
    def is_plain(self) -> bool:
        """Whether a value comes out of MessagePack as it went in."""
        kind = get_args(self.kind)[0] if get_origin(self.kind) is Annotated else self.kind
        return kind in (str, int, bool)


_KINDS: Final = {
    Entry: get_type_hints(Entry, include_extras=True),
    Authority: get_type_hints(Authority, include_extras=True),
}


def _place(name: str, table: str | None = None, of: type[Entry | Authority] = Entry) -> PackedField:
    hint = _KINDS[of][name]
    is_optional = NoneType in get_args(hint)
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] if is_optional else [hint]
    return PackedField(name, reduce(or_, kinds), is_optional, table)


COMMON: Final = (
    _place("entry_id"),
    _place("plate"),
    _place("reference", of=Authority),
    _place("list_id", "names"),
    _place("agency", "names"),
    _place("purpose", "names"),
    _place("kind", "names", of=Authority),
    _place("requested_by", "requesters"),
    _place("created_at", "times"),
    _place("expires_at", "times"),
    _place("vehicle", "vehicles"),
)
RARE: Final = (
    _place("starts_at", "times"),
    _place("region", "names"),
    _place("confusables"),
    _place("priority"),
    _place("instructions", "instructions"),
    _place("area"),
    _place("suppress_s"),
    _place("distance"),
    _place("hours"),
)
#: By name, the number of each place.
AT: Final = {place.name: number for number, place in enumerate(COMMON + RARE)}
