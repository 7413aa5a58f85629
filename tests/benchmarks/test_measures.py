"""The measures and the targets as far as they need no broker: data, input, verdicts, tables."""

from __future__ import annotations

import itertools
import time

import msgspec
import pytest

from benchmarks import readme, targets
from benchmarks.definitions import load_definitions
from benchmarks.machine import Machine
from benchmarks.measures import figures, scenery
from benchmarks.measures.definition import load_measures
from benchmarks.measures.figures import Figure, MeasuredCase, MeasuredResult
from benchmarks.measures.long_list import Times, filler
from benchmarks.measures.member import Progress
from benchmarks.measures.observer import Seen
from benchmarks.measures.pacer import Paced
from benchmarks.measures.rebalance import Rebalance, judged
from benchmarks.measures.run import MEASURES, settings_of
from benchmarks.measures.workers import _checked_rate
from benchmarks.reads import Scene, count_expected
from benchmarks.runner import WrongCountError
from benchmarks.targets import Source, Target, judge, load_targets
from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import decode_detection, decode_entry, encode
from engine.plates.normal_form import is_normal

MACHINE = Machine(cpu="abacus", cores=2, memory_bytes=2**30, system="Linux 6 x86_64", load_1m=0.0)


def _result(measure: str, cases: list[MeasuredCase], date: str = "2024-05-01") -> MeasuredResult:
    return MeasuredResult(
        measure=measure,
        title="A title",
        shows="what",
        bias="how",
        date=date,
        quick=False,
        rounds=1,
        machine=MACHINE,
        versions={"python": "3"},
        cases=cases,
    )


def test_every_measure_has_a_definition_whose_settings_are_its_own() -> None:
    definitions = load_measures()
    assert set(definitions) == set(MEASURES)
    assert not set(definitions) & set(load_definitions())
    for definition in definitions.values():
        for quick in (False, True):
            settings_of(definition, quick=quick)
        assert definition.shows.strip()
        assert definition.bias.strip()


def test_the_expected_number_of_a_quick_measure_is_what_its_input_gives() -> None:
    for definition in load_measures().values():
        if not definition.broker:
            continue  # what comes of chance is not counted beforehand
        settings = settings_of(definition, quick=True)
        assert count_expected(settings.input) == settings.expected, definition.name


def test_an_unknown_setting_is_an_error() -> None:
    definition = load_measures()["delay"]
    wrong = msgspec.structs.replace(definition, settings=definition.settings | {"pace": 1})
    with pytest.raises(msgspec.ValidationError, match="pace"):
        settings_of(wrong, quick=False)


@pytest.mark.parametrize("times", ["import", "single"])
def test_filler_is_admitted_in_force_and_of_plates_that_no_read_shows(times: Times) -> None:
    now_ms = int(time.time() * 1000)
    purposes = Purposes.load(None)
    records = list(
        itertools.chain(filler(0, 500, now_ms, times), filler(9_999_990, 10**7, now_ms, times))
    )
    entries = [decode_entry(record.value) for record in records]
    for record, entry in zip(records, entries, strict=True):
        check_entry(entry, purposes)
        assert entry.entry_id.encode() == record.key
        assert encode(entry) == record.value
        assert is_normal(entry.plate)
        assert entry.expires_ms > now_ms > entry.created_ms
        assert len(entry.plate) == 8
    assert len({entry.plate for entry in entries}) == 510
    distinct_times = len({entry.created_at for entry in entries})
    assert distinct_times == (1 if times == "import" else 510)
    settings = settings_of(load_measures()["list_size"], quick=True)
    small = msgspec.structs.replace(settings.input, distinct_reads=1000, reads=1000, short_reads=1)
    assert {len(read.key) for read in Scene(small, now_ms).distinct_reads()} == {7}


def test_a_probe_is_a_read_that_its_entry_and_policy_let_match() -> None:
    number = 1_714_550_400_123_456_789
    plate = scenery.PROBE_PLATES[0]
    read = decode_detection(scenery.probe_read(plate, number))
    entry = scenery.probe_entry("one", plate)
    check_entry(entry, Purposes.load(None))
    assert read.plate == entry.plate == plate
    assert int(read.read_id.removeprefix(scenery.PROBE), 16) == number
    assert read.captured_at == "2024-05-01T08:00:00.123Z"
    assert scenery.probe_policy().source == read.source
    assert entry.suppress_s == 0


def test_quantiles_are_values_that_occur() -> None:
    found = scenery.quantiles([float(value) for value in range(1000, 0, -1)])
    assert len(found) == 101
    assert (found[0], found[50], found[99], found[100]) == (1.0, 501.0, 991.0, 1000.0)
    assert set(scenery.quantiles([7.0])) == {7.0}


def _timelines() -> list[list[Progress]]:
    return [
        [
            Progress(at_s=1.0, reads=400_000, found=100, delivered=0),
            Progress(at_s=3.0, reads=800_000, found=108, delivered=108),
        ],
        [
            Progress(at_s=2.0, reads=200_000, found=100, delivered=100),
            Progress(at_s=5.0, reads=800_000, found=108, delivered=108),
        ],
    ]


def test_the_rate_of_a_group_begins_at_a_quarter_and_ends_with_the_last() -> None:
    settings = settings_of(load_measures()["workers"], quick=True)
    assert settings.input.reads == 1_600_000
    assert settings.expected.reads == 216
    # A quarter, 400,000, is there at 1.0 s; the other 1,200,000 take 4 s.
    assert _checked_rate(_timelines(), 216, settings) == pytest.approx(18.0)


def test_a_group_that_reads_twice_or_loses_a_match_has_no_rate() -> None:
    settings = settings_of(load_measures()["workers"], quick=True)
    with pytest.raises(WrongCountError, match="on the topic"):
        _checked_rate(_timelines(), 217, settings)
    twice = _timelines()
    twice[0][-1] = msgspec.structs.replace(twice[0][-1], reads=800_001)
    with pytest.raises(WrongCountError, match="1,600,001 reads"):
        _checked_rate(twice, 216, settings)


def test_a_pause_counts_for_its_rebalance_and_its_partition() -> None:
    """Ten probes a second apart, of ten plates; those of one partition wait in the second half."""
    partitions = 4
    plates = scenery.PROBE_PLATES[:10]
    slow = scenery.partition_of(plates[7].encode(), partitions)
    probes = [
        (
            second * 10**9,
            (900 if second >= 5 and scenery.partition_of(plate.encode(), partitions) == slow else 5)
            * 10**6,
        )
        for second, plate in enumerate(plates)
    ]
    owners = dict.fromkeys(range(partitions), "A")
    rebalances = [
        Rebalance("a step", 0, 5 * 10**9, owners, owners),
        Rebalance("another", 5 * 10**9, 10**10, owners, {**owners, slow: "B"}),
    ]
    paced = Paced(reads=10, probes=10, matches=12, took_s=1.0, late_ms=[])
    run = judged(rebalances, paced, Seen(probes=[*probes, probes[0]], records=13), partitions)
    assert (run.usual_ms, run.doubled) == (5.0, 1)
    assert set(run.stayed_ms["a step"]) == set(run.stayed_ms["another"]) == {0.0}
    assert "a step" not in run.moved_ms
    assert run.moved_ms["another"] == [895.0]
    with pytest.raises(WrongCountError, match="9 of 10 probes"):
        judged(rebalances, paced, Seen(probes=probes[1:], records=12), partitions)


def test_every_target_names_a_case_and_an_engine_or_figure_that_are_measured() -> None:
    definitions = load_definitions() | {readme.NAME: readme.definition()}
    measures = load_measures()
    for target in load_targets():
        for source in filter(None, (target.value, target.divided_by)):
            if source.engine is not None:
                definition = definitions[source.result]
                assert source.engine in definition.engines
                assert source.case in {case.name for case in definition.cases}
            else:
                assert source.result in measures


def _target(**bounds: float) -> Target:
    return Target(
        text="text",
        unit="ms",
        value=Source(result="delay", case="one", figure="p99"),
        divided_by=Source(result="delay", case="two", figure="p99"),
        **bounds,
    )


def _measured(one: list[float], two: list[float]) -> MeasuredResult:
    return _result(
        "delay",
        [
            MeasuredCase(case=name, figures=[Figure(name="p99", unit="ms", values=values)])
            for name, values in (("one", one), ("two", two))
        ],
    )


def test_a_target_is_judged_by_the_quotient_of_medians() -> None:
    measured = _measured([1.0, 8.0, 90.0], [4.0])
    for target, met in (
        (_target(at_most=2.0), True),
        (_target(at_most=1.9), False),
        (_target(at_least=2.0), True),
        (_target(at_least=2.1), False),
    ):
        (verdict,) = judge([target], [], [measured])
        assert verdict.measured == 2.0
        assert verdict.is_met is met


def test_what_was_not_measured_is_not_met() -> None:
    (verdict,) = judge([_target(at_most=2.0)], [], [])
    assert verdict.is_met is None
    assert "| text | at most 2 ms | not measured | `delay` |" in targets.table([verdict])


def test_the_goals_are_written_between_their_marks_and_what_is_reached_is_bold() -> None:
    page = (
        "Before.\n<!-- These goals are written by `python -m benchmarks report`. -->\n"
        "another table\n<!-- End of these goals. -->\nAfter.\n"
    )
    bounds = _target(at_least=2.0), _target(at_least=2.5)
    written = targets.with_goals(page, judge(bounds, [], [_measured([8.0], [4.0])]))
    kept = "[delay](results/measures/2024-05-01-delay.md)"
    assert written.startswith("Before.\n<!--")
    assert written.endswith("-->\nAfter.\n")
    assert f"| text | at least 2 ms | **2** | {kept} |\n" in written
    assert f"| text | at least 2.5 ms | 2 | {kept} |\n" in written
    assert "another table" not in written


def test_the_readme_has_the_goals_as_they_are_and_what_the_kept_results_reach() -> None:
    page = targets.README.read_text()
    assert page == targets.with_goals(page, targets.kept_verdicts()), (
        "run: python -m benchmarks report"
    )


def test_a_failed_case_has_no_value_and_says_why() -> None:
    failed = _result("delay", [MeasuredCase(case="one", failure="3 matches instead of 4\nmore")])
    assert failed.failures == ["one: 3 matches instead of 4\nmore"]
    assert "| one | FAILED: 3 matches instead of 4 |" in figures.table(failed)
    (verdict,) = judge([_target(at_most=2.0)], [], [failed])
    assert verdict.is_met is None


def test_a_target_has_one_bound_and_a_source_one_kind() -> None:
    with pytest.raises(ValueError, match="one bound"):
        _target()
    with pytest.raises(ValueError, match="one bound"):
        _target(at_least=1.0, at_most=2.0)
    with pytest.raises(ValueError, match="engine's or a figure"):
        Source(result="delay", case="one")


def test_a_table_has_the_median_and_the_spread_in_columns() -> None:
    result = _measured([1.0, 2.5, 12.0], [4.0])
    text = figures.table(msgspec.structs.replace(result, rounds=3))
    assert "| case | p99, ms |" in text
    assert "| one | 2.50 (1 to 12) |" in text
    assert "| two | 4 |" in text


def test_a_result_is_kept_and_the_newest_found(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path_factory.mktemp("results")
    monkeypatch.setattr(figures, "KEPT", directory)
    older = _result("delay", [], "2024-04-30")
    newer = _result("delay", [MeasuredCase(case="one", curves={"a": [(50.0, 1.5)]})])
    figures.save(newer)
    figures.save(older)
    assert figures.newest(directory) == [newer]
