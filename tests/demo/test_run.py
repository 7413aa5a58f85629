"""The demo: its city, its judge, what it shows, and short runs on the embedded broker."""

from __future__ import annotations

import asyncio
import io
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from rich.console import Console

import engine.demo.run
from engine.cli import worker as cli_run
from engine.cli.tail import readable
from engine.clock import format_time, parse_time
from engine.demo.board import Board, in_brackets, quantile_ms, side_by_side, to_compare
from engine.demo.city import SentRead, ShownCity
from engine.demo.city_data import SOURCES, VEHICLES
from engine.demo.expected import Expected, meant
from engine.demo.fast_clock import PEAK, CityClock
from engine.demo.feed import FeedRates, ReadFeed
from engine.demo.lessons import lessons
from engine.demo.lines import Result, report_lines
from engine.demo.run import run_demo
from engine.demo.screen import Picture, Screen
from engine.demo.warm_up import warm_up
from engine.demo.worker_process import WorkerProcess, demo_settings
from engine.documents.admission import check_entry
from engine.documents.codec import decode_detection, encode
from engine.documents.model import Detection, Entry, Match, Policy, Rule, Vehicle
from engine.documents.purposes import Purposes
from engine.errors import HotlistError
from engine.kafka.reader import follow
from engine.matching.candidates import Found
from engine.matching.match import Basis, build_match
from engine.matching.vehicles import vehicle_differs
from engine.plates.likeness import compare
from engine.plates.misreads import Misreads
from engine.plates.normal_form import is_normal
from tests.models import naive
from tests.repository.schemas import validator

NOW_MS = 1_790_000_000_000
CITY = ShownCity(2026, NOW_MS)
ALL = Policy(
    source="city-police",
    rules=(Rule(agencies="*", purposes="*"),),
    updated_by="demo",
    updated_at=format_time(NOW_MS),
)
CAR, VAN = (Vehicle(make=make) for make in ("Honda", "Ford"))


def an_entry(plate: str, **fields: Any) -> Entry:
    given: dict[str, Any] = {
        "entry_id": "E1",
        "list_id": "L",
        "agency": "PD01",
        "purpose": "stolen_vehicle",
        "authority": CITY.entries[0].authority,
        "requested_by": "officer.demo",
        "created_at": format_time(NOW_MS - 7_200_000),
        "expires_at": format_time(NOW_MS + 3_600_000),
        "suppress_s": 8,
    }
    return Entry(plate=plate, **(given | fields))


def a_read(number: int, plate: str = "ABC1234", camera: str = "C1", **fields: Any) -> SentRead:
    given: dict[str, Any] = {"source": "city-police", "vehicle": CAR, "value": b""}
    return SentRead(read_id=f"R{number}", plate=plate, camera=camera, **(given | fields))


def a_match(read: str, listed: str, *, confidence: float = 0.629, **fields: Any) -> Match:
    entry = an_entry(listed, confusables=True, distance=None if "?" in listed else 1, **fields)
    likeness = compare(
        read,
        listed,
        confusables=True,
        distance=entry.distance or 0,
        misreads=Misreads.load(None),
    )
    assert likeness is not None
    detection = Detection(
        read_id=f"R-{read}",
        plate=read,
        captured_at=format_time(NOW_MS - 2000),
        source="city-police",
        camera="police-07",
        vehicle=Vehicle(make="Honda", model="Civic", color="blue", type="sedan"),
    )
    found = Found(entry, 1, likeness, read)
    basis = Basis(1, 1, NOW_MS, detection.captured_ms)
    return build_match(found, detection, confidence, 3, basis)


# The city.


def test_lists_are_admissible_and_policies_valid() -> None:
    purposes = Purposes.load(None)
    assert len({entry.entry_id for entry in CITY.entries}) == len(CITY.entries)
    for entry in CITY.entries:
        check_entry(entry, purposes)
        validator("entry").validate(orjson.loads(encode(entry)))
        assert entry.created_ms < NOW_MS < entry.expires_ms
    asked = Counter(
        "partial"
        if "?" in entry.plate
        else "distance"
        if entry.distance
        else bool(entry.confusables)
        for entry in CITY.entries
    )
    assert all(asked[kind] > 20 for kind in ("partial", "distance", True, False))
    assert {"permit", "access", "missing_person"} < {entry.purpose for entry in CITY.entries}
    for policy in CITY.policies():
        validator("policy").validate(orjson.loads(encode(policy)))
    assert {source.name for source in SOURCES} - {policy.source for policy in CITY.policies()} == {
        "harbour-authority"
    }


def test_reads_are_valid_and_the_same_for_a_seed() -> None:
    captured_at = format_time(NOW_MS)
    one, other = (list(ShownCity(7, NOW_MS).reads(1_500, captured_at)) for _ in range(2))
    assert one == other
    assert len({read.read_id for read in one}) == len(one)
    for read in one:
        document = orjson.loads(read.value)
        validator("detection").validate(document)
        detection = decode_detection(read.value)
        said = detection.read_id, detection.plate, detection.source, detection.camera
        assert said == (read.read_id, read.plate, read.source, read.camera)
        assert (detection.vehicle, detection.captured_at) == (read.vehicle, captured_at)
        assert is_normal(read.plate)
    assert {read.source for read in one} == {source.name for source in SOURCES}


def test_vehicles_are_told_apart_by_their_words() -> None:
    """On which the judge relies: no two of them may be taken for the same."""
    vehicles = [
        Vehicle(make=make, model=model, color=color, type=kind)
        for make, model, color, kind in VEHICLES
    ]
    for one in vehicles:
        for other in vehicles:
            assert vehicle_differs(one, other) == (one != other)


def test_misreads_are_those_of_the_table() -> None:
    counts = Misreads.load(None).counts
    lengths = Counter[int]()
    for _ in range(2_000):
        read = CITY.misread("ABC1234")
        lengths[len(read)] += 1
        if len(read) == 7:
            ((true, wrong),) = [
                pair for pair in zip("ABC1234", read, strict=True) if pair[0] != pair[1]
            ]
            assert counts[true][wrong] > 0
    assert set(lengths) == {6, 7, 8}
    assert lengths[7] > 1_500


def test_the_clock_of_the_city_runs_fast_and_has_two_rush_hours() -> None:
    clock = CityClock()
    assert (clock.text(0), clock.period(0)) == ("Mon 06:30", "early")
    assert (clock.text(7.5), clock.period(7.5)) == ("Mon 08:00", "morning rush")
    assert clock.text(120) == "Tue 06:30"
    assert clock.text(7 * 120) == "Mon 06:30"
    rates = [clock.rate(second / 4) for second in range(480)]
    assert max(rates) == clock.rate(7.5) == PEAK
    assert clock.rate(52.5) == PEAK  # at 17:00
    assert min(rates) < PEAK / 10
    assert {clock.period(second) for second in range(120)} >= {"night", "midday", "evening rush"}


# The judge.


def test_what_an_entry_means_is_what_the_naive_rules_say() -> None:
    """Both were written for themselves, from the contract's words."""
    chance = random.Random(5)
    asking = [entry for entry in CITY.entries if "?" in entry.plate or entry.distance]
    types = Counter[str]()
    for entry in chance.sample(CITY.entries, 60) + chance.sample(asking, 20):
        document = orjson.loads(encode(entry))
        meaning: dict[str, str] = {}
        for text, match_type in meant(entry):
            meaning.setdefault(text, match_type)
        texts = {entry.plate, *chance.choices(list(meaning), k=12)}
        texts |= {CITY.misread(text.replace("?", "7")) for text in texts}
        for text in {CITY.misread(text.replace("?", "7")) for text in texts} | texts:
            if "?" not in text:
                like = naive.likeness(text, document)
                match_type = "none" if like is None else like.match_type
                assert meaning.get(text, "none") == match_type, (entry, text)
                types[match_type] += 1
    kinds = ("exact", "confusable", "distance", "partial", "none")
    assert all(types[kind] > 10 for kind in kinds), types


def judge(*entries: Entry, policies: tuple[Policy, ...] = (ALL,)) -> Expected:
    return Expected(entries, policies)


def test_one_match_of_an_entry_at_a_camera_in_a_while() -> None:
    expected = judge(an_entry("ABC1234"))
    for number, after_ms in enumerate((0, 7_999, 8_000, 15_000)):
        expected.note(a_read(number), NOW_MS + after_ms)
    expected.note(a_read(9, camera="C2"), NOW_MS + 15_000)
    assert expected.judged() == (3, 0)
    for read_id in ("R0", "R2", "R9"):
        expected.came("E1", read_id, "exact", 0.99)
        expected.came("E1", read_id, "exact", 0.99)  # once more, as at least once may do
    assert expected.judged() == (0, 0)
    assert (expected.matched, expected.suppressed) == (3, 2)


@pytest.mark.parametrize(
    ("came", "verdict"),
    [
        ([("E1", "R0", "exact"), ("E1", "R2", "exact")], (0, 0)),
        ([("E1", "R0", "exact")], (1, 0)),
        # Of the same plate at the same camera the first one matches, not the second.
        ([("E1", "R1", "exact"), ("E1", "R2", "exact")], (1, 0)),
        ([("E1", "R0", "exact"), ("E1", "R1", "exact"), ("E1", "R2", "exact")], (0, 1)),
        ([("E1", "R0", "confusable"), ("E1", "R2", "exact")], (1, 1)),
        ([("E1", "R0", "exact"), ("E1", "R2", "exact"), ("E2", "R2", "exact")], (0, 1)),
        ([("E1", "R0", "exact"), ("E1", "R2", "exact"), ("E1", "R8", "exact")], (0, 1)),
    ],
)
def test_what_is_lost_and_what_is_invented(
    came: list[tuple[str, str, str]], verdict: tuple[int, int]
) -> None:
    expected = judge(an_entry("ABC1234"))
    expected.note(a_read(0), NOW_MS)
    expected.note(a_read(1), NOW_MS + 5)
    expected.note(a_read(2, camera="C2"), NOW_MS + 5)
    expected.note(a_read(3, plate="ABD1234"), NOW_MS + 5)
    for match in came:
        expected.came(*match, 0.99)
    assert expected.judged() == verdict
    expected.settle(NOW_MS + 200_000)
    assert expected.judged() == expected.settled == verdict


def test_what_policies_and_vehicles_deny() -> None:
    some = Policy(
        source="some",
        rules=(
            Rule(agencies=("PD02",), purposes="*"),
            Rule(agencies="*", purposes=("missing_person",)),
        ),
        updated_by="demo",
        updated_at=format_time(NOW_MS),
    )
    expected = judge(an_entry("ABC1234", vehicle=CAR), policies=(ALL, some))
    for number, source in enumerate(("none", "some", "city-police")):
        expected.note(a_read(number, source=source, vehicle=VAN), NOW_MS)
    assert expected.denied == {
        ("none", "no_policy"): 1,
        ("some", "not_allowed"): 1,
        ("city-police", "entry_vehicle"): 1,
    }
    assert expected.judged() == (0, 0)
    expected.note(a_read(3), NOW_MS)
    assert expected.judged() == (1, 0)


#: By plate as read, the type of the match and its confidence.
_QUALITIES = {"ABC1238": ("exact", 0.99), "ABC123B": ("confusable", 0.5)}


def possible(reads: list[tuple[int, str, str]]) -> set[frozenset[str]]:
    """The sets of reads that match, over every order of two partitions with one plate each."""
    found = set()
    first = sum(read[2] == "ABC1238" for read in reads)
    for places in combinations(range(len(reads)), first):
        queues = {
            plate: [read for read in reads if read[2] == plate] for plate in ("ABC1238", "ABC123B")
        }
        matched: list[tuple[int, str, str]] = []
        for place in range(len(reads)):
            read = queues["ABC1238" if place in places else "ABC123B"].pop(0)
            if all(
                abs(read[0] - other[0]) >= 8_000 or (read[2], other[2]) == ("ABC1238", "ABC123B")
                for other in matched
            ):
                matched.append(read)
        found.add(frozenset(read_id for _, read_id, _ in matched))
    return found


@given(data=st.data())
def test_every_order_of_the_partitions_is_right_and_nothing_else(data: st.DataObject) -> None:
    plates = data.draw(st.lists(st.sampled_from(("ABC1238", "ABC123B")), min_size=1, max_size=7))
    steps = data.draw(st.lists(st.integers(0, 9_000), min_size=len(plates), max_size=len(plates)))
    reads, at_ms = [], NOW_MS
    for number, (plate, step_ms) in enumerate(zip(plates, steps, strict=True)):
        at_ms += step_ms
        reads.append((at_ms, f"R{number}", plate))
    right = possible(reads)
    chosen = data.draw(st.sampled_from(sorted(map(sorted, right))))
    changed = set(chosen) ^ data.draw(st.sets(st.sampled_from([read[1] for read in reads])))
    for came in (set(chosen), changed):
        expected = judge(an_entry("ABC1238", confusables=True))
        for number, (at_ms, _, plate) in enumerate(reads):
            expected.note(a_read(number, plate=plate), at_ms)
        for _, read_id, plate in reads:
            if read_id in came:
                expected.came("E1", read_id, *_QUALITIES[plate])
        is_right = expected.judged() == (0, 0)
        assert is_right or came not in right
        if len(set(plates)) == 1:  # then there is one order only
            assert is_right is (came in right)


def test_a_better_match_comes_beside_a_worse_one() -> None:
    expected = judge(an_entry("ABC1238", confusables=True))
    expected.note(a_read(0, plate="ABC123B"), NOW_MS)
    expected.note(a_read(1, plate="ABC1238"), NOW_MS + 1_000)
    expected.came("E1", "R0", "confusable", 0.01)
    assert expected.judged() == (1, 0), "the exact read cannot be suppressed by it"
    expected.came("E1", "R1", "exact", 0.99)
    assert expected.judged() == (0, 0)


def test_cameras_of_two_sources_are_two() -> None:
    policies = (ALL, Policy(**{**structs.asdict(ALL), "source": "toll-roads"}))
    expected = judge(an_entry("ABC1234"), policies=policies)
    for number, source in enumerate(("city-police", "toll-roads")):
        expected.note(a_read(number, source=source), NOW_MS)
    expected.came("E1", "R0", "exact", 0.99)
    assert expected.judged() == (1, 0)


def test_what_is_settled_is_evicted() -> None:
    expected = judge(an_entry("ABC1234"))
    for number in range(50):
        expected.note(a_read(number), NOW_MS + 10_000 * number)
        if number % 2:
            expected.came("E1", f"R{number}", "exact", 0.99)
        expected.settle(NOW_MS + 10_000 * number)
        assert expected.unsettled <= 13
    assert expected.judged()[0] == 25
    assert expected.settled[0] > 15


# What is shown.


def a_board() -> Board:
    board = Board(tuple((source.name, source.in_words) for source in SOURCES))
    board.lessons = tuple(lessons(CITY.entries, CITY.policies(), NOW_MS))
    board.time, board.period = "Mon 07:45", "morning rush"
    board.sent.update({source.name: 1_000_000 + number for number, source in enumerate(SOURCES)})
    board.processed, board.reads_a_minute = 6_000_014, 1_900_000
    board.curve.extend(range(0, 1_900_000, 20_000))
    board.denied.update({("harbour-authority", "no_policy"): 31, ("toll-road", "not_allowed"): 7})
    board.suppressed, board.other_vehicle = 61, 5
    instructions: dict[str, Any] = {
        "instructions": "Call dispatch at once",
        "purpose": "endangered_person",
    }
    matches = (
        *(("7ABC123", "7ABC123"), ("7A8C123", "7ABC123"), ("7ABC12", "7ABC123")),
        *(("17ABC123", "7ABC123"), ("7ABC123", "7A??123"), ("7AXC123", "7ABC123")),
    )
    for number, (read, listed) in enumerate(matches):
        board.saw(a_match(read, listed, **instructions), 20 + number)
        board.choose()
    return board


@pytest.mark.parametrize(
    ("read", "listed", "shown"),
    [
        ("7ABC123", "7ABC123", ("7ABC123", "7ABC123")),
        ("7A8C1Z3", "7ABC123", ("7A[8]C1[Z]3", "7A[B]C1[2]3")),
        ("7AC123", "7ABC123", ("7A[_]C123", "7A[B]C123")),
        ("7ABC12", "7ABC123", ("7ABC12[_]", "7ABC12[3]")),
        ("7A8C12", "7ABC123", ("7A[8]C12[_]", "7A[B]C12[3]")),
        ("17ABC123", "7ABC123", ("[1]7ABC123", "[_]7ABC123")),
        ("7ABC1231", "7ABC123", ("7ABC123[1]", "7ABC123[_]")),
        ("7AXC123", "7ABC123", ("7A[X]C123", "7A[B]C123")),
        ("7AXC123", "7A?C123", ("7AXC123", "7A?C123")),
        ("7AXC1Z3", "7A?C123", ("7AXC1[Z]3", "7A?C1[2]3")),
    ],
)
def test_plates_side_by_side(read: str, listed: str, shown: tuple[str, str]) -> None:
    one, other = side_by_side(a_match(read, listed))
    assert (in_brackets(one), in_brackets(other)) == shown


def test_what_is_to_be_compared() -> None:
    match = a_match("7A8C123", "7ABC123", vehicle=Vehicle(make="Honda", color="blue"))
    long = (
        "compare: plate differs, region unknown, vehicle same (blue Honda), entry 2 h, read 2 s old"
    )
    assert to_compare(match).replace("Honda blue", "blue Honda") == long
    assert to_compare(match, 78) == (
        "compare: plate differs, region unknown, vehicle same, entry 2 h, read 2 s old"
    )


def test_matches_of_all_kinds_come_to_be_shown() -> None:
    board = Board(())
    for _ in range(3):
        for _ in range(5):
            board.saw(a_match("7ABC123", "7ABC123"), 1)
        board.saw(a_match("7A8C123", "7ABC123"), 1)
        board.choose()
    assert [match.match_type for match in board.latest].count("confusable") >= 1
    assert len(board.latest) == 3
    assert board.choose() == []
    assert (board.matches, board.by_type["exact"]) == (18, 15)


def test_why_a_policy_denies() -> None:
    harbour, university = lessons(CITY.entries, CITY.policies(), NOW_MS)
    assert harbour.describe(76) == (
        "no_policy: the source has a policy? no (none: by default nothing matches)"
    )
    assert university.command == (
        "hotlist policies explain --source state-university --entry PD01-0001"
    )
    assert university.describe() == (
        "not_allowed: a rule of the policy allows agency and purpose? "
        "no (none of 1 allows PD01 for stolen_vehicle)"
    )
    assert university.describe(76) == "not_allowed: none of 1 allows PD01 for stolen_vehicle"


def test_quantiles() -> None:
    delays = Counter({10: 98, 20: 1, 30: 1})
    assert [quantile_ms(delays, share) for share in (0.5, 0.98, 0.99, 1.0)] == [10, 10, 20, 30]
    assert quantile_ms(Counter(), 0.5) is None


def drawn(board: Board, width: int, height: int, **options: Any) -> list[str]:
    """The board as text; the console must need no line more and no column more."""
    output = io.StringIO()
    given: dict[str, Any] = {"force_terminal": True, "color_system": None, "legacy_windows": False}
    console = Console(file=output, width=width, height=height, **(given | options))
    console.print(Picture(board), end="")
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue())
    lines = text.split("\n")
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


def test_a_terminal_of_80_by_24() -> None:
    lines = drawn(a_board(), 80, 24)
    assert len(lines) == 24
    assert " ".join(lines[0].split()) == "hotlist demo Mon 07:45 morning rush Ctrl-C ends"
    assert lines[1].startswith("reads    1.90 million a minute  6,000,014 in all  ")
    assert lines[1].endswith("█")
    assert lines[2].startswith("delay    22 ms median, 25 ms p99")
    assert lines[3] == "matches  6  exact 1, confusable 1, distance 3, partial 1"
    assert lines[4] == ("         suppressed 61, another vehicle 5, rejects 0, lost 0, invented 0")
    (harbour,) = [line for line in lines if line.startswith("harbour-authority")]
    assert harbour.split()[-4:] == ["1,000,005", "0", "31", "no_policy"]
    (toll,) = [line for line in lines if line.startswith("toll-road")]
    assert toll.split()[-3:] == ["0", "7", "not_allowed"]
    assert "$ hotlist policies explain --source harbour-authority --entry SP02-" in "\n".join(lines)
    assert "no_policy: the source has a policy? no (none: by default nothing matches)" in lines[14]
    assert lines[15] == "Latest matches: leads that a person must confirm"
    assert lines[16].startswith(
        "distance   0.62 7A[X]C123 listed 7A[B]C123 endangered_person at poli"
    )
    assert lines[17].startswith("  compare: plate differs, region unknown, vehicle ")
    assert lines[18].startswith("partial    0.62 7ABC123 listed 7A??123 ")
    assert not any("…" in line for line in lines[:16])


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 100, 200])
@pytest.mark.parametrize("height", [1, 5, 12, 24, 25, 60])
def test_any_size_and_alphabet(width: int, height: int) -> None:
    for board in (a_board(), Board(())):
        drawn(board, width, height)
        output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")  # refuses what it lacks
        console = Console(file=output, width=width, height=height, force_terminal=True)
        console.print(Picture(board))


def test_more_room_shows_more_matches() -> None:
    shown = [
        sum("listed" in line for line in drawn(a_board(), 100, height)) for height in (16, 24, 60)
    ]
    assert shown == [0, 4, 6]


def test_colours_and_their_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    def codes() -> set[str]:
        output = io.StringIO()
        Console(file=output, width=80, height=24, force_terminal=True).print(Picture(a_board()))
        found = re.findall(r"\x1b\[([0-9;]*)m", output.getvalue())
        return {code for one in found for code in one.split(";")}

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert codes() & {"31", "32", "33", "36"}
    monkeypatch.setenv("NO_COLOR", "1")
    assert not codes() & {str(code) for code in (*range(30, 50), *range(90, 108))}


def test_the_picture_in_readme_asks_for_nothing_from_elsewhere() -> None:
    picture = (Path(__file__).parents[2] / "deploy" / "demo.svg").read_text(encoding="utf-8")
    assert "harbour-authority" in picture
    assert not re.search(r"@font-face|@import|<image|<script|href", picture)
    assert set(re.findall(r"url\(([^)]{1,5})", picture)) == {"#demo"}


def test_plain_lines() -> None:
    board = a_board()
    board.saw(a_match("7A8C123", "7ABC123", vehicle=Vehicle(color="blue")), 5)
    board.saw(a_match("7ABC123", "7ABC123"), 5)
    lines = list(report_lines(board, readable))
    assert len(lines) == 5
    assert "  7A[8]C123 is listed 7A[B]C123; compare: plate differs, " in "\n".join(lines)
    assert sum(line.startswith("    compare: plate same") for line in lines) == 1
    assert lines[-1] == (
        "Mon 07:45, morning rush: 6,000,014 reads, 1.90 million a minute, 8 matches, "
        "38 denied by policies, 61 suppressed"
    )
    assert len(list(report_lines(board, readable))) == 1


# How it ends.


def a_result(**differing: int) -> Result:
    expected = judge(an_entry("ABC1234", vehicle=CAR))
    board = Board((("city-police", "all"), ("none", "none")))
    board.lessons = tuple(lessons(CITY.entries, CITY.policies(), NOW_MS))
    for number, source in enumerate(("city-police", "city-police", "none")):
        expected.note(a_read(number, source=source), NOW_MS)
    expected.note(a_read(3, vehicle=VAN), NOW_MS)
    board.denied["none", "no_policy"] = 1 + differing.get("denied", 0)
    board.other_vehicle = 1 + differing.get("other_vehicle", 0)
    board.suppressed = 1 + differing.get("suppressed", 0)
    board.processed = 4 + differing.get("processed", 0)
    board.rejects = differing.get("rejects", 0)
    if not differing.get("lost"):
        expected.came("E1", "R0", "exact", 0.99)
    if differing.get("invented"):
        expected.came("E9", "R0", "exact", 0.99)
    board.saw(a_match("7ABC123", "7ABC123"), 12.4)
    board.saw(a_match("7ABC123", "7ABC123"), 90, paced=False)
    board.engine_delays_s.update({0.005: 3, 0.01: 4, 1e308: 4})
    return Result(4, FeedRates(2.0, 2, 1.0, 2, 0.5), expected, board)


def test_summary() -> None:
    result = a_result()
    assert result.is_right
    assert list(result.lines()) == [
        "",
        "reads      4 of 4 sent, 0 rejects",
        "matches    1 seen, 1 expected, 0 lost, 0 invented",
        "           exact 2",
        "suppressed 1 more read at the same camera",
        "denied     1 of another vehicle than listed",
        "denied     1 on none: no_policy",
        "rate       0.00 million reads a minute at the city's own rate",
        "           0.00 million reads a minute at full speed, as fast as the demo makes them",
        (
            "delay      12 ms median, 12 ms p99 at the city's rate, "
            "from making a read to seeing its match"
        ),
        (
            "           of it about 3 ms median, 10 ms p99 in the engine, "
            "from the read in Kafka to its match in Kafka"
        ),
        "           90 ms median, 90 ms p99 at full speed",
    ]


def test_the_engine_takes_no_more_than_the_whole_delay() -> None:
    result = a_result()
    result.board.engine_delays_s.clear()
    result.board.engine_delays_s.update({0.005: 0, 0.01: 0, 0.025: 1, 1e308: 1})
    (engine,) = [line for line in result.lines() if "in the engine" in line]
    assert "of it about 12 ms median, 12 ms p99" in engine


def test_a_machine_that_cannot_keep_up_says_so() -> None:
    result = replace(a_result(), rates=FeedRates(200.0, 2, 1.0, 0, 0.0))
    (rate,) = [line for line in result.lines() if line.startswith("rate")]
    assert rate.endswith("; its clock asked for more")


# The reads on their way.


class _Box:
    """Keeps what is sent, as the broker would."""

    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []

    async def send(self, key: bytes, value: bytes) -> None:
        self.values.append(orjson.loads(value))

    async def flush(self) -> None:
        pass


class _Ticking:
    """A clock that is a millisecond later each time."""

    def __init__(self) -> None:
        self._now_ms = NOW_MS

    def now_ms(self) -> int:
        self._now_ms += 1
        return self._now_ms


def fed(count: int) -> tuple[ReadFeed, list[dict[str, Any]]]:
    """A feed that has sent so many reads, each processed at once, and the reads."""
    box: Any = _Box()
    city = ShownCity(1, NOW_MS)
    feed = ReadFeed(city, Expected((), ()), Board(()), _Ticking())

    async def send() -> None:
        while feed.sent < count:
            await feed.send_due(box, feed.sent, count)

    asyncio.run(send())
    return feed, box.values


def test_each_read_has_the_time_at_which_it_was_made() -> None:
    _, reads = fed(400)
    times = [read["captured_at"] for read in reads]
    assert times == sorted(times)
    assert len(set(times)) == 400


def test_half_of_the_reads_come_at_the_rate_of_the_city_and_the_rest_at_full_speed() -> None:
    feed, reads = fed(400)
    rates = feed.rates
    assert len(reads) == rates.paced + rates.full == 400
    assert 200 <= rates.paced <= 300
    paced = [feed.was_paced(parse_time(read["captured_at"])) for read in reads]
    assert paced == [True] * rates.paced + [False] * rates.full
    assert rates.paced_s > 0 < rates.full_s


def test_the_delay_shown_is_that_of_the_paced_reads() -> None:
    board = Board(())
    board.saw(a_match("7ABC123", "7ABC123"), 5)
    board.saw(a_match("7ABC123", "7ABC123"), 900, paced=False)
    assert drawn(board, 80, 24)[2].startswith("delay    5 ms median, 5 ms p99")


# The worker's process.


def test_what_ends_the_worker_ends_the_demo() -> None:
    async def start() -> None:
        settings = demo_settings("127.0.0.1:1", "demo-none.")  # where nothing listens
        async with WorkerProcess.started(settings, embedded=True) as worker:
            await worker.begin()

    with pytest.raises(HotlistError, match="the broker does not take"):
        asyncio.run(start())


def test_the_warm_up_matches_in_several_ways() -> None:
    assert warm_up(NOW_MS) > 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lost": 1}, "matches    0 seen, 1 expected, 1 lost, 0 invented"),
        ({"invented": 1}, "matches    2 seen, 1 expected, 0 lost, 1 invented"),
        ({"suppressed": 1}, "suppressed 2 (expected: 1) more reads at the same camera"),
        ({"denied": 2}, "denied     3 (expected: 1) on none: no_policy"),
        ({"denied": -1}, "denied     0 (expected: 1) on none: no_policy"),
        ({"other_vehicle": 1}, "denied     2 (expected: 1) of another vehicle than listed"),
        ({"processed": -1}, "reads      3 of 4 sent, 0 rejects"),
        ({"rejects": 1}, "reads      4 of 4 sent, 1 reject"),
    ],
)
def test_whatever_is_wrong_is_said_and_counts(wrong: dict[str, int], said: str) -> None:
    result = a_result(**wrong)
    assert not result.is_right
    assert said in list(result.lines())


class Drawings:
    """Draws as the terminal would and keeps what it drew, and whose plates may be in it."""

    def __init__(self) -> None:
        self.output = io.StringIO()
        console = Console(file=self.output, width=100, height=40, force_terminal=True)
        self._screen = Screen(console)
        self.plates: set[str] = set()
        self.shown = 0

    def __enter__(self) -> object:
        return self._screen.__enter__()

    def __exit__(self, *_: object) -> None:
        self._screen.__exit__()

    def show(self, board: Board) -> None:
        self._screen.show(board)
        self.shown += 1
        for match in board.latest:
            self.plates |= {match.read.plate, match.entry.plate}


def run(
    capsys: pytest.CaptureFixture[str], reads: int, drawing: Drawings | None
) -> tuple[int, str]:
    status = run_demo(None, reads, print, readable, drawing)
    return status, capsys.readouterr().out


def test_a_run_shows_matches_and_no_plate_of_another_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawing = Drawings()
    status, output = run(capsys, 25_000, drawing)
    assert status == 0, output
    assert "25,000 of 25,000 sent, 0 rejects" in output
    assert re.search(r"matches    [1-9]\d* seen, .* 0 lost, 0 invented", output)
    assert re.search(r"denied     \d+ on harbour-authority: no_policy", output)
    assert drawing.shown > 2
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawing.output.getvalue())
    assert "harbour-authority" in text
    # Differing characters stand in brackets; a narrow column cuts a plate off with an ellipsis.
    text = re.sub(r"[\[\]]", "", text + output)
    plate = r"\b(?=[A-Z0-9]*\d)(?=[A-Z0-9]*[A-Z])[A-Z0-9]{6,8}\b(?!…)"
    shown = set(re.findall(plate, text))
    assert shown <= drawing.plates


def test_a_lost_and_an_invented_match_are_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(*args: Any, **options: Any) -> AsyncGenerator[bytes, None]:
        number = 0
        async for value in follow(*args, **options):
            number += 1
            if number == 1:
                continue
            yield value
            if number == 2:
                match = orjson.loads(value)
                match["entry"]["entry_id"] = "PD01-9999"
                yield orjson.dumps(match)

    monkeypatch.setattr(engine.demo.run, "follow", faulty)
    monkeypatch.setattr(engine.demo.run, "_LAST_MATCHES_S", 2.0)
    status, output = run(capsys, 25_000, None)
    assert status == 1
    assert "1 lost, 1 invented" in output


def test_ctrl_c_ends_it_with_the_summary() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "engine", "demo"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    ) as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        for line in demo.stdout:
            lines.append(line)
            if "million a minute" in line:
                demo.send_signal(signal.SIGINT)
                break
        lines += demo.stdout
        assert demo.wait() == 0, lines
    assert any("0 lost, 0 invented" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


# The command.


def test_live_only_on_a_terminal_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli_run.live_screen() is None  # under pytest
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True, encoding="utf-8"))
    monkeypatch.setenv("TERM", "dumb")
    assert cli_run.live_screen() is None
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(cli_run.live_screen(), Screen)


def test_without_rich_it_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.delitem(sys.modules, "engine.demo.screen")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert cli_run.live_screen() is None
    assert capsys.readouterr().err == (
        "without the package rich in plain lines; run: pip install 'hotlist-engine[embedded]'\n"
    )
