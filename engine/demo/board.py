"""What the demo shows, as numbers and words, however it is drawn.

It holds only counts of reads. Plates come here only in matches, and only a few of these are kept
for a while. So a drawing of a board cannot show the plate of a read that matched nothing. Pure.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.documents.model import Check, Match
from engine.plates.normal_form import normalize

#: Matches kept to be shown, and points of the curve of reads a minute.
_LATEST: Final = 20
_POINTS: Final = 120
#: The delay that is shown is that of this many matches of paced reads.
_RECENT: Final = 500


class Lesson(NamedTuple):
    """Why a source's policy denies an entry: the command that explains it, the reason as it is
    counted, the question and the answer."""

    source: str
    command: str
    denial: str
    question: str
    found: str

    def describe(self, room: int | None = None) -> str:
        """Return the answer in one line, without the question if there is no `room` for it."""
        text = f"{self.denial}: {self.question}? no ({self.found})"
        short = f"{self.denial}: {self.found}"
        return text if room is None or len(text) <= room else short


class SourceLine(NamedTuple):
    """A source, its policy in words and the outcome of its reads; `denied` by reason."""

    name: str
    policy: str
    reads: int
    matches: int
    denied: dict[str, int]


@dataclass(slots=True)
class Board:
    """All that is shown. `sources` are names and policies in words, in the order shown."""

    sources: tuple[tuple[str, str], ...]
    lessons: tuple[Lesson, ...] = ()
    time: str = ""
    period: str = ""
    sent: Counter[str] = field(default_factory=Counter)
    processed: int = 0
    reads_a_minute: float = 0.0
    curve: deque[float] = field(default_factory=lambda: deque(maxlen=_POINTS))
    delays_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    #: For all matches of paced reads, how often each whole number of milliseconds occurred.
    all_delays_ms: Counter[int] = field(default_factory=Counter)
    #: The same for the matches of reads that were sent at full speed.
    full_delays_ms: Counter[int] = field(default_factory=Counter)
    #: The engine's share: by upper bound in seconds, how many matches took up to it.
    engine_delays_s: Counter[float] = field(default_factory=Counter)
    by_type: Counter[str] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    denied: Counter[tuple[str, str]] = field(default_factory=Counter)
    other_vehicle: int = 0
    suppressed: int = 0
    rejects: int = 0
    lost: int = 0
    invented: int = 0
    latest: deque[Match] = field(default_factory=lambda: deque(maxlen=_LATEST))
    _waiting: list[Match] = field(default_factory=list)
    _shown: Counter[str] = field(default_factory=Counter)

    @property
    def matches(self) -> int:
        """The number of matches received."""
        return sum(self.by_type.values())

    def saw(self, match: Match, delay_ms: float, *, paced: bool = True) -> None:
        """Count a received match, and its delay since its read was made. The delay of a read that
        was not `paced` is mostly its time in a queue, and is counted apart."""
        self.by_type[match.match_type] += 1
        self.by_source[match.read.source] += 1
        if paced:
            self.delays_ms.append(delay_ms)
        (self.all_delays_ms if paced else self.full_delays_ms)[round(delay_ms)] += 1
        self._waiting.append(match)

    def choose(self, most: int = 1) -> list[Match]:
        """Choose some of the matches since the last call, of the kinds that were shown least. The
        others are never shown."""
        chosen: list[Match] = []
        for _ in range(min(most, len(self._waiting))):
            found = min(reversed(self._waiting), key=self._times_shown)
            self._waiting.remove(found)
            self._shown.update((found.match_type, _kind(found)))
            chosen.append(found)
        self._waiting.clear()
        self.latest.extendleft(chosen)
        return chosen

    def _times_shown(self, match: Match) -> tuple[int, int]:
        return self._shown[match.match_type], self._shown[_kind(match)]

    def lines(self) -> list[SourceLine]:
        """Return the sources with their current counts."""
        return [
            SourceLine(
                name,
                policy,
                self.sent[name],
                self.by_source[name],
                {reason: count for (where, reason), count in self.denied.items() if where == name},
            )
            for name, policy in self.sources
        ]


def _kind(match: Match) -> str:
    return f"{match.match_type} {match.entry.purpose}"


def quantile_ms(delays_ms: Counter[int], share: float) -> int | None:
    """Return what this share of the delays did not exceed; None without any."""
    rank, below = share * delays_ms.total(), 0
    for delay_ms in sorted(delays_ms):
        below += delays_ms[delay_ms]
        if below >= rank:
            return delay_ms
    return None


#: Characters, and whether they differ from the opposite ones.
Marked = list[tuple[str, bool]]


def side_by_side(match: Match) -> tuple[Marked, Marked]:
    """Return the plate as read and as listed, character by character, each with whether it
    differs; `_` stands for a character that only the other plate has."""
    check = plate_check(match)
    read, listed = list(normalize(check.read or "")), list(check.listed or "")
    misread = check.misread
    if misread is not None and misread.kind == "missing":
        read.insert(misread.position, "_")
    elif misread is not None and misread.kind == "added":
        listed.insert(misread.position, "_")
    pairs = list(zip(read, listed, strict=True))
    differs = [other not in ("?", one) for one, other in pairs]
    return (
        [(one, differs[at]) for at, (one, _) in enumerate(pairs)],
        [(other, differs[at]) for at, (_, other) in enumerate(pairs)],
    )


def plate_check(match: Match) -> Check:
    """Return the match's check of the plate."""
    return next(check for check in match.verification.checks if check.check == "plate")


def in_brackets(marked: Marked) -> str:
    """Return a plate with brackets around the characters that differ: `7A[8]C123`."""
    return "".join(f"[{char}]" if differs else char for char, differs in marked)


def to_compare(match: Match, room: int | None = None) -> str:
    """Return what a person must compare before acting, with the engine's result, on one line;
    with the vehicle in words if there is `room` for so many characters."""
    for in_words in (True, False):
        parts = [_compared(check, in_words) for check in match.verification.checks]
        text = f"compare: {', '.join(parts)} old"
        if room is None or len(text) <= room:
            break
    return text


def _compared(check: Check, in_words: bool) -> str:
    if check.age_s is not None:
        return f"{check.check.removesuffix('_age')} {_age(check.age_s)}"
    if check.check == "vehicle" and check.listed and in_words:
        return f"vehicle {check.result} ({check.listed})"
    return f"{check.check} {check.result}"


def _age(age_s: int) -> str:
    if age_s < 120:
        return f"{age_s} s"
    if age_s < 7200:
        return f"{age_s // 60} min"
    return f"{age_s // 3600} h" if age_s < 172_800 else f"{age_s // 86_400} d"
