"""`hotlist` that tells all it can: every log line at debug level, and with an error its traceback
with the variables of each frame.

Run as `python -m tests.kafka.talkative COMMAND ...`.
"""

from __future__ import annotations

import logging
import sys
import traceback

from engine import cli

_report = cli._report


def _with_traceback(line: str, status: int) -> int:
    error = sys.exc_info()[1]
    assert error is not None
    found = traceback.TracebackException.from_exception(error, capture_locals=True)
    sys.stderr.write("".join(found.format()))
    return _report(line, status)


def _at_debug_level() -> None:
    """Let no later word about levels make any logger silent."""
    logging.basicConfig(level=logging.DEBUG)
    logging.Logger.setLevel = lambda self, level: None  # type: ignore[method-assign]
    for name in ("aiokafka", "faust", "mode", "engine", "asyncio"):
        logging.getLogger(name).level = logging.DEBUG


if __name__ == "__main__":
    _at_debug_level()
    cli._report = _with_traceback
    cli.main()
