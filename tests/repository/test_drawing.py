"""The drawing of the packages shows each arrow that does not follow from others, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repository import drawing
from tests.repository.drawing import CircleError, arrows, as_text, ordered, reduced
from tests.repository.source import Source

_MAP = '"""A package.\n\n    top     commands\n    middle  work\n    low     words\n"""\n'


def _source(**texts: str) -> Source:
    return Source.of(engine=_MAP, **texts)


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    source = _source(
        engine__top__a="from engine.middle.b import f\nfrom engine.low import c\n",
        engine__middle__b="import engine.low.c\n",
        engine__low__c="",
    )
    assert arrows(source) == {"top": {"middle", "low"}, "middle": {"low"}, "low": set()}
    assert reduced(arrows(source)) == {"top": {"middle"}, "middle": {"low"}, "low": set()}


def test_imports_for_types_alone_do_not_count_and_those_in_functions_do() -> None:
    source = _source(
        engine__top__a=(
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from engine.low.c import f\n"
            "def g():\n    from engine.middle.b import f\n"
        ),
        engine__middle__b="",
        engine__low__c="",
    )
    assert arrows(source) == {"top": {"middle"}, "middle": set(), "low": set()}


def test_modules_beside_the_packages_are_one_box() -> None:
    source = _source(engine__low__c="from engine import limits\n", engine__limits="")
    assert arrows(source) == {"low": {drawing.BESIDE}, drawing.BESIDE: set()}


def test_a_circle_is_named() -> None:
    with pytest.raises(CircleError, match="low -> middle -> low"):
        reduced({"low": {"middle"}, "middle": {"low"}})


def test_lines_run_down_and_join_only_where_they_end() -> None:
    found = {"a": {"b", "d"}, "b": {"c"}, "c": {"e"}, "d": {"e"}, "e": set()}
    boxes = ordered(found, [])
    assert boxes == ["a", "b", "c", "d", "e"]
    assert as_text(boxes, found, {"e": "the last"}) == [
        "a ─┐",
        "b ◄●─┐",
        "c ◄┼─┴─┐",
        "d ◄┴─┐ │",
        "e ◄──┴─┘  the last",
    ]


def test_the_check_sees_a_drawing_that_is_out_of_date(tmp_path: Path) -> None:
    page = tmp_path / "ARCHITECTURE.md"
    page.write_text(f"# Title\n\n{drawing.BEGIN}\nold\n{drawing.END}\n\nText.\n")
    assert drawing.main(["--check"], page) == 1
    assert drawing.main([], page) == 0
    assert drawing.main(["--check"], page) == 0
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith(f"\n{drawing.END}\n\nText.\n")


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the markers"):
        drawing.parts("# Title\n")
