"""How inputs are changed: bytes, texts and JSON. What knows a format of its own lies with its
target. Each takes its chances from the `Random` that it is given, and from nothing else."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from tests.fuzz.fuzzer import Mutate

_NUMBERS: Final = (0, 1, 2, 6, 7, 16, 17, 63, 64, 127, 128, 255, 256, 1 << 15, (1 << 16) - 1)
_WIDE: Final = (-1, 0, 1, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 62, (1 << 63) - 1, 1 << 63)

#: Texts that have been somebody's undoing.
TEXTS: Final = (
    "",
    " ",
    "?",
    "\0",
    "\n",
    "\r\n",
    "\x1b[2J",
    "\x1f",
    "\x85",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\ud800",
    "ı",
    "ß",
    "Mü1",
    "Mu\u03081",
    "ТЕСТ1",
    "ΑΒΕ12",
    "ＡＢＣ１２３",
    "①②③④",
    "\u1100\u1161\u11a8",
    "١٢٣",
    "ﷺ",
    "𝕏𝟘",
    "e" + "\u0301" * 40,
    "A" * 16,
    "A" * 17,
    "A" * 65,
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "-1",
    "%s%n",
    "${jndi:ldap://x}",
    "../../etc/passwd",
    "null",
    "NaN",
    "1e999",
    "true",
    "2026-02-30",
    "2026-01-31T12:00:00.000Z",
    "2999-12-31T23:59:60Z",
    "\u00b2026-01-31",
)


def any_of(*mutations: Mutate) -> Mutate:
    """One of several, drawn anew each time."""

    def mutate(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
        return chance.choice(mutations)(chance, data, pool)

    return mutate


def change_bytes(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Whatever can be done to bytes without knowing what they are."""
    changed = bytearray(data)
    at = chance.randrange(len(changed) + 1)
    length = min(len(changed) - at, int(chance.expovariate(0.1)) + 1)
    match chance.randrange(10):
        case 0 if changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        case 1 if changed:
            changed[at % len(changed)] = chance.choice(_NUMBERS) & 0xFF
        case 2:
            del changed[at : at + length]
        case 3:
            changed[at:at] = changed[at : at + length] * chance.choice((1, 2, 40))
        case 4:
            changed[at:at] = chance.randbytes(chance.randint(1, 8))
        case 5:
            del changed[at:]
        case 6:
            size = chance.choice((2, 4, 8))
            order = chance.choice(("big", "little"))
            number = chance.choice(_NUMBERS + _WIDE) & ((1 << 8 * size) - 1)
            changed[at : at + size] = number.to_bytes(size, "big" if order == "big" else "little")
        case 7:
            other = chance.choice(pool)
            begin = chance.randrange(len(other) + 1)
            changed[at : at + length] = other[begin : begin + length]
        case 8:
            other = chance.choice(pool)
            changed[at:] = other[chance.randrange(len(other) + 1) :]
        case _:
            text = chance.choice(TEXTS).encode("utf-8", "surrogatepass")
            changed[at:at] = text
    return bytes(changed)


def words(*known: str) -> Mutate:
    """Puts in words of a format, in the place of others or between them."""

    def change_words(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
        word = chance.choice(known or TEXTS).encode("utf-8", "surrogatepass")
        at = chance.randrange(len(data) + 1)
        length = chance.choice((0, 0, len(word), chance.randrange(8)))
        return data[:at] + word + data[at + length :]

    return change_words


def behind_first_line(mutate: Mutate, firsts: Sequence[str]) -> Mutate:
    """For inputs whose first line says what the rest is: the rest changes, and now and then the
    first line becomes another one."""

    def change(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
        first, _, rest = data.partition(b"\n")
        if chance.random() < 0.05:
            first = chance.choice(firsts).encode()
        else:
            rests = [other.partition(b"\n")[2] for other in chance.sample(pool, min(4, len(pool)))]
            rest = mutate(chance, rest, rests)
        return first + b"\n" + rest

    return change


#: Tokens that no value of Python's stands for; a text of JSON holds their place until the end.
_RAW: Final = {
    "raw/nan": "NaN",
    "raw/inf": "-Infinity",
    "raw/1e999": "1e999",
    "raw/-0": "-0.0",
    "raw/1.0": "1.0",
    "raw/1e2": "1e2",
    "raw/1e-400": "1e-400",
    "raw/digits": "9" * 400,
    "raw/many digits": "1" * 5000,
    "raw/long fraction": "0." + "1" * 400,
    "raw/surrogate": '"\\ud800"',
    "raw/pair": '"\\ud83d\\ude97"',
    "raw/nul": '"\\u0000"',
    "raw/control": '"\x01"',
    "raw/deep": "[" * 2000 + "]" * 2000,
    "raw/deep objects": '{"a":' * 2000 + "1" + "}" * 2000,
    "raw/open": "[" * 3000,
    "raw/long": '"' + "x" * 70_000 + '"',
    "raw/comma": "[1,]",
    "raw/zero": "01",
    "raw/space": '\xa0"x"',
    "raw/ctrl key": '{"\\u0007": 1}',
}
_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    5,
    0.5,
    90.0001,
    -180,
    2**31,
    2**53,
    -(2**53),
    2**63,
    2**64,
    [],
    {},
    [[]],
    "*",
    *TEXTS,
    *_RAW,
)


def change_json(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Changes a value somewhere in a document, or what stands beside it; bytes where there is no
    document any more."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return change_bytes(chance, data, pool)
    holder = {"": document}
    places = list(_places(holder))
    if len(places) > 500:
        return change_bytes(chance, data, pool)
    parent, key = chance.choice(places)
    match chance.randrange(7):
        case 0 | 1:
            parent[key] = chance.choice(_VALUES)
        case 2 if isinstance(parent, dict) and parent is not holder:
            del parent[key]
        case 3 if isinstance(parent, dict) and parent is not holder:
            parent[chance.choice([*map(str, parent), *TEXTS])] = parent.pop(key)
        case 4:
            other_parent, other_key = chance.choice(places)
            parent[key] = copy.deepcopy(other_parent[other_key])
        case 5 if isinstance(parent[key], list):
            parent[key] = (parent[key] or [None]) * chance.choice((2, 17, 65))
        case 6 if isinstance(parent[key], str):
            parent[key] = _changed_text(chance, parent[key])
        case _ if isinstance(parent[key], dict):
            parent[key][chance.choice(("unknown", "plate", "Plate", "camera"))] = chance.choice(
                _VALUES
            )
        case _:
            parent[key] = [parent[key]]
    try:
        text = json.dumps(holder[""], ensure_ascii=chance.random() < 0.5)
    except RecursionError:
        return change_bytes(chance, data, pool)
    for placeholder, raw in _RAW.items():
        text = text.replace(f'"{placeholder}"', raw)
    if chance.random() < 0.1 and text.startswith("{") and len(text) > 2:
        text = "{" + text[1:-1] + "," + text[1:]  # every field twice
    encoded = text.encode("utf-8", "surrogatepass")
    return (b"\xef\xbb\xbf" if chance.random() < 0.02 else b"") + encoded


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in which a value stands: its container and key."""
    found, rest = [], [value]
    while rest:
        container = rest.pop()
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        for key, inner in pairs:
            found.append((container, key))
            if isinstance(inner, dict | list):
                rest.append(inner)
    return found


def _changed_text(chance: random.Random, text: str) -> str:
    changes: tuple[Callable[[], str], ...] = (
        lambda: text + chance.choice(TEXTS),
        lambda: chance.choice(TEXTS) + text,
        lambda: text[: chance.randrange(len(text) + 1)],
        lambda: text * chance.choice((2, 20, 70)),
        lambda: text.swapcase(),
        lambda: text.replace(text[:1], chance.choice("0OQ?é\n")),
    )
    return chance.choice(changes)()
