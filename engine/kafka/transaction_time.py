"""How long the transaction of a command may stay open: as long as its records need.

A producer sets that time when it starts. The brokers bound it (`transaction.max.timeout.ms`, 15
minutes unless they are set up otherwise), and abort a transaction that is open for longer.
"""

from __future__ import annotations

from typing import Final

from engine import limits
from engine.kafka.cluster import Cluster
from engine.kafka.topic_config import broker_setting, connected_admin

SETTING: Final = "transaction.max.timeout.ms"


def needed_s(records: int) -> float:
    """The time for so many records, on a machine and brokers much slower than those measured."""
    return max(limits.TRANSACTION_S, records / limits.TRANSACTION_RECORDS_A_S)


async def allowed_s(cluster: Cluster) -> float:
    """The time that the brokers allow; Kafka's default if this login may not see it.

    Raises BrokerError.
    """
    async with connected_admin(cluster) as admin:
        allowed_ms = await broker_setting(admin, SETTING)
    return limits.BROKERS_TRANSACTION_S if allowed_ms is None else int(allowed_ms) / 1000
