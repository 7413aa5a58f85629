"""`engine.observability.logs`: which lines are written, of us and of the libraries, and how the
level changes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.observability.log_sampling import Allowance
from engine.observability.logs import FORMS, LEVELS, Log, LogHandler, ignore_signals
from engine.transport.consumer import Consumer
from engine.transport.consumer_thread import ConsumerThread

_SECRET = "QZX7HCR107"
_CONTEXT: Mapping[str, str] = {"group": "g", "worker": "host:1"}
_LIBRARIES = ("aiokafka", "aiokafka.conn", "aiokafka.producer.producer", "faust", "mode")
ours = logging.getLogger("engine.some")


@contextmanager
def logging_to(
    level: str = "info", form: str = "console", allowance: Allowance | None = None
) -> Iterator[tuple[Log, io.StringIO]]:
    stream = io.StringIO()
    log = Log(form, level, _CONTEXT, stream, allowance)
    log.begin()
    try:
        yield log, stream
    finally:
        log.end()


def said(stream: io.StringIO) -> list[str]:
    """The lines so far, without their times."""
    return [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]


# Levels.


@pytest.mark.parametrize("level", LEVELS)
def test_lines_from_the_level_on_are_written(level: str) -> None:
    with logging_to(level) as (log, stream):
        for number in LEVELS.values():
            ours.log(number, "so")
        wanted = [name for name, number in LEVELS.items() if number >= LEVELS[level]]
        assert said(stream) == [f"{name:<7} so" for name in wanted]
        # And faults are counted all the same.
        assert [fault.level for fault in log.faults()] == ["warning", "error"]


@given(st.lists(st.booleans(), max_size=12), st.sampled_from(list(LEVELS)))
def test_the_level_goes_step_by_step_and_says_so(steps: list[bool], level: str) -> None:
    names = list(LEVELS)
    at = names.index(level)
    with logging_to(level) as (log, stream):
        for up in steps:
            (log.more if up else log.less)()
            at = min(max(at + (1 if up else -1), 0), len(names) - 1)
            assert log.level == names[at]
            assert said(stream)[-1] == f"info    the log level is now {names[at]}"
            assert ours.isEnabledFor(logging.INFO) == (at >= names.index("info"))
        assert log.faults() == []


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", _LIBRARIES)
def test_what_libraries_say_at_debug_level_is_never_logged(level: str, name: str) -> None:
    """aiokafka's requests, responses and records are told at debug level."""
    with logging_to(level) as (log, stream):
        for _ in range(8):
            log.more()
            library = logging.getLogger(name)
            assert not library.isEnabledFor(logging.DEBUG)
            library.debug("Sending (key=%s value=%s)", b"k", _SECRET)
        assert "Sending" not in stream.getvalue()
        assert library.isEnabledFor(logging.INFO)


def test_of_libraries_errors_are_logged_and_more_only_at_debug() -> None:
    with logging_to("info") as (log, stream):
        for name in ("aiokafka.client", "faust.app", "mode.services"):
            logging.getLogger(name).warning("warned")
            logging.getLogger(name).error("failed")
        logging.getLogger("asyncio").warning("slow")
        logging.getLogger("asyncio").info("quick")
        assert said(stream) == [
            "error   aiokafka.client: failed",
            "error   faust.app: failed",
            "error   mode.services: failed",
            "warning asyncio: slow",
        ]
        log.more()
        logging.getLogger("aiokafka.client").info("joined")
        assert said(stream)[-1] == "info    aiokafka.client: joined"


def test_faust_services_that_log_in_our_name_are_held_back_too() -> None:
    with logging_to("debug") as (_, stream):
        for service in (Consumer, ConsumerThread):
            service.logger.info("[^-Consumer]: Starting...")
            service.logger.warning("ours")
        assert said(stream) == ["warning ours", "warning ours"]


def test_it_gives_back_what_it_took() -> None:
    before = [
        (logging.getLogger(name).level, list(logging.getLogger(name).handlers))
        for name in ("", "engine", "aiokafka", "faust", "mode")
    ]
    hooks = threading.excepthook, sys.unraisablehook
    with logging_to("debug"):
        assert (threading.excepthook, sys.unraisablehook) != hooks
    assert before == [
        (logging.getLogger(name).level, list(logging.getLogger(name).handlers))
        for name in ("", "engine", "aiokafka", "faust", "mode")
    ]
    assert (threading.excepthook, sys.unraisablehook) == hooks


# How many.


class Handled:
    """A handler with a clock that is set."""

    def __init__(self, form: str = "console") -> None:
        self.now_s = 0.0
        self.stream = io.StringIO()
        self.handler = LogHandler(
            FORMS[form], _CONTEXT, self.stream, Allowance(now_s=lambda: self.now_s)
        )

    def log(self, msg: str, *args: object, level: int = logging.WARNING) -> None:
        self.handler.handle(logging.LogRecord("engine.x", level, "", 0, msg, args, None))


def test_of_a_kind_so_many_are_written_and_the_rest_is_told() -> None:
    handled = Handled()
    for number in range(limits.LOG_LINES + 7):
        handled.log("failed at %d", number)
        handled.log("also %d", number % 2) if number < 2 else None
    written = said(handled.stream)
    assert written.count("warning failed at 9") == 1
    assert "warning failed at 10" not in written
    assert written.count("warning also 1") == 1  # another kind

    handled.handler.report_held()
    assert len(said(handled.stream)) == len(written)  # the minute is not over
    handled.now_s = limits.LOG_WINDOW_S
    handled.handler.report_held()
    assert said(handled.stream)[len(written) :] == ["warning 7 more like this: failed at …"]
    handled.log("failed at %d", 99)
    assert said(handled.stream)[-1] == "warning failed at 99"
    [fault, _] = handled.handler.faults_now()
    assert (fault.text, fault.count) == ("failed at …", limits.LOG_LINES + 8)


def test_what_is_held_back_is_told_by_the_next_line_of_any_kind_and_at_the_end() -> None:
    handled = Handled("json")
    for _ in range(limits.LOG_LINES + 1):
        handled.log("a")
    handled.now_s = limits.LOG_WINDOW_S + 1
    handled.log("b")
    for _ in range(limits.LOG_LINES + 1):
        handled.log("b")
    handled.handler.close()
    lines = [orjson.loads(line) for line in handled.stream.getvalue().splitlines()]
    texts = [line["message"] for line in lines]
    assert texts == [
        *["a"] * limits.LOG_LINES,
        "1 more like this: a",
        *["b"] * limits.LOG_LINES,
        "2 more like this: b",
    ]
    assert all(line["group"] == "g" and line["worker"] == "host:1" for line in lines)


def test_a_flood_costs_a_bounded_number_of_lines() -> None:
    handled = Handled()
    for number in range(20_000):
        handled.log(f"kind {number % 5000}")
    assert len(said(handled.stream)) <= (limits.LOG_KINDS + 1) * limits.LOG_LINES


async def test_it_is_told_in_time_though_nothing_else_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LOG_TELL_S", 0.01)
    now_s = 0.0
    with logging_to(allowance=Allowance(now_s=lambda: now_s)) as (log, stream):
        for _ in range(limits.LOG_LINES + 3):
            ours.warning("a")
        now_s = limits.LOG_WINDOW_S
        telling = asyncio.create_task(log.tell_in_time())
        while "3 more like this: a" not in stream.getvalue():
            await asyncio.sleep(0.01)
        telling.cancel()


# What else the process would print.


def test_a_line_that_cannot_be_written_stops_nothing_and_shows_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with logging_to() as (log, stream):
        stream.close()
        ours.warning("%s", _SECRET)
        log.more()
    assert capfd.readouterr() == ("", "")


def test_a_thread_that_fails_is_logged_without_what_its_exception_says(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise KeyError(_SECRET)

    with logging_to(form="json") as (_, stream):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    line = orjson.loads(stream.getvalue())
    assert line["message"] == "a thread has failed: KeyError"
    assert line["errors"][0]["trace"][-1].endswith(" in fail")
    assert _SECRET not in stream.getvalue()
    assert capfd.readouterr() == ("", "")


def test_a_failure_that_nobody_can_take_is_logged_too(capfd: pytest.CaptureFixture[str]) -> None:
    class Failing:
        def __del__(self) -> None:
            raise KeyError(_SECRET)

    with logging_to() as (_, stream):
        Failing()
        gc.collect()
    assert "an exception that could not be raised: KeyError" in stream.getvalue()
    assert _SECRET not in stream.getvalue()
    assert capfd.readouterr() == ("", "")


async def test_what_asyncio_says_of_a_lost_exception_holds_no_value() -> None:
    async def fail(plate: str) -> None:
        raise KeyError(plate)

    with logging_to() as (_, stream):
        task = asyncio.create_task(fail(_SECRET), name=_SECRET)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait({task})
        del task
        gc.collect()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.set_result(_SECRET)
        loop.call_exception_handler({"message": "lost", "future": future, "plate": _SECRET})
    assert "asyncio: Task exception was never retrieved …" in stream.getvalue()
    assert "asyncio: lost …" in stream.getvalue()
    assert _SECRET not in stream.getvalue()


# Signals.


async def test_signals_change_the_level() -> None:
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)
    try:
        ignore_signals()
        os.kill(os.getpid(), signal.SIGUSR1)  # which would have ended the process
        with logging_to() as (log, _):
            log.obey_signals(loop)
            for number, level in (
                (signal.SIGUSR1, "debug"),
                (signal.SIGUSR2, "info"),
                (signal.SIGUSR2, "warning"),
            ):
                os.kill(os.getpid(), number)
                while log.level != level:
                    await asyncio.sleep(0)
            loop.remove_signal_handler(signal.SIGUSR1)
            loop.remove_signal_handler(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGUSR2, before[1])
