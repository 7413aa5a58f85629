"""The purposes file: what we ship, and what a file of one's own may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.documents.purposes import Purpose, Purposes
from engine.errors import ConfigError

CONTRACT_CODES = {
    "stolen_vehicle",
    "stolen_plate",
    "missing_person",
    "endangered_person",
    "wanted_person",
    "protection_order",
    "unpaid_toll",
    "permit",
    "access",
}


def test_the_file_that_we_ship() -> None:
    purposes = Purposes.load()
    assert set(purposes.codes) >= CONTRACT_CODES
    for code in purposes.codes:
        purpose = purposes.get(code)
        assert purpose is not None
        assert purpose.code == code
        assert purpose.title
        assert purpose.description
        assert 1 <= purpose.longest_term_days <= 365
        assert 4 <= purpose.known_characters_floor <= 16


def test_an_unknown_code_is_none() -> None:
    assert Purposes.load().get("curiosity") is None


def write(folder: Path, content: object) -> Path:
    path = folder / "purposes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_a_file_of_ones_own_replaces_ours(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "towing": {"title": "Towing"},
            "ferry": {"title": "Ferry", "longest_term_days": 3, "known_characters_floor": 6},
        },
    )
    purposes = Purposes.load(path)
    assert purposes.codes == ("towing", "ferry")
    assert purposes.get("towing") == Purpose("towing", "Towing", 365, 4)
    assert purposes.get("ferry") == Purpose("ferry", "Ferry", 3, 6)


GOOD = {"title": "Towing"}
CODE = "a code is lower-case letters, digits and _, at most 64, a letter first"
NUMBER = "must be a whole number from 1 to"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[]", "must be an object from purpose code to purpose"),
        ("null", "must be an object from purpose code to purpose"),
        ("{}", "must name 1 to 100 purposes, not 0"),
        ({f"code_{n}": GOOD for n in range(101)}, "must name 1 to 100 purposes, not 101"),
        (
            {"Towing": GOOD},
            f"purpose 'Towing': {CODE}",
        ),
        (
            {"towing\n": GOOD},
            f"purpose 'towing\\n': {CODE}",
        ),
        (
            '{"towing": {"title": "A"}, "towing": {"title": "B"}}',
            "purpose 'towing' stands there twice; keep one of them",
        ),
        (
            '{"towing": {"title": "A", "title": "B"}}',
            "purpose 'towing': title: stands there twice; keep one of them",
        ),
        ({"towing": []}, "purpose 'towing': must be an object"),
        (
            {"towing": {**GOOD, "floor": 3}},
            (
                "purpose 'towing': floor: unknown field; there are "
                "title, longest_term_days, known_characters_floor, description"
            ),
        ),
        ({"towing": {}}, "purpose 'towing': title: is required"),
        (
            {"towing": {"title": 1}},
            "purpose 'towing': title: must be a text of 1 to 100 characters",
        ),
        (
            {"towing": {"title": "T" * 101}},
            "purpose 'towing': title: must be a text of 1 to 100 characters",
        ),
        (
            {"towing": {**GOOD, "description": None}},
            "purpose 'towing': description: must be a text of 0 to 1000 characters",
        ),
        *(
            (
                {"towing": {**GOOD, "longest_term_days": days}},
                f"purpose 'towing': longest_term_days: {NUMBER} 3650",
            )
            for days in (0, 3651, 1.5, "30", True, None)
        ),
        *(
            (
                {"towing": {**GOOD, "known_characters_floor": floor}},
                f"purpose 'towing': known_characters_floor: {NUMBER} 16",
            )
            for floor in (0, 17, 4.0, "4", None)
        ),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, content: Any, what: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        Purposes.load(path)
    assert str(caught.value) == f"{path}: {what}"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_file_that_is_not_json(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "purposes.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"purposes\.json: is not JSON in UTF-8: "):
        Purposes.load(path)
