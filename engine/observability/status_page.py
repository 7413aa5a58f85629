"""The status page: a worker's state in plain words, as one HTML document and as JSON.

`status_page.html` holds the page, with placeholders for texts, tables and curves. `in_page` gives
their values for a state. The page is served with these values, and its script replaces them with
new ones, which it gets from `/status.json`. So one piece of code formats the numbers, and the page
says the same with and without scripts.

The page needs nothing from elsewhere, and its Content-Security-Policy allows it nothing but its own
style, its own script and `/status.json`. Every text is escaped when it is inserted.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

import orjson

from engine import limits
from engine.clock import EPOCH, duration, format_time
from engine.observability.outcome_counts import Outcomes, next_step
from engine.observability.status import Status
from engine.resources import SHIPPED

_PLACE = re.compile(r"\{\{([a-z0-9-]+)\}\}")
_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)
#: The curve's own units: its width and height.
_CURVE: Final = (600, 100)


@dataclass(frozen=True, slots=True)
class Shown:
    """The values of the page for a state.

    `state` is `ready`, `stuck` or `waiting`. `texts` and `tables` (rows of cells) are by their
    placeholder, `curve` has the points of the throughput's curve, as in SVG.
    """

    state: str
    texts: dict[str, str]
    tables: dict[str, list[list[str]]]
    curve: str


def in_page(status: Status) -> Shown:
    """Return a state in plain words."""
    throughput, delay, lists = status.throughput, status.delay, status.lists
    behind = sum(status.lag.values())
    texts = {
        "state": _state(status),
        "next": _next(status),
        "as-of": format_time(status.at_ms)[11:19],
        "group": status.group,
        "rate": _or_dash(_rough, throughput.reads_a_minute),
        "curve": _curve_in_words(status),
        "curve-from": _ago(len(throughput.history) * throughput.stretch_s),
        "reads": _count(throughput.reads),
        "matches": _plural(delay.matches, "match", "matches") + " in the last minute",
        **{
            f"delay-{name}": _delay(value, delay.most_s)
            for name, value in (("50", delay.p50_s), ("95", delay.p95_s), ("99", delay.p99_s))
        },
        "behind": _count(behind),
        "lag-none": "" if status.lag else "No partition is read here yet.",
        "lag-more": _left_out(status),
        "active": _count(lists.active),
        "scheduled": _count(lists.scheduled),
        "refused": _count(lists.refused),
        "policies": _count(lists.policies),
        "newest-entry": _age(lists.newest_s.get("entry")),
        "newest-policy": _age(lists.newest_s.get("policy")),
        "change-delay": _or_dash(duration, lists.change_p99_s),
        "audit-pending": _count(status.audit_pending),
        "audit-checkpoints": _checkpoints(status),
        "suppression-keys": _count(status.suppression_keys),
        "delivery": status.delivery.replace("_", " "),
        "outcomes-none": "" if status.matches or status.denied else "None since the start.",
        "rejects-none": "" if status.rejects else "None since the start.",
        "faults-none": _no_faults(status),
        "uptime": duration(status.uptime_s),
    }
    worst = sorted(status.lag.items(), key=lambda each: (-each[1], each[0]))
    named = sorted(worst[: limits.STATUS_PARTITIONS])
    tables = {
        "stuck": [
            *([str(each.partition), each.why, duration(each.for_s)] for each in status.stuck),
            *(
                [f"{each.topic}/{each.partition}", each.why, duration(each.for_s)]
                for each in status.held
            ),
        ],
        "lag": [[str(partition), _count(reads)] for partition, reads in named],
        "rejects": [
            [why.replace("_", " "), _count(count)]
            for why, count in sorted(status.rejects.items(), key=lambda each: (-each[1], each[0]))
        ],
        "outcomes": [
            [f"{kind} {name.replace('_', ' ')}", _count(total), _count(last_hour)]
            for kind, counts in (("match:", status.matches), ("denied:", status.denied))
            for name, (total, last_hour) in counts.items()
        ],
        "faults": [
            [
                fault.text
                if fault.logger.startswith("engine")
                else f"{fault.logger}: {fault.text}",
                fault.level,
                _moment(fault.last_ms),
                _count(fault.count),
            ]
            for fault in status.faults or ()
        ],
        "topics": [[what, name] for what, name in status.topics.items()],
        "versions": [[name, version] for name, version in status.versions.items()],
    }
    state = "waiting" if not status.ready else "stuck" if status.stuck else "ready"
    return Shown(state, texts, tables, _curve(throughput.history))


def _next(status: Status) -> str:
    """Return what a newcomer must do next; empty while the worker takes no reads."""
    if not status.ready:
        return ""
    totals = (
        {name: total for name, (total, _) in counts.items()}
        for counts in (status.matches, status.denied)
    )
    lists = status.lists
    return next_step(lists.policies, lists.active, status.throughput.reads, Outcomes(*totals))


def _checkpoints(status: Status) -> str:
    if status.audit_checkpoints:
        return "signed"
    return "not signed: no one can find out that its end was removed (--checkpoint-key)"


class Page:
    """The page, read once. Raises OSError if the package lacks it."""

    def __init__(self) -> None:
        self._html = (SHIPPED / "status_page.html").read_text("utf-8")

    @cached_property
    def policy(self) -> str:
        """Its Content-Security-Policy."""
        inline = {
            kind: "'sha256-"
            + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            + "'"
            for kind, text in _INLINE.findall(self._html)
        }
        return (
            f"default-src 'none'; style-src {inline['style']}; script-src {inline['script']}; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )

    def rendered(self, status: Status) -> bytes:
        """Return the page with a state in it."""
        now = in_page(status)
        given = {
            "page-state": now.state,
            "curve-points": now.curve,
            **now.texts,
        }
        places = {name: html.escape(text) for name, text in given.items()}
        places.update({f"{name}-rows": _rows(rows) for name, rows in now.tables.items()})
        return _PLACE.sub(lambda place: places[place[1]], self._html).encode()


def status_json(status: Status) -> bytes:
    """Return the state as JSON: the fields of `Status`, and `shown` with those of `Shown`."""
    document = orjson.Fragment(orjson.dumps(status, option=orjson.OPT_NON_STR_KEYS))
    return orjson.dumps({"status": document, "shown": in_page(status)})


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in others)
        + "</tr>"
        for first, *others in rows
    )


def _state(status: Status) -> str:
    if not status.ready:
        return f"Not ready: {status.not_ready_because}"
    if status.stuck:
        verb = "is" if len(status.stuck) == 1 else "are"
        return f"Ready, but {_plural(len(status.stuck), 'partition')} {verb} stuck"
    return "Ready"


def _curve(rates: Sequence[float]) -> str:
    """Return the points of a curve over the whole width, from zero at the bottom to the maximum."""
    if len(rates) < 2:
        return ""
    width, height = _CURVE
    highest = max(*rates, 1.0)
    step = width / (len(rates) - 1)
    return " ".join(
        f"{number * step:.1f},{height * (1 - rate / highest):.1f}"
        for number, rate in enumerate(rates)
    )


def _curve_in_words(status: Status) -> str:
    rates = status.throughput.history
    if len(rates) < 2:
        return "The curve begins after half a minute."
    for_s = len(rates) * status.throughput.stretch_s
    return f"Between {_rough(min(rates))} and {_rough(max(rates))} in {duration(for_s)}"


def _left_out(status: Status) -> str:
    left = len(status.lag) - limits.STATUS_PARTITIONS
    return f"And {_plural(left, 'partition')} with fewer reads waiting." if left > 0 else ""


def _no_faults(status: Status) -> str:
    if status.faults is None:
        return "This process does not keep them."
    return "" if status.faults else "None since the start."


def _moment(at_ms: int) -> str:
    """Format a time such as `22 Nov 16:03`, in UTC."""
    return f"{EPOCH + timedelta(milliseconds=at_ms):%-d %b %H:%M}"


def _or_dash(write: Callable[[float], str], value: float | None) -> str:
    return "–" if value is None else write(value)


def _count(count: float) -> str:
    return f"{count:,.0f}"


def _rough(count: float) -> str:
    """Format about three digits, such as `82.9 million`."""
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if count >= size:
            return f"{count / size:.1f}{name}"
    return _count(count)


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{_count(count)} {one if count == 1 else many or one + 's'}"


def _delay(value_s: float | None, most_s: float) -> str:
    if value_s is None:
        return "–"
    return f"over {duration(most_s)}" if value_s >= most_s else duration(value_s)


def _age(age_s: float | None) -> str:
    return "none yet" if age_s is None else f"{duration(age_s)} ago"


def _ago(seconds: float) -> str:
    return f"{duration(seconds)} ago"
