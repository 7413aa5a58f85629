"""A worker that a fault strikes at a certain step of one of its transactions.

Run as `python -m tests.kafka.faulty_worker FAULT STEP NUMBER worker ...`: at a step of the
transaction of that number, of all that this process makes, the process is killed (`KILL`) or
stopped (`STOP`). The steps: `sent`, when the broker has everything and nobody has said that it
counts; `committing`, when that is said and the answer has not come; `committed`, when it has come.
With number 0 nothing happens.

Its fetches are short, so that there are many transactions, and its session in the group too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from itertools import count
from typing import Any

from aiokafka import AIOKafkaProducer

from engine import limits
from engine.cli import main

_ON_ITS_WAY_S = 0.003


def _strike_at(fault: signal.Signals, step: str, number: int) -> None:
    commit = AIOKafkaProducer.commit_transaction
    numbers = count(1)

    async def commit_transaction(self: Any) -> None:
        is_it = next(numbers) == number
        if is_it and step == "sent":
            os.kill(os.getpid(), fault)
        committing = asyncio.ensure_future(commit(self))
        if is_it and step == "committing":
            await asyncio.wait({committing}, timeout=_ON_ITS_WAY_S)
            os.kill(os.getpid(), fault)
        await committing
        if is_it and step == "committed":
            os.kill(os.getpid(), fault)

    AIOKafkaProducer.commit_transaction = commit_transaction


if __name__ == "__main__":
    fault, step, number, *arguments = sys.argv[1:]
    vars(limits).update(FETCH_PARTITION_BYTES=32 * limits.KIB, SESSION_S=6.0, HEARTBEAT_S=1.5)
    _strike_at(signal.Signals[f"SIG{fault}"], step, int(number))
    main(arguments)
