"""Which faults, when, for how long and at whom: a pure function of the seed.

A schedule has rounds. In a round faults come one after the other, or, in a storm, several at a
time; after it comes a calm in which everything must drain and is checked. Times count from the
round's beginning. Whom a fault is for is drawn too, as a number: the campaign takes it modulo
those that there are, because which workers run is not known before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple


class Fault(NamedTuple):
    """A fault that begins `at_s` after its round and lasts `lasts_s`; `amount` is what the kind
    makes of it."""

    kind: str
    at_s: float
    lasts_s: float
    target: int
    amount: float

    @property
    def ends_s(self) -> float:
        return self.at_s + self.lasts_s


@dataclass(frozen=True, slots=True)
class Round:
    """Faults in the order of their beginning, and how long reads come meanwhile, in seconds."""

    name: str
    lasts_s: float
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: what it does, how often it comes beside the others, how long it lasts in
    seconds and what its amount is drawn from. Of an `exclusive` group one runs at a time, and the
    next one begins `busy_s` after its end: a broker's start. In the rounds without storms, what
    follows within `costs_s` of its end waits until then. It needs so many `brokers`, and this
    `delivery` if one is named."""

    does: str
    weight: float
    lasts_s: tuple[float, float]
    amount: Callable[[random.Random], float] = lambda chance: chance.random()
    exclusive: str = ""
    busy_s: float = 8.0
    costs_s: float = 3.0
    brokers: int = 1
    delivery: str = ""


def _kill_of_one(broker: str, *, delivery: str = "") -> Kind:
    """The kind for which one broker of three gets SIGKILL, because of what it is."""
    return Kind(
        f"{broker} gets SIGKILL",
        2,
        (0, 5),
        exclusive="broker",
        costs_s=10,
        brokers=3,
        delivery=delivery,
    )


def _bytes_a_second(chance: random.Random) -> float:
    return float(chance.choice((40_000, 100_000, 400_000)))


def _clock_step_s(chance: random.Random) -> float:
    # Less than the hour for which late reads are folded: a worker whose clock goes two hours ahead
    # forgets what it has folded, and a match more comes of it.
    step_s = chance.choice((5, 60, 600, 3000))
    return float(step_s * chance.choice((-1, 1)))


#: Longer than a session, by whatever it is: the campaign multiplies by it.
_SESSIONS = (1.2, 2.0)

#: The kind that has a round of its own: the campaign goes on at the copy behind it.
COPY: Final = "copy"

KINDS: Final[dict[str, Kind]] = {
    "kill": Kind("a worker gets SIGKILL and is restarted", 5, (0.2, 4), costs_s=8),
    "stop": Kind(
        "a worker gets SIGSTOP for longer than its session, then SIGCONT",
        3,
        _SESSIONS,
        costs_s=8,
    ),
    "remove": Kind("a worker gets SIGTERM and stays away for a while", 3, (3, 8), costs_s=6),
    "add": Kind("one more worker for a while", 3, (8, 20), costs_s=6),
    "clock": Kind("a worker's clock is stepped, and back", 5, (3, 10), _clock_step_s),
    "cut": Kind("a worker's connections are closed, new ones refused", 5, (0.1, 5)),
    "reset": Kind("a worker's connections are reset", 5, (0, 0)),
    "half_close": Kind("one direction of a worker's connections ends", 5, (0, 0)),
    "slow": Kind("a worker's connections are slow", 5, (3, 10), _bytes_a_second),
    "silent": Kind("a worker's connections transmit nothing", 5, (2, 14)),
    "broker_kill": Kind("a broker gets SIGKILL", 1, (0, 3), exclusive="broker", costs_s=10),
    "broker_restart": Kind("a broker gets SIGTERM", 1, (0, 3), exclusive="broker", costs_s=10),
    "broker_pause": Kind("a broker gets SIGSTOP, then SIGCONT", 2, (1, 9), exclusive="broker"),
    # Of the broker's own, because there is none to add them while it is away.
    "grow": Kind(
        "partitions are added to the reads",
        1,
        (0, 0),
        lambda chance: float(chance.randint(1, 3)),
        exclusive="broker",
        costs_s=30,
    ),
    "broker_full": Kind("a broker's disk is full", 1, (0, 3), exclusive="broker", costs_s=12),
    "leader_kill": _kill_of_one("the leader of a partition of the reads"),
    "coordinator_kill": _kill_of_one("the group's coordinator"),
    "transaction_coordinator_kill": _kill_of_one(
        "the coordinator of a partition's transactions", delivery="exactly_once"
    ),
    "two_kill": Kind(
        "two of three brokers get SIGKILL", 1, (5, 15), exclusive="broker", costs_s=15, brokers=3
    ),
    "rolling": Kind(
        "each broker in turn gets SIGTERM",
        1,
        (0, 1),
        exclusive="broker",
        busy_s=40,
        costs_s=40,
        brokers=3,
    ),
    "move": Kind(
        "a topic's leading replicas are deleted, and copied back",
        2,
        (0, 4),
        exclusive="broker",
        costs_s=10,
        brokers=3,
    ),
    "elect": Kind(
        "other replicas of a topic are elected to lead",
        2,
        (0, 0),
        exclusive="broker",
        brokers=3,
    ),
    COPY: Kind("all workers end, and go on at a copy of the topics", 1, (2, 6)),
}


def kinds_with(brokers: int, delivery: str) -> tuple[str, ...]:
    """The kinds of faults that there are with so many brokers and this delivery."""
    return tuple(
        kind
        for kind, of_kind in KINDS.items()
        if of_kind.brokers <= brokers and of_kind.delivery in ("", delivery)
    )


_ROUND_S = 60.0
#: From here on there is time for every kind alone.
_ALONE_FROM_S = 400.0
#: Faults of a storm come this often, on average, if nothing else is asked for.
EVERY_S: Final = 2.2
_BESIDE_LAST_S = 5.0
#: A copy follows the first storm, and then one in so many.
_STORMS_A_COPY: Final = 3
#: How long the workers run before a copy.
_BEFORE_COPY_S: Final = 3.0


def rounds(
    seed: int,
    seconds: float,
    kinds: Sequence[str] = tuple(KINDS),
    *,
    session_s: float = 6.0,
    every_s: float = EVERY_S,
) -> list[Round]:
    """The rounds of a campaign of about so many seconds, their calms not counted.

    Every kind comes at least once. A long campaign has each kind alone first, with time to
    recover, so that its own cost shows; all the rest are storms, with a fault every `every_s`, and
    copies between them.
    """
    chance = random.Random(seed)
    made: list[Round] = []
    left_s = seconds
    storming = [kind for kind in kinds if kind != COPY]
    first = storming.copy()
    chance.shuffle(first)
    if seconds >= _ALONE_FROM_S:
        made.append(_alone(chance, first, session_s))
        left_s -= made[0].lasts_s
        first = []
    storms = 0
    while left_s > 0:
        if storming:
            lasts_s = left_s if left_s < 1.5 * _ROUND_S else _ROUND_S
            count = max(len(first), round(lasts_s / every_s))
            drawn = _drawn(chance, storming, first, count)
            storm = _storm(chance, drawn, first, lasts_s, session_s)
            faults = sorted(storm, key=lambda fault: fault.at_s)
            # A disk that is full is noticed by who writes: reads come beside the last fault too.
            lasts_s = max(lasts_s, faults[-1].at_s + _BESIDE_LAST_S)
            made.append(Round(f"storm {len(made)}", lasts_s, tuple(faults)))
            left_s -= lasts_s
            first = []
        if COPY in kinds and storms % _STORMS_A_COPY == 0:
            fault = _fault(chance, COPY, _BEFORE_COPY_S, session_s)
            made.append(Round(f"copy {len(made)}", fault.ends_s, (fault,)))
            left_s -= fault.ends_s
        storms += 1
    return made


def _alone(chance: random.Random, kinds: Sequence[str], session_s: float) -> Round:
    """Each kind once, the next when it is over and what it costs has passed."""
    faults = []
    at_s = 3.0
    for kind in kinds:
        fault = _fault(chance, kind, at_s, session_s)
        faults.append(fault)
        at_s = fault.ends_s + KINDS[kind].costs_s + session_s
    return Round("one at a time", at_s, tuple(faults))


def _drawn(
    chance: random.Random, kinds: Sequence[str], first: Sequence[str], count: int
) -> list[str]:
    """So many kinds in any order, those of `first` among them."""
    weights = [KINDS[kind].weight for kind in kinds]
    drawn = [*first, *chance.choices(kinds, weights, k=count - len(first))]
    chance.shuffle(drawn)
    return drawn


def _storm(
    chance: random.Random,
    drawn: Sequence[str],
    first: Sequence[str],
    lasts_s: float,
    session_s: float,
) -> Iterator[Fault]:
    """Faults that overlap; those of `first` are among them, even if that takes longer."""
    busy_until_s: dict[str, float] = {}
    for number, kind in enumerate(drawn):
        at_s = lasts_s * (number + chance.random()) / len(drawn)
        exclusive = KINDS[kind].exclusive
        if exclusive and at_s < busy_until_s.get(exclusive, 0.0):
            if kind not in first:
                continue
            at_s = busy_until_s[exclusive]
        fault = _fault(chance, kind, at_s, session_s)
        if exclusive:
            busy_until_s[exclusive] = fault.ends_s + KINDS[kind].busy_s
        yield fault


def _fault(chance: random.Random, kind: str, at_s: float, session_s: float) -> Fault:
    of_kind = KINDS[kind]
    lasts_s = chance.uniform(*of_kind.lasts_s)
    if of_kind.lasts_s is _SESSIONS:
        lasts_s *= session_s
    amount = of_kind.amount(chance)
    return Fault(kind, round(at_s, 3), round(lasts_s, 3), chance.randrange(1 << 16), amount)
