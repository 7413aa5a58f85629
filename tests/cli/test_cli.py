"""The command line: what it says, to whom, and with which status.

Everything here runs without a broker.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import orjson
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.cli.options import operator_name, takes_settings
from engine.cli.output import plain
from engine.cli.tail import readable
from engine.config import SETTINGS, Settings
from engine.errors import BrokerError
from engine.list_files.digests import Names
from engine.list_files.list_state import ListState
from tests.fakes.documents import detection, entry, exact_match
from tests.fakes.examples import READ, ROW_FLAGS


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a directory of its own, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOTLIST_")]:
        monkeypatch.delenv(name)


def hotlist(*args: str, **env: str) -> Result:
    return CliRunner().invoke(main, args, env=env)


def assert_one_line(result: Result, status: int, line: str) -> None:
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert result.stderr == f"hotlist: {line}\n"


@pytest.fixture
def nobody_there() -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def worker_settings(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which `hotlist worker` is started, instead of starting it."""
    seen: list[Settings] = []

    def run_worker(settings: Settings, *, warns: bool) -> None:
        seen.append(settings)

    monkeypatch.setitem(sys.modules, "engine.worker.main", SimpleNamespace(run_worker=run_worker))
    return seen


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


# Help and version.


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_help_everywhere(path: tuple[str, ...]) -> None:
    # A broken file and variable must not stand in the way of help.
    Path("hotlist.toml").write_text("broken")
    result = hotlist(*path, "--help", HOTLIST_HTTP_PORT="broken")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith(f"Usage: {' '.join(('hotlist', *path))} ")


def test_commands_of_the_contract() -> None:
    assert {" ".join(path) for path in commands(main)} >= {
        "demo",
        "worker",
        "topics create",
        "entries add",
        "entries import",
        "entries remove",
        "entries show",
        "entries sync",
        "policies set",
        "policies remove",
        "policies show",
        "policies explain",
        "check",
        "replay",
        "tail",
        "audit verify",
    }


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(flag: str) -> None:
    result = hotlist(flag)
    assert result.exit_code == 0
    assert result.stdout.startswith("hotlist ")


@pytest.mark.parametrize("command", [(), ("worker",), ("entries", "import")])
def test_help_is_a_word_too(command: tuple[str, ...]) -> None:
    result = hotlist("help", *command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == hotlist(*command, "--help").stdout
    assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The script is the shell's own words, and what it calls answers."""
    script = CliRunner().invoke(main, ["completion", shell])
    assert script.exit_code == 0
    assert "_HOTLIST_COMPLETE" in script.stdout
    if found := shutil.which(shell):
        checked = subprocess.run([found, "-n"], input=script.stdout, text=True, check=False)
        assert checked.returncode == 0


def test_what_completes() -> None:
    asked = {
        "_HOTLIST_COMPLETE": "bash_complete",
        "COMP_WORDS": "hotlist entries ",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from engine.cli import main; main()"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) >= {"plain,add", "plain,import", "plain,sync"}, done.stderr


def test_without_a_command_it_shows_the_help() -> None:
    result = hotlist()
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: hotlist ")


def test_python_m_engine_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engine", "nonsense"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 2
    assert done.stderr == "hotlist: No such command 'nonsense'; see hotlist --help\n"


# Settings.


def test_every_setting_is_a_flag_of_some_command() -> None:
    flags: set[str] = set()
    for path in commands(main):
        command: Any = main
        for name in path:
            command = command.commands[name]
        flags |= {flag for param in command.params for flag in param.opts}
    assert {setting.flag for setting in SETTINGS.values()} <= flags


def test_order_is_flag_variable_file_default(worker_settings: list[Settings]) -> None:
    def prefix(*args: str, **env: str) -> str:
        assert hotlist("worker", *args, **env).exit_code == 0
        return worker_settings.pop().prefix

    assert prefix() == "lpr."
    Path("hotlist.toml").write_text('prefix = "file."\n')
    assert prefix() == "file."
    assert prefix(HOTLIST_PREFIX="variable.") == "variable."
    assert prefix("--prefix", "flag.", HOTLIST_PREFIX="variable.") == "flag."


def test_file_is_named_before_or_after_the_command(worker_settings: list[Settings]) -> None:
    Path("hotlist.toml").write_text("broken")
    Path("other.toml").write_text("http-port = 1\nverify_keys = 0\n")
    for args in (["--config", "other.toml", "worker"], ["worker", "--config", "other.toml"]):
        assert hotlist(*args).exit_code == 0
    assert hotlist("worker", HOTLIST_CONFIG="other.toml").exit_code == 0
    assert [(found.http_port, found.verify_keys) for found in worker_settings] == [(1, 0)] * 3


def test_worker_gets_checked_settings(worker_settings: list[Settings]) -> None:
    result = hotlist(
        "worker",
        "--http-port=0",
        "--delivery=at_least_once",
        "--bootstrap=a:1,b:2",
        "--purposes=p.json",
        HOTLIST_GROUP="g",
        HOTLIST_MISREADS="m.toml",
    )
    assert result.exit_code == 0
    assert worker_settings == [
        Settings(
            bootstrap="a:1,b:2",
            group="g",
            http_port=0,
            purposes=Path("p.json"),
            misreads=Path("m.toml"),
        )
    ]


@pytest.mark.parametrize(
    ("args", "env", "line"),
    [
        (
            ["--http-port", "70000"],
            {},
            "--http-port: '70000' is not possible: must be a whole number from 0 to 65535",
        ),
        (
            [],
            {"HOTLIST_VERIFY_KEYS": "-1"},
            (
                "HOTLIST_VERIFY_KEYS: '-1' is not possible: "
                "must be a whole number from 0 to 2147483647"
            ),
        ),
        (
            ["--delivery", "twice"],
            {},
            "--delivery: 'twice' is not possible: must be at_least_once or exactly_once",
        ),
        (
            ["--config", "none.toml"],
            {},
            "none.toml: cannot be read: No such file or directory",
        ),
        (["--no-such"], {}, "No such option: --no-such; see hotlist worker --help"),
        (["more"], {}, "Got unexpected extra argument (more); see hotlist worker --help"),
    ],
)
def test_bad_settings_are_one_line(
    worker_settings: list[Settings], args: list[str], env: dict[str, str], line: str
) -> None:
    assert_one_line(hotlist("worker", *args, **env), 2, line)
    assert worker_settings == []


def test_bad_file_is_one_line(worker_settings: list[Settings]) -> None:
    Path("hotlist.toml").write_text("bootstrap = 7\n")
    assert_one_line(
        hotlist("worker"),
        2,
        "hotlist.toml: bootstrap: '7' is not possible: must be a text that is not empty",
    )


def test_settings_before_the_command_are_explained() -> None:
    assert_one_line(
        hotlist("--prefix", "x", "worker"),
        2,
        "No such option: --prefix; settings are given after the command",
    )


# What ends a command.


def test_status_of_the_demo_is_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run_demo(bootstrap: str | None, reads: int | None, *_: object) -> int:
        seen.append((bootstrap, reads))
        return 3

    monkeypatch.setitem(sys.modules, "engine.demo.run", SimpleNamespace(run_demo=run_demo))
    # The broker for real work must not become the demo's.
    assert hotlist("demo", "--reads", "5", HOTLIST_BOOTSTRAP="real:9092").exit_code == 3
    assert hotlist("demo", "--bootstrap", "a:1").exit_code == 3
    assert seen == [(None, 5), ("a:1", None)]


def test_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Settings, *, warns: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "engine.worker.main", SimpleNamespace(run_worker=interrupted))
    assert_one_line(hotlist("worker"), 130, "interrupted")


def test_system_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Settings, *, warns: bool) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setitem(sys.modules, "engine.worker.main", SimpleNamespace(run_worker=full))
    assert_one_line(hotlist("worker"), 1, "somewhere: No space left on device")


def test_closed_output_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "reads.jsonl"
    path.write_text("{bad\n" * 5000)
    gone, output = os.pipe()
    os.close(gone)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "engine", "check", str(path)],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    finally:
        os.close(output)
    assert done.returncode == 1
    assert done.stderr == "hotlist: the output was closed before its end\n"


@pytest.mark.parametrize(
    "args",
    [
        ["entries", "add", "--plate", "AB12CD", *ROW_FLAGS, "--operator", "jo"],
        ["entries", "import", "list.csv", *ROW_FLAGS, "--operator", "jo"],
        ["entries", "sync", "list.csv", *ROW_FLAGS, "--operator", "jo"],
        ["entries", "sync", "list.csv", *ROW_FLAGS, "--operator", "jo", "--dry-run"],
        ["entries", "remove", "e-1", "--operator", "jo"],
        ["entries", "show"],
        ["policies", "remove", "city", "--operator", "jo"],
        ["policies", "show", "--json"],
        ["policies", "explain", "--source", "city", "--entry", "e-1"],
        ["replay", "reads.jsonl"],
        ["tail"],
        ["topics", "create"],
    ],
    ids=lambda args: " ".join(args[:2]),
)
def test_no_broker_is_one_line(args: list[str], nobody_there: str) -> None:
    Path("list.csv").write_text("plate\nAB12CD\n")
    Path("reads.jsonl").write_bytes(orjson.dumps(READ))
    assert_one_line(
        hotlist(*args, "--bootstrap", nobody_there),
        1,
        f"{nobody_there}: no Kafka broker answers; start one, or set --bootstrap "
        "(HOTLIST_BOOTSTRAP) to its address",
    )


@pytest.mark.parametrize(
    "args",
    [
        ["entries", "add", "--plate", "AB12CD", *ROW_FLAGS],
        ["entries", "import", "file"],
        ["entries", "sync", "file"],
        ["entries", "sync", "file", "--dry-run"],
        ["entries", "remove", "e-1"],
        ["policies", "set", "file"],
        ["policies", "remove", "city"],
    ],
    ids=lambda args: " ".join(args[:2]),
)
def test_changes_need_an_operator(args: list[str]) -> None:
    Path("file").write_text("")
    assert_one_line(
        hotlist(*args),
        2,
        "this command changes a list or a policy and must know who does it; "
        "set --operator (HOTLIST_OPERATOR)",
    )


@pytest.mark.parametrize(
    ("named", "operator"),
    [
        (["--operator=flag", "HOTLIST_OPERATOR=variable", "file"], "flag"),
        (["HOTLIST_OPERATOR=variable", "file"], "variable"),
        (["file"], "file"),
        ([], "login"),
    ],
)
def test_who_does_it(named: list[str], operator: str) -> None:
    """Flag, variable, file, and then the name by which the broker knows us."""
    if "file" in named:
        Path("hotlist.toml").write_text('operator = "file"\n')
    seen: list[str] = []

    @takes_settings("bootstrap", "operator")
    def command(settings: Settings) -> None:
        seen.append(operator_name(settings))

    flags = [each for each in named if each.startswith("--")]
    variables = dict(each.split("=") for each in named if each.startswith("HOTLIST_"))
    login = ["--security-protocol=SASL_SSL", "--sasl-mechanism=PLAIN", "--sasl-username=login"]
    result = CliRunner().invoke(click.command()(command), [*login, *flags], env=variables)
    assert (result.exit_code, result.output) == (0, "")
    assert seen == [operator]


def test_the_connections_settings_reach_the_worker(worker_settings: list[Settings]) -> None:
    Path("hotlist.toml").write_text('security-protocol = "SASL_SSL"\nssl-cafile = "ca.pem"\n')
    result = hotlist("worker", "--sasl-mechanism=plain", HOTLIST_SASL_USERNAME="jo")
    assert result.exit_code == 0, result.output
    (settings,) = worker_settings
    assert settings == Settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="jo",
        ssl_cafile=Path("ca.pem"),
    )


@pytest.mark.parametrize("flag", ["--sasl-password", "--ssl-key-password"])
def test_a_password_is_no_flag(flag: str) -> None:
    result = hotlist("worker", f"{flag}=s3cret")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"hotlist: No such option: {flag};")
    assert f"{flag}-file" in result.stderr
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize(
    "command",
    [("check",), ("replay",), ("entries", "import"), ("entries", "sync"), ("policies", "set")],
    ids=" ".join,
)
def test_missing_file_is_one_line(command: tuple[str, ...]) -> None:
    assert_one_line(
        hotlist(*command, "no-such"),
        2,
        "Invalid value for 'FILE': File 'no-such' does not exist; "
        f"see hotlist {' '.join(command)} --help",
    )


# A password in clear.

_PLAIN = ["--security-protocol=SASL_PLAINTEXT", "--sasl-mechanism=PLAIN", "--sasl-username=jo"]
_IN_CLEAR = (
    "warning: {} is not a loopback address, and SASL PLAIN over SASL_PLAINTEXT sends the "
    "password in clear; set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to SASL_SSL"
)


def _warnings(*flags: str) -> list[str]:
    """What a command prints on standard error that connects as these flags say."""

    @click.command()
    @takes_settings("bootstrap")
    def connect(settings: Settings) -> None:
        click.echo(settings.bootstrap)

    result = CliRunner().invoke(connect, flags)
    assert result.exit_code == 0, result.output
    return result.stderr.splitlines()


@pytest.mark.parametrize("insecure", [False, True])
def test_a_workers_warning_can_be_turned_off(
    monkeypatch: pytest.MonkeyPatch, insecure: bool
) -> None:
    seen: list[bool] = []

    def run_worker(_: Settings, *, warns: bool) -> None:
        seen.append(warns)

    monkeypatch.setitem(sys.modules, "engine.worker.main", SimpleNamespace(run_worker=run_worker))
    monkeypatch.setenv("HOTLIST_SASL_PASSWORD", "secret")
    flags = [*_PLAIN, "--bootstrap=kafka.example:9092", *(["--insecure"] if insecure else [])]
    assert hotlist("worker", *flags).exit_code == 0
    assert seen == [not insecure]


def test_insecure_is_refused_where_a_worker_has_no_password_in_clear(
    worker_settings: list[Settings],
) -> None:
    assert_one_line(
        hotlist("worker", "--insecure"), 2, "--insecure: would do nothing without SASL_PLAINTEXT"
    )
    assert worker_settings == []


@pytest.mark.parametrize(
    ("brokers", "host"),
    [
        ("kafka.example:9092", "kafka.example"),
        ("localhost:9092,10.1.2.3:9092", "10.1.2.3"),
        ("[2001:db8::1]:9092", "[2001:db8::1]"),
    ],
)
def test_a_password_in_clear_is_one_warning(brokers: str, host: str) -> None:
    assert _warnings(*_PLAIN, f"--bootstrap={brokers}") == [_IN_CLEAR.format(host)]


@pytest.mark.parametrize(
    "flags",
    [
        ["--bootstrap=localhost:9092,127.0.0.1:9093,[::1]:9094"],
        ["--bootstrap=kafka.example:9092", "--sasl-mechanism=SCRAM-SHA-256"],
        ["--bootstrap=kafka.example:9092", "--security-protocol=SASL_SSL"],
        ["--bootstrap=kafka.example:9092", "--security-protocol=PLAINTEXT"],
    ],
)
def test_no_password_crosses_a_network_in_clear(flags: list[str]) -> None:
    assert _warnings(*_PLAIN, *flags) == []


def test_the_worker_warns_in_its_log() -> None:
    """Without a password it ends before it connects."""
    flags = [*_PLAIN, "--bootstrap=kafka.example:9092", "--log-format=json", "--http-port=0"]
    command = [sys.executable, "-m", "engine", "worker", *flags]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("HOTLIST_")
    }
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    warning = orjson.loads(done.stderr.splitlines()[0])
    assert warning["level"] == "warning"
    said = warning["message"].removeprefix("a secret crosses the network: ")
    assert f"warning: {said}" == _IN_CLEAR.format("kafka.example")
    assert done.stderr.count("loopback") == 1


# Policies.


@pytest.mark.parametrize(
    ("flag", "value", "rule"),
    [
        ("--region", "California", "is no region; write US-CA or a country such as NL"),
        ("--location", "52.5", "is no place; write LAT,LON such as 37.7749,-122.4194"),
        ("--location", "91,0", "is no place; write LAT,LON such as 37.7749,-122.4194"),
        ("--location", "0,181", "is no place; write LAT,LON such as 37.7749,-122.4194"),
        (
            "--captured-at",
            "noon",
            "is not an RFC 3339 time in UTC, such as 2026-01-31T12:00:00.000Z",
        ),
    ],
)
def test_explain_of_a_read_that_cannot_be(flag: str, value: str, rule: str) -> None:
    assert_one_line(
        hotlist("policies", "explain", "--source", "s", "--entry", "e", f"{flag}={value}"),
        2,
        f"Invalid value for '{flag}': {value!r} {rule}; see hotlist policies explain --help",
    )


# Entries.


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--plate", "ab12cd"], "plate 'ab12cd': must be in normal form, which is AB12CD"),
        (
            ["--plate", "AB12CD", "--priority", "9"],
            "priority 9: must be at most 5",
        ),
        (
            ["--plate", "AB12CD", "--area", "52 4"],
            "--area must be LAT LON RADIUS_M; see hotlist entries add --help",
        ),
        (["--plate", "AB12CD", "--distance", "2"], "distance 2: must be at most 1"),
        (
            ["--plate", "AB?12CD", "--distance", "1"],
            "distance 1: a plate with unknown characters takes no distance",
        ),
        (
            ["--plate", "AB12CD", "--hours", "weekdays"],
            (
                "Invalid value for '--hours': 'weekdays' must be hours such as mon-fri "
                "08:00-18:00|sat 10:00-14:00 America/Los_Angeles; see hotlist entries add --help"
            ),
        ),
        (
            ["--plate", "AB12CD", "--hours", "mon 08:00-18:00 Mars/Olympus"],
            (
                "hours.time_zone 'Mars/Olympus': must be a time zone of the IANA database such as "
                "America/Los_Angeles"
            ),
        ),
        (
            ["--plate", "AB12CD", "--expires-at", "2027-01-01T00:00:00Z"],
            "--expires-at and --expires-in exclude each other; see hotlist entries add --help",
        ),
        (
            ["--plate", "AB12CD", "--expires-in", "soon"],
            (
                "Invalid value for '--expires-in': 'soon' is not a length of time such as 45m, "
                "12h, 30d or 8w; see hotlist entries add --help"
            ),
        ),
    ],
)
def test_bad_entry_is_one_line(flags: list[str], line: str) -> None:
    assert_one_line(hotlist("entries", "add", *ROW_FLAGS, *flags, "--operator", "jo"), 2, line)


def test_a_flag_of_an_entry_is_wrong_in_one_way() -> None:
    """Of an entry that flags describe and of the rows of a file: the same line, a usage error."""
    Path("list.csv").write_text("plate\nAB12CD\n")
    flags = [*ROW_FLAGS, "--purpose=stolen", "--operator=jo"]
    added = hotlist("entries", "add", "--plate=AB12CD", *flags)
    imported = hotlist("entries", "import", "list.csv", *flags)
    assert (added.exit_code, added.stderr) == (imported.exit_code, imported.stderr)
    assert added.exit_code == 2
    assert added.stderr.startswith("hotlist: --purpose: 'stolen': is not in the purposes file")


def test_required_field_is_named() -> None:
    result = hotlist(
        "entries", "add", "--plate=AB12CD", "--list=l", "--purpose=stolen_vehicle", "--operator=jo"
    )
    assert_one_line(result, 2, "agency: is required; set --agency")


def import_of(name: str, content: bytes, *flags: str) -> Result:
    Path(name).write_bytes(content)
    return hotlist("entries", "import", name, *ROW_FLAGS, "--operator", "jo", *flags)


def test_import_reports_every_bad_row_and_sends_nothing() -> None:
    # No broker is there: that nobody misses it shows that nothing was to be sent.
    result = import_of(
        "list.csv",
        b'plate;priority;instructions\nAB12CD;1;"two\nlines"\nab;;\nAB12CE;9;\nAB12CD;;\n',
    )
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "list.csv: line 4: plate 'ab': must be in normal form, which is AB",
        "list.csv: line 5: priority 9: must be at most 5",
        "list.csv: line 6: the same entry_id as in line 2",
        "hotlist: list.csv: 3 of 4 rows are bad, nothing was sent; --skip-invalid sends the others",
    ]


class EmptyTopic:
    """In the place of the topic's reader: nothing stands there."""

    def __init__(self, names: Names) -> None:
        self.state = ListState(names)

    async def catch_up(self, _: object) -> bool:
        return False

    async def readable(self, _: object) -> None:
        pass


@contextlib.asynccontextmanager
async def empty_topic(_: object, __: str, names: Names) -> AsyncIterator[EmptyTopic]:
    yield EmptyTopic(names)


def test_import_that_fails_on_the_way_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        async def send(self, *_: object) -> None:
            raise BrokerError("gone", where="broker")

    @contextlib.asynccontextmanager
    async def outbox(*_: object) -> AsyncIterator[Refusing]:
        yield Refusing()

    monkeypatch.setattr("engine.cli.entries.import_.list_reader", empty_topic)
    monkeypatch.setattr("engine.cli.entries.import_.outbox", outbox)
    assert_one_line(import_of("list.csv", b"plate\nAB12CD\nAB12CE\n"), 1, "broker: gone")


def test_what_was_checked_is_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    def change() -> None:
        Path("list.csv").write_bytes(b"plate\nab\n")

    @contextlib.asynccontextmanager
    async def outbox(*_: object) -> AsyncIterator[SimpleNamespace]:
        change()

        async def send(_: bytes, value: bytes, __: object) -> None:
            sent.append(value)

        yield SimpleNamespace(send=send, next_offsets={}, broker_ahead_s=0.0)

    monkeypatch.setattr("engine.cli.entries.import_.list_reader", empty_topic)
    monkeypatch.setattr("engine.cli.entries.import_.outbox", outbox)
    assert import_of("list.csv", b"plate\nAB12CD\n").exit_code == 0
    assert [orjson.loads(value)["plate"] for value in sent] == ["AB12CD"]


def test_import_with_only_bad_rows_skipped_sends_nothing() -> None:
    result = import_of("list.jsonl", b"[]\n", "--skip-invalid")
    assert result.exit_code == 0
    assert result.stdout == "sent 0 entries to lpr.hotlist.v1, skipped 1 bad row\n"
    assert result.stderr == "list.jsonl: line 1: must be a JSON object\n"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("list.txt", b"plate\n", "list.txt: must end in .csv or .jsonl or .xlsx"),
        # What kind of file it is comes before how its text is encoded.
        ("list.txt", b"plate\nM\xdcX1\n", "list.txt: must end in .csv or .jsonl or .xlsx"),
        (
            "list.xls",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "list.xls: must end in .csv or .jsonl or .xlsx; save it as .xlsx, or its sheet as CSV",
        ),
        (
            "list.csv",
            "plate\n".encode("utf-16"),
            "list.csv: is UTF-16 text; save it as UTF-8",
        ),
        (
            "list.csv",
            b"plate,plate\n",
            "list.csv: line 1: column plate twice",
        ),
    ],
)
def test_import_of_what_is_no_list_is_one_line(name: str, content: bytes, line: str) -> None:
    assert_one_line(import_of(name, content), 1, line)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ("--purpose=stolen_vehicel",),
            "--purpose: 'stolen_vehicel': is not in the purposes file, which has ",
        ),
        (("--authority-kind=nope",), "--authority-kind: must be case or warrant or "),
        ((f"--agency={'A' * 300}",), "--agency: must "),
        (
            ("--purpose=stolen_vehicle", "--expires-in=500w"),
            "--expires-in: must be at most 365 days after created_at, ",
        ),
    ],
)
def test_a_wrong_flag_is_one_error_and_not_one_of_each_row(
    flags: tuple[str, ...], line: str
) -> None:
    Path("list.csv").write_bytes(b"plate\nABC1234\nABC1235\n")
    result = hotlist("entries", "import", "list.csv", "--operator=jo", "--list=l", *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"hotlist: {line}")


def test_a_mistyped_purpose_is_named_with_what_was_meant() -> None:
    Path("list.csv").write_bytes(b"plate\nABC1234\n")
    flags = ("--operator=jo", "--list=l", "--purpose=stolen_vehicel")
    result = hotlist("entries", "import", "list.csv", *flags)
    assert result.stderr.endswith("permit, access; did you mean stolen_vehicle?\n")


def test_what_rows_may_say_themselves_is_no_error_of_the_flags() -> None:
    Path("list.jsonl").write_bytes(b'{"plate": "ABC1234"}\n')
    result = hotlist("entries", "import", "list.jsonl", "--operator=jo", "--expires-in=500w")
    assert result.exit_code == 1
    assert "list.jsonl: line 1: " in result.stderr


@pytest.mark.parametrize(
    ("header", "status", "line"),
    [
        (
            b"plate,agency,authority_kind",
            2,
            (
                "no column gives list_id, purpose, authority.reference or expires_at; set --list, "
                "--purpose, --authority-ref and --expires-in"
            ),
        ),
        (
            b"purpose,agency,authority_kind",
            1,
            (
                "no column gives list_id, plate, authority.reference or expires_at; "
                "--profile auto --dry-run proposes a profile for its columns"
            ),
        ),
    ],
)
def test_a_missing_flag_is_one_error_and_not_one_of_each_row(
    header: bytes, status: int, line: str
) -> None:
    Path("list.csv").write_bytes(header + b"\nABC1234,PD01,case\nABC1235,PD01,case\n")
    result = hotlist("entries", "import", "list.csv", "--operator=jo", "--skip-invalid")
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == f"hotlist: list.csv: {line}\n"


def test_a_proposal_says_which_flags_its_file_needs() -> None:
    Path("list.csv").write_bytes(b"plate\nABC1234\nABC1235\n")
    given = ("--operator=jo", "--agency=PD01", "--purpose=permit", "--authority-kind=case")
    result = hotlist("entries", "import", "list.csv", "--profile=auto", "--dry-run", *given)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == (
        "list.csv: with this profile no column gives list_id, authority.reference or expires_at; "
        "set --list, --authority-ref and --expires-in"
    )


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("help", "wroker"), "No such command 'wroker'; did you mean worker? see hotlist --help"),
        (("wroker",), "No such command 'wroker'; did you mean worker? see hotlist --help"),
        (
            ("entries", "improt"),
            "No such command 'improt'; did you mean import? see hotlist entries --help",
        ),
        (("tail", "--cuont=1"), "No such option: --cuont; did you mean --count? see hotlist tail"),
        (("tail", "--zzz"), "No such option: --zzz; see hotlist tail --help"),
        (("tail", "--from"), "No such option: --from; did you mean --from-start? see hotlist tail"),
        (("import", "list.csv"), "No such command 'import'; did you mean entries import? see hotl"),
        (("show",), "No such command 'show'; did you mean entries show or policies show? see hot"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_one_most_like_it(
    args: tuple[str, ...], line: str
) -> None:
    result = hotlist(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"hotlist: {line}")


@pytest.mark.parametrize("group", [(), ("entries",), ("policies",), ("topics",), ("audit",)])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_list_of_commands_has_whole_sentences(group: tuple[str, ...], width: int) -> None:
    result = CliRunner().invoke(main, [*group, "--help"], terminal_width=width)
    shown = result.stdout.partition("Commands:")[2]
    assert shown
    assert "..." not in shown
    assert max(map(len, result.stdout.splitlines())) <= width
    assert all(line.rstrip()[-1] in ".,;:" for line in shown.splitlines()[-1:])


def test_an_entry_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> dict[bytes, object]:
        return {}

    monkeypatch.setattr("engine.kafka.reader.read_to_end", nothing)
    assert_one_line(
        hotlist("entries", "show", "--id", "E1", "--agency=PD01"),
        1,
        "lpr.hotlist.v1: no entry has the id E1 with --agency PD01; "
        "hotlist entries show lists them all",
    )
    assert hotlist("entries", "show", "--agency=PD01").exit_code == 0


CODES = b"MKE,LIC,LIS,ORI,NIC\nEV,7ABC123,QQ,X,V1\nEA,,,X,A1\nEA,,,X,A2\nEV,,CA,X,V2\n"


@pytest.mark.parametrize(
    ("command", "remark"),
    [
        (
            ("entries", "show"),
            "lpr.hotlist.v1: no plate is listed; run: hotlist entries import FILE",
        ),
        (("entries", "show", "--agency=PD01"), "lpr.hotlist.v1: no entry with --agency PD01"),
        (
            ("policies", "show"),
            (
                "lpr.policies.v1: no source has a policy, so nothing matches; "
                "run: hotlist policies set FILE"
            ),
        ),
    ],
)
def test_an_empty_list_says_so(
    command: tuple[str, ...], remark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> dict[bytes, object]:
        return {}

    monkeypatch.setattr("engine.kafka.reader.read_to_end", nothing)
    result = hotlist(*command)
    assert (result.exit_code, result.stderr) == (0, f"{remark}\n")
    assert result.stdout.count("\n") == 1
    for_programs = hotlist(*command, "--json")
    assert (for_programs.exit_code, for_programs.output) == (0, "")


def test_import_says_what_it_leaves_out_and_what_it_leaves_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.cli.entries.import_.list_reader", empty_topic)
    flags = ["--list=l", "--expires-in=30d", "--profile=ncic", "--dry-run", "--operator=jo"]
    Path("list.csv").write_bytes(CODES)
    result = hotlist("entries", "import", "list.csv", *flags)
    assert (result.exit_code, result.stdout) == (
        0,
        "dry run, nothing was sent: 1 added, 0 changed, 0 removed, 0 unchanged, 0 invalid\n",
    )
    assert result.stderr == (
        "list.csv: left empty: lis 'QQ' in 1 row (line 2), not known to the profile\n"
        "list.csv: left out: 2 rows (line 3 first) with mke 'EA', no purpose of the profile\n"
        "list.csv: left out: 1 row (line 5) without a plate\n"
    )


PROPOSED = """\
title = "Proposed; read it before you use it"
normalize = true
delimiter = ";"

[columns]
Kennzeichen = "plate"
Grund = false
"""


def test_a_profile_is_proposed_and_nothing_else_happens() -> None:
    result = import_of(
        "list.csv", b"Kennzeichen;Grund\nM-AB 123;x\n", "--profile=auto", "--dry-run"
    )
    assert (result.exit_code, result.stdout) == (0, PROPOSED)
    assert result.stderr == (
        "list.csv: column 'Grund' is skipped: no field is known for it\n"
        "list.csv: rows with this profile: 1 good, 0 bad\n"
    )
    # What was proposed is a profile; it can be kept by redirection or by a flag.
    flags = ["--profile=auto", "--dry-run", "--write-profile=own.toml"]
    assert hotlist("entries", "sync", "list.csv", *flags, "--operator=jo").stdout == ""
    assert Path("own.toml").read_text() == PROPOSED
    again = hotlist("entries", "sync", "list.csv", *flags, "--operator=jo")
    assert_one_line(again, 2, "own.toml: cannot be written: File exists; name a new file")
    found = import_of("list.csv", b"Plate;To\nABC123;3/4/2026\n", *flags[:2], "--json")
    assert orjson.loads(found.stdout)["whole"] is False


def test_a_proposal_alone_imports_nothing() -> None:
    result = import_of("list.csv", b"Kennzeichen\nM-AB 123\n", "--profile=auto")
    assert result.exit_code == 2
    assert_one_line(
        result,
        2,
        "--profile auto only proposes a profile: add --dry-run, keep what it prints as own.toml, "
        "and use --profile own.toml; see hotlist entries import --help",
    )
    result = import_of("list.csv", b"plate\nAB12CD\n", "--write-profile=own.toml")
    line = "--write-profile goes with --profile auto --dry-run; see hotlist entries import --help"
    assert_one_line(result, 2, line)


def test_import_names_known_columns() -> None:
    result = import_of("list.csv", b"plate,colour\n")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "hotlist: list.csv: line 1: unknown column 'colour'; in a profile of your own with base = "
    )
    assert result.stderr.count("\n") == 1


def test_unreadable_purposes_file_is_one_line() -> None:
    Path("list.csv").write_text("plate\nAB12CD\n")
    Path("purposes.json").write_text("{")
    flags = ["--operator=jo", "--purposes=purposes.json", *ROW_FLAGS]
    result = hotlist("entries", "import", "list.csv", *flags)
    assert result.exit_code in (1, 2)
    assert result.stderr.startswith("hotlist: purposes.json: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["import", "sync"])
@pytest.mark.parametrize(
    ("flags", "status", "line"),
    [
        (
            ["--profile=genetek"],
            2,
            (
                "there is no profile 'genetek'; did you mean genetec? there are cammra, "
                "cloudrunner, flock, genetec, hotlist, ncic, nedap, plates, rdw, trassir, "
                "verkada, vigilant, and files whose names end in .toml"
            ),
        ),
        (
            ["--profile=own.toml"],
            2,
            "own.toml: colums: unknown field; there are columns, title, base, ",
        ),
        (
            ["--profile=genetec", "--time-zone=Mars"],
            2,
            "--time-zone: 'Mars' is no time zone such as America/Chicago",
        ),
        (["--time-zone=UTC"], 2, "--time-zone: profile hotlist has no dates without a zone"),
        (
            ["--encoding=ebcdic"],
            2,
            (
                "Invalid value for '--encoding': 'ebcdic' is no encoding that files are read in; "
                "there are auto, utf-8 and windows-1252; see hotlist entries "
            ),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_ways_to_read_a_file(command: str, flags: list[str], status: int, line: str) -> None:
    Path("list.csv").write_text("plate\nAB12CD\n")
    Path("own.toml").write_text("colums = 1")
    result = hotlist("entries", command, "list.csv", *ROW_FLAGS, "--operator=jo", *flags)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith(f"hotlist: {line}")
    assert result.stderr.count("\n") == 1


def test_sync_reports_every_bad_row_and_sends_nothing() -> None:
    # No broker is there.
    Path("list.csv").write_text("plate\nab\nAB12CD\n")
    result = hotlist("entries", "sync", "list.csv", *ROW_FLAGS, "--operator=jo")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "list.csv: line 2: plate 'ab': must be in normal form, which is AB",
        "hotlist: list.csv: 1 of 2 rows are bad, nothing was sent; --skip-invalid sends the others",
    ]


def test_sync_of_no_list_is_one_line() -> None:
    Path("list.csv").write_text("plate,list\nAB12CD,a\nAB12CE,b\n")
    result = hotlist("entries", "sync", "list.csv", *ROW_FLAGS[1:], "--operator=jo")
    assert_one_line(result, 1, "list.csv: names 2 lists; say with --list which one it is")


def test_nobody_adds_what_is_over() -> None:
    times = ["--created-at=2026-01-02T00:00:00Z", "--expires-at=2026-01-01T00:00:00Z"]
    flags = [*ROW_FLAGS[:-1], "--plate=AB12CD", "--operator=jo"]
    assert_one_line(
        hotlist("entries", "add", *flags, *times),
        2,
        "expires_at '2026-01-01T00:00:00Z': must be after created_at, 2026-01-02T00:00:00Z",
    )
    result = hotlist("entries", "add", *flags, times[1])
    assert result.stderr.startswith("hotlist: expires_at '2026-01-01T00:00:00Z': must be after ")


# Policies.


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"{", "p.json: not valid JSON at line 1, column 2"),
        (b"\xff", "p.json: not valid JSON at line 1, column 1"),
        (b"[]", "p.json: holds no policy"),
        (b"7", "p.json: $: must be an object, not an integer"),
        (b'{"source":"a"}', "p.json: $.rules: is required"),
        (b'[{"source":"a","rules":[]},{}]', "p.json: policy 2: $.source: is required"),
        (
            b'[{"source":"a","rules":[]},{"source":"a","rules":[]}]',
            "p.json: policy 2: a second policy of 'a'",
        ),
    ],
)
def test_bad_policy_is_one_line(content: bytes, line: str) -> None:
    Path("p.json").write_bytes(content)
    assert_one_line(hotlist("policies", "set", "p.json", "--operator", "jo"), 1, line)


# Reads.


def reads_file(*lines: bytes) -> str:
    Path("reads.jsonl").write_bytes(b"\n".join(lines))
    return "reads.jsonl"


def test_check_of_good_reads() -> None:
    good = orjson.dumps(READ)
    result = hotlist("check", reads_file(good, b"", good))
    assert result.exit_code == 0
    assert result.stdout == "2 lines: 2 good, 0 bad\n"
    assert result.stderr == ""


BAD_LINES = (
    b'{"read_id":"r","plate":"SECRET1"',
    orjson.dumps({**READ, "plate": "SECRET2", "confidence": "SECRET3"}),
    orjson.dumps({**READ, "plate": "?!"}),
    b" " * 70_000 + b"{}",
)


def test_check_names_line_field_and_rule_but_no_value() -> None:
    result = hotlist("check", reads_file(orjson.dumps(READ), *BAD_LINES))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "line 2: invalid_json: $: must be JSON in UTF-8",
        (
            "line 3: warning: $.confidence: must be a number or null, not a string; "
            "the worker drops it"
        ),
        "line 4: plate_length: $.plate: must have 1 to 16 letters and digits",
        "line 5: value_too_large: $: must have at most 65536 bytes",
        "5 lines: 2 good, 3 bad (1 invalid_json, 1 plate_length, 1 value_too_large), 1 warning",
    ]
    assert result.stderr == "hotlist: reads.jsonl: 3 of 5 lines are bad\n"
    assert "SECRET" not in result.output


def test_check_as_json() -> None:
    result = hotlist("check", "--json", reads_file(orjson.dumps(READ), BAD_LINES[2]))
    assert result.exit_code == 1
    assert [orjson.loads(line) for line in result.stdout.splitlines()] == [
        {
            "line": 2,
            "reason": "plate_length",
            "field": "$.plate",
            "rule": "must have 1 to 16 letters and digits",
        },
        {"lines": 2, "good": 1, "bad": 1, "warnings": 0, "reasons": {"plate_length": 1}},
    ]


def test_a_field_that_the_worker_drops_is_a_warning() -> None:
    result = hotlist("check", reads_file(orjson.dumps(READ), BAD_LINES[1]))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "line 2: warning: $.confidence" in result.stdout
    assert hotlist("check", "--strict", reads_file(BAD_LINES[1])).exit_code == 1


def test_check_names_what_a_producer_puts_around_its_reads() -> None:
    good = orjson.dumps(READ)
    lines = (
        b"\0\0\0\0\7" + good,
        orjson.dumps({"schema": {"type": "struct"}, "payload": READ}),
        orjson.dumps(good.decode()),
        b"\xef\xbb\xbf" + good,
    )
    result = hotlist("check", reads_file(*lines))
    assert result.exit_code == 1
    shown = result.stdout.splitlines()
    for line, reason in zip(shown, ("framed", "envelope", "quoted", "warning"), strict=False):
        assert f": {reason}: $: " in line
    assert shown[-1] == "4 lines: 1 good, 3 bad (1 envelope, 1 framed, 1 quoted), 1 warning"
    taken = hotlist("check", "--value-format", "json-schema-registry", reads_file(lines[0]))
    assert (taken.exit_code, taken.stdout) == (0, "1 line: 1 good, 0 bad\n")
    by_registry = hotlist(
        "check", "--value-format", "schema-registry", reads_file(*lines[:1], good)
    )
    assert by_registry.exit_code == 1
    assert "check the reads of a topic with hotlist doctor" in by_registry.stdout
    assert by_registry.stdout.splitlines()[-1] == "2 lines: 1 good, 1 bad (1 framed)"


def test_rate_must_be_above_zero() -> None:
    result = hotlist("replay", reads_file(b""), "--rate", "0")
    assert_one_line(
        result,
        2,
        "Invalid value for '--rate': '0' is not a number above 0; see hotlist replay --help",
    )


# Output.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 車 АВ", "plain é 車 АВ"),
        ("\x1b[31mred", "�[31mred"),
        ("two\nlines", "two�lines"),
        ("turned\u202earound", "turned�around"),
    ],
)
def test_what_documents_hold_cannot_move_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_match_says_how_many_reads_were_folded_before_it() -> None:
    match = exact_match(entry(instructions="Call first."), detection())
    alone = readable(match)
    assert alone.endswith("  priority 3  Call first.")
    folded = readable(msgspec.structs.replace(match, suppressed=4))
    assert folded == alone.replace("  Call", "  4 more before it  Call")


def test_no_match_is_shown_as_certain() -> None:
    match = exact_match(entry(), detection())
    almost = readable(msgspec.structs.replace(match, confidence=0.9999))
    assert "  exact 0.99  " in almost
