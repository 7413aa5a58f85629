"""Entries as digests: what it takes to tell whether two are the same, in some fifty bytes each.

A digest has the hash of the entry's id, of its content and of its authority reference, the two
times that bound its life, its list, its agency and who asked for it. The content is all of the
entry but its id, `created_at`, `expires_at` and `requested_by`: those are what an entry keeps while
it stands. Lists, agencies and people are numbers in a `Names` that the digests to be compared
share.

Hashes are 64-bit xxh3: among a million entries, two different ids are taken for the same in one
list out of thirty million. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from engine.documents.model import Entry

_json = msgspec.json.Encoder().encode
_hash = xxhash.xxh3_64_intdigest


class Names:
    """Texts by number, each kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def number(self, text: str) -> int:
        """The text's number, a new one for a new text."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number

    def text(self, number: int) -> str:
        """The text with this number."""
        return self._texts[number]


#: What an entry keeps while it stands.
_content = attrgetter(
    *(
        name
        for name in Entry.__struct_fields__
        if name not in ("entry_id", "created_at", "expires_at", "requested_by")
    )
)


def id_hash(entry_id: bytes) -> int:
    """The hash of an entry's id."""
    return _hash(entry_id)


class DigestColumns(NamedTuple):
    """Digests as arrays, one place an entry."""

    ids: NDArray[np.uint64]
    contents: NDArray[np.uint64]
    references: NDArray[np.uint64]
    created_ms: NDArray[np.int64]
    expires_ms: NDArray[np.int64]
    lists: NDArray[np.int32]
    agencies: NDArray[np.int32]
    requested_by: NDArray[np.int32]

    def at(self, places: NDArray[np.int64]) -> DigestColumns:
        """Those at these places; anything where a place is -1."""
        columns: Iterable[NDArray[Any]] = self
        if not len(self.ids):
            columns = [np.zeros(1, dtype=dtype) for dtype in _DTYPES]
        return DigestColumns(*(column[places] for column in columns))


_TYPECODES: Final = "QQQqqiii"
_DTYPES: Final = (np.uint64, np.uint64, np.uint64, np.int64, np.int64, *[np.int32] * 3)


class Digests:
    """Digests, one after the other, in arrays that grow."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._arrays = [array(code) for code in _TYPECODES]

    def __len__(self) -> int:
        return len(self._arrays[0])

    def add(self, entry_id: bytes, entry: Entry, created_ms: int, expires_ms: int) -> None:
        """The digest of one entry."""
        ids, contents, references, created, expires, lists, agencies, requested = self._arrays
        ids.append(_hash(entry_id))
        contents.append(_hash(_json(_content(entry))))
        references.append(_hash(entry.authority.reference.encode()))
        created.append(created_ms)
        expires.append(expires_ms)
        lists.append(self._names.number(entry.list_id))
        agencies.append(self._names.number(entry.agency))
        requested.append(self._names.number(entry.requested_by))

    def add_without_entry(
        self, entry_id: bytes, mark: int, reference: int = 0, created_ms: int = 0
    ) -> None:
        """An id without an entry; `mark`, below zero, stands in the place of its list."""
        digest = (_hash(entry_id), 0, reference, created_ms, 0, mark, 0, 0)
        for values, value in zip(self._arrays, digest, strict=True):
            values.append(value)

    def columns(self) -> DigestColumns:
        """The digests as arrays. While they are in use, no digest can be added."""
        return DigestColumns(
            *(
                np.frombuffer(values, dtype=dtype)
                for values, dtype in zip(self._arrays, _DTYPES, strict=True)
            )
        )
