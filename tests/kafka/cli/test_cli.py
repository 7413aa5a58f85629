"""The commands against a broker: what they write, and what they show of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner
from click.testing import CliRunner, Result
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)

from engine.cli import main
from engine.kafka.topics import Topics
from tests.fakes.examples import READ, ROW_FLAGS
from tests.kafka.conftest import Broker

ROW = {
    "list_id": "l",
    "agency": "a",
    "purpose": "stolen_vehicle",
    "authority": {"kind": "case", "reference": "1"},
}


class Commands:
    """Runs commands against one broker and prefix, as the operator jo."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.topics = Topics(prefix)
        self.env = {
            "HOTLIST_BOOTSTRAP": bootstrap,
            "HOTLIST_PREFIX": prefix,
            "HOTLIST_OPERATOR": "jo",
        }

    def run(self, *args: str) -> Result:
        return CliRunner().invoke(main, args, env=self.env)

    def good(self, *args: str) -> str:
        """Standard output of a command that must end well and without a remark."""
        result = self.run(*args)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def documents(self, *args: str) -> list[Any]:
        return [orjson.loads(line) for line in self.good(*args).splitlines()]

    def records(self, topic: str) -> list[Message]:
        """All records of a topic, partition by partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "none",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 3,
            }
        )
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in partitions])
        found: dict[int, list[Message]] = {part: [] for part in partitions}
        ended: set[int] = set()
        while len(ended) < len(partitions):
            message = consumer.poll(30)
            assert message is not None
            error, partition = message.error(), message.partition()
            assert partition is not None
            if error is None:
                found[partition].append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF
                ended.add(partition)
        consumer.close()
        return [message for part in partitions for message in found[part]]

    def produce(self, topic: str, key: str, value: bytes | None) -> None:
        """Write one record behind the commands' back."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 3})
        producer.produce(topic, key=key, value=value)
        assert producer.flush(30) == 0


@pytest.fixture
def commands(broker: Broker, prefix: str, own_settings: None) -> Commands:
    made = Commands(broker.bootstrap, prefix)
    if not broker.is_real:
        # There topics come to be when someone asks for them by name.
        asker = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 3})
        for topic in made.topics.all:
            asker.list_topics(topic, timeout=30)
    return made


@pytest.fixture
def real_commands(
    real_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Commands:
    """Where it takes what only a real Kafka has."""
    monkeypatch.chdir(tmp_path)
    return Commands(real_kafka, prefix)


def test_topics_create(real_commands: Commands) -> None:
    rows = real_commands.documents("topics", "create", "--json")
    assert rows == [{"topic": topic, "state": "exists"} for topic in real_commands.topics.all]
    lines = real_commands.good("topics", "create").splitlines()
    assert lines[0].split() == ["topic", "state"]
    assert lines[1].split() == [real_commands.topics.detections, "exists"]


def test_missing_topic_is_one_line_that_says_what_to_do(
    real_kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    absent = Commands(real_kafka, "absent.")
    Path("reads.jsonl").write_bytes(orjson.dumps(READ))
    for args, topic in (
        (["entries", "show"], absent.topics.hotlist),
        (["entries", "add", "--plate=AB12CD", *ROW_FLAGS], absent.topics.hotlist),
        (["policies", "show"], absent.topics.policies),
        (["replay", "reads.jsonl"], absent.topics.detections),
        (["tail"], absent.topics.matches),
    ):
        # Asked twice, because asking must not make the topic either.
        for _ in range(2):
            result = absent.run(*args)
            assert result.exit_code == 1
            assert result.stderr == (
                f"hotlist: {real_kafka}: topic {topic} missing; "
                f"run: hotlist topics create --bootstrap {real_kafka} --prefix absent.\n"
            )


def test_entries_add_show_and_remove(commands: Commands) -> None:
    flags = ["--vehicle-make=Volvo", "--area=52 4.5 100", "--confusables", "--priority=1"]
    (added,) = commands.documents(
        "entries", "add", "--id=e-1", "--plate=AB12CD", *ROW_FLAGS, *flags, "--json"
    )
    assert (
        added.items()
        >= {
            **ROW,
            "entry_id": "e-1",
            "plate": "AB12CD",
            "requested_by": "jo",
            "vehicle": {"make": "Volvo"},
            "area": [{"lat": 52.0, "lon": 4.5, "radius_m": 100.0}],
            "confusables": True,
            "priority": 1,
        }.items()
    )
    assert commands.good("entries", "add", "--id=e-2", "--plate=AB12CE", *ROW_FLAGS) == (
        "added e-2\n"
    )
    assert commands.documents("entries", "show", "--json", "--id=e-1") == [added]
    assert [entry["entry_id"] for entry in commands.documents("entries", "show", "--json")] == [
        "e-1",
        "e-2",
    ]
    records = {record.key(): record for record in commands.records(commands.topics.hotlist)}
    assert records[b"e-1"].headers() == [("operator", b"jo")]
    assert orjson.loads(records[b"e-1"].value() or b"") == added

    many = commands.run("entries", "remove", *"abcdefg")
    assert "no entry 'a', 'b', 'c', 'd', 'e' and 2 more; nothing was removed" in many.stderr
    refused = commands.run("entries", "remove", "e-1", "nobody")
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"hotlist: {commands.topics.hotlist}: no entry 'nobody'; nothing was removed\n"
    )
    assert commands.good("entries", "remove", "e-1") == "removed 1 entry\n"
    lines = commands.good("entries", "show").splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["entry", "list", "plate"],
        ["e-2", "l", "AB12CE"],
    ]
    assert lines[1].endswith("active")
    removed = [rec for rec in commands.records(commands.topics.hotlist) if rec.value() is None]
    [removal] = removed
    headers = dict(removal.headers() or ())
    assert (removal.key(), headers.pop("operator")) == (b"e-1", b"jo")
    assert set(headers) == {"term"}, "the term of its authority stays"


def test_show_says_what_the_worker_makes_of_each_entry(commands: Commands) -> None:
    times = {"created_at": "2026-01-01T00:00:00.000Z", "expires_at": "2026-02-01T00:00:00.000Z"}
    entry = {**ROW, **times, "entry_id": "old", "plate": "AB12CD", "requested_by": "x"}
    commands.produce(commands.topics.hotlist, "old", orjson.dumps(entry))
    commands.produce(
        commands.topics.hotlist, "odd", orjson.dumps({**entry, "entry_id": "odd", "purpose": "odd"})
    )
    commands.produce(commands.topics.hotlist, "bad", b"not an entry")
    starts_at = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="milliseconds")
    later = {"entry_id": "later", "plate": "AB12CE", "starts_at": starts_at}
    Path("later.jsonl").write_bytes(orjson.dumps(later))
    commands.good("entries", "import", "later.jsonl", *ROW_FLAGS)
    result = commands.run("entries", "show")
    assert result.exit_code == 0
    states = {line.split()[0]: line for line in result.stdout.splitlines()[1:]}
    assert states["old"].endswith("  expired")
    assert states["later"].endswith("  not started")
    assert "  refused: purpose 'odd': " in states["odd"]
    assert result.stderr == (
        f"{commands.topics.hotlist}: records that are no valid entry, which the worker ignores: 1\n"
    )


def test_import_sends_all_rows_or_none(commands: Commands) -> None:
    count = 5000
    rows = "".join(f"{number:06d};{number % 5 + 1}\r\n" for number in range(count))
    Path("list.csv").write_text("\ufeffplate;priority\r\n" + rows)
    topic = commands.topics.hotlist
    # Twice, because the same file changes the same entries: they expire later now.
    for of_these in ("", f" (0 added, {count} changed)"):
        assert commands.good("entries", "import", "list.csv", *ROW_FLAGS) == (
            f"sent {count:,} entries to {topic}{of_these}\n"
        )
        shown = commands.documents("entries", "show", "--json")
        assert sorted((entry["plate"], entry.get("priority", 3)) for entry in shown) == [
            (f"{number:06d}", number % 5 + 1) for number in range(count)
        ]

    Path("bad.csv").write_text("entry_id,plate\nx,XX12CD\ny,xx\nx,XX12CE\n")
    refused = commands.run("entries", "import", "bad.csv", *ROW_FLAGS)
    assert refused.exit_code == 1
    assert commands.run("entries", "show", "--id=x").exit_code == 1, "there is no such entry"
    sent = commands.run("entries", "import", "bad.csv", *ROW_FLAGS, "--skip-invalid")
    assert sent.exit_code == 0
    assert sent.stdout == f"sent 1 entry to {topic}, skipped 2 bad rows\n"
    assert sent.stderr.splitlines() == [
        "bad.csv: line 3: plate 'xx': must be in normal form, which is XX",
        "bad.csv: line 4: the same entry_id as in line 2",
    ]
    (kept,) = commands.documents("entries", "show", "--json", "--id=x")
    assert kept["plate"] == "XX12CD"


def test_show_filters(commands: Commands) -> None:
    Path("list.csv").write_text(
        "entry_id,list,agency,purpose,plate\n"
        "1,l1,a1,stolen_vehicle,AB12C1\n2,l1,a2,stolen_plate,AB12C2\n3,l2,a1,stolen_plate,AB12C3\n"
    )
    commands.good("entries", "import", "list.csv", *ROW_FLAGS)

    def shown(*filters: str) -> list[str]:
        return [
            entry["entry_id"] for entry in commands.documents("entries", "show", "--json", *filters)
        ]

    assert shown() == ["1", "2", "3"]
    assert shown("--list=l1") == ["1", "2"]
    assert shown("--agency=a1") == ["1", "3"]
    assert shown("--purpose=stolen_plate") == ["2", "3"]
    assert shown("--purpose=stolen_plate", "--agency=a1") == ["3"]
    assert shown("--id=2") == ["2"]
    absent = commands.run("entries", "show", "--json", "--id=4")
    assert (absent.exit_code, absent.stdout) == (1, "")
    assert "no entry has the id 4" in absent.stderr


def test_policies_set_show_and_remove(commands: Commands) -> None:
    own = {"updated_by": "kim", "updated_at": "2026-01-01T00:00:00.000Z"}
    city = {"source": "city", "rules": [{"agencies": ["a", "b"], "purposes": "*"}]}
    Path("policies.json").write_bytes(
        orjson.dumps([{**city, "regions": ["NL"]}, {"source": "deny", "rules": [], **own}])
    )
    Path("policy.json").write_bytes(orjson.dumps({"source": "deny", "rules": [], **own}))
    printed = commands.good("policies", "set", "policies.json").splitlines()
    assert [line.split() for line in printed[:3]] == [
        ["source", "agencies", "purposes", "regions", "change"],
        ["city", "a", "b", "*", "NL", "new"],
        ["deny", "none", "none", "all", "new"],
    ]
    assert printed[3:] == [
        "city: a, b may match on its reads for every purpose, in NL",
        "set 2 policies",
    ]
    [document] = commands.documents("policies", "set", "policy.json", "--json")
    assert (document["change"], document["policy"]) == ("same", document["standing"])
    first, second = commands.documents("policies", "show", "--json")
    assert first.items() >= {**city, "regions": ["NL"], "updated_by": "jo"}.items()
    assert second == {"source": "deny", "rules": [], **own}
    lines = [line.split() for line in commands.good("policies", "show").splitlines()]
    assert lines[1][:6] == ["city", "a", "b", "*", "NL", "jo"]
    assert lines[2] == ["deny", "none", "none", "all", "kim", own["updated_at"]]

    refused = commands.run("policies", "remove", "nobody")
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"hotlist: {commands.topics.policies}: no policy of 'nobody'; nothing was removed\n"
    )
    assert commands.good("policies", "remove", "city") == "removed 1 policy\n"
    assert commands.documents("policies", "show", "--json") == [second]
    for record in commands.records(commands.topics.policies):
        assert record.headers() == [("operator", b"jo")]


def test_replay_keeps_lines_and_keys_them_by_normal_form(commands: Commands) -> None:
    reads = [
        orjson.dumps({**READ, "read_id": str(number), "plate": plate, "vendor": number})
        for number, plate in enumerate(["ab-12-cd", "АВ 12", "mü 1"] * 100)
    ]
    Path("reads.jsonl").write_bytes(b"\n".join([*reads[:150], b"{}", *reads[150:]]))
    result = commands.run("replay", "reads.jsonl", "--rate", "100000")
    assert result.exit_code == 1
    assert result.stdout == f"sent 300 reads to {commands.topics.detections}\n"
    assert result.stderr.splitlines() == [
        "reads.jsonl: line 151: schema: $.read_id: is required",
        "hotlist: reads.jsonl: 1 of 301 lines are bad",
    ]
    records = commands.records(commands.topics.detections)
    assert sorted(record.value() or b"" for record in records) == sorted(reads)
    keys = {"ab-12-cd": "AB12CD", "АВ 12": "AB12", "mü 1": "MÜ1"}
    everywhere = list(range(4))
    for record in records:
        key = keys[orjson.loads(record.value() or b"")["plate"]].encode()
        assert record.key() == key
        # The partition is the one that every other client would choose.
        assert record.partition() == DefaultPartitioner()(key, everywhere, everywhere)


def match(number: int) -> dict[str, Any]:
    times = {"created_at": "2026-01-01T00:00:00.000Z", "expires_at": "2026-02-01T00:00:00.000Z"}
    entry = {**ROW, **times, "entry_id": "e", "plate": "AB12CD", "requested_by": "jo"}
    return {
        "match_id": f"{number:032x}",
        "matched_at": "2026-01-01T00:00:01.000Z",
        "match_type": "exact",
        "confidence": 0.984,
        "entry": {**entry, "instructions": "stop\x1b[2J\nnow"},
        "entry_revision": 1,
        "read": {**READ, "read_id": str(number)},
        "verification": {
            "required": True,
            "checks": [{"check": "plate", "result": "same", "text": "compare the plates"}],
        },
        "suppressed": 0,
        "policy": {"source": "city", "revision": 1},
        "list_revision": 1,
    }


def test_tail_from_the_start(commands: Commands) -> None:
    by_alternate = {"alternate": {"plate": "AB-12-CD"}, "match_type": "partial"}
    events = [match(0), {**match(1), **by_alternate}, match(2)]
    for event in events:
        commands.produce(commands.topics.matches, "e", orjson.dumps(event))
    assert commands.documents("tail", "--from-start", "--count=3", "--json") == events
    lines = commands.good("tail", "--from-start", "--count=2").splitlines()
    where_and_what = "at city/cam-1  priority 3  stop�[2J�now"
    by_the_alternate = "read ab-12-cd or AB-12-CD  listed AB12CD"
    time = "2026-01-01T00:00:00.000Z"
    assert lines == [
        f"{time}  exact 0.98  stolen_vehicle  read ab-12-cd  listed AB12CD  {where_and_what}",
        f"{time}  partial 0.98  stolen_vehicle  {by_the_alternate}  {where_and_what}",
    ]


def test_tail_passes_a_record_that_is_no_match(commands: Commands) -> None:
    commands.produce(commands.topics.matches, "e", b"{}")
    commands.produce(commands.topics.matches, "e", orjson.dumps(match(1)))
    result = commands.run("tail", "--from-start", "--count=1", "--json")
    assert result.exit_code == 0
    assert orjson.loads(result.stdout) == match(1)
    assert result.stderr.startswith(f"{commands.topics.matches}: a record is no match: $.match_id")


def test_tail_follows_what_comes_until_it_is_interrupted(commands: Commands) -> None:
    commands.produce(commands.topics.matches, "e", orjson.dumps(match(0)))
    root = str(Path(__file__).parents[3])
    tail = subprocess.Popen(
        [sys.executable, "-m", "engine", "tail", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **commands.env, "PYTHONPATH": root},
    )
    try:
        assert tail.stdout is not None
        # It says nothing when it is ready, so matches are sent until one comes through.
        number, came = 0, False
        while not came and number < 600:
            number += 1
            commands.produce(commands.topics.matches, "e", orjson.dumps(match(number)))
            came = bool(select.select([tail.stdout], [], [], 0.1)[0])
        line = tail.stdout.readline()
        # The one from before is not shown.
        assert int(orjson.loads(line)["match_id"], 16) >= 1
        tail.send_signal(signal.SIGINT)
        tail.wait(30)
        assert tail.returncode == 130
        assert tail.stderr is not None
        assert tail.stderr.read() == b"hotlist: interrupted\n"
    finally:
        tail.kill()
        tail.communicate()
