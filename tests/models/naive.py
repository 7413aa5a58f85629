"""What must match, by the plainest means: the rules as loops and regular expressions over dicts.

It shares no code with the engine and imports nothing of it, so that a mistake there is not
repeated here: everything that a rule can decide is decided here again, what narrows an entry in
`tests.models.naive_conditions`. Look-alikes and unknown characters are regular expressions, one
misread more is every edit tried in turn.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import xxhash

from tests.models.contract_plates import normal_form
from tests.models.contract_reads import captured_ms, kept
from tests.models.naive_conditions import covers, narrowed_out

Document = dict[str, Any]
#: An alternate's plate as it stands in the read, and its confidence.
Alternate = tuple[str, float | None]
#: Entry, what it lists and for whom, source, camera, and for a pattern the plate that matched it.
Repeats = tuple[str, str, str, str, str, str, str]


class Emitted(NamedTuple):
    """A match: its read's own time, how close it is, and how sure."""

    at_ms: int
    match_type: str
    confidence: float


#: How sure a match is, by the entry, how it is like it, the plate, the stated confidence, and the
#: region of the read.
HowSure = Callable[[Document, "Likeness", str, float | None, str | None], float]
_CLOSER = ("exact", "confusable", "distance", "partial")

#: The characters that OCR takes for one another, as shipped.
GROUPS = ("OQD0", "IL1", "B8", "S5", "Z2", "G6", "T7")
#: On the plates of these countries, what readers have for a letter, and that letter, as shipped.
REGIONAL = (
    ("UÜ", "DE"),
    ("AÄ", "DE SE FI"),
    ("OÖ", "DE SE FI"),
    ("AÅ", "SE FI NO DK"),
    ("OØ", "NO DK"),
    ("CČ", "HR SI RS ME"),
    ("CĆ", "RS ME"),
    ("SŠ", "HR SI RS ME"),
    ("ZŽ", "HR SI RS ME"),
    ("DĐ", "RS VN"),
    ("NÑ", "ES"),
    ("اأ", "EG MA"),
)


class Likeness(NamedTuple):
    """How a read plate is like a listed one; `misread` is its kind and its position."""

    match_type: str
    look_alikes: tuple[int, ...] = ()
    misread: tuple[str, int] | None = None


class Matched(NamedTuple):
    """A match that must come out."""

    match_id: str
    entry_id: str
    read_id: str
    likeness: Likeness
    alternate: Alternate | None
    suppressed: int


@dataclass
class Answer:
    """What must come of a read. `rejected` is the reason."""

    matches: list[Matched] = field(default_factory=list)
    denied: Counter[str] = field(default_factory=Counter)
    suppressed: int = 0
    rejected: str | None = None


def plain_plate(plate: str) -> str:
    """The normal form of a plate, whatever its length."""
    if plate.isascii():
        return "".join(char for char in plate.upper() if char.isalnum())
    return normal_form(plate)


def match_id(entry_id: str, entry_offset: int, source: str, read_id: str) -> str:
    """xxh3-128 of entry id, revision (the offset of the entry's record), source and read id."""
    assert "\x1f" not in source, "for such a source the schema has a rule of its own"
    parts = "\x1f".join([entry_id, str(entry_offset), source, read_id])
    return xxhash.xxh3_128(parts.encode("utf-8")).hexdigest()


@cache
def groups_in(country: str | None) -> tuple[str, ...]:
    """The look-alikes on plates of a country; those of every country where it is not known."""
    groups = list(GROUPS)
    for pair, countries in REGIONAL:
        if country is None or country in countries.split():
            own = next((group for group in groups if pair[0] in group), pair[0])
            groups = [group for group in groups if group != own] + [own + pair[1]]
    return tuple(groups)


def likeness(plate: str, entry: Document, region: str | None = None) -> Likeness | None:
    """How a plate is like an entry's; None where it is not. `region` is the read's."""
    listed = entry["plate"]
    region = entry.get("region") or region
    alike = groups_in(region and region[:2]) if entry.get("confusables") else ()
    at = {char: _of_group(char, alike) for char in set(listed) | set(plate)}
    pieces = ["." if char == "?" else f"[{re.escape(at[char])}]" for char in listed]

    def differing(read: str, against: str) -> tuple[int, ...]:
        pairs = enumerate(zip(read, against, strict=True))
        return tuple(place for place, (seen, known) in pairs if known not in ("?", seen))

    if _fits(pieces, plate):
        look_alikes = differing(plate, listed)
        if "?" in listed:
            return Likeness("partial", look_alikes)
        return Likeness("confusable", look_alikes) if look_alikes else Likeness("exact")
    if not entry.get("distance"):
        return None
    found = []
    for place in range(len(listed) + 1):
        before, after = pieces[:place], pieces[place:]
        if _fits([*before, ".", *after], plate):
            rest = plate[:place] + plate[place + 1 :]
            found.append((differing(rest, listed), place, "added"))
        if after and _fits([*before, *after[1:]], plate):
            filled = plate[:place] + listed[place] + plate[place:]
            found.append((differing(filled, listed), place, "missing"))
        if after and _fits([*before, ".", *after[1:]], plate):
            filled = plate[:place] + listed[place] + plate[place + 1 :]
            found.append((differing(filled, listed), place, "substituted"))
    if not found:
        return None
    look_alikes, place, kind = min(found, key=lambda each: (len(each[0]), each[1]))
    return Likeness("distance", look_alikes, (kind, place))


def _of_group(char: str, groups: Sequence[str]) -> str:
    return next((group for group in groups if char in group), char)


def _fits(pieces: list[str], plate: str) -> bool:
    return re.fullmatch("".join(pieces), plate, re.DOTALL) is not None


class Naive:
    """The lists, the policies and what was matched lately; each read is held to all of it."""

    def __init__(
        self, floors: Mapping[str, int] | None = None, how_sure: HowSure | None = None
    ) -> None:
        #: Without it all are as sure, and a closer likeness alone makes a better match.
        self._how_sure = how_sure
        #: Known characters that a plate needs, by purpose, where it is not four.
        self._floors = floors or {}
        #: What reads see, and what they would see after a commit: offset and entry by id.
        self.entries: dict[str, tuple[int, Document]] = {}
        self.after_commit: dict[str, tuple[int, Document]] = {}
        self.policies: dict[str, Document] = {}
        #: The reads that matched, by what they repeat.
        self.emitted: dict[Repeats, list[Emitted]] = {}
        #: Reads that were suppressed since the last match, by that and by partition.
        self.suppressed: Counter[tuple[Repeats, int]] = Counter()

    def put(self, offset: int, key: str, entry: Document | None, *, staged: bool = False) -> None:
        """A record of the hot list topic; None for a tombstone."""
        if not staged:
            self.commit()
        if entry is not None and not self._is_admissible(entry):
            entry = None
        for entries in [self.after_commit] if staged else [self.after_commit, self.entries]:
            entries.pop(key, None)
            if entry is not None:
                entries[key] = offset, entry

    def commit(self) -> None:
        """What is staged counts from now on."""
        self.entries = dict(self.after_commit)

    def put_policy(self, key: str, policy: Document | None) -> None:
        """A record of the policy topic; None for a tombstone."""
        self.policies.pop(key, None)
        if policy is not None:
            self.policies[key] = policy

    def like(self, plate: str, at_ms: int) -> Iterator[tuple[str, Likeness]]:
        """The entries that stand on the lists at a time and that a plate is like."""
        for entry_id, (_, entry) in self.entries.items():
            how = likeness(plate, entry)
            if how is not None and at_ms < time_ms(entry["expires_at"]):
                yield entry_id, how

    def read(
        self,
        read: Document,
        at_ms: int,
        *,
        key: bytes | None = None,
        headers: Sequence[bytes] = (),
        partition: int = 0,
        suppresses: bool = True,
        among: Iterable[str] | None = None,
    ) -> Answer:
        """What must come of a read at a time. `headers` are those that name alternates. If it
        suppresses nothing, each read is answered for itself. `among` names the only entries that
        can be like the read, if the caller knows them."""
        answer = Answer()
        read, _ = kept(read)
        plate = plain_plate(read["plate"])
        if not 1 <= len(plate) <= 16:
            answer.rejected = "plate_length"
            return answer
        texts: list[tuple[str, Alternate | None]] = [(plate, None)]
        texts += asked_alternates(read, plate, headers)
        keyed = _normal_key(key)
        if keyed is not None and keyed != plate:
            texts[0] = keyed, None
        # A key that is another plate's is looked up without its value, which has the region.
        region = read.get("region") if keyed in (None, plate) else None
        candidates = []
        for entry_id in self.entries if among is None else among:
            offset, entry = self.entries[entry_id]
            if at_ms >= time_ms(entry["expires_at"]):
                continue
            for text, alternate in texts:
                like = likeness(text, entry, region)
                if like is not None:
                    candidates.append((entry, offset, like, text, alternate))
                    break
        if keyed is not None and keyed != plate:
            answer.rejected = "key_mismatch" if candidates else None
            return answer
        for entry, offset, like, text, alternate in candidates:
            denial = self._denial(entry, read, at_ms)
            if denial is not None:
                answer.denied[denial] += 1
                continue
            suppressed = 0
            if suppresses:
                stated = read.get("confidence") if alternate is None else alternate[1]
                sure = 1.0
                if self._how_sure is not None:
                    sure = self._how_sure(entry, like, text, stated, region)
                made = Emitted(time_ms(read["captured_at"]), like.match_type, sure)
                count = self._admit(entry, text, read, made, partition)
                if count is None:
                    answer.suppressed += 1
                    continue
                suppressed = count
            found = match_id(entry["entry_id"], offset, read["source"], read["read_id"])
            answer.matches.append(
                Matched(found, entry["entry_id"], read["read_id"], like, alternate, suppressed)
            )
        return answer

    def forget(self, at_ms: int) -> Counter[str]:
        """By entry, the suppressed reads of those that have ended by a time or list something else:
        they are audited. What matched still suppresses, should an entry be listed again."""
        listed = {
            _listing(entry)
            for entries in (self.entries, self.after_commit)
            for _, entry in entries.values()
            if at_ms < time_ms(entry["expires_at"])
        }
        ended: Counter[str] = Counter()
        for (which, _), count in self.suppressed.items():
            if which[:4] not in listed:
                ended[which[0]] += count
        self.suppressed = Counter(
            {place: count for place, count in self.suppressed.items() if place[0][:4] in listed}
        )
        return ended

    def _denial(self, entry: Document, read: Document, at_ms: int) -> str | None:
        if "starts_at" in entry and at_ms < time_ms(entry["starts_at"]):
            return "not_started"
        policy = self.policies.get(read["source"])
        if policy is None:
            return "no_policy"
        if not any(_rule_allows(rule, entry) for rule in policy["rules"]):
            return "not_allowed"
        region = read.get("region")
        if "regions" in policy and not any(covers(wide, region) for wide in policy["regions"]):
            return "policy_region"
        return narrowed_out(entry, read)

    def _is_admissible(self, entry: Document) -> bool:
        plate, distance = entry["plate"], entry.get("distance", 0)
        known = len(plate) - plate.count("?")
        if distance and "?" in plate:
            return False
        return bool(known >= self._floors.get(entry["purpose"], 4) + distance)

    def _admit(
        self, entry: Document, plate: str, read: Document, made: Emitted, partition: int
    ) -> int | None:
        """How many reads were suppressed since the last match; None where this one is."""
        apart_ms = 1000 * entry.get("suppress_s", 60)
        if not apart_ms:
            return 0
        pattern_plate = plate if "?" in entry["plate"] else ""
        which = *_listing(entry), read["source"], read["camera"], pattern_plate
        for one in self.emitted.get(which, []):
            if abs(made.at_ms - one.at_ms) < apart_ms and not is_better(made, one):
                self.suppressed[which, partition] += 1
                return None
        self.emitted.setdefault(which, []).append(made)
        return self.suppressed.pop((which, partition), 0)


def _listing(entry: Document) -> tuple[str, str, str, str]:
    return entry["entry_id"], entry["plate"], entry["agency"], entry["purpose"]


def is_better(one: Emitted, other: Emitted) -> bool:
    """Whether a match is better than another: a closer likeness, or ten times as sure."""
    if _CLOSER.index(one.match_type) < _CLOSER.index(other.match_type):
        return True
    return round(10_000 * one.confidence) >= 10 * round(10_000 * other.confidence)


def _normal_key(key: bytes | None) -> str | None:
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return None
    return text if 1 <= len(text) <= 16 and plain_plate(text) == text else None


def asked_alternates(
    read: Document, plate: str, headers: Sequence[bytes]
) -> Iterator[tuple[str, Alternate]]:
    """The normal forms of the alternates to be tried, in order, each as it stands in the read."""
    if not headers:
        return
    parts = None
    if len(headers) == 1:
        texts = headers[0].split(b",") if headers[0] else []
        if len(texts) <= 16 and all(_normal_key(text) is not None for text in texts):
            parts = {_normal_key(text) for text in texts}
    order = sorted(read.get("alternates", []), key=lambda each: -each.get("confidence", -1))
    tried = {plate}
    for alternate in order:
        text = plain_plate(alternate["plate"])
        if text not in tried and 1 <= len(text) <= 16 and (parts is None or text in parts):
            tried.add(text)
            yield text, (alternate["plate"], alternate.get("confidence"))


def _rule_allows(rule: Document, entry: Document) -> bool:
    agencies, purposes = rule["agencies"], rule["purposes"]
    agency_allowed = agencies == "*" or entry["agency"] in agencies
    return agency_allowed and (purposes == "*" or entry["purpose"] in purposes)


def time_ms(text: str) -> int:
    """A time of RFC 3339 in milliseconds since 1970; finer digits go."""
    return captured_ms(text)
