"""Signed checkpoints of a worker's own chains, as one file that follows them.

A checkpoint reveals that a chain was truncated or rewritten since. A worker with the operator's key
writes one every CHECKPOINT_S while its chains grow, and when they have ended. A key or a directory
that cannot be used ends the worker when it starts. Each checkpoint replaces the one before of the
same process: it holds a later record of each chain, so nothing is lost. The files of earlier
processes stay. A checkpoint holds only records that the broker has acknowledged.

The directory must be out of reach of those who can write to the brokers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine import limits, resources
from engine.audit.chain_state import Head
from engine.audit.checkpoints import CheckpointError, private_key, sign
from engine.clock import Clock, format_time
from engine.config import Settings
from engine.errors import ConfigError

log = logging.getLogger(__name__)

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]")


class CheckpointWriter:
    """See the module. `is_failing` if the last checkpoint could not be written."""

    def __init__(
        self, key: Ed25519PrivateKey, path: Path, topic: str, clock: Clock, heads: Heads
    ) -> None:
        self.is_failing = False
        self.path: Final = path
        self._key = key
        self._topic = topic
        self._clock = clock
        self._heads = heads
        self._written: Sequence[Head] = ()

    @staticmethod
    def of(settings: Settings, topic: str, clock: Clock, heads: Heads) -> CheckpointWriter | None:
        """Return the writer that the settings ask for; None without a key. Raises ConfigError if
        the key or the directory cannot be used."""
        if settings.checkpoint_key is None:
            return None
        key = _load(settings.checkpoint_key)
        directory = settings.checkpoint_dir
        try:
            directory.mkdir(parents=True, exist_ok=True)
            writable = os.access(directory, os.W_OK | os.X_OK)
        except OSError as error:
            raise _unusable(directory, error.strerror or "no directory") from error
        if not writable:
            raise _unusable(directory, "it is not writable")
        began = format_time(clock.now_ms()).replace(":", "-")
        name = f"{_NOT_IN_NAMES.sub('_', settings.group)}-{began}-{os.getpid()}.json"
        return CheckpointWriter(key, directory / name, topic, clock, heads)

    async def run(self) -> None:
        """Write a checkpoint again and again while the chains grow, until cancelled."""
        while True:
            await asyncio.sleep(limits.CHECKPOINT_S)
            await self.write()

    async def write(self) -> None:
        """Write a checkpoint if there is something new. A failure is logged, and shown as long as
        it lasts: the worker goes on, and tries again.

        If it is cancelled, it ends when its thread has: a second thread would write to the same
        file. (The threads of anyio and trio are waited for in the same way.)
        """
        heads = self._heads()
        if not heads or heads == self._written:
            return
        content = sign(self._key, self._topic, heads, self._clock.now_ms(), partial=True)
        replacing = asyncio.ensure_future(asyncio.to_thread(_replace, self.path, content))
        try:
            try:
                await asyncio.shield(replacing)
            finally:
                await asyncio.wait({replacing})
        except OSError as error:
            why = error.strerror or type(error).__name__
            if not self.is_failing:
                log.warning("the audit's checkpoint cannot be written to %s: %s", self.path, why)
            self.is_failing = True
            return
        if self.is_failing:
            log.info("the audit's checkpoint is written again")
        self.is_failing, self._written = False, heads


#: The last acknowledged record of each chain.
Heads = Callable[[], Sequence[Head]]


def _load(path: Path) -> Ed25519PrivateKey:
    data, where = resources.read(str(path), path)
    try:
        return private_key(data, where)
    except CheckpointError as error:
        raise ConfigError(error.what, where=str(path), hint=error.hint) from error


def _unusable(directory: Path, why: str) -> ConfigError:
    return ConfigError(
        f"checkpoints cannot be written there: {why}",
        where=str(directory),
        hint="set --checkpoint-dir (HOTLIST_CHECKPOINT_DIR)",
    )


def _replace(path: Path, content: bytes) -> None:
    """Replace a file so that a crash leaves the old or the new one."""
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
