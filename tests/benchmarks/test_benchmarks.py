"""The benchmarks as far as they need no real Kafka: data, counts, checks, tables."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import orjson
import pytest

from benchmarks import commands, fill, results, runner
from benchmarks.definitions import (
    DIRECTORY,
    Expected,
    Input,
    load_definitions,
    load_engines,
)
from benchmarks.fill import Filled
from benchmarks.machine import Machine, describe_machine, describe_versions
from benchmarks.measure import ProcessFailedError, run_measured
from benchmarks.reads import Scene, count_expected
from benchmarks.results import CaseResult, EngineResult, Result, Run
from benchmarks.runner import WrongCountError
from engine.demo.embedded_broker import EmbeddedBroker

TINY = Input(
    reads=6_000,
    short_reads=1_000,
    distinct_reads=2_000,
    partitions=4,
    codec="lz4",
    batch_bytes=16_384,
    entries=500,
    sources=80,
    hit_rate=0.05,
)
MACHINE = Machine(cpu="abacus", cores=2, memory_bytes=2**30, system="Linux 6 x86_64", load_1m=0.0)


def _brute_force(scene: Scene) -> list[bool]:
    """Whether each distinct read matches, from the bytes that are produced alone."""
    hotlist, policies = scene.control_records()
    entries = [orjson.loads(record.value) for record in hotlist]
    rules = {
        policy["source"]: policy["rules"] for policy in (orjson.loads(r.value) for r in policies)
    }
    matches = []
    for record in scene.distinct_reads():
        read = orjson.loads(record.value)
        assert record.key == read["plate"].encode()
        found = [
            entry
            for entry in entries
            if entry["plate"] == read["plate"]
            and any(
                rule["agencies"] == "*" or entry["agency"] in rule["agencies"]
                for rule in rules.get(read["source"], [])
                if rule["purposes"] == "*" or entry["purpose"] in rule["purposes"]
            )
        ]
        assert len(found) <= 1
        matches.append(bool(found))
    return matches


def test_every_definition_names_engines_that_can_be_started() -> None:
    definitions = load_definitions()
    assert "main_job" in definitions
    for definition in definitions.values():
        assert definition.shows.strip()
        assert definition.bias.strip()
    for engine in load_engines().values():
        if engine.module is not None:
            assert importlib.util.find_spec(engine.module) is not None
        if engine.maven is not None:
            assert (DIRECTORY / engine.maven / "pom.xml").is_file()
        if engine.requirements is not None:
            assert (DIRECTORY / engine.requirements).is_file()


def test_a_definition_with_a_field_too_many_is_refused(tmp_path: Path) -> None:
    text = (DIRECTORY / "definitions" / "main_job.toml").read_text()
    (tmp_path / "main_job.toml").write_text(f"colour = 'red'\n{text}")
    with pytest.raises(msgspec.ValidationError, match="colour"):
        load_definitions(tmp_path)


def test_a_definition_is_called_what_its_file_is_called(tmp_path: Path) -> None:
    text = (DIRECTORY / "definitions" / "main_job.toml").read_text()
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(ValueError, match="main_job"):
        load_definitions(tmp_path)


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    text = (DIRECTORY / "definitions" / "main_job.toml").read_text()
    (tmp_path / "main_job.toml").write_text(text.replace('"hotlist"', '"steam"'))
    with pytest.raises(ValueError, match="steam"):
        load_definitions(tmp_path)


def test_reads_that_do_not_divide_are_refused() -> None:
    fields = msgspec.to_builtins(TINY) | {"reads": 6_001}
    with pytest.raises(msgspec.ValidationError, match="multiple"):
        msgspec.convert(fields, Input)


def test_the_expected_matches_are_those_of_brute_force() -> None:
    matches = _brute_force(Scene(TINY, 1_700_000_000_000))
    once = sum(matches)
    assert 0 < once < 100  # of the hundred hits, some are denied by policy
    assert count_expected(TINY) == Expected(reads=3 * once, once=once, short=sum(matches[:1_000]))


def test_a_case_has_exactly_its_share_of_hits_and_no_read_twice() -> None:
    scene = Scene(TINY, 1_700_000_000_000)
    listed = {entry.plate.encode() for entry in scene.entries}
    reads = list(scene.distinct_reads())
    assert sum(read.key in listed for read in reads) == 100
    assert len({orjson.loads(read.value)["read_id"] for read in reads}) == 2_000


@pytest.fixture(scope="module")
def filled() -> Iterator[Filled]:
    with EmbeddedBroker() as broker:
        yield fill.fill(broker.bootstrap, "bench-test.", TINY, declare=False)


@pytest.mark.parametrize("name", ["floor", "aiokafka_dict", "confluent_dict", "naive_faust"])
def test_an_engine_finds_every_match(filled: Filled, name: str) -> None:
    engine = load_engines()[name]
    one, versions = runner.run_engine(name, engine, filled)
    assert one.reads == TINY.records(engine.topic)
    assert one.matches == (getattr(filled.expected, engine.topic) if engine.matches else 0)
    assert one.drain_s > 0
    assert one.start_s > 0
    assert versions


def test_another_number_of_matches_is_a_failure(filled: Filled) -> None:
    off_by_one = msgspec.structs.replace(filled.expected, once=filled.expected.once + 1)
    engine = load_engines()["aiokafka_dict"]
    with pytest.raises(WrongCountError, match="matches reported instead of"):
        runner.run_engine("aiokafka_dict", engine, replace(filled, expected=off_by_one))


def test_a_process_is_measured() -> None:
    program = (
        "import sys; data = bytearray(64 << 20); print(len(data)); import time; time.sleep(0.3)"
    )
    measured = run_measured([sys.executable, "-c", program], timeout_s=60)
    assert measured.output == f"{64 << 20}\n"
    assert measured.cpu_s > 0
    if Path("/proc/self/status").exists():
        assert measured.peak_memory_bytes is not None
        assert measured.peak_memory_bytes > 64 << 20


def test_a_process_that_fails_says_why() -> None:
    program = "import sys; print('no such plate', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ProcessFailedError, match=r"status 3.*\n.*no such plate"):
        run_measured([sys.executable, "-c", program], timeout_s=60)


def test_a_process_that_does_not_end_is_ended() -> None:
    with pytest.raises(ProcessFailedError, match="did not end in time"):
        run_measured([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3)


def test_what_cannot_be_built_is_named_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    engine = load_engines()["kafka_streams"]
    with pytest.raises(commands.UnavailableError, match="Maven"):
        commands.prepare(engine)


def _result(
    *engines: EngineResult, definition: str = "main_job", date: str = "2026-01-02"
) -> Result:
    return Result(
        definition=definition,
        title="A title",
        shows="It shows.",
        bias="It leans.",
        date=date,
        quick=False,
        rounds=3,
        machine=MACHINE,
        versions={"python": "3.11"},
        cases=[CaseResult(case="a case", input=TINY, engines=list(engines))],
    )


def _engine(name: str, *drains_s: float, failure: str | None = None) -> EngineResult:
    runs = [
        Run(
            reads=1_100,
            first_reads=100,
            matches=7,
            drain_s=drain_s,
            start_s=1.0,
            cpu_s=0.5,
            peak_memory_bytes=None,
        )
        for drain_s in drains_s
    ]
    return EngineResult(engine=name, title=name.title(), runs=runs, failure=failure)


def test_reads_in_hand_before_the_clock_started_do_not_count_into_the_rate() -> None:
    spread = _engine("fast", 1.0, 2.0, 4.0).spread()
    assert (spread.least, spread.median, spread.most) == (250.0, 500.0, 1000.0)


def test_an_engine_that_failed_has_no_figure() -> None:
    result = _result(
        _engine("fast", 1.0),
        _engine("broken", 0.1, failure="7 matches\nmore"),
        _engine("slow", 50.0),
    )
    rows = [line for line in results.table(result).splitlines() if line.startswith("| ")]
    assert rows[2].startswith("| Fast | 1,100 | 1,000 (1,000 to 1,000) | 0.06 | 1.00 | 7 |")
    assert rows[3].split(" | ")[2] == "7 matches"
    assert "more" not in rows[3]
    assert "| 1/50 |" in rows[4]
    assert result.failures == ["a case: Broken: 7 matches\nmore"]
    not_run = _result(_engine("absent", failure="not run: no Java"))
    assert not_run.failures == []


def test_results_are_kept_and_the_newest_is_shown(tmp_path: Path) -> None:
    for date, definition in itertools.product(("2026-01-02", "2026-03-01"), ("one", "two")):
        result = _result(_engine("fast", 1.0), definition=definition, date=date)
        assert results.load(results.save(result, tmp_path)) == result
    newest = results.newest(tmp_path)
    assert [(one.definition, one.date) for one in newest] == [
        ("one", "2026-03-01"),
        ("two", "2026-03-01"),
    ]
    assert (tmp_path / "2026-01-02-one.md").read_text() == results.table(
        results.load(tmp_path / "2026-01-02-one.json")
    )


@pytest.mark.parametrize("definition", ["main_job", "hit_rate"])
def test_plots_are_the_same_for_the_same_result(tmp_path: Path, definition: str) -> None:
    plots = pytest.importorskip("benchmarks.plots", reason="the group bench is not installed")
    result = _result(_engine("fast", 1.0, 2.0), _engine("slow", 50.0), definition=definition)
    first, again = plots.draw(result, tmp_path / "a"), plots.draw(result, tmp_path / "b")
    assert [path.name for path in first] == [
        f"{definition}-throughput.{end}" for end in ("png", "svg")
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_the_machine_is_described_without_its_name() -> None:
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.memory_bytes > 2**28
    assert {"python", "aiokafka"} <= set(describe_versions())
