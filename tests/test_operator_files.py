"""Files that an operator writes: a fault is one line with the file, the place and what to do.

An unknown field, a field that stands twice and a value of the wrong type, in each kind of file and
at each depth that it has.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from engine.cli.policy_files import read_policies
from engine.config import read_file
from engine.documents.purposes import Purposes
from engine.errors import HotlistError
from engine.list_files import profile
from engine.plates.misreads import Misreads
from tests.fakes.documents import NOW_MS

#: How each kind of file is read, by its name.
LOADERS: Final[dict[str, Callable[[Path], Any]]] = {
    "hotlist.toml": read_file,
    "purposes.json": Purposes.load,
    "misreads.toml": Misreads.load,
    "profile.toml": lambda path: profile.load(str(path)),
    "policies.json": lambda path: read_policies(path, "jo", NOW_MS, ("permit",)),
}

_MISREADS: Final = """
groups = ["O0"]
missing_rate = 0.1
added_rate = 0.1
plate_density = 0.1
other_pattern_share = 0.1
other_length_share = 0.1
[counts]
O = { O = 9, 0 = 1 }
"""
_PROFILE: Final = """
base = "hotlist"
title = "ours"
[columns]
kenteken = "plate"
[values.region]
Holland = "NL"
[dates]
forms = ["%Y-%m-%d"]
"""
#: A good file of each kind.
GOOD: Final = {
    "hotlist.toml": 'group = "ours"\nhttp_port = 9108\n',
    "purposes.json": '{"permit": {"title": "A permit", "longest_term_days": 30}}',
    "misreads.toml": _MISREADS,
    "profile.toml": _PROFILE,
    "policies.json": '{"source": "S1", "rules": [{"agencies": ["PD01"], "purposes": "*"}]}',
}
_TWICE: Final = "a key or a table stands twice; keep one of them (at line "
_WHOLE: Final = "must be a whole number from "

#: The kind of file, what of the good one is replaced by what, the place and the rule.
FAULTS: Final = [
    # Unknown fields.
    ("hotlist.toml", "group =", "grupp =", "grupp", "unknown key; did you mean group? known keys"),
    ("hotlist.toml", "group =", "[broker]\nport =", "broker", "unknown key; "),
    ("purposes.json", "longest_term_days", "term", "purpose 'permit': term", "unknown field; "),
    ("misreads.toml", "added_rate", "rate", "rate", "unknown field; there are groups, counts"),
    ("misreads.toml", "[counts]", "[more]\nA = 1\n[counts]", "more", "unknown field; "),
    ("profile.toml", "title", "titel", "titel", "unknown field; there are columns, title, "),
    ("profile.toml", "forms", "form", "dates.form", "unknown field; there are forms, "),
    ("profile.toml", '"plate"', '"plat"', "columns.kenteken", "'plat' is no field; fields are "),
    ("profile.toml", "s.region", "s.regio", "values.regio", "'regio' is no field; fields are "),
    ("policies.json", '"rules"', '"rule"', "$", "unknown field 'rule'; the fields are source"),
    ("policies.json", '"agencies"', '"agency"', "$.rules[0]", "unknown field 'agency'; "),
    # Fields that stand twice.
    ("hotlist.toml", "http_port", "group", "", f"not valid TOML: {_TWICE}2"),
    ("hotlist.toml", "group =", "http-port = 1\ngroup =", "http_port", "the same key twice"),
    (
        "purposes.json",
        '"longest_term_days": 30',
        '"title": "B"',
        "purpose 'permit': title",
        "stands there twice; keep one of them",
    ),
    (
        "purposes.json",
        "{",
        '{"permit": {"title": "B"}, ',
        "",
        "purpose 'permit' stands there twice; keep one of them",
    ),
    ("misreads.toml", "added_rate", "missing_rate", "", f"is not TOML in UTF-8: {_TWICE}4"),
    ("misreads.toml", "[counts]", "[counts]\n[counts]", "", f"is not TOML in UTF-8: {_TWICE}9"),
    ("misreads.toml", "0 = 1", "O = 1", "", f"is not TOML in UTF-8: {_TWICE}9"),
    ("profile.toml", "title", "base", "", f"is not TOML in UTF-8: {_TWICE}3"),
    (
        "profile.toml",
        "[values",
        'KENTEKEN = "region"\n[values',
        "columns.KENTEKEN",
        "the same column twice, in other letters",
    ),
    ("policies.json", '"source": "S1"', '"rules": []', "", "the field 'rules' stands twice in"),
    # Values of the wrong type.
    ("hotlist.toml", "9108", "true", "http_port", f"'True' is not possible: {_WHOLE}"),
    ("hotlist.toml", '"ours"', "5", "group", "'5' is not possible: must be a text that is not"),
    ("purposes.json", "30", '"30"', "purpose 'permit': longest_term_days", _WHOLE),
    ("purposes.json", "30", "true", "purpose 'permit': longest_term_days", _WHOLE),
    ("purposes.json", '"A permit"', "5", "purpose 'permit': title", "must be a text of 1 to 100"),
    ("misreads.toml", '["O0"]', '"O0"', "groups", "must be a list of at most 100 texts of 2"),
    ("misreads.toml", "0 = 1", '0 = "1"', "counts.O.0", _WHOLE),
    ("misreads.toml", "density = 0.1", "density = true", "plate_density", "must be a number from"),
    ("profile.toml", '"ours"', "5", "title", "must be a text that is not empty"),
    ("profile.toml", '"plate"', "5", "columns.kenteken", "5 is no field; fields are "),
    ("profile.toml", '"NL"', "5", "values.region.Holland", "must be a text"),
    ("profile.toml", '["%Y-%m-%d"]', '"%Y"', "dates.forms", "must be a list of forms such as"),
    ("policies.json", '["PD01"]', "5", "$.rules[0].agencies", "must be "),
]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(GOOD[name])
    LOADERS[name](path)


@pytest.mark.parametrize(("name", "old", "new", "place", "rule"), FAULTS)
def test_a_fault_is_one_line_with_file_place_and_rule(
    tmp_path: Path, name: str, old: str, new: str, place: str, rule: str
) -> None:
    assert old in GOOD[name]
    path = tmp_path / name
    path.write_text(GOOD[name].replace(old, new, 1))
    with pytest.raises(HotlistError) as caught:
        LOADERS[name](path)
    line = str(caught.value)
    assert line.startswith(f"{path}: {place}: {rule}" if place else f"{path}: {rule}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ('titel = "x"\n', "titel: unknown field; "),
        ('header = "yes"\n', 'header: must be true or false or "auto"'),
        ("[dates]\nzone = 1\n", "dates.zone: unknown field; "),
    ],
)
def test_a_fault_in_the_base_of_a_profile_names_the_base(
    tmp_path: Path, fault: str, message: str
) -> None:
    top, base = tmp_path / "top.toml", tmp_path / "base.toml"
    top.write_text('base = "base.toml"\ntitle = "ours"\n')
    base.write_text(f'base = "hotlist"\n{fault}')
    with pytest.raises(HotlistError) as caught:
        profile.load(str(top))
    assert str(caught.value).startswith(f"{base}: {message}")
