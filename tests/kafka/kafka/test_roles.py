"""What `engine/data/acls.toml` gives to each role is enough for its work, and for nothing else.

On a broker that refuses what nothing allows, every role is a user with a password and with the
rights that the file has for it. `_MAY_READ`, `_MAY_WRITE` and the like say once more, by hand,
what is meant.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
)
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from engine.kafka.acls import roles
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import hidden
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import DECLARED, Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.broker import RealBroker
from tests.kafka.guarded import (
    JO,
    MECHANISM,
    PASSWORD,
    ROLES,
    TRAINEES,
    Right,
    Rights,
    Way,
    all_of,
    connecting_as,
    rights_of,
    user,
    with_one_less,
)
from tests.kafka.jars import fetch, release
from tests.kafka.records import ToSend, produce, until
from tests.kafka.worker_process import WorkerProcess

#: Where Kafka has its own tool.
_ACL_TOOL: Final = (
    "org.apache.kafka.tools.AclCommand" if release() >= (4, 0) else "kafka.admin.AclCommand"
)
_ALL: Final = frozenset(declared.name for declared in DECLARED)
_LISTS: Final = frozenset({"hotlist", "policies"})
_MAY_READ: Final = {
    "ingest": frozenset[str](),
    "engine": _ALL - {"matches", "rejects"},
    "alerting": frozenset({"matches"}),
    "list-manager": _LISTS,
    "policy-manager": _LISTS,
    "auditor": frozenset({"audit"}),
    "administrator": frozenset[str](),
}
_MAY_WRITE: Final = {
    "ingest": frozenset({"detections"}),
    "engine": _ALL - {"detections"} - _LISTS,
    "alerting": frozenset[str](),
    "list-manager": frozenset({"hotlist"}),
    "policy-manager": frozenset({"policies"}),
    "auditor": frozenset[str](),
    "administrator": frozenset[str](),
}
_MAY_JOIN: Final = {"engine": {"group", "group.audit"}, "alerting": {"alerting-sms"}}

_AUTHORIZATION_FAILED: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_SHOWN: Final = "`hotlist topics acls` shows what each role has"


@pytest.fixture(scope="module")
def rights(guarded: RealBroker) -> Rights:
    return Rights(guarded)


def _allow_all(rights: Rights, prefix: str) -> None:
    """Give each role its rights, as the user of its name."""
    found = roles(Topics(prefix), f"{prefix}group")
    for name, role in found.items():
        rights.give(name, rights_of(role))


def _new_prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}."


@pytest.fixture(scope="module")
def town(guarded: RealBroker, rights: Rights) -> str:
    """A prefix with topics, in which each role has its rights; nobody has done anything yet."""
    prefix = _new_prefix()
    _allow_all(rights, prefix)
    user(guarded, "administrator").good(prefix, "topics", "create")
    return prefix


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files to work with: `policy`, `entries` and `reads`."""
    directory = tmp_path_factory.mktemp("papers")
    documents = {"policy": a_policy(), "entries": an_entry(suppress_s=60), "reads": a_read()}
    found = {}
    for name, document in documents.items():
        path = directory / f"{name}.{'json' if name == 'policy' else 'jsonl'}"
        path.write_bytes(orjson.dumps(document))
        found[name] = str(path)
    return found


_ADDED: Final = (
    *("--plate=ABC999", "--list=l", "--agency=a", "--purpose=stolen_vehicle"),
    *("--authority-kind=case", "--authority-ref=1", "--expires-in=30d"),
)


def _work(role: str, papers: dict[str, str]) -> list[tuple[str, ...]]:
    """The commands of a role, in an order in which they go well."""
    work: dict[str, list[tuple[str, ...]]] = {
        "administrator": [("topics", "create"), ("topics", "apply", "--yes")],
        "policy-manager": [
            ("policies", "set", papers["policy"]),
            ("policies", "show", "--json"),
            ("policies", "remove", "city"),
            ("entries", "show", "--json"),
            ("policies", "set", papers["policy"]),
        ],
        "list-manager": [
            ("entries", "add", "--id=E-2", *_ADDED),
            ("entries", "import", papers["entries"]),
            ("entries", "remove", "E-2"),
            ("entries", "sync", papers["entries"]),
            ("entries", "show", "--json"),
            ("policies", "explain", "--source=city", "--entry=E-1"),
        ],
        "ingest": [("replay", papers["reads"])],
        "alerting": [("tail", "--from-start", "--count=1", "--json")],
        "auditor": [("audit", "verify"), ("audit", "report", "--from", "2026-01-01")],
    }
    return work[role]


async def test_each_role_can_do_its_work(
    town: str, guarded: RealBroker, papers: dict[str, str], tmp_path: Path
) -> None:
    async def does_its_work(role: str) -> str:
        way = user(guarded, role)
        said = [await asyncio.to_thread(way.good, town, *line) for line in _work(role, papers)]
        return said[-1]

    for role in ("administrator", "policy-manager", "list-manager", "ingest"):
        await does_its_work(role)
    engine = user(guarded, "engine")
    log = tmp_path / "worker.log"
    # With delivery exactly once, which takes all that the other needs and a right more.
    variables = {**engine.variables, "HOTLIST_DELIVERY": "exactly_once"}
    async with WorkerProcess(log, engine.bootstrap, town, environment=variables) as worker:
        await worker.ready()
        await worker.has_processed(1)
        match = orjson.loads(await does_its_work("alerting"))
        assert match["read"]["read_id"] == "R-1"
        # A bad read is pointed to, and the lists change while the worker runs.
        await produce(guarded.bootstrap, Topics(town).detections, {0: [ToSend(b"ABC1234", b"{")]})

        async def is_rejected() -> bool:
            return await worker.metric("hotlist_rejects_total") == 1

        await until(is_rejected, "the bad read is rejected", worker.log)
        await does_its_work("list-manager")
        await worker.stop()
    assert "Traceback" not in log.read_text()
    assert await _consumes_in_a_group(guarded, f"{town}alerting-sms", Topics(town).matches) == 1
    report = await does_its_work("auditor")
    assert "match" in report


async def _consumes_in_a_group(guarded: RealBroker, group: str, topic: str) -> int:
    """Take what lies there as a member of a group, and commit it."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=guarded.at("USERS"),
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **connecting_as("alerting"),
    )
    await consumer.start()
    try:
        taken = [await consumer.getone()]
        await consumer.commit()
    finally:
        await consumer.stop()
    return len(taken)


@pytest.fixture(scope="module")
def field(guarded: RealBroker, rights: Rights) -> str:
    """A prefix for those who try everything, with a record on each partition of each topic."""
    prefix = _new_prefix()
    _allow_all(rights, prefix)
    topics = Topics(prefix)

    async def prepare() -> None:
        await create_topics(Cluster(guarded.bootstrap, topics), partitions=1, replication=1)
        for topic in topics.all:
            await produce(guarded.bootstrap, topic, {0: [ToSend(b"key", b"value")]})

    asyncio.run(prepare())
    return prefix


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_reads_and_writes_its_topics_and_no_others(
    role: str, field: str, guarded: RealBroker
) -> None:
    names = {Topics(field).name(name): name for name in _ALL}
    # What it may not even see is refused whatever it wants there; asked for by name, and raw,
    # because clients wait for a topic that they do not see.
    unseen = await hidden(guarded.at("USERS"), names.keys(), connecting_as(role))
    seen = names.keys() - unseen
    written, read = await asyncio.to_thread(_tried, _connection(guarded, role), seen)
    assert {names[topic] for topic in written} == _MAY_WRITE[role]
    assert {names[topic] for topic in read} == _MAY_READ[role]
    if role != "administrator":
        assert {names[topic] for topic in seen} == _MAY_WRITE[role] | _MAY_READ[role]


def _tried(connection: dict[str, Any], topics: Collection[str]) -> tuple[set[str], set[str]]:
    """To which of the topics it could write, and from which it could read."""
    codes: dict[str, int] = {}

    def note(error: KafkaError | None, message: Message) -> None:
        codes[str(message.topic())] = 0 if error is None else error.code()

    producer = Producer(connection)
    for topic in topics:
        producer.produce(topic, key=b"key", value=b"value", partition=0, on_delivery=note)
    assert producer.flush(30) == 0
    written = _without_error(codes, topics)
    codes.clear()
    consumer = Consumer({**connection, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([ConfluentPartition(topic, 0, 0) for topic in topics])
    until_s = time.monotonic() + 30
    while len(codes) < len(topics) and time.monotonic() < until_s:
        message = consumer.poll(1)
        if message is not None and message.topic() is not None:
            note(message.error(), message)
    consumer.close()
    return written, _without_error(codes, topics)


def _without_error(codes: Mapping[str, int], topics: Collection[str]) -> set[str]:
    """The topics without an error; that of the others was a missing right."""
    assert codes.keys() == set(topics)
    assert set(codes.values()) <= {0, KafkaError.TOPIC_AUTHORIZATION_FAILED}
    return {topic for topic, code in codes.items() if code == 0}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_takes_part_in_its_groups_and_transactions_alone(
    role: str, field: str, guarded: RealBroker
) -> None:
    admin = _admin(guarded, role)
    groups = {name: f"{field}{name}" for name in ("group", "group.audit", "alerting-sms", "other")}
    may_join = {name for name, group in groups.items() if _sees_group(admin, group)}
    assert may_join == _MAY_JOIN.get(role, set())
    ids = {
        f"{field}hotlist.v1/sync/stolen": "list-manager",
        f"{field}group/{field}detections.v1/0": "engine",
        f"{field}group/0": None,
        "other": None,
    }
    for transactional_id, may in ids.items():
        producer = Producer({**_connection(guarded, role), "transactional.id": transactional_id})
        if role == may:
            producer.init_transactions(30)
            continue
        with pytest.raises(KafkaException) as caught:
            producer.init_transactions(30)
        assert caught.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


@pytest.mark.parametrize("role", ROLES)
def test_a_role_changes_nothing_about_topics_groups_and_rights(
    role: str, field: str, guarded: RealBroker
) -> None:
    admin = _admin(guarded, role)
    topics = Topics(field).all
    is_administrator = role == "administrator"
    _refused(admin.create_topics([NewTopic(f"{field}other.v1", 1, 1)]))
    _refused(admin.delete_topics(list(topics)))
    _refused(
        admin.create_partitions([NewPartitions(topic, 9) for topic in topics], validate_only=True)
    )
    _refused(admin.delete_records([_at_end(topic) for topic in topics]))
    for topic in topics:
        shorter = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[shorter])
        changing = admin.incremental_alter_configs([resource], validate_only=True)
        if is_administrator:
            assert [done.result() for done in changing.values()] == [None]
        else:
            _refused(changing)
    broker = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[shorter])
    _refused(admin.incremental_alter_configs([broker], validate_only=True))
    _refused(admin.delete_consumer_groups([f"{field}group", f"{field}group.audit"]))
    for group in ("group", "group.audit"):
        back = ConsumerGroupTopicPartitions(f"{field}{group}", [_at_end(topics[0])])
        if role != "engine":  # for which it is its work
            _refused(admin.alter_consumer_group_offsets([back]))
    _refused(admin.create_acls([_everything_for(role)]))
    assert admin.describe_acls(all_of(role)).result() == []  # though it has some
    seen = {topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(field)}
    may_see = _ALL if is_administrator else _MAY_READ[role] | _MAY_WRITE[role]
    assert seen == {Topics(field).name(name) for name in may_see}


def _connection(guarded: RealBroker, name: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": guarded.at("USERS"),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": MECHANISM,
        "sasl.username": name,
        "sasl.password": PASSWORD,
        "log_level": 0,
    }


def _admin(guarded: RealBroker, name: str) -> AdminClient:
    return AdminClient(_connection(guarded, name))


def _at_end(topic: str) -> ConfluentPartition:
    return ConfluentPartition(topic, 0, 1)


def _refused(futures: Mapping[Any, Any]) -> None:
    """Each of these was refused for want of a right."""
    assert futures
    for what, done in futures.items():
        with pytest.raises(KafkaException) as caught:
            pytest.fail(f"{what}: {done.result()}")
        error = caught.value.args[0]
        assert error.code() in _AUTHORIZATION_FAILED, f"{what}: {error}"


def _sees_group(admin: AdminClient, group: str) -> bool:
    """Whether it may look at a group, without which nothing else there is allowed."""
    (asked,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    try:
        asked.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise
        return False
    return True


def _everything_for(name: str) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC,
        "lpr.",
        ResourcePatternType.PREFIXED,
        f"User:{name}",
        "*",
        AclOperation.ALL,
        AclPermissionType.ALLOW,
    )


def test_every_right_is_needed(
    guarded: RealBroker, rights: Rights, town: str, papers: dict[str, str]
) -> None:
    """Without any one of its rights, a role cannot do its work, and is told what is missing."""
    trainee = user(guarded, TRAINEES[0])
    for name, role in roles(Topics(town), f"{town}group").items():
        if name in ("administrator", "engine"):
            continue
        for missing, others in with_one_less(rights_of(role)):
            if missing.kind == "group":
                continue  # for the consumers of others; none of our commands has a group
            rights.give(trainee.principal, others)
            lines = [trainee.run(town, *line).stderr for line in _work(name, papers)]
            assert _missing(missing) in "".join(lines), (name, missing)
            rights.take(trainee.principal)


def _missing(right: Right) -> str:
    """What a command says that lacks this right."""
    kind, name = right.kind, right.name
    if kind == "transactional-id":
        kind, name = "transactional id", f"{name}north-hot"
    return (
        f"hotlist: {kind} {name}: the broker does not allow this user what is needed; "
        f"ask the cluster's operator for {right.operation} on it; {_SHOWN}\n"
    )


@pytest.fixture
def stocked(guarded: RealBroker, papers: dict[str, str]) -> str:
    """A prefix with an entry to audit, a read to match, and what earlier workers have left."""
    prefix, everybody = _new_prefix(), user(guarded, JO)
    for role in ("administrator", "policy-manager", "list-manager", "ingest"):
        for line in _work(role, papers):
            everybody.good(prefix, *line)

    async def leave() -> None:
        for topic in (Topics(prefix).audit, Topics(prefix).name("suppression")):
            left = {number: [ToSend(b"key", None)] for number in range(4)}
            await produce(guarded.bootstrap, topic, left)

    asyncio.run(leave())
    return prefix


async def test_a_worker_needs_every_right(
    guarded: RealBroker, rights: Rights, stocked: str, tmp_path: Path
) -> None:
    """Without any one of the engine's rights a worker ends, and its last line says why."""
    at_a_time = asyncio.Semaphore(3)
    may_be_hidden = [Topics(stocked).name(name) for name in ("detections", "matches", "rejects")]

    async def lacks(number: int) -> None:
        # A user and groups of its own, so that they can be tried beside each other.
        trainee, group = TRAINEES[1 + number], f"{stocked}group-{number}"
        engine = roles(Topics(stocked), group)["engine"]
        missing, others = list(with_one_less(rights_of(engine)))[number]
        async with at_a_time:
            await asyncio.to_thread(rights.give, trainee, others)
            way = user(guarded, trainee)
            log = tmp_path / f"{number}.log"
            arguments = ("--group", group, "--delivery", "exactly_once")
            async with WorkerProcess(
                log, way.bootstrap, stocked, *arguments, environment=way.variables
            ) as worker:
                if missing.operation == "DescribeConfigs" and missing.name in may_be_hidden:
                    await worker.ready()  # it only says so
                    said = f"topic {missing.name}: the broker does not show"
                    assert f"not set up as they should be: {said}" in worker.log()
                    return
                assert await worker.ends() == 1, worker.log()
        line = log.read_text().splitlines()[-1]
        what, _, refused = line.partition(": the broker does not ")
        assert refused, line
        if missing.kind == "transactional-id":  # for each partition of the reads
            assert what[:-1] == f"hotlist: transactional id {missing.name}", line
        else:
            kind = "consumer group" if missing.kind == "group" else missing.kind
            assert what == f"hotlist: {kind} {missing.name}", line
        assert missing.operation in line.partition("; ask the cluster's operator for ")[2], line

    count = len(rights_of(roles(Topics(stocked), "")["engine"]))
    assert 10 < count < len(TRAINEES) - 2
    await asyncio.gather(*map(lacks, range(count)))


def test_a_user_without_rights_cannot_declare_topics(guarded: RealBroker) -> None:
    way = user(guarded, TRAINEES[-1])
    line = way.line(_new_prefix(), "topics", "create")
    assert line.startswith("hotlist: topic test-")
    assert line.endswith(
        ": the broker refused it: not allowed to create it; "
        "ask the cluster's operator for Create on it, or to create it"
    )


def test_the_printed_commands_give_the_same(guarded: RealBroker, rights: Rights) -> None:
    """`hotlist topics acls` prints what Kafka's own tool takes."""
    prefix, name = _new_prefix(), TRAINEES[-2]
    role = roles(Topics(prefix), "")["list-manager"]
    tool = (
        f"java -Xshare:auto -XX:TieredStopAtLevel=1 -cp '{fetch()}{os.sep}*' "
        f"{_ACL_TOOL} --bootstrap-server {guarded.bootstrap}"
    )
    printed = Way(guarded.bootstrap, "").good(
        prefix, "topics", "acls", role.name, "--principal", f"User:{name}", "--command", tool
    )
    done = subprocess.run(
        ["sh", "-e"], input=printed, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert rights.of(name) == {right.binding(name) for right in rights_of(role)}
