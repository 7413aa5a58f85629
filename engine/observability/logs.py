"""The worker's log: where lines go, how many there may be, and at which level.

Everything that the process logs, its libraries' lines too, becomes lines of
`engine.observability.log_format` on standard error. Of lines of one kind so many are written in a
minute and the rest is counted, and told when the minute is over. What went wrong since the start is
kept by kind, for the status page.

The level can be changed while the worker runs: SIGUSR1 makes it one step more talkative, SIGUSR2
one step quieter. It is the engine's level. Of the libraries only errors are logged, at `debug`
their information too, and never what they say at debug level: that is the records themselves.

It may not write what `engine.observability.log_format` does not show, nor raise where a line cannot
be written.
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
from engine.observability.log_format import Form, as_json, console, kind
from engine.observability.log_sampling import Allowance, Fault, Faults, Kind

#: The forms of a line, by what the setting calls them.
FORMS: Final[dict[str, Form]] = {"console": console, "json": as_json}
#: The levels, from quiet to talkative.
LEVELS: Final = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
#: Libraries that have much to say; all others are heard from `warning` on.
_TALKATIVE: Final = ("aiokafka", "faust", "mode")

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
        #: Lines below this level are not written, but counted where they are faults.
        self.threshold = logging.INFO
        self._form = form
        self._context = context
        self._stream = stream
        self._allowance = allowance or Allowance()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, if it may be; called with the handler's lock."""
        try:
            which = Kind(record.name, record.levelno, kind(record))
            if record.levelno >= logging.WARNING:
                self._faults.note(which, int(record.created * 1000))
            if record.levelno < self.threshold:
                return
            self._tell(self._allowance.ended())
            if self._allowance.admits(which):
                self._write(record)
        except Exception:  # noqa: BLE001 - no line may end the work
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing: logging's own would print the values, and there is nowhere to tell it."""

    def faults_now(self) -> list[Fault]:
        """The faults so far, the latest first."""
        self.acquire()
        try:
            return self._faults.latest()
        finally:
            self.release()

    def announce(self, text: str) -> None:
        """Write a line whatever the level is."""
        self._locked(lambda: self._write(_line(Kind(__name__, logging.INFO, text))))

    def tell(self, *, now: bool = False) -> None:
        """Write how many lines were held back, of those kinds whose minute is over, or of all."""
        self._locked(lambda: self._tell(self._allowance.ended(now=now)))

    def close(self) -> None:
        """Tell what was held back, and be done."""
        self.tell(now=True)
        super().close()

    def _locked(self, write: Callable[[], None]) -> None:
        self.acquire()
        try:
            with contextlib.suppress(OSError, ValueError):  # a stream that is closed
                write()
        finally:
            self.release()

    def _tell(self, held: list[tuple[Kind, int]]) -> None:
        for which, count in held:
            self._write(_line(which._replace(text=f"{count} more like this: {which.text}")))

    def _write(self, record: logging.LogRecord) -> None:
        self._stream.write(f"{self._form(record, self._context)}\n")
        self._stream.flush()


def _line(which: Kind) -> logging.LogRecord:
    """A record of our own that says just this."""
    return logging.LogRecord(which.logger, which.level, "", 0, "%s", (which.text,), None)


class Log:
    """The process's log, between `begin` and `end`.

    `form` and `level` are as the settings name them, `context` is what every JSON line carries.
    """

    def __init__(
        self, form: str, level: str, context: Mapping[str, str], stream: TextIO | None = None
    ) -> None:
        self._handler = LogHandler(FORMS[form], context, stream or sys.stderr)
        self._level = level
        self._give_back = contextlib.ExitStack()

    @property
    def level(self) -> str:
        """One of LEVELS."""
        return self._level

    def faults(self) -> list[Fault]:
        """What went wrong so far, the latest first."""
        return self._handler.faults_now()

    def begin(self) -> None:
        """Take over what the process logs, and what it would print of an exception nobody saw."""
        root = logging.getLogger()
        named = (
            logging.getLogger(name) for name in ("engine", "engine.transport.consumer", *_TALKATIVE)
        )
        for logger in (root, *named):
            self._give_back.callback(logger.setLevel, logger.level)
        for place, name, hook in (
            (threading, "excepthook", _log_thread_end),
            (sys, "unraisablehook", _log_unraisable),
        ):
            self._give_back.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, hook)
        root.addHandler(self._handler)
        root.setLevel(logging.WARNING)
        self._apply()

    def end(self) -> None:
        """Give it back; what was held back is told."""
        logging.getLogger().removeHandler(self._handler)
        self._give_back.close()
        self._handler.close()

    def more(self) -> None:
        """One step more talkative."""
        self._step(1)

    def less(self) -> None:
        """One step quieter."""
        self._step(-1)

    def obey_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on SIGUSR1 is `more` and SIGUSR2 is `less`: in the loop, never amid a line."""
        loop.add_signal_handler(signal.SIGUSR1, self.more)
        loop.add_signal_handler(signal.SIGUSR2, self.less)

    async def tell_in_time(self) -> None:
        """Tell what is held back soon after its minute, though nothing else is logged."""
        while True:
            await asyncio.sleep(limits.LOG_TELL_S)
            self._handler.tell()

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
        # Faust's services log in the name of the module that extends them.
        logging.getLogger("engine.transport.consumer").setLevel(logging.WARNING)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(
                logging.INFO if chosen <= logging.DEBUG else logging.ERROR
            )


def ignore_signals() -> None:
    """Let SIGUSR1 and SIGUSR2 do nothing until they are obeyed: else they would end the process."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _log_thread_end(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        log.error("a thread has failed: %s", ended.exc_value, exc_info=ended.exc_value)


def _log_unraisable(told: sys.UnraisableHookArgs) -> None:
    log.error("a failure that nobody can take: %s", told.exc_value, exc_info=told.exc_value)
