"""Which alternates are tried, and in what order."""

from __future__ import annotations

import pytest

from engine.wire.alternates import asked_by, asked_for, to_try
from tests.fakes.documents import detection


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ([], set()),
        ([b""], set()),
        ([None], set()),
        ([b"ABC123"], {"ABC123"}),
        ([b"ABC123,ABC128"], {"ABC123", "ABC128"}),
        ([b"A,A,B"], {"A", "B"}),
        (["MÜ1,Ж2".encode()], {"MÜ1", "Ж2"}),
        ([b",".join([b"A%d" % number for number in range(16)])], {f"A{n}" for n in range(16)}),
        ([b",".join([b"A%d" % number for number in range(17)])], None),
        ([b"abc123"], None),
        ([b"ABC 123"], None),
        ([b"ABC123, ABC128"], None),
        ([b"ABC123,"], None),
        ([b","], None),
        ([b"A?C123"], None),
        ([b"\xff"], None),
        ([b"A" * 17], None),
        ([b"A" * 10_000_000], None),
        ([("Ü" * 16 + ",A").encode()], {"Ü" * 16, "A"}),
        ([b"ABC123", b"ABC128"], None),
        ([b"", b""], None),
    ],
)
def test_what_a_header_asks_for(values: list[bytes | None], asked: set[str] | None) -> None:
    assert asked_for(values) == (None if asked is None else frozenset(asked))


def test_other_headers_ask_for_nothing() -> None:
    others = [("Alternates", b"A"), ("alternate", b"A"), ("x", None)]
    assert asked_by(others) == frozenset()
    assert asked_by([*others, ("alternates", b"A,B")]) == frozenset({"A", "B"})


def alternates(*read: tuple[str, float | None]) -> list[dict[str, object]]:
    return [
        {"plate": plate} if confidence is None else {"plate": plate, "confidence": confidence}
        for plate, confidence in read
    ]


def tried(asked: set[str] | None, *read: tuple[str, float | None]) -> list[tuple[str, str]]:
    seen = detection(alternates=alternates(*read))
    wanted = None if asked is None else frozenset(asked)
    return [(normal, each.plate) for normal, each in to_try(seen, "ABC123", wanted)]


def test_the_most_confident_first_and_those_without_a_confidence_last() -> None:
    read = [("b", None), ("c", 0.1), ("d", 0.9), ("e", None), ("f", 0.1), ("g", 0.0)]
    order = ["D", "C", "F", "G", "B", "E"]
    assert [normal for normal, _ in tried(None, *read)] == order
    assert [normal for normal, _ in tried({"B", "G", "D"}, *read)] == ["D", "G", "B"]


def test_an_alternate_counts_where_header_and_value_agree() -> None:
    read = [("ABC-128", 0.5), ("ABC12B", 0.4)]
    assert tried({"ABC128"}, *read) == [("ABC128", "ABC-128")]
    assert tried({"ABC12B", "NOTHERE"}, *read) == [("ABC12B", "ABC12B")]
    assert tried({"NOTHERE"}, *read) == []
    assert tried(set(), *read) == []
    assert tried(None, *read) == [("ABC128", "ABC-128"), ("ABC12B", "ABC12B")]


def test_what_says_nothing_new_is_passed_over() -> None:
    """The read's own plate, repeats, and what has no normal form."""
    read = [("abc 128", 0.2), ("ABC128", 0.7), ("abc-123", 0.9), ("--", 0.9), ("X" * 17, 0.9)]
    assert tried(None, *read) == [("ABC128", "ABC128")]
    assert to_try(detection(), "ABC123", None) == []
