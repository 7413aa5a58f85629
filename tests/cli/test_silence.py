"""`hotlist tail` says why no match comes: each reason by itself, and that it stays silent else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main, silence
from engine.cli.silence import Look, reasons
from engine.config import Settings
from engine.documents.codec import encode
from tests.fakes.documents import detection, entry, exact_match

#: All is in order, and reads come.
BEFORE = Look(
    entries=3,
    policies=1,
    reads=100,
    members=1,
    not_ready="",
    denied={"no_policy": 0},
    in_force=2,
    sources=1,
)
NOW = BEFORE._replace(reads=200)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NOW, "no listed plate was read; to check the whole deployment, run: hotlist doctor"),
        (
            NOW._replace(policies=0),
            "so nothing may match; run: hotlist policies set FILE",
        ),
        (NOW._replace(entries=0), "(lpr.hotlist.v1); run: hotlist entries import FILE"),
        (
            NOW._replace(in_force=0),
            "have expired or start later; run: hotlist entries show",
        ),
        (
            NOW._replace(sources=0),
            "no source has a policy any more (lpr.policies.v1), so nothing may match; run: ",
        ),
        (
            NOW._replace(members=0, not_ready=None),
            "worker runs in the group hotlist-engine; run: hotlist worker",
        ),
        (
            NOW._replace(members=0),
            "none is in the group hotlist-engine; run: hotlist tail --group NAME",
        ),
        (NOW._replace(not_ready="starting"), "the worker takes no reads: starting; "),
        (NOW._replace(reads=0), "no read has ever come (lpr.detections.v1); to send some, run: "),
        (
            NOW._replace(reads=100),
            "(lpr.detections.v1); for older matches, run: hotlist tail --from-start",
        ),
        (
            NOW._replace(denied={"no_policy": 2_000, "entry_vehicle": 0}),
            "has denied 2,000 reads of listed plates, because of no_policy; run: hotlist policies",
        ),
        (
            NOW._replace(denied={"not_allowed": 1}),
            "has denied 1 read of a listed plate, because of not_allowed; run: hotlist policies",
        ),
    ],
)
def test_each_reason_is_said_by_itself_with_what_to_run(now: Look, said: str) -> None:
    (reason,) = reasons(BEFORE, now, Settings(), from_start=False)
    assert said in reason


def test_older_matches_are_not_offered_to_those_who_asked_for_them() -> None:
    (reason,) = reasons(BEFORE, NOW._replace(reads=100), Settings(), from_start=True)
    assert reason == "no read came in the last 10 s (lpr.detections.v1)"


def test_what_is_not_known_is_no_reason() -> None:
    (reason,) = reasons(Look(), Look(), Settings(), from_start=False)
    assert reason.endswith("run: hotlist doctor")


def tailed(monkeypatch: pytest.MonkeyPatch, *flags: str, looks: list[Look], silent: bool) -> str:
    """What `tail` says about a topic with one match, which comes at once or after the silence."""
    explained = asyncio.Event()

    async def look(_: Settings) -> Look:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    async def explain(settings: Settings, *, from_start: bool, flags: str) -> None:
        with contextlib.closing(_Ended(explained)):
            await silence_explain(settings, from_start=from_start, flags=flags)

    async def follow(
        *_: object, caught_up: Callable[[], None], **__: object
    ) -> AsyncGenerator[bytes, None]:
        caught_up()
        if silent:
            await explained.wait()
        yield encode(exact_match(entry(), detection()))

    silence_explain = silence.explain_silence
    monkeypatch.setattr("engine.kafka.reader.follow", follow)
    monkeypatch.setattr(silence, "look", look)
    monkeypatch.setattr(silence, "explain_silence", explain)
    monkeypatch.setattr("engine.limits.TAIL_SILENCE_S", 0.0)
    result = CliRunner().invoke(main, ["tail", "--count", "1", *flags])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return result.stderr


class _Ended:
    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def close(self) -> None:
        self._event.set()


def test_tail_explains_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    said = tailed(monkeypatch, looks=[BEFORE, NOW._replace(members=0, not_ready=None)], silent=True)
    assert "no match for 0 s, and still waiting:\n  no worker runs in the group" in said


def test_what_is_proposed_goes_where_tail_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the flags of its command line; a variable holds for the next command as well."""
    file = tmp_path / "our settings.toml"
    file.write_text('group = "g"\n')
    monkeypatch.setenv("HOTLIST_SECURITY_PROTOCOL", "PLAINTEXT")
    flags = ("--bootstrap=kafka:9092", "--prefix=a.", f"--config={file}")
    now = NOW._replace(members=0, not_ready=None)
    said = tailed(monkeypatch, *flags, looks=[BEFORE, now], silent=True)
    (line,) = [line for line in said.splitlines() if "run: " in line]
    assert line.endswith(
        "no worker runs in the group g; run: hotlist worker --group g "
        f"--bootstrap kafka:9092 --prefix a. --config '{file}'"
    )


def test_a_match_in_time_needs_no_explanation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tailed(monkeypatch, looks=[BEFORE, NOW], silent=False) == ""
