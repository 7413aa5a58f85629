"""The alert desk in deploy/examples, without a broker: what is marked, decided and reported."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, Final

import orjson
import pytest

from engine.documents.codec import encode
from engine.matching.candidates import Found
from engine.matching.match import Basis, build_match
from engine.plates.likeness import compare
from engine.plates.misreads import Misreads
from engine.plates.normal_form import normalize
from tests.fakes.documents import NOW_MS, detection, entry
from tests.repository.pages import ROOT

_DESK: Final = ROOT / "deploy" / "examples" / "desk"
#: Its programs find their shared module beside them.
sys.path.append(str(_DESK))


def _module(name: str) -> ModuleType:
    path = _DESK / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


desk = _module("desk")
report = _module("report")
records = _module("records")


def a_match(read: str = "ABC-123", listed: str = "ABC123", **fields: Any) -> dict[str, Any]:
    """A match as the topic has it; its entry holds for another hour unless `expires_at` says
    otherwise."""
    fields.setdefault("expires_at", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    read_id = fields.pop("read_id", "R1")
    the_entry = entry(plate=listed, confusables=True, distance=1, **fields)
    the_read = detection(plate=read, read_id=read_id)
    likeness = compare(
        normalize(read),
        listed,
        confusables=True,
        distance=1 if "?" not in listed else 0,
        misreads=Misreads.load().in_region(None),
    )
    assert likeness is not None
    found = Found(the_entry, 17, likeness, normalize(read))
    match = build_match(found, the_read, 0.9, 0, Basis(4, 20, NOW_MS, the_read.captured_ms))
    made: dict[str, Any] = orjson.loads(encode(match))
    return made


def shown(cells: list[list[Any]]) -> str:
    """A plate with what is marked in brackets."""
    return "".join(f"[{character}]" if marked else character for character, marked in cells)


@pytest.mark.parametrize(
    ("read", "listed", "of_read", "of_listed"),
    [
        ("abc-123", "ABC123", "abc-123", "ABC123"),
        ("A8C-123", "ABC123", "A[8]C-123", "A[B]C123"),
        ("ABX 123", "ABC123", "AB[X] 123", "AB[C]123"),
        ("ABC 23", "ABC123", "ABC 23", "ABC[1]23"),
        ("ABC X123", "ABC123", "ABC [X]123", "ABC123"),
        ("ABC123X", "ABC123", "ABC123[X]", "ABC123"),
        ("ABC 123", "ABC?23", "ABC 123", "ABC?23"),
    ],
)
def test_what_differs_is_marked_in_both_plates(
    read: str, listed: str, of_read: str, of_listed: str
) -> None:
    cells = desk.plates(a_match(read, listed))
    assert (shown(cells["read"]), shown(cells["listed"])) == (of_read, of_listed)


def _without(document: dict[str, Any], *path: str) -> bytes:
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return orjson.dumps(document)


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"{", b"[]", b"null", b"1"),
        _without(a_match(), "match_id"),
        _without(a_match(), "entry", "authority"),
        _without(a_match(), "verification", "checks"),
        orjson.dumps({**a_match(), "confidence": "high"}),
        orjson.dumps({**a_match(), "confidence": 7}),
        orjson.dumps({**a_match(), "extra": "X"}).replace(b'"X"', b"NaN"),
        orjson.dumps(a_match(expires_at="2999-01-01T00:00:00Z")).replace(b"2999", b"soon"),
    ],
    ids=range(13),
)
def test_a_record_that_is_no_match_is_named_as_one(value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"^\w+$"):
        records.match_of(value)


def test_a_record_that_is_a_match_is_taken() -> None:
    assert records.match_of(orjson.dumps(a_match(priority=1)))["entry"]["priority"] == 1


def a_desk(*matches: dict[str, Any]) -> Any:
    waiting = desk.Desk()

    async def fill() -> None:
        for match in matches:
            await waiting.came(match)

    asyncio.run(fill())
    return waiting


def test_the_most_urgent_come_first_and_repeats_once() -> None:
    low = a_match(read_id="R1", priority=5)
    high = a_match(read_id="R2", priority=1)
    usual = a_match(read_id="R3")
    ended = a_match(read_id="R4", expires_at="2026-01-31T12:00:00Z")
    state = a_desk(low, high, usual, high, ended).shown()
    assert state["waiting"] == 3
    ids = [match["match_id"] for match in state["matches"]]
    assert ids == [match["match_id"] for match in (high, usual, low)]


def test_a_match_whose_entry_ends_goes() -> None:
    waiting = a_desk(a_match())
    [match] = waiting.waiting.values()
    match["entry"]["expires_at"] = "2026-01-31T12:00:00Z"
    asyncio.run(waiting.drop_ended())
    assert waiting.shown()["waiting"] == 0


def test_a_decision_holds_no_plate_and_no_place() -> None:
    match = a_match("A8C-123")
    checks = [check["check"] for check in match["verification"]["checks"]]
    asked = {"match_id": match["match_id"], "decision": "confirmed", "checked": checks}
    decision = a_desk(match).decide(asked, "J. Doe")
    assert (decision["decided_by"], decision["decision"]) == ("J. Doe", "confirmed")
    text = orjson.dumps(decision)
    for secret in ("A8C", "ABC123", match["read"]["camera"], match["read"]["captured_at"]):
        assert secret.encode() not in text.replace(match["match_id"].encode(), b"")


@pytest.mark.parametrize(
    ("asked", "status", "why"),
    [
        ({"decision": "confirmed"}, 400, "compare everything first"),
        ({"decision": "rejected", "reason": " "}, 400, "say why"),
        ({"decision": "arrest"}, 400, "must be one of"),
        ({"decision": "cannot_tell", "checked": ["weather"]}, 400, "this match's checks"),
        ({"decision": "cannot_tell", "checked": "plate"}, 400, "must be a list"),
        ({"decision": ["confirmed"]}, 400, "must be one of"),
        ({"decision": "cannot_tell", "checked": [["plate"]]}, 400, "this match's checks"),
        ({"decision": "cannot_tell", "match_id": "0"}, 404, "no longer here"),
        ({"decision": "cannot_tell", "match_id": ["a"]}, 404, "no longer here"),
    ],
)
def test_what_is_no_decision_is_refused(asked: dict[str, Any], status: int, why: str) -> None:
    match = a_match()
    waiting = a_desk(match)
    with pytest.raises(desk.Refused, match=why) as refused:
        waiting.decide({"match_id": match["match_id"], "checked": [], **asked}, "J. Doe")
    assert refused.value.status == status


def test_the_first_decision_counts_and_is_named_to_the_second() -> None:
    match = a_match()
    waiting = a_desk(match)
    asked = {"match_id": match["match_id"], "decision": "cannot_tell", "checked": []}
    decision = waiting.decide(asked, "J. Doe")
    asyncio.run(waiting.was_decided(decision))
    with pytest.raises(desk.Refused, match=r"J\. Doe has decided"):
        waiting.decide(asked, "M. Poe")


def decided(number: int, decision: str, confidence: float, **fields: str) -> dict[str, Any]:
    return {
        "match_id": f"{number}",
        "decided_by": "J. Doe",
        "decision": decision,
        "confidence": confidence,
        "match_type": "exact",
        "list_id": "stolen",
        "agency": "PD01",
        **fields,
    }


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"{", b"[]"),
        orjson.dumps(decided(1, "arrested", 0.5)),
        orjson.dumps(decided(1, "confirmed", 5)),
        orjson.dumps({"match_id": "1"}),
    ],
    ids=range(6),
)
def test_a_record_that_is_no_decision_is_named_as_one(value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"^\w+$"):
        records.decision_of(value)


def test_the_report_compares_what_was_right_with_what_was_said() -> None:
    decisions = [
        decided(1, "confirmed", 0.96),
        decided(2, "confirmed", 0.98),
        decided(3, "rejected", 1.0),
        decided(4, "cannot_tell", 0.99),
        decided(3, "confirmed", 1.0),  # a second decision of the same match
        decided(5, "rejected", 0.5, match_type="distance", list_id="permits"),
    ]
    kinds = report.report(decisions, "kind")
    assert [row["group"] for row in kinds] == ["distance 0.50-0.80", "exact 0.95-1.00"]
    exact = kinds[1]
    assert (exact["decided"], exact["confirmed"], exact["rejected"]) == (4, 2, 1)
    assert exact["cannot_tell"] == 1
    assert exact["right"] == pytest.approx(2 / 3)
    # As https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval has it.
    assert exact["95%"] == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert exact["said"] == pytest.approx((0.96 + 0.98 + 1.0) / 3)
    assert [row["group"] for row in report.report(decisions, "list")] == ["permits", "stolen"]
    [agency] = report.report(decisions, "agency")
    assert agency["decided"] == 5
    assert report.report([decided(1, "cannot_tell", 0.2)], "kind")[0]["right"] is None
