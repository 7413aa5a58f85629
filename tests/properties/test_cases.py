"""One table of cases, `data/cases.toml`, for the naive model and for everything that matches."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.plates.likeness import compare
from engine.plates.normal_form import normalize
from tests.fakes.documents import (
    DAY_MS,
    NOW_MS,
    at,
    detection_json,
    entry_json,
    policy_json,
)
from tests.fakes.record_batches import CODECS
from tests.models import naive
from tests.models.naive import Document, Likeness, Matched, Naive, likeness, match_id
from tests.models.near_plates import LISTED_PLATES, misread
from tests.models.real_confidence import how_sure
from tests.models.real_library import LibraryBesideNaive
from tests.models.real_matcher import (
    FLOORS,
    MISREADS,
    Read,
    RealMatcher,
    matched,
    ordered,
    plain,
    positions,
)

with (Path(__file__).parents[1] / "data" / "cases.toml").open("rb") as file:
    CASES: list[Document] = tomllib.load(file)["case"]
_EACH_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])

#: Stands in the table for bytes that are no UTF-8.
_NO_TEXT = "\0"


class Came(NamedTuple):
    """What came of a read, or has to."""

    matches: list[Matched]
    denied: Counter[str]
    folded: int
    rejected: list[str]


class Matcher(Protocol):
    """What a case is tried on. `offset` counts the records of the hot list topic."""

    def put(
        self, offset: int, key: str, entry: Document | None, now_ms: int, *, staged: bool
    ) -> None: ...
    def commit(self) -> None: ...
    def put_policy(self, offset: int, key: str, policy: Document | None, now_ms: int) -> None: ...
    def read(self, read: Read, now_ms: int) -> Came: ...


class ByNaive:
    """The naive model."""

    def __init__(self) -> None:
        self.model = Naive(FLOORS, how_sure)

    def put(
        self, offset: int, key: str, entry: Document | None, now_ms: int, *, staged: bool
    ) -> None:
        self.model.put(offset, key, entry, staged=staged)

    def commit(self) -> None:
        self.model.commit()

    def put_policy(self, offset: int, key: str, policy: Document | None, now_ms: int) -> None:
        self.model.put_policy(key, policy)

    def read(self, read: Read, now_ms: int) -> Came:
        answer = self.model.read(read.document, now_ms, key=read.key, headers=read.headers)
        rejected = [] if answer.rejected is None else [answer.rejected]
        return Came(answer.matches, answer.denied, answer.suppressed, rejected)


class ByMatcher:
    """The matcher, by record batches that the compiled scanner walks, or that aiokafka parses."""

    def __init__(self, *, is_odd: bool) -> None:
        self.real = RealMatcher()
        self._is_odd = is_odd
        self._read_count = 0

    def put(
        self, offset: int, key: str, entry: Document | None, now_ms: int, *, staged: bool
    ) -> None:
        self.real.put(offset, key, entry, now_ms, staged=staged)

    def commit(self) -> None:
        self.real.lists.commit()

    def put_policy(self, offset: int, key: str, policy: Document | None, now_ms: int) -> None:
        self.real.put_policy(offset, key, policy, now_ms)

    def read(self, read: Read, now_ms: int) -> Came:
        self._read_count += 1
        codec = CODECS[self._read_count % len(CODECS)]
        outcome = self.real.read([read], now_ms, codec=codec, is_odd=self._is_odd)
        assert outcome.reads == 1
        assert outcome.batches_parsed_slowly == self._is_odd
        return Came(
            matched(outcome),
            outcome.denied,
            outcome.suppressed,
            [reject.reason for reject in outcome.rejects],
        )


class ByLibrary:
    """The library and the naive model, which have to agree; what comes of a read they are asked
    for themselves."""

    def __init__(self) -> None:
        self._beside = LibraryBesideNaive()

    def put(
        self, offset: int, key: str, entry: Document | None, now_ms: int, *, staged: bool
    ) -> None:
        self._beside.put(offset, key, entry, staged=staged)

    def commit(self) -> None:
        self._beside.commit()

    def put_policy(self, offset: int, key: str, policy: Document | None, now_ms: int) -> None:
        self._beside.put_policy(key, policy)

    def read(self, read: Read, now_ms: int) -> Came:
        self._beside.agree(read.document, now_ms)
        return Came([], Counter(), 0, [])


def play(case: Document, matcher: Matcher) -> Iterator[tuple[Read, int, Came, Came]]:
    """Run a case: each of its reads, when, what comes of it, and what the table says."""
    now_ms = NOW_MS
    #: By entry id: of the entries that reads see, and of those that they would after a commit.
    revisions: dict[str, int] = {}
    to_come: dict[str, int] = {}
    offsets = {"entry": 0, "policy": 0}

    def put(key: str, entry: Document | None, *, staged: bool = False) -> None:
        matcher.put(offsets["entry"], key, entry, now_ms, staged=staged)
        to_come[key] = offsets["entry"]
        if not staged:
            revisions.update(to_come)
        offsets["entry"] += 1

    def put_policy(key: str, policy: Document | None) -> None:
        matcher.put_policy(offsets["policy"], key, policy, now_ms)
        offsets["policy"] += 1

    for policy in case.get("policies", [{}]):
        put_policy("S1", policy_json(**policy))
    for number, fields in enumerate(case["entries"], 1):
        entry = _entry({"entry_id": f"E{number}"} | fields)
        put(entry["entry_id"], entry)
    for number, step in enumerate(case["steps"], 1):
        if "read" in step:
            read = _read(step, f"R{number}")
            came = _sorted(matcher.read(read, now_ms))
            yield read, now_ms, came, _came(step, read, revisions)
        elif "put" in step:
            put(step["put"]["entry_id"], _entry(step["put"]), staged=step.get("staged", False))
        elif "remove" in step:
            put(step["remove"], None, staged=step.get("staged", False))
        elif "policy" in step:
            put_policy("S1", policy_json(**step["policy"]))
        elif "no_policy" in step:
            put_policy(step["no_policy"], None)
        elif "commit" in step:
            matcher.commit()
            revisions.update(to_come)
        else:
            now_ms += 1000 * step["later_s"]


def _entry(fields: Document) -> Document:
    fields = {"suppress_s": 0, "expires_at": at(10 * DAY_MS), **fields}
    for name in fields.pop("without", ()):
        del fields[name]
    for name in ("starts", "expires"):
        if f"{name}_s" in fields:
            fields[f"{name}_at"] = at(1000 * fields.pop(f"{name}_s"))
    return entry_json(**fields)


def _read(step: Document, read_id: str) -> Read:
    captured_at = at(round(1000 * step.get("captured_s", 0)))
    fields = {"captured_at": captured_at, **step.get("with", {})}
    document = detection_json(read_id=read_id, plate=step["read"], **fields)
    headers = tuple(_bytes(value) for value in step.get("headers", ()))
    return Read(document, _key(step), headers)


def _key(step: Document) -> bytes | None:
    if "key" not in step:
        return normalize(step["read"]).encode()
    return _bytes(step["key"]) if step["key"] else None


def _bytes(text: str) -> bytes:
    return b"\xff" if text == _NO_TEXT else text.encode()


def _came(step: Document, read: Read, revisions: dict[str, int]) -> Came:
    matches = []
    for expected in step.get("expect", ()):
        entry_id = expected.get("entry", "E1")
        misread = expected.get("misread")
        wrong = () if misread is None else (misread[1],)
        differing = tuple(expected.get("positions", ()))
        look_alikes = expected.get("look_alikes", set(differing) - set(wrong))
        like = Likeness(expected["type"], tuple(look_alikes), misread and tuple(misread))
        assert positions(like) == differing, "the table contradicts itself"
        alternate: Any = expected.get("alternate")
        source, read_id = read.document["source"], read.document["read_id"]
        found = match_id(entry_id, revisions[entry_id], source, read_id)
        matches.append(
            Matched(
                found,
                entry_id,
                read_id,
                like,
                alternate and (alternate[0], alternate[1] if len(alternate) > 1 else None),
                expected.get("suppressed", 0),
            )
        )
    rejected = [step["rejected"]] if "rejected" in step else []
    denied: Counter[str] = Counter(step.get("denied", ()))
    return _sorted(Came(matches, denied, step.get("folded", 0), rejected))


def _sorted(came: Came) -> Came:
    return came._replace(matches=ordered(came.matches))


@pytest.mark.parametrize(
    "matcher",
    [ByNaive, lambda: ByMatcher(is_odd=False), lambda: ByMatcher(is_odd=True)],
    ids=["naive", "scanned", "parsed"],
)
@_EACH_CASE
def test_the_case(case: Document, matcher: Callable[[], Matcher]) -> None:
    for read, _, came, expected in play(case, matcher()):
        assert came == expected, read


@_EACH_CASE
def test_the_library(case: Document) -> None:
    """Folds nothing and knows no keys: so each read is held to what the naive model says of it
    alone."""
    assert sum(1 for _ in play(case, ByLibrary())) > 0


@_EACH_CASE
def test_the_candidates_of_the_index(case: Document) -> None:
    """Every entry that may be seen and is like the plate, each once; eligible or not."""
    matcher, beside = ByMatcher(is_odd=False), ByNaive()
    for (read, now_ms, _, _), _ in zip(play(case, matcher), play(case, beside), strict=True):
        texts = [read.document["plate"], *_key_texts(read)]
        for plate in {naive.plain_plate(text) for text in texts} - {""}:
            found = list(matcher.real.lists.index.candidates(plate))
            assert len({slot for slot, _, _ in found}) == len(found)
            likes = [(entry.entry_id, plain(like)) for _, entry, like in found]
            assert sorted(likes) == sorted(beside.model.like(plate, now_ms))


def _key_texts(read: Read) -> list[str]:
    return [] if read.key is None else [read.key.decode(errors="replace")]


@given(st.data(), LISTED_PLATES, st.booleans(), st.integers(0, 1))
def test_any_two_plates(data: st.DataObject, listed: str, confusables: bool, distance: int) -> None:
    distance = 0 if "?" in listed else distance
    asked = {"plate": listed, "confusables": confusables, "distance": distance}
    for _ in range(10):
        plate = misread(data.draw, listed)
        like = compare(
            plate,
            listed,
            confusables=confusables,
            distance=distance,
            misreads=MISREADS.in_region(None),
        )
        assert (None if like is None else plain(like)) == likeness(plate, asked)
        assert like is None or like.positions == positions(plain(like))


def test_cases_have_names_of_their_own() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))


def test_the_look_alikes_are_those_that_we_ship() -> None:
    assert {frozenset(group) for group in naive.GROUPS} == {
        frozenset(group) for group in MISREADS.groups
    }
