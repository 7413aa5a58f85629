"""Consume matches and send each to a webhook once: a start for an alerting service.

    python alert.py --webhook https://dispatch.example/matches [--bootstrap localhost:9092]

A match may arrive more than once: a repeat after a crash has the same `match_id`. So the program
keeps the sent ids, and nothing else, in a small SQLite file for as long as the topic keeps matches.
It commits an offset after it has sent the match. The request carries the id (`ce-id`), by which the
receiver can recognise the one repeat that remains possible: after a crash between sending a match
and recording its id. If the receiver refuses or is unavailable, the program retries at growing
intervals. It keeps the order, so the matches that wait are the group's lag.

A match is a lead. The message includes what a person must compare (`verification.checks`); show it
to the person who acts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sqlite3
import sys
import time

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

KEPT_S = 31 * 86_400
LONGEST_PAUSE_S = 60.0
#: Answers that a retry cannot change; after any other error the program retries.
_FOR_GOOD = frozenset({400, 404, 405, 410, 413, 415, 422})


class Sent:
    """The ids of matches that were sent."""

    def __init__(self, path: str) -> None:
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("CREATE TABLE IF NOT EXISTS sent (match_id TEXT PRIMARY KEY, at_s REAL)")
        self._file.execute("DELETE FROM sent WHERE at_s < ?", (time.time() - KEPT_S,))

    def __contains__(self, match_id: str) -> bool:
        found = self._file.execute("SELECT 1 FROM sent WHERE match_id = ?", (match_id,))
        return found.fetchone() is not None

    def add(self, match_id: str) -> None:
        self._file.execute("INSERT OR REPLACE INTO sent VALUES (?, ?)", (match_id, time.time()))


async def send(client: aiohttp.ClientSession, webhook: str, match_id: str, match: bytes) -> None:
    """Return when the receiver has accepted the match, or will never accept it."""
    headers = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": match_id,
        "ce-source": "/hotlist-engine",
        "ce-type": "lpr.match.v1",
    }
    pause_s = 0.5
    while True:
        try:
            async with client.post(webhook, data=match, headers=headers) as answer:
                if answer.ok:
                    return
                why = f"status {answer.status}"
                if answer.status in _FOR_GOOD:
                    print(f"match {match_id} was refused for good: {why}", file=sys.stderr)
                    return
        except (aiohttp.ClientError, TimeoutError) as error:
            why = type(error).__name__
        print(f"match {match_id} waits: {why}", file=sys.stderr)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def run(options: argparse.Namespace) -> None:
    sent = Sent(options.sent)
    consumer = AIOKafkaConsumer(
        options.topic,
        bootstrap_servers=options.bootstrap,
        group_id=options.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    timeout = aiohttp.ClientTimeout(total=30)
    async with consumer, aiohttp.ClientSession(timeout=timeout) as client:
        async for record in consumer:
            match_id = json.loads(record.value)["match_id"]
            if match_id not in sent:
                await send(client, options.webhook, match_id, record.value)
                sent.add(match_id)
            partition = TopicPartition(record.topic, record.partition)
            # If the partition is being revoked, its next owner may send this match again.
            with contextlib.suppress(CommitFailedError, IllegalStateError):
                await consumer.commit({partition: record.offset + 1})


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--webhook", required=True)
    parser.add_argument("--bootstrap", default="localhost:9092")
    parser.add_argument("--topic", default="lpr.matches.v1")
    parser.add_argument("--group", default="lpr.alerting")
    parser.add_argument("--sent", default="sent.sqlite", help="where the ids of sent matches are")
    running = asyncio.ensure_future(run(parser.parse_args()))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(main())
