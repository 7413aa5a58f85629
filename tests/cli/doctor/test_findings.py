"""What the doctor makes of what it sees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine import limits
from engine.cli.doctor.findings import (
    Finding,
    Partition,
    judge_checkpoints,
    judge_clocks,
    judge_control,
    judge_group,
    judge_rights,
    judge_topics,
)
from engine.cli.doctor.read_sample import Sample, judge_sample
from engine.clock import SystemClock, parse_time
from tests.fakes.documents import detection_json


def states(findings: Any) -> dict[str, list[str]]:
    """The states of findings, by check."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        assert isinstance(finding, Finding)
        assert finding.todo or finding.state in ("ok", "note")
        found.setdefault(finding.check, []).append(finding.state)
    return found


def partition(**changed: Any) -> Partition:
    kept = {"number": 0, "begin": 0, "end": 100_000, "committed": 90_000}
    kept |= {"end_later": 101_000, "committed_later": 100_000}
    return Partition(**(kept | changed))


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, "ok"),
        ({"committed_later": 91_500}, "ok"),  # fewer wait than are worth a word
        ({"end_later": 200_000, "committed_later": 95_000}, "warning"),
        ({"committed": None, "committed_later": None, "end_later": 200_000}, "warning"),
        ({"committed": 10_000, "committed_later": 20_000}, "ok"),  # it is catching up
        ({"begin": 100_500, "committed_later": 100_000}, "problem"),
    ],
)
def test_lag(changed: dict[str, Any], state: str) -> None:
    found = states(judge_group("g", 1, "Stable", [partition(**changed)]))
    assert found["workers"] == ["ok"]
    assert found["lag"][0] == state


def test_one_of_a_thing_is_written_in_the_singular() -> None:
    one = partition(begin=0, end=5, committed=4, end_later=5, committed_later=4)
    found = [*judge_group("g", 2, "Stable", [one]), *judge_group("g", 0, "Empty", [one])]
    said = [each.what for each in found]
    assert "2 workers, 1 partition: 1 is idle" in said
    assert said.count("1 read waits") == 2
    gone = partition(begin=5, end=9, committed=4, end_later=9, committed_later=4)
    [deleted] = [e for e in judge_group("g", 1, "Stable", [gone]) if e.state == "problem"]
    assert deleted.what == "1 read of partition 0 was deleted before being processed"
    [ok] = [e for e in judge_topics({"t": [(0, 3, 3)]}) if e.state == "ok"]
    assert ok.what == "1 topic, 1 partition, all with a leader"
    [behind] = [e for e in judge_topics({"t": [(0, 3, 2)]}) if e.state == "warning"]
    assert behind.what == "topic t: replicas of 1 partition are not in sync"
    control = judge_control("lpr.hotlist.v1", 1, 1, None, 0)
    assert control.what == "topic lpr.hotlist.v1: 1 record written"


def test_workers() -> None:
    assert states(judge_group("g", 0, "Empty", [partition()])) == {
        "workers": ["problem"],
        "lag": ["problem"],
    }
    assert states(judge_group("g", 2, "PreparingRebalance", [partition()]))["workers"] == [
        "warning"
    ]
    assert states(judge_group("g", 3, "Stable", [partition()]))["workers"] == ["note"]


def test_partitions_that_no_worker_has() -> None:
    """They were added, and the group has not heard of them."""
    parts = [partition(number=number) for number in range(4)]
    found = list(judge_group("g", 1, "Stable", parts, frozenset({0, 2})))
    [warned] = [each for each in found if each.state == "warning"]
    assert warned.what == "no worker in the group g owns partition 1, 3"
    assert states(judge_group("g", 1, "Stable", parts, frozenset(range(4))))["workers"] == ["ok"]
    assert states(judge_group("g", 0, "Empty", parts, frozenset()))["workers"] == ["problem"]
    assert states(judge_group("g", 1, "Stable", parts))["workers"] == ["ok"], "nobody has asked"


def test_topics() -> None:
    three = (1, 3, 3)
    assert states(judge_topics({"t": [three, three]})) == {"topics": ["ok"]}
    assert states(judge_topics({"t": [three, (1, 3, 2)]})) == {"topics": ["warning"]}
    assert states(judge_topics({"t": [three, (-1, 3, 0)]})) == {"topics": ["problem"]}
    assert states(judge_topics({"t": [(1, 1, 1)]})) == {"topics": ["note", "ok"]}


def test_lists() -> None:
    now_ms = 10 * 86_400_000
    fine = judge_control("lpr.hotlist.v1", 5, 5, now_ms - 7_200_000, now_ms)
    assert (fine.state, fine.what) == (
        "ok",
        "topic lpr.hotlist.v1: 5 records written, changed 2 hours ago",
    )
    assert judge_control("lpr.hotlist.v1", 3, 5, None, now_ms).state == "warning"
    empty = judge_control("lpr.policies.v1", 0, 0, None, now_ms)
    assert (empty.state, empty.todo) == (
        "warning",
        "set the sources' policies: hotlist policies set",
    )


def test_rights() -> None:
    assert states(judge_rights({"a": [], "b": []}, is_named=False)) == {"rights": ["warning"]}
    assert states(judge_rights({"a": [], "b": ["Read on topic t"]}, is_named=False)) == {
        "rights": ["ok"]
    }
    assert states(judge_rights({"a": ["x"], "b": ["y"]}, is_named=False)) == {"rights": ["problem"]}
    [named] = judge_rights({"engine": ["Read on topic t"]}, is_named=True)
    assert named.what == "for the role engine this login lacks Read on topic t"
    assert states(judge_rights({"engine": []}, is_named=True)) == {"rights": ["ok"]}


def test_clocks() -> None:
    assert judge_clocks("the worker", limits.CLOCK_SKEW_S) is None
    ahead = judge_clocks("the worker", 60)
    behind = judge_clocks("the worker", -7.2)
    assert ahead is not None
    assert behind is not None
    assert ahead.what == "the clock of the worker is 1 min ahead of the local one"
    assert behind.what == "the clock of the worker is 7.2 s behind the local one"


def test_reads() -> None:
    now_ms = SystemClock().now_ms()
    sample = Sample()
    good = detection_json(source="city")
    secret = "SECRET7"
    for key, value in [
        (b"ABC1234", good),
        (None, good),
        (b"abc", good),
        (b"OTHER99", good),
        (b"ABC1234", {**good, "source": "elsewhere"}),
        (b"ABC1234", {**good, "captured_at": secret}),
        (b"ABC1234", {**good, "plate": secret * 5}),
    ]:
        plate = good["plate"].upper().replace("-", "").encode()
        named = plate if key == b"ABC1234" else key
        sample.take(named, json.dumps(value).encode(), now_ms, frozenset({"city"}))
    sample.take(b"x", None, now_ms, frozenset())
    sample.take(b"x", b" " * (limits.READ_VALUE_BYTES + 1), now_ms, frozenset())
    sample.take(b"x", secret.encode(), now_ms, frozenset())
    found = list(judge_sample(sample))
    assert sample.reads == 10
    assert {reason for reason, _, _ in sample.bad} == {
        *("value_missing", "value_too_large", "invalid_json"),
        *("schema", "plate_length", "key_mismatch"),
    }
    assert sample.odd_keys == {"missing": 1, "not in normal form": 1}
    assert sample.without_policy == 1
    assert states(found)["reads"].count("problem") == 6
    assert found[-1].what.startswith("4 of the latest 10 are good")
    assert not any(secret in f"{each}" for each in found)


def test_reads_of_the_future() -> None:
    sample = Sample()
    read = detection_json()
    produced_ms = parse_time(read["captured_at"]) - 60_000
    sample.take(None, json.dumps(read).encode(), produced_ms, frozenset())
    assert sample.from_future == 1
    assert "were captured later than produced" in " ".join(f.what for f in judge_sample(sample))


def test_no_reads() -> None:
    assert states(judge_sample(Sample())) == {"reads": ["note"]}


@pytest.mark.parametrize(
    ("metrics", "is_found"),
    [
        (b"# HELP x\nhotlist_audit_checkpoints 0.0\nhotlist_ready 1.0\n", True),
        (b"hotlist_audit_checkpoints 1.0\n", False),
        (b"", False),
    ],
)
def test_a_worker_that_signs_nothing(metrics: bytes, is_found: bool) -> None:
    found = judge_checkpoints("http://w:1", metrics)
    assert (found is not None) == is_found
    if found is not None:
        assert (found.check, found.state) == ("audit", "warning")
        assert found.what == (
            "worker http://w:1 signs no checkpoints: no one can find out that the audit's end was "
            "removed"
        )
