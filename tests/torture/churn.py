"""Control topics that change all the while, and reads of what changes.

Some entries are edited one by one: added, changed, made to match look-alikes or not, removed, and
overwritten by ones that the rules refuse. Others are changed together, in one transaction, each
to the same version. Some transactions are aborted, and some are left open until their producer is
fenced off: of these nothing may ever match. A source's policy allows and denies in turn. A few
entries suppress, and are corrected now and then: another plate, agency or purpose, never one that
it has had before together with the other two, so that what it lists is always something new.

What is changed is a matter of the seed, when exactly is not. Each record carries the number of its
change in a header, by which the evidence knows when it was sent.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.records import ToSend, partition_of
from tests.models.naive import GROUPS

Document = dict[str, Any]

#: The source whose policy stays, and the one whose policy does not.
STEADY: Final = "torture-steady"
#: Another source with a steady policy: its cameras and read ids have the same names as STEADY's.
NEIGHBOUR: Final = "torture-neighbour"
SHIFTING: Final = "torture-shifting"
#: The sources that reads of what changes come from.
_SOURCES: Final = (STEADY, NEIGHBOUR, SHIFTING)
#: What reads state, some nothing.
CONFIDENCES: Final = (None, 0.01, 0.1, 0.5, 0.95)
#: Reads of what changes begin with this; those of entries that change together with the other.
CHURN: Final = "churn-"
PAIR: Final = "pair-"
#: Reads of vehicles that are read again and again; of those whose entries are corrected.
FOLDING: Final = "folding-"
CORRECTED: Final = "corrected-"
#: Reads that meet what changes.
CHANGING: Final = (CHURN, PAIR, CORRECTED)
#: By entry, the plates that it lists in turn.
CORRECTED_PLATES: Final = {
    f"CORRECTED-{entry}": tuple(f"MOVES{entry:02}{plate:03}" for plate in range(3))
    for entry in range(10)
}
#: The header that holds the number of the change.
CHANGE_HEADER: Final = "change"

_EDITED = 160
_TOGETHER = 10
_SUPPRESS_S = 20
#: A correction changes one of these, in turn.
_CORRECTIONS = ("plate", "agency", "purpose")
#: One single change in so many is a correction: each entry about once a minute.
_CORRECTION_SHARE = 1 / 16
#: Letters that nobody takes for anything else: they tell the plates apart, digits are misread.
_LETTER_COUNT = 6
_LETTERS = "ACEFHJKMNPRUVWXY"


class Change(NamedTuple):
    """What is sent at once: records of the hot list and of the policies, by `how`: `plain`, or
    in a transaction that is `commit`ted, `abort`ed or `leave`d open."""

    how: str
    entries: tuple[tuple[str, Document | None], ...]
    policies: tuple[tuple[str, Document | None], ...] = ()


class Churn:
    """Changes and reads without end. Plates have ten characters, so that no entry of seven can
    be like them."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"{seed} churn")
        self._reads_chance = random.Random(f"{seed} churn reads")
        chance = self._chance
        words: set[str] = set()
        while len(words) < _EDITED + _TOGETHER:
            words.add("".join(chance.choices(_LETTERS, k=_LETTER_COUNT)))
        ordered = [f"{word}{chance.randrange(10_000):04d}" for word in sorted(words)]
        self._edited = {f"EDIT-{plate}": plate for plate in ordered[:_EDITED]}
        self._together = {f"SYNC-{plate}": plate for plate in ordered[_EDITED:]}
        self._entry_of = {
            key.partition("-")[2][:_LETTER_COUNT]: key for key in [*self._edited, *self._together]
        }
        self._corrected = {
            key: {"plate": plates[0], "agency": "AG0001", "purpose": "stolen_vehicle"}
            for key, plates in CORRECTED_PLATES.items()
        }
        self._corrections = 0
        self._read_count = 0

    @property
    def plates(self) -> list[str]:
        """Every plate that an entry of these may list."""
        return [*self._edited.values(), *self._together.values()]

    def entry_of(self, plate: str) -> str:
        """The id of the entry that a plate is about, misread or not."""
        return self._entry_of[plate[:_LETTER_COUNT]]

    def begin(self) -> list[Change]:
        """What stands on the lists before the first read."""
        policies = tuple(
            (source, a_policy(source=source)) for source in (STEADY, NEIGHBOUR, SHIFTING)
        )
        edited = tuple((key, self._entry(key, plate)) for key, plate in self._edited.items())
        corrected = tuple((key, self._as_corrected(key)) for key in self._corrected)
        return [
            Change("plain", (*edited[::2], *corrected), policies),
            self._all_together("commit"),
        ]

    def single(self) -> Change:
        """An entry or a policy changes."""
        chance = self._chance
        if chance.random() < 0.1:
            return Change("plain", (), ((SHIFTING, self._policy()),))
        if chance.random() < _CORRECTION_SHARE:
            return Change("plain", (self.correct(),))
        return Change("plain", (self._edit(),))

    def correct(self) -> tuple[str, Document | None]:
        """Correct the next of the entries that are corrected."""
        count, self._corrections = self._corrections, self._corrections + 1
        which, entry = divmod(count, len(self._corrected))
        key = list(self._corrected)[entry]
        listed = self._corrected[key]
        what = _CORRECTIONS[(which + entry) % len(_CORRECTIONS)]
        if what == "agency":
            listed[what] = f"AG{count:06}"
        elif what == "purpose":
            of_two = {"stolen_vehicle": "wanted_person", "wanted_person": "stolen_vehicle"}
            listed[what] = of_two[listed[what]]
        else:
            plates = CORRECTED_PLATES[key]
            listed[what] = plates[(plates.index(listed[what]) + 1) % len(plates)]
        return key, self._as_corrected(key)

    def _as_corrected(self, key: str) -> Document:
        listed = self._corrected[key]
        return an_entry(entry_id=key, list_id="torture", suppress_s=_SUPPRESS_S, **listed)

    def transaction(self) -> Change:
        """Many entries change at once, or would have."""
        how = self._chance.choice(("commit", "commit", "commit", "abort", "leave"))
        if how == "commit":
            return self._all_together(how)
        edits = tuple(self._edit() for _ in range(5))
        return Change(how, (*edits, *self._all_together(how).entries))

    def reads(self, count: int, partitions: int = 4) -> dict[int, list[ToSend]]:
        """So many reads of what changes, and a pair of such as change together, in front; for so
        many partitions."""
        made: dict[int, list[ToSend]] = {}
        chance = self._reads_chance
        first, second = chance.sample(sorted(self._together.values()), 2)
        partition = partition_of(first.encode(), partitions)
        name = f"{PAIR}{self._next()}"
        made[partition] = [
            _read(f"{name}-a", first, STEADY),
            _read(f"{name}-b", second, STEADY),
        ]
        plates = self.plates
        for _ in range(count):
            plate = chance.choice(plates)
            if chance.random() < 0.3:
                plate = _look_alike(chance, plate)
            # Some reads of two sources have one read id.
            sources = chance.sample(_SOURCES, 2 if chance.random() < 0.2 else 1)
            read_id = f"{CHURN}{self._next()}"
            stated = chance.choice(CONFIDENCES)
            made.setdefault(partition_of(plate.encode(), partitions), []).extend(
                _read(read_id, plate, source, stated) for source in sources
            )
        return made

    def _next(self) -> int:
        self._read_count += 1
        return self._read_count

    def _edit(self) -> tuple[str, Document | None]:
        chance = self._chance
        key, plate = chance.choice(list(self._edited.items()))
        what = chance.random()
        if what < 0.12:
            return key, None
        if what < 0.18:  # too few known characters: the rules refuse it, and nothing is left
            return key, self._entry(key, plate[:2] + "?" * 8)
        return key, self._entry(key, plate)

    def _all_together(self, how: str) -> Change:
        entries = ((key, self._entry(key, plate)) for key, plate in self._together.items())
        return Change(how, tuple(entries))

    def _entry(self, key: str, plate: str) -> Document:
        chance = self._chance
        alike = {"confusables": True} if chance.random() < 0.5 else {}
        corrected = {
            "priority": chance.randint(1, 5),
            "agency": chance.choice(("AG0001", "AG0002")),
            "purpose": chance.choice(("stolen_vehicle", "stolen_vehicle", "wanted_person")),
        }
        return an_entry(entry_id=key, list_id="torture", plate=plate, **corrected, **alike)

    def _policy(self) -> Document | None:
        kind = self._chance.choice(("all", "all", "none", "others", "gone"))
        if kind == "gone":
            return None
        rules = {
            "all": [{"agencies": "*", "purposes": ["stolen_vehicle"]}],
            "none": [],
            "others": [{"agencies": ["AG9999"], "purposes": "*"}],
        }[kind]
        return a_policy(source=SHIFTING, rules=rules)


def records(changes: tuple[tuple[str, Document | None], ...], number: int) -> Iterator[ToSend]:
    """Control records, with the number of their change."""
    headers = ((CHANGE_HEADER, str(number).encode()),)
    for key, document in changes:
        yield ToSend(key.encode(), None if document is None else orjson.dumps(document), headers)


def _read(read_id: str, plate: str, source: str, confidence: float | None = None) -> ToSend:
    stated = {} if confidence is None else {"confidence": confidence}
    read = a_read(read_id=read_id, plate=plate, source=source, **stated)
    return ToSend(plate.encode(), orjson.dumps(read))


def _look_alike(chance: random.Random, plate: str) -> str:
    """The plate with one digit misread, where it has one that is."""
    places = [at for at, char in enumerate(plate) if any(char in group for group in GROUPS)]
    if not places:
        return plate
    place = chance.choice(places)
    group = next(group for group in GROUPS if plate[place] in group)
    other = chance.choice([char for char in group if char != plate[place]])
    return plate[:place] + other + plate[place + 1 :]
