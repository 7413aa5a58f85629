"""The worker's log: where lines go, how many there may be, and at which level.

Everything that the process logs, including its libraries' lines, becomes lines of
`engine.observability.log_format` on standard error. Each kind may write a number of lines a
minute; the others are counted, and their number is logged when the minute is over. Faults since
the start are kept by kind, for the status page.

The level can be changed while the worker runs: SIGUSR1 makes the log one step more verbose, SIGUSR2
one step less. It is the engine's level. Libraries log errors only, and at `debug` their information
too. Their debug lines are never logged, because these contain the records themselves.

The log must not write what `engine.observability.log_format` does not show, and must not raise if
a line cannot be written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from engine import limits
from engine.errors import HotlistError
from engine.observability.log_format import Form, console, kind, log_json
from engine.observability.log_sampling import Allowance, Fault, Faults, Kind

#: The formats of a line, by their names in the settings.
FORMS: Final[dict[str, Form]] = {"console": console, "json": log_json}
#: The levels, from the least to the most verbose.
LEVELS: Final = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
#: Libraries that log a lot; the others are logged from `warning` on.
_VERBOSE: Final = ("aiokafka", "faust", "mode")
#: Our modules that subclass a service of Faust.
_FAUST_SERVICES: Final = ("engine.transport.consumer", "engine.transport.consumer_thread")

log = logging.getLogger(__name__)


class LogHandler(logging.Handler):
    """Writes lines to a stream; see the module."""

    def __init__(
        self,
        form: Form,
        context: Mapping[str, str],
        stream: TextIO,
        allowance: Allowance | None = None,
    ) -> None:
        super().__init__()
        self._faults = Faults()
        #: Lines below this level are not written, but counted if they are faults.
        self.threshold = logging.INFO
        self._form = form
        self._context = context
        self._stream = stream
        self._allowance = allowance or Allowance()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, if allowed; called with the handler's lock held."""
        try:
            which = Kind(record.name, record.levelno, kind(record))
            if record.levelno >= logging.WARNING:
                self._faults.note(which, int(record.created * 1000))
            if record.levelno < self.threshold:
                return
            self._write_held(self._allowance.ended())
            if self._allowance.admits(which):
                self._write(record)
        except Exception:  # noqa: BLE001 - no line may end the worker
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing: logging's own method would print the values, and this could log nowhere."""

    def faults_now(self) -> list[Fault]:
        """Return the faults so far, the latest first."""
        self.acquire()
        try:
            return self._faults.latest()
        finally:
            self.release()

    def announce(self, text: str) -> None:
        """Write a line whatever the level is."""
        self._locked(lambda: self._write(_line(Kind(__name__, logging.INFO, text))))

    def report_held(self, *, now: bool = False) -> None:
        """Log how many lines were held back, of the kinds whose minute is over, or of all."""
        self._locked(lambda: self._write_held(self._allowance.ended(now=now)))

    def close(self) -> None:
        """Log how many lines were held back, and close."""
        self.report_held(now=True)
        super().close()

    def _locked(self, write: Callable[[], None]) -> None:
        self.acquire()
        try:
            with contextlib.suppress(OSError, ValueError):  # a stream that is closed
                write()
        finally:
            self.release()

    def _write_held(self, held: list[tuple[Kind, int]]) -> None:
        for which, count in held:
            self._write(_line(which._replace(text=f"{count} more like this: {which.text}")))

    def _write(self, record: logging.LogRecord) -> None:
        self._stream.write(f"{self._form(record, self._context)}\n")
        self._stream.flush()


def _line(which: Kind) -> logging.LogRecord:
    """Make a record of our own with this text."""
    return logging.LogRecord(which.logger, which.level, "", 0, "%s", (which.text,), None)


class Log:
    """The process's log, between `begin` and `end`.

    `form` and `level` are named as in the settings; every JSON line has `context`. `allowance`
    bounds the lines of each kind.
    """

    def __init__(
        self,
        form: str,
        level: str,
        context: Mapping[str, str],
        stream: TextIO | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._handler = LogHandler(FORMS[form], context, stream or sys.stderr, allowance)
        self._level = level
        self._restore = contextlib.ExitStack()

    @property
    def level(self) -> str:
        """One of LEVELS."""
        return self._level

    def faults(self) -> list[Fault]:
        """Return the faults so far, the latest first."""
        return self._handler.faults_now()

    def begin(self) -> None:
        """Take over what the process logs, and exceptions that Python would otherwise print."""
        root = logging.getLogger()
        named = (logging.getLogger(name) for name in ("engine", *_FAUST_SERVICES, *_VERBOSE))
        for logger in (root, *named):
            self._restore.callback(logger.setLevel, logger.level)
        for place, name, hook in (
            (threading, "excepthook", _log_thread_end),
            (sys, "unraisablehook", _log_unraisable),
        ):
            self._restore.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, hook)
        root.addHandler(self._handler)
        root.setLevel(logging.WARNING)
        self._apply()

    def end(self) -> None:
        """Restore the previous log configuration, and log what was held back."""
        logging.getLogger().removeHandler(self._handler)
        self._restore.close()
        self._handler.close()

    def more(self) -> None:
        """Make the log one step more verbose."""
        self._step(1)

    def less(self) -> None:
        """Make the log one step less verbose."""
        self._step(-1)

    def obey_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let SIGUSR1 call `more` and SIGUSR2 `less`: in the loop, never inside of a line."""
        loop.add_signal_handler(signal.SIGUSR1, self.more)
        loop.add_signal_handler(signal.SIGUSR2, self.less)

    async def tell_in_time(self) -> None:
        """Log what is held back soon after its minute, even if nothing else is logged."""
        while True:
            await asyncio.sleep(limits.LOG_TELL_S)
            self._handler.report_held()

    def _step(self, by: int) -> None:
        names = list(LEVELS)
        self._level = names[min(max(names.index(self._level) + by, 0), len(names) - 1)]
        self._apply()
        self._handler.announce(f"the log level is now {self._level}")

    def _apply(self) -> None:
        chosen = LEVELS[self._level]
        self._handler.threshold = chosen
        # Faults are counted at every level.
        logging.getLogger("engine").setLevel(min(chosen, logging.WARNING))
        # Faust's services log under the name of the module that subclasses them.
        for name in _FAUST_SERVICES:
            logging.getLogger(name).setLevel(logging.WARNING)
        for name in _VERBOSE:
            logging.getLogger(name).setLevel(
                logging.INFO if chosen <= logging.DEBUG else logging.ERROR
            )


def ignore_signals() -> None:
    """Ignore SIGUSR1 and SIGUSR2 until they have handlers; they would end the process."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _log_thread_end(ended: threading.ExceptHookArgs) -> None:
    # One of our own errors ends the worker, which shows it.
    if ended.exc_value is not None and not isinstance(ended.exc_value, (SystemExit, HotlistError)):
        log.error("a thread has failed: %s", ended.exc_value, exc_info=ended.exc_value)


def _log_unraisable(failed: sys.UnraisableHookArgs) -> None:
    log.error(
        "an exception that could not be raised: %s", failed.exc_value, exc_info=failed.exc_value
    )
