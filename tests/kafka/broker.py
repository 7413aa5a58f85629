"""A real Kafka on this machine, without Docker, for the tests and for `make kafka`.

A JVM runs it as one KRaft node on 127.0.0.1 with its data in a temporary directory
(`tests.kafka.node`). `kill`, `stop` and `start` keep the port and the data, so that clients see an
outage and not another cluster. `tests.kafka.real_cluster` has several of them.

By hand: `python -m tests.kafka.broker --port 9092`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.kafka import jars, node
from tests.kafka.node import START_S, BrokerFailedError, KafkaNode, free_ports, is_free


class Member(NamedTuple):
    """A broker's place in a cluster whose controller is a process of its own."""

    number: int
    cluster_id: str
    voters: str


class RealBroker:
    """A Kafka broker in a JVM of its own; a context manager.

    `port` is the port to listen on (any free one by default), `properties` are further server
    properties. `listeners` are further listeners, each with its security protocol (`at` says
    where), and `scram` says which users may log in there with which SCRAM-SHA-256 password. It is
    its own controller, except as a `member` of a cluster. A `light` one starts in half the time and
    is slower later, for tests; a member is light. All methods block: from a coroutine, call them
    through `asyncio.to_thread`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        scram: Mapping[str, str] | None = None,
        member: Member | None = None,
        light: bool = False,
    ) -> None:
        further = dict(listeners or {})
        free, controller, *others = free_ports(2 + len(further))
        self._port = port or free
        self._ports = dict(zip(further, others, strict=True))
        open_to_clients = [
            f"PLAINTEXT://{self.bootstrap}",
            *(f"{name}://{self.at(name)}" for name in further),
        ]
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **further}
        own = {
            "listeners": ",".join([*open_to_clients, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(open_to_clients),
            "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        }
        if member is not None:
            own |= {
                "process.roles": "broker",
                "node.id": str(member.number),
                "listeners": ",".join(open_to_clients),
                "controller.quorum.voters": member.voters,
            }
        self._node = KafkaNode(
            {**own, **(properties or {})},
            cluster_id=node.new_id() if member is None else member.cluster_id,
            users=scram,
            light=light or member is not None,
        )

    @staticmethod
    def unavailable_reason() -> str | None:
        """Why no broker can be started here, in one line, or None when one can."""
        return node.unavailable_reason()

    @property
    def bootstrap(self) -> str:
        """Its address, `host:port`; the same through all restarts."""
        return f"127.0.0.1:{self._port}"

    def at(self, listener: str) -> str:
        """The address of one of the further listeners."""
        return f"127.0.0.1:{self._ports[listener]}"

    @property
    def pid(self) -> int:
        """The number of its process, while it runs."""
        return self._node.pid

    @property
    def running(self) -> bool:
        return self._node.running

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it, with the data it had, and return when it answers."""
        self.launch()
        self.wait_until_it_answers()

    def launch(self) -> None:
        """Start it, with the data it had, and return before it answers."""
        if not self.running and not is_free(self._port):
            raise BrokerFailedError(f"something else listens on port {self._port}")
        self._node.launch()

    def wait_until_it_answers(self) -> None:
        """Return when it does. Raises BrokerFailedError if it ends or does not in time."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            if not self.running:
                break
            try:
                if admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException:
                time.sleep(0.1)
        last = "\n".join(self.log().splitlines()[-20:])
        self.kill()
        raise BrokerFailedError(f"Kafka did not start on {self.bootstrap}:\n{last}")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._node.end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; its data stay until `close`."""
        self._node.end(signal.SIGTERM)

    def close(self) -> None:
        """End it if it runs and delete its data."""
        self._node.close()

    def log(self) -> str:
        """Its warnings and errors so far."""
        return self._node.log()


def main() -> int:
    """Run a broker in the foreground until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A real Kafka for development, without Docker.")
    parser.add_argument("--port", type=int, default=9092, help="port on 127.0.0.1 (%(default)s)")
    port: int = parser.parse_args().port
    reason = RealBroker.unavailable_reason()
    if reason is not None:
        print(f"cannot start Kafka: {reason}", file=sys.stderr)
        return 1
    if not jars.is_fetched():
        print("fetching Kafka, once ...", flush=True)
    over = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: over.set())
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        with RealBroker(port=port) as broker:
            print(
                f"Kafka listens on localhost:{port}; its data go when it ends (Ctrl-C)", flush=True
            )
            while broker.running and not over.wait(0.5):
                pass
            if not over.is_set():
                raise BrokerFailedError(f"Kafka ended by itself:\n{broker.log()[-4000:]}")
            broker.stop()
    except BrokerFailedError as error:
        print(f"cannot start Kafka: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
