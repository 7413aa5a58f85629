"""`engine.control.checkpoint_writer`: what is signed, where, and what cannot be."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from engine import limits
from engine.audit.chain_state import Head
from engine.audit.checkpoints import new_key_pair, open_checkpoint, public_key
from engine.config import Settings
from engine.control import checkpoint_writer
from engine.control.checkpoint_writer import CheckpointWriter
from engine.errors import ConfigError
from tests.fakes.documents import NOW_MS

PAIR = new_key_pair()
PUBLIC = public_key(PAIR.public, "key.pub")


class Clock:
    def now_ms(self) -> int:
        return NOW_MS


def writer(tmp_path: Path, heads: list[Head], directory: str = "c/d") -> CheckpointWriter:
    key = tmp_path / "key"
    key.write_bytes(PAIR.private)
    settings = Settings(group="a/b", checkpoint_key=key, checkpoint_dir=tmp_path / directory)
    made = CheckpointWriter.of(settings, "t", Clock(), lambda: list(heads))
    assert made is not None
    return made


def test_without_a_key_there_is_none() -> None:
    assert CheckpointWriter.of(Settings(), "t", Clock(), list) is None


async def test_one_file_follows_the_chains(tmp_path: Path) -> None:
    heads: list[Head] = []
    made = writer(tmp_path, heads)
    await made.write()
    assert list((tmp_path / "c/d").iterdir()) == [], "there is nothing to sign yet"
    heads.append(Head("a", 3, "a" * 64))
    await made.write()
    heads[:] = [Head("a", 5, "b" * 64), Head("b", 0, "c" * 64)]
    await made.write()
    (path,) = (tmp_path / "c/d").iterdir()
    assert path.name.startswith("a_b-")
    opened = open_checkpoint(path.read_bytes(), "c", PUBLIC)
    assert (opened.heads, opened.partial, opened.topic) == (heads, True, "t")
    before = path.stat().st_mtime_ns
    await made.write()
    assert path.stat().st_mtime_ns == before, "nothing is new"


async def test_a_failure_is_said_once_and_made_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = writer(tmp_path, [Head("a", 3, "a" * 64)])
    made.path.parent.rmdir()
    with caplog.at_level(logging.INFO):
        await made.write()
        await made.write()
        failing = made.is_failing
        made.path.parent.mkdir()
        await made.write()
    assert (failing, made.is_failing) == (True, False)
    assert made.path.exists()
    assert caplog.messages == [
        f"the audit's checkpoint cannot be written to {made.path}: No such file or directory",
        "the audit's checkpoint is written again",
    ]


async def test_the_last_checkpoint_waits_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelling does not stop a thread that writes to a slow disk. The next one would write to the
    same temporary file, and the first one could put its older records over it."""
    replace = checkpoint_writer._replace
    began, goes_on = threading.Event(), threading.Event()

    def slow(path: Path, content: bytes) -> None:
        began.set()
        assert goes_on.wait(60)
        replace(path, content)

    monkeypatch.setattr(checkpoint_writer, "_replace", slow)
    monkeypatch.setattr(limits, "CHECKPOINT_S", 0)
    heads = [Head("a", 3, "a" * 64)]
    made = writer(tmp_path, heads)
    running = asyncio.create_task(made.run())
    assert await asyncio.to_thread(began.wait, 60)
    heads[:] = [Head("a", 9, "b" * 64)]
    running.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    has_ended = running.done()
    goes_on.set()
    await asyncio.gather(running, return_exceptions=True)
    await made.write()
    assert not has_ended, "its thread still writes"
    assert list((tmp_path / "c/d").iterdir()) == [made.path]
    assert open_checkpoint(made.path.read_bytes(), "c", PUBLIC).heads == heads
    assert not made.is_failing


@pytest.mark.parametrize(
    ("key", "directory", "message"),
    [
        ("none", "c", "{0}/none: cannot be read: No such file or directory"),
        (
            "bad",
            "c",
            (
                "{0}/bad: holds no Ed25519 private key without a password (PEM); "
                "hotlist audit keygen makes one"
            ),
        ),
        (
            "key",
            "bad/c",
            (
                "{0}/bad/c: checkpoints cannot be written there: Not a directory; "
                "set --checkpoint-dir (HOTLIST_CHECKPOINT_DIR)"
            ),
        ),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, key: str, directory: str, message: str) -> None:
    (tmp_path / "key").write_bytes(PAIR.private)
    (tmp_path / "bad").write_bytes(PAIR.public)
    settings = Settings(checkpoint_key=tmp_path / key, checkpoint_dir=tmp_path / directory)
    with pytest.raises(ConfigError) as caught:
        CheckpointWriter.of(settings, "t", Clock(), list)
    assert str(caught.value) == message.format(tmp_path)
