"""The measures of misreads: the made-up reader, the statistics, and a quick run of each."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.measures import calibration
from benchmarks.measures.calibration import Scored
from benchmarks.measures.definition import load_measures
from benchmarks.measures.figures import MeasuredCase
from benchmarks.measures.run import run
from benchmarks.measures.sightings import of_count, wilson
from benchmarks.misread_reader import Format, Reader, draw_plates, halves
from engine.plates.misreads import Misreads

COUNTS = Misreads.load().counts
FORMATS = (Format(pattern="LLD", letters="AB"), Format(pattern="DLDD", letters="XYZ"))


def measured(name: str) -> dict[str, MeasuredCase]:
    result = run(load_measures()[name], "", quick=True, say=lambda _: None)
    assert result.failures == []
    return {case.case: case for case in result.cases}


def value(case: MeasuredCase, name: str) -> float:
    figure = case.figure(name)
    assert figure is not None
    return figure.median


def test_more_is_found_and_more_that_is_false_by_who_asks_for_more() -> None:
    cases = measured("misreads")
    for name in ("found", "false matches"):
        exact, alike, misread, both = (
            value(cases[f"20% misread, {way}"], name)
            for way in ("exact", "look-alikes", "one misread", "both")
        )
        assert exact <= min(alike, misread) <= max(alike, misread) <= both
    found = value(cases["20% misread, exact"], "found")
    assert 70 < found < 90
    assert value(cases["20% misread, look-alikes"], "found") > found
    assert value(cases["20% misread, both"], "found") > 95
    for way, case in cases.items():
        assert value(case, "found from") <= value(case, "found") <= value(case, "found to"), way


def test_every_match_has_a_confidence_and_is_counted_in_one_bin() -> None:
    cases = measured("calibration")
    stated = value(cases["stated"], "matches")
    types = ("exact", "confusable", "distance", "partial")
    of_types = [case for name, case in cases.items() if name.endswith(types)]
    bins = [case for name, case in cases.items() if " to " in name]
    for parts in (of_types, bins):
        assert sum(value(case, "matches") for case in parts) == pytest.approx(stated)
    assert value(cases["stated, exact"], "confidence") > 0.95
    assert value(cases["stated, distance"], "confidence") < 0.1
    points = cases["stated"].curves["right"]
    assert [stated for stated, _ in points] == sorted(stated for stated, _ in points)


def test_drawn_plates_are_of_the_formats_as_often_as_these_have_plates() -> None:
    assert [each.plates for each in FORMATS] == [40, 3000]
    plates = draw_plates(FORMATS, 30_400, np.random.default_rng(1))
    short = [plate for plate in plates if len(plate) == 3]
    assert set(short) <= {f"{a}{b}{n}" for a in "AB" for b in "AB" for n in range(10)}
    assert 300 < len(short) < 500
    assert len(set(plates) - set(short)) > 2900
    assert all(plate[1] in "XYZ" for plate in plates if len(plate) == 4)


def test_halves_make_the_whole_and_lumps_stay_together() -> None:
    one, other = halves(COUNTS, 6, 1)
    for true, of_true in COUNTS.items():
        for read, count in of_true.items():
            parts = [half.get(true, {}).get(read, 0) for half in (one, other)]
            assert sum(parts) == count
            assert any(part % 6 == 0 for part in parts)
    assert abs(sum(sum(of_true.values()) for of_true in one.values()) - 1905) < 300


def test_the_reader_errs_as_often_as_asked_and_as_the_counts_say() -> None:
    chance = np.random.default_rng(1)
    formats = (Format(pattern="LLLDDDD", letters="ABCDEFGHIJKLMNOPQRSTUVWXYZ"),)
    plates = draw_plates(formats, 20_000, chance)
    reader = Reader(COUNTS, 0.005, 0.005)
    for wrong in (0.05, 0.35):
        reads = reader.read(plates, reader.scale_for(plates, wrong), chance)
        misread = sum(read != plate for read, plate in zip(reads, plates, strict=True))
        assert misread / len(plates) == pytest.approx(wrong, rel=0.1)
    reads = Reader(COUNTS, 0, 0).read(["Z"] * 20_000, 1.0, chance)
    # 31 of 65 Z were misread, 26 of them as 2; one in twenty of these is anything.
    assert reads.count("Z") / 20_000 == pytest.approx(34 / 65, rel=0.05)
    assert reads.count("2") / 20_000 == pytest.approx(26 / 65 * 0.95, rel=0.05)


def test_the_reader_leaves_out_and_adds_characters() -> None:
    chance = np.random.default_rng(1)
    right = {char: {char: 1} for char in "ABC123"}
    plates = ["ABC123", "BA21"] * 5_000
    lost = Reader(right, 0.1, 0).read(plates, 1.0, chance)
    assert sum(map(len, lost)) / 50_000 == pytest.approx(0.9, rel=0.02)
    more = Reader(right, 0, 0.1).read(plates, 1.0, chance)
    assert sum(map(len, more)) == pytest.approx(50_000 + 0.1 * 60_000, rel=0.02)
    assert Reader(right, 0, 0).read(plates, 1.0, chance) == plates


def test_the_intervals_are_those_of_the_tables() -> None:
    assert wilson(0, 10) == pytest.approx((0, 0.278), abs=1e-3)
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    # Exact intervals of the Poisson distribution.
    for count, least, most in ((0, 0, 3.69), (1, 0.025, 5.57), (10, 4.80, 18.39)):
        assert of_count(count) == pytest.approx((least, most), rel=0.02, abs=0.02)


def test_what_is_stated_truly_has_no_error_and_what_is_not_has() -> None:
    truly = [Scored(0.25, number % 4 == 0, number % 4 != 0, "exact") for number in range(400)]
    figures = calibration._case("one", [truly], 1.0)
    assert value(figures, "calibration error") == pytest.approx(0)
    assert value(figures, "Brier score") == pytest.approx(0.1875)
    assert value(figures, "right") == 0.25
    assert value(figures, "right from") < 0.25 < value(figures, "right to")
    # Each sighting of another vehicle stands for three: one right match of ten.
    weighed = calibration._case("one", [truly], 3.0)
    assert value(weighed, "matches") == 1000
    assert value(weighed, "right") == 0.1
    assert value(weighed, "calibration error") == pytest.approx(0.15)
    assert calibration._curve([truly], 3.0) == [(0.25, 0.1)]


def test_bins_hold_their_lower_ends() -> None:
    matches = [Scored(stated, True, False, "exact") for stated in (0.0001, 0.01, 0.5, 0.9999)]
    bins = [(least, most) for least, most, _ in calibration._binned(matches)]
    assert bins == [(0.0, 0.01), (0.01, 0.05), (0.5, 0.6), (0.99, 1.0)]
    assert all(len(of_bin) == 1 for _, _, of_bin in calibration._binned(matches))
