"""A Kafka broker inside this process, for the demo and for quick tests.

librdkafka contains a small broker that listens on a TCP port of this machine and
speaks Kafka's protocol, so that the same worker runs on it unchanged. It keeps everything in
memory and loses it at the end.

Its limits: it creates topics itself when they are first requested (four partitions each) and
rejects CreateTopics; it does not compact, knows no topic settings and drops the oldest records of
a partition beyond about 5 MB; it does not isolate transactions; a group on it has one member at a
time, so it serves one worker. No promise relies on it: promises are tested against a real Kafka.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, Final, Self

from engine.errors import BrokerError

_START_TIMEOUT_S = 10.0
#: How long its consumers let it delay the answer to an idle fetch. It always waits so long, even if
#: a record comes meanwhile, which a real broker would send at once.
FETCH_WAIT_MS: Final = 2


class EmbeddedBroker:
    """A context manager; inside it, `bootstrap` is the address (`host:port`) of the broker.

    Raises BrokerError on entry if confluent-kafka is not installed or the broker does not
    start.
    """

    def __init__(self) -> None:
        self._cluster: Any = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """The address of the broker; BrokerError if it is not running."""
        if not self._bootstrap:
            raise BrokerError("the embedded broker is not running")
        return self._bootstrap

    def __enter__(self) -> Self:
        try:
            confluent_kafka = importlib.import_module("confluent_kafka")
        except ImportError as error:
            raise BrokerError(
                "the embedded broker needs the package confluent-kafka",
                hint="run: pip install 'hotlist-engine[embedded]', or use a Kafka with --bootstrap",
            ) from error
        try:
            # A client that is configured to mock a cluster starts one and owns it. At level
            # "notice" it would log that, in the middle of the demo's output.
            self._cluster = confluent_kafka.Producer(
                {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 3}
            )
            metadata = self._cluster.list_topics(timeout=_START_TIMEOUT_S)
        except confluent_kafka.KafkaException as error:
            self._cluster = None
            raise BrokerError(f"the embedded broker did not start: {error}") from error
        broker = next(iter(metadata.brokers.values()))
        self._bootstrap = f"{broker.host}:{broker.port}"
        return self

    def make_topics(self, names: Iterable[str]) -> None:
        """Create topics by requesting each."""
        for name in names:
            self._cluster.list_topics(name, timeout=_START_TIMEOUT_S)

    def __exit__(self, *_: object) -> None:
        # The broker lives as long as the client that owns it.
        self._bootstrap = ""
        self._cluster = None
