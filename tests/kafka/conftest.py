"""Brokers for the tests that need one.

A test that asks for `broker` runs on a real Kafka and on the embedded broker, one that asks
for `real_kafka` or `embedded_kafka` on that alone; `prefix` is a topic prefix of its own on
whichever it runs on. The real one is started once for the session, or is the one that
`HOTLIST_TEST_KAFKA=host:port` names. Where there is neither, its tests are skipped and say
why, except with `HOTLIST_REQUIRE_KAFKA=1`: then they fail.

With `HOTLIST_TEST_BROKERS=3` the real one is a cluster of three brokers, on which every topic has
three replicas. A test that asks for `real_cluster` runs on a cluster in any case, and may end its
brokers; all of them run again at the test's end. So `worker/test_cluster.py` repeats the essential
tests of other files.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from engine.demo.embedded_broker import EmbeddedBroker
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from tests.fakes.certificates import Authority
from tests.kafka.broker import RealBroker
from tests.kafka.guarded import guarded_broker
from tests.kafka.node import BrokerFailedError
from tests.kafka.own_broker import OwnBroker
from tests.kafka.real_cluster import REPLICAS, RealCluster

#: As they were before a test took the settings out of its environment.
_GIVEN: Final = os.environ.get("HOTLIST_TEST_KAFKA")
_REQUIRED: Final = os.environ.get("HOTLIST_REQUIRE_KAFKA") == "1"
_BROKERS: Final = os.environ.get("HOTLIST_TEST_BROKERS", "1")
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


#: Files that count reads that are lost or matches that come twice: run once, whatever they find.
#: Not test_backpressure and test_outages, whose other tests set short limits of time.
_RUN_ONCE: Final = (
    "delivery/test_exactly_once.py",
    "delivery/test_suppression.py",
    "torture/test_torture.py",
    "transport/test_positions.py",
    "transport/test_rebalances.py",
    "worker/test_cluster.py",
    "worker/test_main_job.py",
    "worker/test_mixed_versions.py",
    "worker/test_second_cluster.py",
    "worker/test_shutdown.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this directory `kafka`, and let most of them run again if they fail.

    Brokers and workers are processes of their own, so on a busy machine one run in some thousands
    fails for what neither did wrong. The second run decides, and the report names the test.
    """
    here = Path(__file__).parent
    once = {here / name for name in _RUN_ONCE}
    if gone := [str(path) for path in once if not path.exists()]:
        raise pytest.UsageError(f"_RUN_ONCE names what does not exist: {', '.join(gone)}")
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kafka)
            if item.path not in once:
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def real_kafka(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a real Kafka; of each of its brokers, if it is a cluster."""
    if _GIVEN:
        yield _GIVEN
    elif replicas() == REPLICAS:
        cluster: RealCluster = request.getfixturevalue("shared_cluster")
        yield cluster.bootstrap
    else:
        broker = RealBroker(properties=_EAGER, light=True)
        with _started(broker, "no real Kafka", "HOTLIST_TEST_KAFKA=host:port uses one that runs"):
            yield broker.bootstrap


def replicas() -> int:
    """How many replicas a topic has on the real Kafka."""
    if _BROKERS not in ("1", str(REPLICAS)):
        pytest.fail(f"HOTLIST_TEST_BROKERS={_BROKERS}: 1 or {REPLICAS} is possible", pytrace=False)
    return int(_BROKERS)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[RealCluster]:
    """A cluster of three brokers for the session, on which `real_kafka` is; see `real_cluster`."""
    cluster = RealCluster(_EAGER)
    with _started(cluster, "no cluster"):
        yield cluster


@pytest.fixture(scope="module")
def module_cluster(request: pytest.FixtureRequest) -> Iterator[RealCluster]:
    """The cluster of the session, if it has one; or one for the tests of a file.

    Four JVMs that have nothing to do take a seventh of a processor: they end with the file.
    """
    if replicas() == REPLICAS:
        yield request.getfixturevalue("shared_cluster")
        return
    cluster = RealCluster(_EAGER)
    with _started(cluster, "no cluster"):
        yield cluster


@pytest.fixture
def real_cluster(module_cluster: RealCluster) -> Iterator[RealCluster]:
    """A cluster of three brokers, which run and are in sync when the test begins and after it."""
    yield module_cluster
    module_cluster.restore()


@pytest.fixture(scope="session")
def own_broker() -> Iterator[OwnBroker]:
    """A real Kafka that may be stopped and cut off, and that runs again at a test's end."""
    own = OwnBroker()
    with _started(own.broker, "no broker that may be stopped"):
        yield own


@contextmanager
def _started(kafka: RealBroker | RealCluster, without: str, hint: str = "") -> Iterator[None]:
    """Start it, and end it; where that is not possible, skip the test or fail it."""
    reason = RealBroker.unavailable_reason()
    if reason is None:
        try:
            kafka.start()
        except BrokerFailedError as error:
            reason = str(error)
            kafka.close()
    if reason is not None:
        why = "; ".join(filter(None, (f"{without}: {reason}", hint)))
        if _REQUIRED:
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    try:
        yield
    finally:
        kafka.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of the guarded broker and of those who may come to it."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def guarded(authority: Authority) -> Iterator[RealBroker]:
    """A real Kafka with users, rights and TLS."""
    broker = guarded_broker(authority)
    with _started(broker, "no broker of our own"):
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
    replication = replicas()
    if "real_cluster" in names:
        cluster: RealCluster = request.getfixturevalue("real_cluster")
        real, replication = cluster.bootstrap, REPLICAS
    elif "broker" in names:
        chosen: Broker = request.getfixturevalue("broker")
        real = chosen.bootstrap if chosen.is_real else None
    elif "real_kafka" in names:
        real = request.getfixturevalue("real_kafka")
    if real is not None:
        declared = Cluster(real, Topics(unique))
        asyncio.run(create_topics(declared, partitions=4, replication=replication))
    return unique
