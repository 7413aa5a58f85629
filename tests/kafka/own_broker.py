"""A broker that a test may stop, and cut off."""

from __future__ import annotations

import socket

from tests.kafka.broker import RealBroker


class OwnBroker:
    """A broker that a test may stop, with two listeners: straight, and through a proxy."""

    def __init__(self) -> None:
        straight, through, self.proxy_port = _free_ports(3)
        self.behind_proxy = f"127.0.0.1:{self.proxy_port}"
        self.proxy_target = through
        self.straight = f"127.0.0.1:{straight}"
        controller = _free_ports(1)[0]
        self.broker = RealBroker(
            port=straight,
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


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
