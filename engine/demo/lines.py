"""The demo in plain lines, for pipes and logs, and its summary at the end. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from engine.demo.board import Board, in_brackets, quantile_ms, side_by_side, to_compare
from engine.demo.expected import Expected
from engine.demo.feed import FeedRates
from engine.documents.model import Match
from engine.observability.status import Buckets

_MATCHES_A_REPORT: Final = 2


def report_lines(board: Board, line: Callable[[Match], str]) -> Iterator[str]:
    """Yield the state of a board, and some of the matches since the last report."""
    for match in board.choose(_MATCHES_A_REPORT):
        yield f"  {line(match)}"
        read, listed = map(in_brackets, side_by_side(match))
        differs = f"{read} is listed {listed}; " if "[" in read else ""
        yield f"    {differs}{to_compare(match)}"
    yield (
        f"{board.time}, {board.period}: {board.processed:,} reads, "
        f"{board.reads_a_minute / 1e6:.2f} million a minute, {board.matches:,} matches, "
        f"{sum(board.denied.values()):,} denied by policies, {board.suppressed:,} suppressed"
    )


@dataclass(frozen=True, slots=True)
class Result:
    """The result of the demo: reads sent, and at which rates; what was expected, and the board at
    the end."""

    sent: int
    rates: FeedRates
    expected: Expected
    board: Board

    @property
    def is_right(self) -> bool:
        """Whether exactly the expected matches came, and every count is as expected."""
        board, expected = self.board, self.expected
        vehicles, policies = _apart(expected.denied)
        return (
            not any(expected.judged())
            and not board.rejects
            and board.processed == self.sent
            and board.suppressed == expected.suppressed
            and board.other_vehicle == vehicles
            and board.denied == policies
        )

    def lines(self) -> Iterator[str]:
        """Yield the summary."""
        board, expected = self.board, self.expected
        lost, invented = expected.judged()
        vehicles, policies = _apart(expected.denied)
        right = expected.matched - invented + lost
        rejects = "reject" if board.rejects == 1 else "rejects"
        yield ""
        yield f"reads      {board.processed:,} of {self.sent:,} sent, {board.rejects:,} {rejects}"
        yield (
            f"matches    {expected.matched:,} seen, {right:,} expected, "
            f"{lost:,} lost, {invented:,} invented"
        )
        if board.matches:
            kinds = (f"{kind} {count:,}" for kind, count in board.by_type.most_common())
            yield f"           {', '.join(kinds)}"
        suppressed = _of(board.suppressed, expected.suppressed)
        plural = "read" if suppressed == "1" else "reads"
        yield f"suppressed {suppressed} more {plural} at the same camera"
        yield f"denied     {_of(board.other_vehicle, vehicles)} of another vehicle than listed"
        for source, reason in sorted({*board.denied, *policies}):
            counts = _of(board.denied[source, reason], policies[source, reason])
            yield f"denied     {counts} on {source}: {reason}"
            for lesson in board.lessons:
                if lesson.source == source:
                    yield f"           {lesson.describe()}"
        yield from _rate_lines(self.rates)
        yield from _delay_lines(board)


def _apart(denied: Counter[tuple[str, str]]) -> tuple[int, Counter[tuple[str, str]]]:
    """Return the reads of other vehicles, and what policies denied, as a worker counts them."""
    policies = Counter({each: n for each, n in denied.items() if each[1] != "entry_vehicle"})
    return denied.total() - policies.total(), policies


def _of(found: int, right: int) -> str:
    return f"{found:,}" if found == right else f"{found:,} (expected: {right:,})"


def _rate_lines(rates: FeedRates) -> Iterator[str]:
    slow = "" if rates.paced > 0.9 * rates.asked else "; its clock asked for more"
    if rates.paced_s:
        yield f"rate       {_a_minute(rates.paced, rates.paced_s)} at the city's own rate{slow}"
    if rates.full_s:
        yield (
            f"           {_a_minute(rates.full, rates.full_s)} at full speed, "
            "as fast as the demo makes them"
        )


def _a_minute(reads: int, took_s: float) -> str:
    return f"{reads / took_s * 60 / 1e6:.2f} million reads a minute"


def _delay_lines(board: Board) -> Iterator[str]:
    if board.all_delays_ms:
        yield (
            f"delay      {_quantiles(board.all_delays_ms)} at the city's rate, "
            "from making a read to seeing its match"
        )
    if board.engine_delays_s:
        engine = Buckets(*zip(*sorted(board.engine_delays_s.items()), strict=True))
        median_ms, p99_ms = (_of_whole_ms(engine, board, share) for share in (0.5, 0.99))
        if median_ms is not None and p99_ms is not None:
            yield (
                f"           of it about {median_ms:.0f} ms median, {p99_ms:.0f} ms p99 "
                "in the engine, from the read in Kafka to its match in Kafka"
            )
    if board.full_delays_ms:
        yield f"           {_quantiles(board.full_delays_ms)} at full speed"


def _of_whole_ms(engine: Buckets, board: Board, share: float) -> float | None:
    """Return the engine's delay, which its buckets may put above the whole one."""
    part_s, whole_ms = engine.quantile_s(share), quantile_ms(board.all_delays_ms, share)
    if part_s is None or whole_ms is None:
        return None
    return min(1000 * part_s, whole_ms)


def _quantiles(delays_ms: Counter[int]) -> str:
    return f"{quantile_ms(delays_ms, 0.5)} ms median, {quantile_ms(delays_ms, 0.99)} ms p99"
