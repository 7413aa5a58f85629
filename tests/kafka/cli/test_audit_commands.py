"""The audit commands on a broker: whole chains pass, what was tampered with is found."""

from __future__ import annotations

import asyncio
import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from click.testing import CliRunner, Result

from engine import limits
from engine.audit.chain import Chain
from engine.audit.verifier import Verifier
from engine.cli import main
from engine.cli.audit.audit_reader import verify
from engine.cli.output import reading
from engine.clock import SystemClock
from engine.config import Settings
from engine.documents.codec import encode
from engine.kafka.cluster import Cluster
from engine.kafka.session import run
from engine.kafka.topic_admin import create_topics, delete_topics
from engine.kafka.topics import Topics
from engine.matching.match import audit_fields
from engine.wire.record_batch import Record
from tests.fakes.chains import MATCH, NOON_MS, KeyValue, changed, follows, resealed, sealed
from tests.fakes.documents import detection, exact_match
from tests.fakes.documents import entry as an_entry
from tests.kafka.conftest import Broker
from tests.kafka.records import ToSend, produce, producing

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


class Audit:
    """Writes chains to the audit topic of a prefix, and runs the audit commands on it."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.topics = Topics(prefix)
        self.topic = self.topics.audit
        self.env = {"HOTLIST_BOOTSTRAP": bootstrap, "HOTLIST_PREFIX": prefix}

    def write(self, *partitions: Sequence[KeyValue], codec: str | None = "lz4") -> None:
        records = {
            number: [ToSend(key, value) for key, value in partition]
            for number, partition in enumerate(partitions)
            if partition
        }
        asyncio.run(produce(self.bootstrap, self.topic, records, codec=codec))

    def write_anew(self, *partitions: Sequence[KeyValue]) -> None:
        """The topics deleted and declared anew, and these records in the audit."""

        async def recreate() -> None:
            await delete_topics(Cluster(self.bootstrap, self.topics))
            await create_topics(Cluster(self.bootstrap, self.topics), partitions=4, replication=1)

        asyncio.run(recreate())
        self.write(*partitions)

    def run(self, *args: str) -> Result:
        return CliRunner().invoke(main, ["audit", *args], env=self.env)

    def good(self, *args: str) -> str:
        """Standard output of a command that must end well and without a remark, but for notes."""
        result = self.run(*args)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return "".join(_without_notes(result.stdout.splitlines(keepends=True)))

    def problems(self, *args: str) -> list[str]:
        """The problems that a command shows, which must end badly."""
        result = self.run(*args)
        found = _without_notes(result.stdout.splitlines())
        told = f"{len(found)} {'problem' if len(found) == 1 else 'problems'}"
        assert result.exit_code == 1
        assert result.stderr.startswith(f"hotlist: {self.topic}: the audit is not whole: {told}")
        return found


def _without_notes(shown: Iterable[str]) -> list[str]:
    """The notes say that these chains are of an earlier version, which wrote no ends."""
    return [line for line in shown if not line.startswith("note: ")]


@pytest.fixture
def audit(broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Audit:
    return _alone(broker.bootstrap, prefix, monkeypatch, tmp_path)


@pytest.fixture
def real_audit(
    real_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Audit:
    return _alone(real_kafka, prefix, monkeypatch, tmp_path)


def _alone(bootstrap: str, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Audit:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOTLIST_")]:
        monkeypatch.delenv(name)
    return Audit(bootstrap, prefix)


def three_chains() -> tuple[list[KeyValue], list[KeyValue]]:
    """Two partitions: two chains one after the other, and one that was there all the time."""
    first, second, third = Chain("g/1"), Chain("g/2"), Chain("g/3")
    one = sealed(third, 300)
    other = sealed(first, 200)
    other += sealed(second, 100, **follows(first))
    one += sealed(third, 50)
    return one, other


def values_in(metrics_file: Path) -> dict[str, float]:
    """The values of the metrics in a file, by the ends of their names."""
    lines = [line for line in metrics_file.read_text().splitlines() if not line.startswith("#")]
    pairs = (line.removeprefix("hotlist_audit_verify_").split() for line in lines)
    return {name: float(value) for name, value in pairs}


def test_whole_chains_verify(audit: Audit, tmp_path: Path) -> None:
    one, other = three_chains()
    for part in range(0, 350, 70):  # some batches each
        audit.write(one[part : part + 70], other[part : part + 70])
    metrics = tmp_path / "audit.prom"
    before_s = time.time()
    assert audit.good("verify", "--metrics-file", str(metrics)) == "3 chains, 650 records, whole\n"
    values = values_in(metrics)
    assert before_s <= values.pop("time_seconds") <= time.time()
    assert values.pop("duration_seconds") > 0
    assert values == {"problems": 0, "chains": 3, "records": 650}
    audit.write(one[-20:])
    assert audit.good("verify") == "3 chains, 650 records, whole, 20 records sent twice\n"
    (document,) = map(orjson.loads, audit.good("verify", "--json").splitlines())
    assert document == {
        "whole": True,
        "chains": 3,
        "records": 650,
        "repeats": 20,
        "problems": 0,
        "checkpoints": 0,
        "matches": None,
        "notes": {"not_ended": 3, "no_predecessor": 2},
    }
    assert audit.run("verify").stdout.splitlines()[:2] == [
        (
            f"note: no last record: 3 chains, the first g/3 at {audit.topic}/0/0; a record that is "
            "appended to such a chain looks true"
        ),
        (
            f"note: written before chains had ends: 2 chains, the first g/3 at {audit.topic}/0/0 "
            "without a predecessor; a whole forged chain would look the same"
        ),
    ]


def test_any_codec_and_aborted_transactions(real_audit: Audit) -> None:
    chain = Chain("g/1")
    for codec in CODECS:
        real_audit.write(sealed(chain, 10), codec=codec)

    async def transactions() -> None:
        async with producing(real_audit.bootstrap, acks="all", transactional_id="t-audit") as out:
            for records, commits in ([(b"x", b"never")], False), (sealed(chain, 5), True):
                await out.begin_transaction()
                for key, value in records:
                    await out.send_and_wait(real_audit.topic, value, key, partition=0)
                await (out.commit_transaction() if commits else out.abort_transaction())

    asyncio.run(transactions())
    assert real_audit.good("verify") == "1 chain, 55 records, whole\n"


def test_what_was_tampered_with_is_found_and_placed(real_audit: Audit, tmp_path: Path) -> None:
    topic = real_audit.topic
    one, other = three_chains()
    assert other[7][1] is not None
    other[7] = (other[7][0], changed(other[7][1], event="entry_added"))
    assert other[199][1] is not None
    other[199] = (other[199][0], resealed(other[199][1], fields={}))
    one[100], one[101] = one[101], one[100]
    del one[200]
    one.insert(250, (b"g/3", None))
    real_audit.write(one, other, [(b"g/4", b"{}")])
    wanted = {
        (
            f"{topic}/0/101: chain g/3, sequence 100: it comes after a later record of its chain, "
            "at offset 100"
        ),
        f"{topic}/0/200: chain g/3, sequence 200: 200 is missing before this record",
        f"{topic}/0/250: not an audit record: it has no value",
        f"{topic}/1/7: chain g/1, sequence 7: its hash is not that of its content: it was changed",
        (
            f"{topic}/1/200: chain g/1, sequence 199: chain g/2 begins after this record, "
            "and another record is there"
        ),
        f"{topic}/2/0: not an audit record: $.chain: is required",
    }
    assert set(real_audit.problems("verify")) == wanted
    metrics = tmp_path / "audit.prom"
    result = real_audit.run("verify", "--json", "--metrics-file", str(metrics))
    *found, last = map(orjson.loads, result.stdout.splitlines())
    assert result.exit_code == 1
    assert values_in(metrics)["problems"] == 6
    assert (last["whole"], last["problems"]) == (False, 6)
    assert {(p["problem"], p["topic"], p["partition"], p["offset"]) for p in found} == {
        ("reordered", topic, 0, 101),
        ("missing", topic, 0, 200),
        ("no_record", topic, 0, 250),
        ("changed", topic, 1, 7),
        ("unfollowed", topic, 1, 200),
        ("no_record", topic, 2, 0),
    }


def test_a_rewritten_chain_is_found_with_an_old_checkpoint(real_audit: Audit) -> None:
    chain = Chain("g/1")
    true = sealed(chain, 100)
    real_audit.write(true)
    real_audit.good("keygen", "--key=key")
    assert real_audit.good("checkpoint", "--key=key", "--out=one.json") == (
        "1 chain, 100 records, whole; signed in one.json\n"
    )
    true += sealed(chain, 20)
    real_audit.write(true[100:])
    assert real_audit.good("checkpoint", "--key=key", "--out=two.json", "--previous=one.json") == (
        "1 chain, 120 records, whole, as in 1 checkpoint; signed in two.json\n"
    )
    with_both = (
        *("verify", "--public-key=key.pub"),
        *("--checkpoint=one.json", "--checkpoint=two.json"),
    )
    assert real_audit.good(*with_both) == ("1 chain, 120 records, whole, as in 2 checkpoints\n")
    # Somebody writes the chain anew, with other content and every hash as it must be.
    false = Chain("g/1")
    real_audit.write_anew(sealed(false, 150, agency="somebody"))
    assert real_audit.good("verify") == "1 chain, 150 records, whole\n"
    assert real_audit.problems(*with_both) == [
        (
            "chain g/1, sequence 99: checkpoint one.json holds this record, "
            "and another record is there"
        ),
        (
            "chain g/1, sequence 119: checkpoint two.json holds this record, "
            "and another record is there"
        ),
    ]
    real_audit.problems("checkpoint", "--key=key", "--out=three.json", "--previous=two.json")
    result = real_audit.run("checkpoint", "--key=key", "--out=three.json", "--previous=two.json")
    assert result.stderr == (
        f"hotlist: {real_audit.topic}: the audit is not whole: 1 problem; nothing was signed\n"
    )
    assert not Path("three.json").exists()
    # Or only takes the end away.
    real_audit.write_anew(true[:110])
    assert real_audit.good("verify") == "1 chain, 110 records, whole\n"
    assert real_audit.problems(*with_both) == [
        (
            "chain g/1, sequence 119: checkpoint two.json holds this record, "
            "and the chain ends at sequence 109"
        )
    ]
    # A key that nobody knows signs nothing that counts.
    real_audit.good("keygen", "--key=other")
    real_audit.good("checkpoint", "--key=other", "--out=forged.json")
    result = real_audit.run("verify", "--checkpoint=forged.json", "--public-key=key.pub")
    assert result.stderr == "hotlist: forged.json: signed with another key\n"


def test_what_is_written_meanwhile_is_no_problem(real_audit: Audit) -> None:
    """A chain begins after a record that came when its partition's end was noted already."""
    first = Chain("g/1")
    before, late = sealed(first, 5), sealed(first, 1)
    later = sealed(Chain("g/2"), 3, **follows(first))
    real_audit.write(before, later)

    class Meanwhile(Verifier):
        is_written = False

        def take(self, partition: int, records: Iterable[Record]) -> None:
            if not self.is_written:
                self.is_written = True
                real_audit.write(late)
            super().take(partition, records)

    verifier = Meanwhile(real_audit.topic)
    settings = Settings(bootstrap=real_audit.bootstrap, prefix=real_audit.topics.prefix)
    run(verify(settings, verifier, reading))
    assert [str(problem) for problem in verifier.problems.shown] == []
    assert verifier.records == 8


def test_a_topic_without_its_beginning_is_not_whole(real_audit: Audit) -> None:
    real_audit.write(sealed(Chain("g/1"), 10))

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=real_audit.bootstrap)
        await admin.start()
        try:
            await admin.delete_records(
                {TopicPartition(real_audit.topic, 0): RecordsToDelete(before_offset=4)}
            )
        finally:
            await admin.close()

    asyncio.run(delete())
    assert real_audit.problems("verify") == [
        (
            f"{real_audit.topic}/0/4: the records before offset 4 are gone, "
            "but the topic must be kept for ever"
        ),
        f"{real_audit.topic}/0/4: chain g/1, sequence 0: 0 to 3 are missing before this record",
    ]


def test_an_empty_topic_is_whole_and_a_missing_one_an_error(real_audit: Audit) -> None:
    assert real_audit.good("verify") == "0 chains, 0 records, whole\n"
    real_audit.good("keygen", "--key=key")
    real_audit.good("checkpoint", "--key=key", "--out=one.json")
    assert real_audit.good("report").split() == [
        *("agency", "purpose", "list", "source", "match", "entry", "added", "entry", "changed"),
        *("entry", "removed", "entry", "expired", "entry", "refused", "policy", "changed"),
        *("suppressed", "total", "0", "0", "0", "0", "0", "0", "0", "0"),
    ]
    result = CliRunner().invoke(
        main, ["audit", "verify", f"--bootstrap={real_audit.bootstrap}", "--prefix=none."]
    )
    assert result.exit_code == 1
    assert "topic none.audit.v1 missing" in result.stderr


def _events() -> list[KeyValue]:
    chain = Chain("g/1")
    records: list[KeyValue] = []

    def add(event: str, at_ms: int, **fields: str | int) -> None:
        records.append((b"g/1", chain.seal(event, fields, NOON_MS + at_ms)))

    for number in range(5):
        match = {**MATCH, "match_id": f"{number:032x}"}
        if number == 4:
            match["agency"] = "=county"
        add("match", number, **match)
    entry = {"entry_id": "e", "list_id": "stolen", "agency": "city-police"}
    add("entry_added", 5, **entry, purpose="stolen_vehicle", revision=1, operator="jo")
    add("entry_removed", 6, **entry, purpose="stolen_vehicle", revision=2, operator="mo")
    add("policy_changed", 7, source="tolls", revision=3, operator="jo")
    return records


def test_a_report_sums_up(audit: Audit) -> None:
    records = _events()
    # A match and a change that stand in a second chain, too, after a crash.
    again = Chain("g/2")
    repeats: list[KeyValue] = []
    for at in (1, 5):
        document: dict[str, Any] = orjson.loads(records[at][1] or b"")
        value = again.seal(document["event"], document["fields"], NOON_MS + 1000)
        repeats.append((b"g/2", value))
    audit.write(records, repeats)
    result = audit.run("report")
    assert result.exit_code == 0
    assert result.stderr == "recorded more than once and counted once: 2\n"
    assert result.stdout.splitlines() == [
        (
            "agency       purpose         list    source  match  entry added  entry removed  "
            "policy changed"
        ),
        "-            -               -       tolls   0      0            0              1",
        "=county      stolen_vehicle  stolen  tolls   1      0            0              0",
        "city-police  stolen_vehicle  stolen  -       0      1            1              0",
        "city-police  stolen_vehicle  stolen  tolls   4      0            0              0",
        "total                                        5      1            1              1",
    ]
    by = "--by=operator,event"
    rows = list(csv.reader(audit.run("report", by, "--csv").stdout.splitlines()))
    assert rows == [
        ["operator", "event", "count"],
        ["", "match", "5"],
        ["jo", "entry_added", "1"],
        ["jo", "policy_changed", "1"],
        ["mo", "entry_removed", "1"],
    ]
    documents = [
        orjson.loads(line) for line in audit.run("report", by, "--json").stdout.splitlines()
    ]
    assert documents[0] == {"operator": None, "event": "match", "count": 5}
    lines = audit.run("report", "--by=agency", "--csv").stdout.splitlines()
    assert lines[0] == (
        "agency,match,entry_added,entry_changed,entry_removed,entry_expired,"
        "entry_refused,policy_changed,suppressed"
    )
    assert lines[2].startswith("'=county,1,")


def test_a_report_of_a_period(audit: Audit) -> None:
    audit.write(_events())
    period = ("--from=2026-01-31T12:00:00.001Z", "--to=2026-01-31T12:00:00.003Z", "--by=event")
    assert audit.good("report", *period, "--csv") == "event,count\nmatch,2\n"
    assert audit.good("report", "--to=2026-01-31", "--by=event", "--csv") == "event,count\n"
    # The records of a time that has not come: none, and none of them is read.
    assert audit.good("report", "--from=2999-01-01", "--by=event", "--csv") == "event,count\n"


def test_a_report_tells_what_it_does_not_count(audit: Audit) -> None:
    audit.write([*_events(), (b"g/1", b"{}")])
    result = audit.run("report", "--by=event", "--csv")
    assert result.exit_code == 0
    assert result.stderr == (
        "not counted, because unreadable, invalid or changed: 1; see hotlist audit verify\n"
    )


def test_the_process_ends_with_the_status(real_audit: Audit) -> None:
    def status(*args: str) -> int:
        command = [sys.executable, "-m", "engine", "audit", *args]
        env = {**os.environ, **real_audit.env, "PYTHONPATH": str(Path(__file__).parents[3])}
        return subprocess.run(command, env=env, check=False, capture_output=True).returncode

    records = sealed(Chain("g/1"), 10)
    real_audit.write(records)
    assert status("verify") == 0
    real_audit.write([(b"g/1", b"no record")])
    assert status("verify") == 1


def _matches(count: int) -> tuple[list[KeyValue], list[bytes]]:
    """A chain of matches, and the matches."""
    chain, matches = Chain("g/1"), []
    audited: list[KeyValue] = []
    for number in range(count):
        match = exact_match(an_entry(), detection(read_id=f"R{number}"))
        value = chain.seal("match", audit_fields(match), NOON_MS + number)
        audited.append((b"g/1", value))
        matches.append(encode(match))
    return audited, matches


def test_the_matches_are_compared_with_the_audit(
    real_audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways, in one pass and in several."""
    audited, matches = _matches(50)
    real_audit.write(audited)
    topic = real_audit.topics.matches

    def deliver(*values: bytes) -> None:
        records = {0: [ToSend(b"E1", value) for value in values]}
        asyncio.run(produce(real_audit.bootstrap, topic, records))

    deliver(*matches[:49])
    assert real_audit.problems("verify", "--matches") == [
        (
            f"{real_audit.topic}/0/49: audited and not on the matches topic: removed, or the "
            "worker was killed before it was delivered"
        )
    ]
    deliver(matches[49])
    assert real_audit.good("verify", "--matches") == (
        "1 chain, 50 records, whole; 50 matches as audited\n"
    )
    monkeypatch.setattr(limits, "MATCHES_COMPARED", 7)
    forged = [encode(exact_match(an_entry(), detection(read_id=f"F{n}"))) for n in range(2)]
    deliver(*forged, matches[3].replace(b"AG1", b"AG2"), b"{}")
    assert real_audit.problems("verify", "--matches") == [
        (
            f"{topic}/0/50: on the matches topic and not in the audit: added, or the record was "
            "removed; the first of 2"
        ),
        f"{topic}/0/52: other than its audit record says: one of the two was edited",
        f"{topic}/0/53: on the matches topic and not a match",
    ]
    result = real_audit.run("verify", "--matches", "--json")
    *found, last = map(orjson.loads, result.stdout.splitlines())
    assert [(each["problem"], each["count"]) for each in found] == [
        ("not_audited", 2),
        ("edited", 1),
        ("not_a_match", 1),
    ]
    assert (last["whole"], last["problems"], last["matches"]) == (False, 3, 53)


def test_matches_that_retention_removed_are_not_missed(real_audit: Audit) -> None:
    """The audit's records are older than the topic keeps matches; younger ones are missed."""
    audited, matches = _matches(4)
    now_ms = SystemClock().now_ms()
    chain = Chain("g/2")
    young = exact_match(an_entry(), detection(read_id="young"))
    value = chain.seal("match", audit_fields(young), now_ms - 3_600_000)
    real_audit.write(audited, [(b"g/2", value)])
    topic = real_audit.topics.matches
    records = {0: [ToSend(b"E1", value) for value in matches]}
    asyncio.run(produce(real_audit.bootstrap, topic, records))

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=real_audit.bootstrap)
        await admin.start()
        try:
            gone = {TopicPartition(topic, 0): RecordsToDelete(before_offset=2)}
            await admin.delete_records(gone)
        finally:
            await admin.close()

    asyncio.run(delete())
    assert real_audit.problems("verify", "--matches") == [
        (
            f"{real_audit.topic}/1/0: audited and not on the matches topic: removed, or the "
            "worker was killed before it was delivered"
        )
    ]
