"""The order in which `make test` runs the files of tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from xdist.remote import Producer

from tests.conftest import pytest_xdist_make_scheduler
from tests.schedule import LONG, next_file

_ROOT = Path(__file__).parents[2]


def test_the_long_files_exist() -> None:
    assert [name for name in LONG if not (_ROOT / name).exists()] == []


def test_each_process_takes_long_files_of_its_kind_first() -> None:
    files = ["tests/test_a.py", "tests/kafka/test_b.py", "tests/repository/test_packaging.py"]
    files.append("tests/kafka/worker/test_main_job.py")
    assert _order(files, on_kafka=True) == [files[3], files[1], files[2], files[0]]
    assert _order(files, on_kafka=False) == [files[2], files[0], files[3], files[1]]


def _order(files: list[str], *, on_kafka: bool) -> list[str]:
    left = dict.fromkeys(files)
    order = []
    while left:
        order.append(next_file(left, on_kafka=on_kafka))
        del left[order[-1]]
    return order


class Node:
    """A process of xdist, as its scheduler sees it; `files` are those that it was given."""

    shutting_down = False
    gateway = SimpleNamespace(id="gw0")

    def __init__(self, tests: list[str]) -> None:
        self._tests = tests
        self.files: list[str] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.files += [self._tests[number].partition("::")[0] for number in numbers]

    def shutdown(self) -> None:
        self.shutting_down = True


def test_make_test_keeps_to_it() -> None:
    files = ["tests/a.py", "tests/kafka/b.py", "tests/c.py", "tests/kafka/d.py", "tests/e.py"]
    tests = [f"{name}::test_{number}" for name in files for number in range(3)]
    nodes = [Node(tests), Node(tests), Node(tests)]
    given = {"tx": ["popen"] * len(nodes), "dist": "loadfile"}
    config: Any = SimpleNamespace(
        getvalue=given.get, getoption=given.get, option=SimpleNamespace(loadscopereorder=True)
    )
    schedule: Any = pytest_xdist_make_scheduler(config, Producer("test", enabled=False))
    for node in nodes:
        schedule.add_node(node)
    for node in nodes:
        schedule.add_node_collection(node, tests)
    schedule.schedule()
    assert [node.files for node in nodes] == [3 * [files[place]] for place in (1, 3, 0)]
    for number in range(6, 9):  # those of d.py, and then it takes what is left
        schedule.mark_test_complete(nodes[1], number + 3)
    assert set(nodes[1].files) == {files[3], files[2]}


def test_other_ways_to_divide_the_tests_stay_as_they_are() -> None:
    config: Any = SimpleNamespace(getoption={"dist": "load"}.get)
    assert pytest_xdist_make_scheduler(config, None) is None
