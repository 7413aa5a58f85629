"""The index as a library beside the naive model: both take the same changes and the same reads."""

from __future__ import annotations

import pytest

from engine import HotListIndex
from engine.errors import DocumentError
from tests.models.naive import Document, Likeness, Matched, Naive
from tests.models.real_matcher import FLOORS, MISREADS, PURPOSES, as_matched, ordered

#: A header that is not of its form: with it all alternates are tried.
_ALL_ALTERNATES = (b"\xff",)


class LibraryBesideNaive:
    """The two of them. The library knows no stages: what is staged is put when it is committed."""

    def __init__(self) -> None:
        self.library = HotListIndex(PURPOSES, MISREADS)
        self._model = Naive(FLOORS)
        self._staged: list[tuple[str, Document | None]] = []

    def put(self, offset: int, key: str, entry: Document | None, *, staged: bool) -> None:
        """An entry, or None for its removal."""
        if not staged:
            self.commit()
        self._model.put(offset, key, entry, staged=staged)
        self._staged.append((key, entry))
        if not staged:
            self.commit()

    def commit(self) -> None:
        """What is staged counts from now on."""
        self._model.commit()
        for key, entry in self._staged:
            added = self.library.add_many([] if entry is None else [entry])
            if entry is None or added.refused:
                self.library.remove_many([key])
        self._staged.clear()

    def put_policy(self, source: str, policy: Document | None) -> None:
        """A policy, or None for its removal."""
        self._model.put_policy(source, policy)
        if policy is None:
            self.library.remove_policy(source)
        else:
            self.library.set_policy(policy)

    def agree(self, read: Document, at_ms: int) -> None:
        """Both make the same matches of a read, with its alternates and without."""
        for headers in (), _ALL_ALTERNATES:
            answer = self._model.read(read, at_ms, headers=headers, suppresses=False)
            snapshot = self.library.snapshot()
            if answer.rejected is not None:
                with pytest.raises(DocumentError):
                    snapshot.match(read, at_ms, alternates=bool(headers))
                continue
            found = snapshot.match(read, at_ms, alternates=bool(headers))
            assert _plain([as_matched(match) for match in found]) == _plain(answer.matches)


_Plain = tuple[str, str, Likeness, tuple[str, float | None] | None]


def _plain(matches: list[Matched]) -> list[_Plain]:
    """Without their ids: the library's revisions are its own."""
    return [
        (match.entry_id, match.read_id, match.likeness, match.alternate)
        for match in ordered(matches)
    ]
