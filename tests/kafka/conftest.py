"""Brokers for the tests that need one.

A test that asks for `broker` runs on a real Kafka and on the embedded broker, one that asks
for `real_kafka` or `embedded_kafka` on that alone; `prefix` is a topic prefix of its own on
whichever it runs on. The real one is started once for the session, or is the one that
`HOTLIST_TEST_KAFKA=host:port` names. Where there is neither, its tests are skipped and say
why, except with `HOTLIST_REQUIRE_KAFKA=1`: then they fail.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.demo.embedded_broker import EmbeddedBroker
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from tests.fakes.certificates import Authority
from tests.kafka.broker import BrokerFailedError, RealBroker
from tests.kafka.guarded import guarded_broker
from tests.kafka.own_broker import OwnBroker

#: Compaction within a second or so, so that tests can wait for it.
_EAGER = {"log.cleaner.backoff.ms": "200", "log.retention.check.interval.ms": "1000"}


@dataclass(frozen=True)
class Broker:
    """A broker that a test runs on: `kind` is `real` or `embedded`."""

    kind: str
    bootstrap: str

    @property
    def is_real(self) -> bool:
        return self.kind == "real"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this directory `kafka`."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session")
def real_kafka() -> Iterator[str]:
    """The address of a real Kafka."""
    given = os.environ.get("HOTLIST_TEST_KAFKA")
    if given:
        yield given
        return
    required = os.environ.get("HOTLIST_REQUIRE_KAFKA") == "1"
    reason = RealBroker.unavailable_reason()
    broker = RealBroker(properties=_EAGER)
    if reason is None:
        try:
            broker.start()
        except BrokerFailedError as error:
            broker.close()
            reason = str(error)
    if reason is not None:
        why = f"no real Kafka: {reason}; HOTLIST_TEST_KAFKA=host:port uses one that runs"
        if required:
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    yield broker.bootstrap
    broker.close()


@pytest.fixture(scope="session")
def own_broker() -> Iterator[OwnBroker]:
    """A real Kafka that may be stopped and cut off, and that runs again at a test's end."""
    reason = RealBroker.unavailable_reason()
    own = OwnBroker()
    if reason is None:
        try:
            own.broker.start()
        except BrokerFailedError as error:
            own.broker.close()
            reason = str(error)
    if reason is not None:
        why = f"no broker that may be stopped: {reason}"
        if os.environ.get("HOTLIST_REQUIRE_KAFKA") == "1":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    yield own
    own.broker.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of the guarded broker and of those who may come to it."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def guarded(real_kafka: str, authority: Authority) -> Iterator[RealBroker]:
    """A real Kafka with users, rights and TLS; `real_kafka` says whether there can be one."""
    reason = RealBroker.unavailable_reason()
    if reason is not None:
        pytest.skip(f"no broker of our own: {reason}")
    with guarded_broker(authority) as broker:
        yield broker


@pytest.fixture(scope="session")
def embedded_kafka() -> Iterator[str]:
    """The address of the embedded broker."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.fixture(params=["real", "embedded"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each of the two brokers in turn."""
    kind: str = request.param
    return Broker(kind, request.getfixturevalue(f"{kind}_kafka"))


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A topic prefix that no other test uses, its topics declared where the broker does that.

    On the embedded broker they make themselves when they are first used.
    """
    unique = f"test-{uuid.uuid4().hex[:12]}."
    names = request.fixturenames
    real: str | None = None
    if "broker" in names:
        chosen: Broker = request.getfixturevalue("broker")
        real = chosen.bootstrap if chosen.is_real else None
    elif "real_kafka" in names:
        real = request.getfixturevalue("real_kafka")
    if real is not None:
        asyncio.run(create_topics(Cluster(real, Topics(unique)), partitions=4, replication=1))
    return unique
