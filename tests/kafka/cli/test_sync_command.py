"""`entries import` and `entries sync` on a real Kafka: all of a list's new state, or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.cli.entries import import_
from engine.cli.entries.list_reader import list_reader
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.documents.codec import encode
from engine.errors import BrokerError
from engine.list_files import difference
from engine.list_files.digests import Names
from tests.fakes.examples import ROW_FLAGS
from tests.kafka.cli.test_cli import Commands
from tests.list_files.test_difference import entry

ROOT = str(Path(__file__).parents[3])
DATA = Path(ROOT) / "tests" / "data"


@pytest.fixture
def commands(real_kafka: str, prefix: str, own_settings: None) -> Commands:
    return Commands(real_kafka, prefix)


def write(name: str, plates: Sequence[str], header: str = "plate") -> str:
    Path(name).write_text("\n".join([header, *plates]) + "\n")
    return name


def plates_of(commands: Commands, list_id: str = "l") -> set[str]:
    shown = commands.documents("entries", "show", "--json", f"--list={list_id}")
    return {entry["plate"] for entry in shown}


def some(count: int, first: int = 0) -> list[str]:
    return [f"AB{number:06d}" for number in range(first, first + count)]


def process(commands: Commands, *args: str, before: str = "") -> subprocess.Popen[bytes]:
    """A command in a process of its own, with some Python done before."""
    code = f"{before}\nfrom engine.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **commands.env, "PYTHONPATH": ROOT},
    )


def test_sync_adds_changes_and_removes_the_difference(commands: Commands) -> None:
    topic = commands.topics.hotlist
    other = ["--list=other", *ROW_FLAGS[1:]]
    commands.good("entries", "import", write("other.csv", some(3)), *other)
    before = commands.records(topic)
    assert commands.good("entries", "sync", write("a.csv", some(6)), *ROW_FLAGS) == (
        "list l: 6 added, 0 changed, 0 removed, 0 unchanged; list revision 9\n"
    )
    rows = [f"{plate},{'1' if plate.endswith('2') else ''}" for plate in some(6, 1)]
    name = write("b.csv", rows, "plate,priority")
    assert commands.good("entries", "sync", name, *ROW_FLAGS) == (
        "list l: 1 added, 1 changed, 1 removed, 4 unchanged; list revision 13\n"
    )
    assert plates_of(commands) == set(some(6, 1))
    assert plates_of(commands, "other") == set(some(3))
    # Every change names who made it, removals too, and nobody else's records are written again.
    records = commands.records(topic)
    assert len(records) == len(before) + 6 + 3
    for record in records:
        headers = dict(record.headers() or ())
        assert headers.pop("operator") == b"jo"
        assert set(headers) == (set() if record.value() else {"term"})
    assert [record.value() for record in records].count(None) == 1
    # The revision is the offset after the last of its records.
    assert max(record.offset() or 0 for record in records) + 1 == 13

    assert commands.good("entries", "sync", name, *ROW_FLAGS) == (
        "list l is as the file says, nothing was sent: 6 unchanged\n"
    )
    assert len(commands.records(topic)) == len(records)
    (document,) = commands.documents("entries", "sync", name, *ROW_FLAGS, "--json")
    assert document == {
        "list_id": "l",
        "added": 0,
        "changed": 0,
        "removed": 0,
        "unchanged": 6,
        "invalid": 0,
        "not_removed": 0,
        "left_out": 0,
        "left_alone": 0,
        "list_revision": None,
    }


def test_a_sync_of_no_difference_is_told_from_none(commands: Commands) -> None:
    metrics = Path("l.prom")
    name = write("a.csv", some(6))

    def values() -> dict[str, float]:
        lines = [line for line in metrics.read_text().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in map(str.split, lines)}

    before_s = time.time()
    commands.good("entries", "sync", name, *ROW_FLAGS, f"--metrics-file={metrics}")
    first = values()
    assert before_s <= first['hotlist_sync_time_seconds{list="l"}'] <= time.time()
    assert first['hotlist_sync_entries{change="added",list="l"}'] == 6
    output = commands.good("entries", "sync", name, *ROW_FLAGS, f"--metrics-file={metrics}")
    assert "nothing was sent" in output
    second = values()
    times = [each['hotlist_sync_time_seconds{list="l"}'] for each in (first, second)]
    assert times[0] < times[1]
    assert second['hotlist_sync_entries{change="unchanged",list="l"}'] == 6
    assert second['hotlist_sync_entries{change="added",list="l"}'] == 0
    # One that is refused leaves the time of the last that was not.
    result = commands.run(
        "entries", "sync", write("b.csv", ["?"]), *ROW_FLAGS, f"--metrics-file={metrics}"
    )
    assert result.exit_code == 1
    assert values() == second


def test_dry_run_sends_nothing(commands: Commands) -> None:
    commands.good("entries", "sync", write("a.csv", some(2)), *ROW_FLAGS)
    records = len(commands.records(commands.topics.hotlist))
    name = write(
        "b.csv", [f"{some(1, 1)[0]},1", f"{some(1, 2)[0]},", "AB9999,high"], "plate,priority"
    )
    result = commands.run("entries", "sync", name, *ROW_FLAGS, "--dry-run")
    assert result.exit_code == 1
    assert result.stdout == (
        "dry run, nothing was sent: 1 added, 1 changed, 1 removed, 0 unchanged, 1 invalid\n"
    )
    assert result.stderr.splitlines() == [
        "b.csv: line 4: priority 'high': must be a number",
        "hotlist: b.csv: 1 of 3 rows are bad, nothing was sent; --skip-invalid sends the others",
    ]
    flags = [*ROW_FLAGS, "--dry-run", "--json", "--skip-invalid"]
    result = commands.run("entries", "sync", name, *flags)
    assert result.exit_code == 0
    lines = [orjson.loads(line) for line in result.stdout.splitlines()]
    assert [line["change"] for line in lines] == ["changed", "added", "removed", "invalid"]
    assert lines[3] == {
        "change": "invalid",
        "line": 4,
        "problem": "priority 'high': must be a number",
    }
    shown = {entry["plate"]: entry["entry_id"] for entry in _entries(commands)}
    assert lines[0]["entry_id"] == shown[some(1, 1)[0]]
    assert lines[2]["entry_id"] == shown[some(1)[0]]
    result = commands.run("entries", "import", name, *flags[:-1])
    assert [orjson.loads(line)["change"] for line in result.stdout.splitlines()] == [
        "changed",
        "added",
        "invalid",
    ]
    assert len(commands.records(commands.topics.hotlist)) == records


def _entries(commands: Commands) -> list[Any]:
    return commands.documents("entries", "show", "--json")


def test_a_file_that_was_cut_off_is_refused(commands: Commands) -> None:
    commands.good("entries", "sync", write("a.csv", some(100)), *ROW_FLAGS)
    short, empty = write("short.csv", some(90)), write("empty.csv", [])
    result = commands.run("entries", "sync", short, *ROW_FLAGS)
    assert (result.exit_code, result.stderr) == (
        1,
        (
            "hotlist: short.csv: would remove 10 of the 100 entries of list l; nothing was sent; "
            "--allow-shrink does it\n"
        ),
    )
    result = commands.run("entries", "sync", empty, *ROW_FLAGS)
    assert (result.exit_code, result.stderr) == (
        1,
        "hotlist: empty.csv: holds no entry that can be sent; --allow-shrink empties list l\n",
    )
    # The dry run says what would have been.
    result = commands.run("entries", "sync", short, *ROW_FLAGS, "--dry-run")
    assert (result.exit_code, "10 removed" in result.stdout) == (1, True)
    assert plates_of(commands) == set(some(100))
    commands.good("entries", "sync", write("few.csv", some(91)), *ROW_FLAGS)
    commands.good("entries", "sync", write("few.csv", some(10)), *ROW_FLAGS, "--allow-shrink")
    assert plates_of(commands) == set(some(10))
    # A small list loses a few without a question, but never all of them.
    commands.good("entries", "sync", write("few.csv", some(6)), *ROW_FLAGS)
    commands.good("entries", "sync", write("few.csv", some(2)), *ROW_FLAGS)
    assert commands.run("entries", "sync", empty, *ROW_FLAGS).exit_code == 1
    commands.good("entries", "sync", empty, *ROW_FLAGS, "--allow-shrink")
    assert plates_of(commands) == set()


def test_skipped_rows_are_left_alone(commands: Commands) -> None:
    commands.good("entries", "sync", write("a.csv", some(4)), *ROW_FLAGS)
    first, second, third, _ = some(4)
    # The second row is bad, and the fourth is gone.
    name = write("b.csv", [f"{first},1", f"{second},high", f"{third},"], "plate,priority")
    result = commands.run("entries", "sync", name, *ROW_FLAGS, "--skip-invalid")
    assert result.stdout.startswith("list l: 0 added, 1 changed, 1 removed, 1 unchanged, skipped 1")
    assert plates_of(commands) == {first, second, third}
    # Now the second row has lost its plate.
    name = write("c.csv", [first, "?", "AB999999"])
    result = commands.run("entries", "sync", name, *ROW_FLAGS, "--skip-invalid")
    assert result.stdout.startswith("list l: 1 added, 1 changed, 0 removed, 0 unchanged, skipped 1")
    assert result.stderr.splitlines() == [
        "c.csv: line 3: plate '?': must have at least 4 known characters for stolen_vehicle, not 0",
        (
            "c.csv: nothing was removed, because 1 bad row does not say for which entry; without "
            "it 2 would be removed"
        ),
    ]
    assert plates_of(commands) == {first, second, third, "AB999999"}
    result = commands.run("entries", "sync", name, *ROW_FLAGS, "--skip-invalid", "--json")
    document = orjson.loads(result.stdout)
    assert (document["removed"], document["not_removed"]) == (0, 2)


def test_the_list_is_the_one_that_the_rows_name(commands: Commands) -> None:
    flags = ROW_FLAGS[1:]
    commands.good("entries", "sync", write("a.csv", ["AB12CD,x"], "plate,list"), *flags)
    assert plates_of(commands, "x") == {"AB12CD"}
    for rows, what in ((["AB12CD,x", "AB12CE,y"], "names 2 lists"), ([], "names no list")):
        result = commands.run("entries", "sync", write("b.csv", rows, "plate,list"), *flags)
        assert result.stderr == f"hotlist: b.csv: {what}; say with --list which one it is\n"
    result = commands.run("entries", "sync", "a.csv", *ROW_FLAGS)
    assert result.stderr.splitlines() == [
        "a.csv: line 2: list_id 'x': must be l, the list that is synced",
        "hotlist: a.csv: 1 of 1 row is bad, nothing was sent; --skip-invalid sends the others",
    ]
    taken = write("c.csv", ["e-1,AB12CD"], "entry_id,plate")
    commands.good("entries", "import", taken, "--list=x", *flags)
    result = commands.run("entries", "sync", taken, *ROW_FLAGS)
    assert result.stderr.splitlines()[0] == (
        "c.csv: line 2: entry_id is on list 'x', which is not the list that is synced"
    )


def test_no_operator_no_change(commands: Commands) -> None:
    del commands.env["HOTLIST_OPERATOR"]
    for command in ("import", "sync"):
        result = commands.run("entries", command, write("a.csv", some(1)), *ROW_FLAGS)
        assert (result.exit_code, result.stderr) == (
            2,
            (
                "hotlist: this command changes a list or a policy and must know who does it; "
                "set --operator (HOTLIST_OPERATOR)\n"
            ),
        )
    assert commands.records(commands.topics.hotlist) == []


@pytest.mark.parametrize("command", [["sync", "x.csv"], ["import", "x.csv"], ["add", "--id=e"]])
def test_no_extension_without_a_new_reference(commands: Commands, command: list[str]) -> None:
    now_ms, day_ms = SystemClock().now_ms(), 86_400_000

    def flags(created: int, expires: int, reference: str) -> list[str]:
        times = [format_time(now_ms + days * day_ms) for days in (created, expires)]
        rest = [*ROW_FLAGS[:4], f"--authority-ref={reference}"]
        if command[0] == "add":
            return [*rest, "--plate=AB12CD", f"--created-at={times[0]}", f"--expires-at={times[1]}"]
        write("x.csv", [f"e,AB12CD,{','.join(times)}"], "entry_id,plate,created_at,expires_at")
        return rest

    commands.good("entries", *command, *flags(-300, 60, "1"))
    result = commands.run("entries", *command, *flags(-200, 66, "1"))
    created = format_time(now_ms - 300 * day_ms)
    assert result.exit_code == 1
    assert (
        f"authority.reference '1': must be a new one to extend the entry beyond 365 days after "
        f"{created}"
    ) in result.stderr.splitlines()[0]
    (entry,) = _entries(commands)
    assert entry["created_at"] == created
    commands.good("entries", *command, *flags(-200, 66, "2"))
    (entry,) = _entries(commands)
    assert entry["created_at"] == format_time(now_ms - 200 * day_ms)


def test_add_changes_what_stands_and_keeps_when_it_was_made(commands: Commands) -> None:
    assert commands.good("entries", "add", "--id=e", "--plate=AB12CD", *ROW_FLAGS) == "added e\n"
    (first,) = _entries(commands)
    flags = ["--id=e", "--plate=AB12CD", *ROW_FLAGS[:-1], f"--expires-at={first['expires_at']}"]
    assert commands.good("entries", "add", *flags) == "unchanged e\n"
    assert commands.documents("entries", "add", *flags, "--json") == [first]
    assert commands.good("entries", "add", *flags, "--priority=1") == "changed e\n"
    assert _entries(commands) == [{**first, "priority": 1}]
    assert len(commands.records(commands.topics.hotlist)) == 2


@pytest.mark.parametrize("command", [["import", "x.csv"], ["add", "--id=e", "--plate=AB12CD"]])
def test_anothers_entry_is_taken_over_only_with_the_flag(
    commands: Commands, command: list[str]
) -> None:
    write("x.csv", ["e,AB12CD"], "entry_id,plate")
    others = ["--list=stolen", "--agency=PD01", *ROW_FLAGS[2:]]
    commands.good("entries", "add", "--id=e", "--plate=XX99XX", *others)
    before = _entries(commands)
    result = commands.run("entries", *command, *ROW_FLAGS)
    assert result.exit_code == 1
    assert (
        "entry_id belongs to list 'stolen' of agency 'PD01'; --take-over replaces it"
    ) in result.stderr.splitlines()[0]
    assert _entries(commands) == before
    commands.good("entries", *command, *ROW_FLAGS, "--take-over")
    assert plates_of(commands) == {"AB12CD"}
    assert plates_of(commands, "stolen") == set()


def test_killed_in_the_middle_leaves_the_list_as_it_was(commands: Commands) -> None:
    commands.good("entries", "sync", write("a.csv", some(50)), *ROW_FLAGS)
    before = _entries(commands)
    # All records are with the broker, and the transaction is open: then the process is gone.
    die = (
        "import os, signal\nfrom engine.kafka.writer import Outbox\nflush = Outbox.flush\n"
        "async def flush_and_die(box):\n"
        "    await flush(box)\n"
        "    if box.sent: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Outbox.flush = flush_and_die"
    )
    name = write("b.csv", some(3000, 25))
    killed = process(commands, "entries", "sync", name, *ROW_FLAGS, "--allow-shrink", before=die)
    assert killed.communicate(timeout=60) == (b"", b"")
    assert killed.returncode == -signal.SIGKILL
    assert _entries(commands) == before
    # The next one is not held up by what the dead one left open.
    commands.good("entries", "sync", write("c.csv", some(60)), *ROW_FLAGS)
    assert plates_of(commands) == set(some(60))


def test_one_that_fails_in_the_middle_takes_back_what_it_sent(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.good("entries", "sync", write("a.csv", some(5)), *ROW_FLAGS)
    send = import_.send_difference

    async def send_and_fail(box: Any, *args: Any) -> None:
        await send(box, *args)
        await box.flush()
        raise BrokerError("gone", where="broker")

    monkeypatch.setattr(import_, "send_difference", send_and_fail)
    name = write("b.csv", some(500, 100))
    result = commands.run("entries", "sync", name, *ROW_FLAGS, "--allow-shrink")
    assert (result.exit_code, result.stderr) == (1, "hotlist: broker: gone\n")
    assert plates_of(commands) == set(some(5))
    # Nothing is left open behind which later changes would wait.
    commands.good("entries", "add", "--plate=XX99XX", *ROW_FLAGS)
    assert plates_of(commands) == {*some(5), "XX99XX"}


def test_renew(commands: Commands) -> None:
    name = write("a.csv", some(2))
    commands.good("entries", "sync", name, *ROW_FLAGS)
    before = _entries(commands)
    longer = [*ROW_FLAGS[:-1], "--expires-in=60d"]
    assert "nothing was sent" in commands.good("entries", "sync", name, *longer)
    commands.good("entries", "sync", name, *longer, "--renew")
    after = _entries(commands)
    assert [entry["created_at"] for entry in after] == [entry["created_at"] for entry in before]
    assert all(
        new["expires_at"] > old["expires_at"] for new, old in zip(after, before, strict=True)
    )
    # A year from now is beyond the term that began when they were made.
    result = commands.run("entries", "sync", name, *ROW_FLAGS[:-1], "--expires-in=365d", "--renew")
    assert result.exit_code == 1
    assert "authority.reference '1': must be a new one" in result.stderr
    assert _entries(commands) == after


@pytest.mark.parametrize("when", ["before", "between", "flushed", "at the end"])
def test_of_two_syncs_of_a_list_the_later_one_counts(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Wherever the other one begins, the earlier one ends with one line."""
    commands.good("entries", "sync", write("a.csv", some(5)), *ROW_FLAGS)
    write("first.csv", some(2000, 100))
    write("second.csv", some(2000, 200))
    flags = [*ROW_FLAGS, "--allow-shrink"]
    send = import_.send_difference

    async def send_with_another_beside_it(box: Any, *args: Any) -> None:
        if when in ("flushed", "at the end"):
            await send(box, *args)
        if when in ("between", "flushed"):
            await box.send(b"first", None, [])
            await box.flush()
        other = process(commands, "entries", "sync", "second.csv", *flags)
        output, errors = await asyncio.to_thread(other.communicate, timeout=60)
        assert (other.returncode, errors) == (0, b""), errors
        assert output.startswith(b"list l: 2000 added, 0 changed, 5 removed")
        if when in ("before", "between"):
            await send(box, *args)

    monkeypatch.setattr(import_, "send_difference", send_with_another_beside_it)
    result = commands.run("entries", "sync", "first.csv", *flags)
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        (
            f"hotlist: {commands.topics.hotlist}: another sync of list l began meanwhile, or this "
            "one took over 2 min; none of this sync's changes count\n"
        ),
    )
    assert plates_of(commands) == set(some(2000, 200))


def test_syncs_of_several_lists_at_once(commands: Commands) -> None:
    flags = ROW_FLAGS[1:]
    names = [write(f"{number}.csv", some(1000, number)) for number in range(3)]
    running = [
        process(commands, "entries", "sync", name, f"--list=l-{number}", *flags)
        for number, name in enumerate(names)
    ]
    for sync in running:
        _, errors = sync.communicate(timeout=120)
        assert (sync.returncode, errors) == (0, b"")
    for number in range(3):
        assert plates_of(commands, f"l-{number}") == set(some(1000, number))


def test_what_comes_while_a_sync_compares_is_seen(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.good("entries", "sync", write("a.csv", some(3)), *ROW_FLAGS)
    compare = difference.compare_to_state
    calls: list[Any] = []

    def compare_and_add(*args: Any, **how: Any) -> Any:
        found = compare(*args, **how)
        if not calls:
            other = process(commands, "entries", "add", "--plate=XX99XX", *ROW_FLAGS)
            assert other.communicate(timeout=60)[1] == b""
        calls.append(found)
        return found

    monkeypatch.setattr(import_, "compare_to_state", compare_and_add)
    output = commands.good("entries", "sync", write("b.csv", some(4)), *ROW_FLAGS)
    assert output.startswith("list l: 1 added, 0 changed, 1 removed, 3 unchanged")
    assert len(calls) == 2
    assert plates_of(commands) == set(some(4))


@pytest.mark.parametrize(
    ("name", "profile", "plates"),
    [
        ("genetec.csv", "genetec", {"7ABC123", "DEF228", "345ABG"}),
        ("ncic.csv", "ncic", {"7ABC123", "NEB4567", "DEF228", "LMN456"}),
        ("plates.txt", "plates", {"AB12CD", "EF34GH", "MÜ99?1"}),
    ],
)
def test_profiles(commands: Commands, name: str, profile: str, plates: set[str]) -> None:
    """The files of others, with their dates moved to where they are admissible today."""
    this_year = format_time(SystemClock().now_ms())[:4]
    next_year = str(int(this_year) + 1)
    text = (DATA / name).read_bytes().replace(b"2026-0", f"{next_year}-0".encode())
    Path(name).write_bytes(text.replace(b"2026/0", f"{next_year}/0".encode()))
    flags = [*ROW_FLAGS, f"--profile={profile}", "--skip-invalid"]
    if profile == "ncic":
        flags = ["--list=l", "--expires-in=60d", f"--profile={profile}"]
    result = commands.run("entries", "sync", name, *flags)
    assert result.exit_code == 0, result.stderr
    assert plates_of(commands) <= plates
    assert plates_of(commands)


def test_windows_1252_is_said(commands: Commands) -> None:
    Path("w.csv").write_bytes((DATA / "windows_1252.csv").read_bytes())
    result = commands.run("entries", "import", "w.csv", *ROW_FLAGS)
    assert (result.exit_code, result.stderr) == (
        0,
        "w.csv: not UTF-8 text, read as Windows-1252; --encoding sets another\n",
    )
    assert plates_of(commands, "Café") == {"MÜ1234"}
    result = commands.run("entries", "import", "w.csv", *ROW_FLAGS, "--encoding=utf-8")
    assert result.stderr.splitlines()[0] == ("w.csv: line 2: plate 'M\\udcdc1234': not UTF-8 text")


async def test_reader_goes_on_where_it_stopped(commands: Commands) -> None:
    topic = commands.topics.hotlist
    settings = Settings(bootstrap=commands.bootstrap)
    lengths: list[int] = []

    @contextlib.contextmanager
    def progress(length: int) -> Iterator[Callable[[int], None]]:
        lengths.append(length)
        yield lambda _: None

    async with list_reader(settings, topic, Names()) as reader:
        assert not await reader.catch_up(progress)
        for entry_id in ("a", "b", "c"):
            commands.produce(topic, entry_id, encode(entry(entry_id)))
        assert await reader.catch_up(progress)
        assert len(reader.state.columns.ids) == 3
        commands.produce(topic, "b", None)
        assert await reader.catch_up(progress)
        assert len(reader.state.columns.ids) == 2
        assert not await reader.catch_up(progress)
    assert lengths == [3, 1]
