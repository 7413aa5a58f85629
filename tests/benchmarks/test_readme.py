"""README's figures are those of a kept run, and a change of the hot path is noticed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from benchmarks import readme, results
from benchmarks.__main__ import main
from benchmarks.readme import BadPageError, changed_since, check, hot_path, with_figures
from tests.benchmarks.test_benchmarks import _engine, _result

_EMPTY = (
    "# A page\n\nBefore.\n\n"
    "<!-- These figures are written by `make bench-readme`. -->\n"
    "<!-- End of these figures. -->\n\nAfter.\n"
)


def _measured() -> results.Result:
    engines = (_engine("hotlist", 0.001, 0.002, 0.004), _engine("consumer_performance", 0.003))
    return _result(*engines, definition="readme")


def test_the_table_is_written_between_its_marks() -> None:
    page = with_figures(_EMPTY, _measured())
    assert page.startswith("# A page\n\nBefore.\n\n<!--")
    assert page.endswith("-->\n\nAfter.\n")
    # The first 100 of the 1,100 reads of a run are left aside: 1,000 in 2 ms, 30 million a minute.
    assert "\n| **Hotlist** | **30** |\n| *Consumer_Performance* | *20* |\n" in page
    assert "benchmarks/results/2026-01-02-readme.md" in page
    assert with_figures(page, _measured()) == page
    check(page, _measured())


def test_other_figures_are_refused() -> None:
    page = with_figures(_EMPTY, _measured()).replace("**30**", "**40**")
    with pytest.raises(BadPageError, match=r"2026-01-02-readme\.json; run: make bench-readme"):
        check(page, _measured())


@pytest.mark.parametrize("lacks", ["These figures", "End of these"])
def test_a_page_without_a_place_for_them_is_named(lacks: str) -> None:
    page = "".join(line for line in _EMPTY.splitlines(keepends=True) if lacks not in line)
    with pytest.raises(BadPageError, match=lacks):
        with_figures(page, _measured())


def test_what_has_changed_since_is_named(tmp_path: Path) -> None:
    for name in ("matching/a.py", "wire/b.py", "cli/c.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("one\n")
    before = hot_path(tmp_path)
    assert before.keys() == {"matching/a.py", "wire/b.py"}
    result = msgspec.structs.replace(_measured(), hot_path=before)
    assert changed_since(result, hot_path(tmp_path)) == []
    (tmp_path / "matching/a.py").write_text("two\n")
    (tmp_path / "wire/b.py").unlink()
    (tmp_path / "cli/c.py").write_text("two\n")
    assert changed_since(result, hot_path(tmp_path)) == ["matching/a.py", "wire/b.py"]


def test_each_part_of_the_hot_path_is_there() -> None:
    assert {name.split("/")[0] for name in hot_path()} == {
        pattern.split("/")[0] for pattern in readme._HOT_PATH
    }


def test_the_command_fails_for_another_table_and_only_remarks_on_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    monkeypatch.setattr(readme, "README", page)
    monkeypatch.setattr(readme, "newest", _measured)
    page.write_text(with_figures(_EMPTY, _measured()))
    said = CliRunner().invoke(main, ["readme", "--check"])
    assert said.exit_code == 0, said.output
    assert "files of the hot path have changed: audit/chain.py, " in said.stderr
    page.write_text(_EMPTY)
    said = CliRunner().invoke(main, ["readme", "--check"])
    assert said.exit_code == 1
    assert "run: make bench-readme" in said.stderr


def test_an_engine_without_a_figure_is_named() -> None:
    failed = _result(_engine("flink", failure="not run: needs Java"), definition="readme")
    assert failed.without_figures == ["a case: Flink: not run: needs Java"]
