"""Open transactions that hold back records from the workers, and whose they are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator, Mapping

from engine import limits
from engine.cli.doctor.findings import Finding
from engine.clock import SystemClock
from engine.config import Settings
from engine.kafka.cluster import Cluster
from engine.observability.broker_view import BrokerView
from engine.observability.held_back import HeldBack, HeldBackWatch, TopicPart, watched_topics


async def transactions(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Yield what is held back from the first look to the second one. Raises what brokers raise."""
    cluster = Cluster.of(settings)
    view, watch = BrokerView(cluster), HeldBackWatch()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(view.close)
        existing = await view.partitions(watched_topics(cluster.topics))
        parts = [(topic, number) for topic, numbers in existing.items() for number in numbers]
        watch.look(time.monotonic(), await view.ends(parts), {})
        if watch.held:
            await asyncio.sleep(limits.DOCTOR_WATCH_S)
            ends = await view.ends(parts)
            asked = watch.in_question(ends)
            holders = await view.open_transactions(asked) if asked else {}
            watch.look(time.monotonic(), {part: ends[part] for part in asked}, holders)
    for finding in judge_transactions(watch.held, SystemClock().now_ms()):
        yield finding


def judge_transactions(held: Mapping[TopicPart, HeldBack], now_ms: int) -> Iterator[Finding]:
    """Judge the partitions that are held back. A transaction that is known to be open for longer
    than a partition may be stuck is a problem."""
    check = "transactions"
    for (topic, partition), each in sorted(held.items()):
        started_ms = [holder.started_ms for holder in each.holders if holder.started_ms is not None]
        is_old = bool(started_ms) and now_ms - min(started_ms) > 1000 * limits.STUCK_S
        tool = (
            "kafka-transactions.sh abort "
            f"--topic {topic} --partition {partition} --start-offset {each.offset}"
        )
        yield Finding(
            check,
            "problem" if is_old else "warning",
            f"{topic}/{partition}: {each.waits}: {each.why}",
            f"let its producer end it, or wait for its transaction.timeout.ms; or end it: {tool}",
        )
    if not held:
        yield Finding(check, "ok", "no open transaction holds records back")
