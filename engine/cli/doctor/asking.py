"""What the questions to the brokers share: a connection, and checks that fail as findings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

from aiokafka.errors import KafkaError

from engine import limits
from engine.cli.doctor.findings import Finding
from engine.config import Settings
from engine.errors import HotlistError
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import unreachable
from engine.kafka.security import security


@contextlib.asynccontextmanager
async def asking_admin(settings: Settings) -> AsyncIterator[Any]:
    """Connect aiokafka's admin client. Raises BrokerError if no broker answers."""
    admin = Cluster.of(settings).admin(client_id="hotlist-doctor")
    try:
        try:
            async with asyncio.timeout(limits.CONNECT_S):
                await admin.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise await unreachable(settings.bootstrap, security(settings)) from error
        yield admin
    finally:
        await admin.close()


async def safely(
    findings: AsyncGenerator[Finding, None], check: str = "checks"
) -> AsyncGenerator[Finding, None]:
    """Yield the findings of a check; the last one says why it failed, if it did."""
    try:
        async with contextlib.aclosing(findings), asyncio.timeout(limits.DOCTOR_CHECK_S):
            async for finding in findings:
                yield finding
    except HotlistError as error:
        yield Finding(check, "problem", str(error).removesuffix(f"; {error.hint}"), error.hint)
    except (KafkaError, TimeoutError, OSError) as error:
        what = f"a check failed ({type(error).__name__})"
        yield Finding(check, "problem", what, "check again when the cluster is in order")


@contextlib.contextmanager
def no_progress() -> Iterator[Callable[[int], None]]:
    """Show nothing of a topic that is read."""
    yield lambda _: None
