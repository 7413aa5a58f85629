"""Asks workers at their HTTP ports what they do: take reads, sign the audit, have the time."""

from __future__ import annotations

import contextlib
import email.utils
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import aiohttp

from engine import limits
from engine.cli.doctor.findings import Finding, judge_checkpoints, judge_clocks

#: More than any worker shows.
_METRICS_BYTES: Final = 16 * limits.MIB


async def ask_workers(workers: Sequence[str]) -> AsyncGenerator[Finding, None]:
    """Yield what the workers at these URLs report: whether they take reads, sign the audit, and
    have the right time."""
    timeout = aiohttp.ClientTimeout(total=limits.HTTP_CONNECTION_S)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        for url in workers:
            try:
                async with client.get(f"{url.rstrip('/')}/readyz") as answer:
                    said = (await answer.content.read(500)).decode("utf-8", "replace").strip()
                    date = answer.headers.get("Date")
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                what = f"worker {url} does not answer ({type(error).__name__})"
                yield Finding(
                    "workers", "problem", what, "check that it runs and that this is its port"
                )
                continue
            if answer.status == 200:
                yield Finding("workers", "ok", f"worker {url} takes reads")
            else:
                what = f"worker {url} takes no reads: {said}"
                yield Finding("workers", "problem", what, "see its log, and deploy/RUNBOOK.md")
            async with client.get(f"{url.rstrip('/')}/metrics") as answer:
                unsigned = judge_checkpoints(url, await answer.content.read(_METRICS_BYTES))
            if unsigned is not None:
                yield unsigned
            with contextlib.suppress(TypeError, ValueError):
                at_s = email.utils.parsedate_to_datetime(str(date)).timestamp()
                skew = judge_clocks(f"worker {url}", at_s - time.time())
                if skew is not None:
                    yield skew
