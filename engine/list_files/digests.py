"""Entries as digests: what is needed to compare two entries, in some fifty bytes each.

A digest holds the hashes of the entry's id, content and authority reference, the two times that
bound its life, its list and its requester. The content is everything in the entry except its id,
`created_at`, `expires_at` and `requested_by`: an entry keeps those while it is listed. Lists and
requesters are numbers in a `Names`, which all digests of a comparison share.

Hashes are 64-bit xxh3: with a million entries, two different ids collide in one list out of
thirty million. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from engine.documents.model import Authority

_json = msgspec.json.Encoder().encode
_hash = xxhash.xxh3_64_intdigest


class Names:
    """Texts by number, each held once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def number(self, text: str) -> int:
        """Return the text's number; a new text gets a new number."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number

    def text(self, number: int) -> str:
        """Return the text with this number."""
        return self._texts[number]


class Listed(Protocol):
    """The fields of an entry that a digest needs; the times in ms are passed separately."""

    @property
    def list_id(self) -> str: ...
    @property
    def plate(self) -> str: ...
    @property
    def agency(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def authority(self) -> Authority: ...
    @property
    def requested_by(self) -> str: ...
    @property
    def starts_at(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...
    @property
    def confusables(self) -> bool | None: ...
    @property
    def vehicle(self) -> Any: ...
    @property
    def priority(self) -> int | None: ...
    @property
    def instructions(self) -> str | None: ...
    @property
    def area(self) -> Any: ...
    @property
    def suppress_s(self) -> int | None: ...
    @property
    def distance(self) -> int | None: ...
    @property
    def hours(self) -> Any: ...


def id_hash(entry_id: bytes) -> int:
    """Return the hash of an entry's id."""
    return _hash(entry_id)


class DigestColumns(NamedTuple):
    """Digests as arrays, one position for each entry."""

    ids: NDArray[np.uint64]
    contents: NDArray[np.uint64]
    references: NDArray[np.uint64]
    created_ms: NDArray[np.int64]
    expires_ms: NDArray[np.int64]
    lists: NDArray[np.int32]
    requested_by: NDArray[np.int32]

    def at(self, places: NDArray[np.int64]) -> DigestColumns:
        """Return the digests at these positions; the values at a position of -1 are arbitrary."""
        columns: Iterable[NDArray[Any]] = self
        if not len(self.ids):
            columns = [np.zeros(1, dtype=dtype) for dtype in _DTYPES]
        return DigestColumns(*(column[places] for column in columns))


_TYPECODES: Final = "QQQqqii"
_DTYPES: Final = (np.uint64, np.uint64, np.uint64, np.int64, np.int64, np.int32, np.int32)


class Digests:
    """Digests in arrays that grow."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._arrays = [array(code) for code in _TYPECODES]

    def __len__(self) -> int:
        return len(self._arrays[0])

    def add(self, entry_id: bytes, entry: Listed, created_ms: int, expires_ms: int) -> None:
        """Add the digest of one entry."""
        authority = entry.authority
        ids, contents, references, created, expires, lists, requested = self._arrays
        ids.append(_hash(entry_id))
        contents.append(
            _hash(
                _json(
                    (
                        entry.list_id,
                        entry.plate,
                        entry.agency,
                        entry.purpose,
                        authority,
                        entry.starts_at,
                        entry.region,
                        entry.confusables,
                        entry.vehicle,
                        entry.priority,
                        entry.instructions,
                        entry.area,
                        entry.suppress_s,
                        entry.distance,
                        entry.hours,
                    )
                )
            )
        )
        references.append(_hash(authority.reference.encode()))
        created.append(created_ms)
        expires.append(expires_ms)
        lists.append(self._names.number(entry.list_id))
        requested.append(self._names.number(entry.requested_by))

    def add_without_entry(self, entry_id: bytes, mark: int) -> None:
        """Add an id without an entry; `mark`, below zero, takes the place of its list."""
        for values, value in zip(self._arrays, (_hash(entry_id), 0, 0, 0, 0, mark, 0), strict=True):
            values.append(value)

    def columns(self) -> DigestColumns:
        """Return the digests as arrays. While they are in use, no digest can be added."""
        return DigestColumns(
            *(
                np.frombuffer(values, dtype=dtype)
                for values, dtype in zip(self._arrays, _DTYPES, strict=True)
            )
        )
