"""A request that any broker may answer goes to one that can be reached.

aiokafka picks a broker at random and fails if it is the one that has just been lost: a cluster
names that one for some seconds more.
"""

from __future__ import annotations

import contextlib
from typing import Any

from aiokafka.errors import NodeNotReadyError


async def send_to_any(client: Any, request: Any, node: int = -1) -> Any:
    """Return the response of a broker of `client` (an AIOKafkaClient): `node`, or -1 for any.

    A broker to which there is no connection has not received the request, so another one is asked.
    Raises NodeNotReadyError if no broker can be reached.
    """
    if node >= 0:
        return await client.send(node, request)
    first = client.get_random_node()
    try:
        return await client.send(first, request)
    except NodeNotReadyError:
        others = [each.nodeId for each in client.cluster.brokers() if each.nodeId != first]
        for other in others:
            with contextlib.suppress(NodeNotReadyError):
                return await client.send(other, request)
        raise


def ask_any(admin: Any) -> None:
    """Have an admin client send by `send_to_any` what it would send to a random broker."""

    async def send(request: Any, node_id: int | None = None) -> Any:
        return await send_to_any(admin._client, request, -1 if node_id is None else node_id)

    admin._send_request = send
