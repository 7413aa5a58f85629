"""All protocols of a group's member in one request to join.

aiokafka sends a request for each assignor, the first with one protocol, the next with two, and so
on (aio-libs/aiokafka 1168). Each of them joins the group: every rebalance would be several, and a
group whose members know other protocols refuses the first. Here only the last one is sent.

It relies on private parts of aiokafka; tests/kafka_package/test_group_protocols.py tests that they
are as expected.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.protocol.group import JoinGroupRequest


class _NotSent:
    """In place of the response to a request that is not sent; aiokafka goes on to the next."""

    error_code: Final = 0


def join_once(consumer: Any) -> None:
    """Make a started consumer join its group with one request, however many assignors it has."""
    coordinator = consumer._coordinator
    send = coordinator._send_req

    async def send_whole(request: Any) -> Any:
        if isinstance(request, JoinGroupRequest) and len(request._group_protocols) < len(
            coordinator._assignors
        ):
            return _NotSent
        return await send(request)

    coordinator._send_req = send_whole
