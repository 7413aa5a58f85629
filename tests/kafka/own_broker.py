"""A broker that a test may stop, and cut off."""

from __future__ import annotations

from tests.kafka.broker import RealBroker
from tests.kafka.node import free_ports


class OwnBroker:
    """A broker that a test may stop, with two listeners: straight, and through a proxy."""

    def __init__(self) -> None:
        straight, through, self.proxy_port, controller = free_ports(4)
        self.behind_proxy = f"127.0.0.1:{self.proxy_port}"
        self.proxy_target = through
        self.straight = f"127.0.0.1:{straight}"
        self.broker = RealBroker(
            port=straight,
            light=True,
            properties={
                "listeners": f"PLAINTEXT://{self.straight},PROXIED://127.0.0.1:{through},"
                f"CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://{self.straight},"
                f"PROXIED://{self.behind_proxy}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,"
                "CONTROLLER:PLAINTEXT",
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "log.cleaner.backoff.ms": "200",
            },
        )
