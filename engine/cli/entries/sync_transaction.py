"""The transaction of a sync: for how long it may be open, and that no other sync of its list is.

A transaction that the brokers abort, or that another sync ends, leaves the list as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from engine import limits
from engine.cli.output import remark
from engine.clock import duration
from engine.config import Settings
from engine.errors import HotlistError
from engine.kafka import transaction_time
from engine.kafka.cluster import Cluster
from engine.kafka.readable import sync_id
from engine.kafka.session import FencedError
from engine.kafka.writer import Outbox, outbox
from engine.list_files.difference import Difference

#: What to do if the brokers do not let a transaction be open for long enough.
_TOO_LONG: Final = (
    "if it takes longer, run hotlist entries import with the file first, which needs no "
    "transaction, and then the sync, which sends only what is left"
)


class SyncError(HotlistError):
    """A sync that would do something else than intended."""


async def longest_s(settings: Settings, found: Difference) -> float:
    """Return how long the transaction of a difference may stay open; remark on a long one."""
    count = found.count
    needed_s = transaction_time.needed_s(count)
    if needed_s == limits.TRANSACTION_S:
        return needed_s
    allowed_s = await transaction_time.allowed_s(Cluster.of(settings))
    if allowed_s < needed_s:
        remark(
            f"warning: {count:,} changes may need a transaction of {duration(needed_s)}, and the "
            f"brokers allow {duration(allowed_s)} ({transaction_time.SETTING}); {_TOO_LONG}"
        )
        return allowed_s
    remark(
        f"{count:,} changes are sent in one transaction: until it ends, no later change of any "
        "list has an effect"
    )
    return needed_s


@contextlib.asynccontextmanager
async def alone(
    settings: Settings, topic: str, list_id: str, open_s: float
) -> AsyncIterator[Outbox]:
    """Open an outbox that only one sync of the list has at a time, for a transaction that may stay
    open so long."""
    try:
        async with outbox(
            settings, topic, transactional_id=sync_id(topic, list_id), transaction_s=open_s
        ) as box:
            yield box
    except FencedError:
        too_long = f"; {_TOO_LONG}" if open_s > limits.TRANSACTION_S else ""
        raise SyncError(
            f"another sync of list {list_id} began meanwhile, or this one took over "
            f"{duration(open_s)}",
            where=topic,
            hint=f"none of this sync's changes count{too_long}",
        ) from None
