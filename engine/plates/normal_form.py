"""The normal form: one spelling for every way in which a plate can be written.

Record keys and entries hold the normal form, so upstream services and this engine must compute the
same one. It takes four steps, each easy to repeat in another language:

1. Unicode NFKC: full-width, circled and other styled characters become plain ones, and a letter
   followed by its diacritic becomes one character (`Mü` written as two becomes `Mü`).
2. Upper case, by Unicode's full mapping and no locale's (`ß` becomes `SS`, `ı` becomes `I`).
3. Cyrillic and Greek capitals that look like Latin ones become those (`LOOK_ALIKES`).
4. Everything except letters (Unicode categories L*) and decimal digits (Nd) is dropped: spaces,
   dots, bullets, symbols. A combining mark that step 1 could not join to its letter is dropped
   too. A diacritic that belongs to its letter stays, so `MÜ` is not `MU`. Digits of other scripts
   stay as they are.

The steps are repeated until nothing changes, which makes the result idempotent by construction:
dropping a hyphen can make two Hangul letters adjacent, and the next round joins them. The
repetition ends. After the first rounds, the steps leave every character alone when it stands by
itself (a test tries all of Unicode). Steps 2 to 4 look at one character at a time, so from then on
only step 1 can change the text. All that it can still do is join neighbours, which makes the text
shorter.

This module does no input or output and keeps no state. Its errors never hold the plate.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from engine import limits
from engine.errors import DocumentError

#: Stands for exactly one unknown character in the plate of an entry.
WILDCARD: Final = "?"

# The table has the capitals that plain sans-serif type, such as on plates, draws with the same
# outline as the Latin letter. It also has У, because every country that limits its plates to shared
# letters (Russia, Belarus, Ukraine, Bulgaria) counts it as Y. A letter with a diacritic is there if
# the Latin letter has the same one. Capitals that resemble a digit or a small Latin letter (Ь b,
# Һ h, З 3), or resemble one only nearly (И N, Я R, Ѵ V, Λ A), are not there, because people can
# distinguish them; `confusables` covers the OCR errors between them. Accented Greek capitals (Ά)
# are not there either: their accent stands beside the letter, not above it.
_CYRILLIC = dict(
    zip(
        "АВЕКМНОРСТУХІЅЈҮӀԌԚԜ" + "ЀЁЇЌӐӒӔӖӘӦӮӰ",
        "ABEKMHOPCTYXISJYIGQW" + "ÈËÏḰĂÄÆĔƏÖȲŸ",
        strict=True,
    )
)
_GREEK = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϜͿ" + "ΪΫ", "ABEZHIKMNOPTYXFJ" + "ÏŸ", strict=True))

#: Cyrillic and Greek capitals, and the Latin ones that they look like.
LOOK_ALIKES: Final[dict[str, str]] = {**_CYRILLIC, **_GREEK}

_LOOK_ALIKES = str.maketrans(LOOK_ALIKES)
_KEPT = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd"})
_ASCII_DROPPED = bytes(code for code in range(128) if not chr(code).isalnum())


class PlateError(DocumentError):
    """The error for a plate without a normal form of 1 to 16 characters."""

    def __init__(self) -> None:
        super().__init__(
            "plate_length",
            field="$.plate",
            rule=f"must have 1 to {limits.PLATE_CHARACTERS} letters and digits",
        )


def normalize(plate: str) -> str:
    """Return the normal form of a plate: 1 to 16 letters and digits, however it is written.

    It is the key of a read on the detections topic. Any string gives a normal form, or PlateError
    if the result has another length. Idempotent: `normalize(normalize(plate)) ==
    normalize(plate)`.
    """
    if plate.isascii():
        normal = plate.upper()
        if not normal.isalnum():
            normal = normal.encode("ascii").translate(None, _ASCII_DROPPED).decode("ascii")
    else:
        normal = plate
        while (again := _round(normal)) != normal:
            normal = again
    if 1 <= len(normal) <= limits.PLATE_CHARACTERS:
        return normal
    raise PlateError


def is_normal(plate: str) -> bool:
    """Return whether `plate` is its own normal form."""
    if plate.isascii():
        if not plate.isalnum() or plate.upper() != plate:  # isalnum() is false of ""
            return False
    elif _round(plate) != plate:
        return False
    return len(plate) <= limits.PLATE_CHARACTERS


def is_normal_pattern(plate: str) -> bool:
    """Return whether `plate` is in normal form, with `?` for each unknown character.

    `engine.documents.admission` decides how many characters must be known.
    """
    # A digit joins with no neighbour, so it can hold the place of the unknown character.
    return is_normal(plate.replace(WILDCARD, "0"))


def _round(text: str) -> str:
    """Apply the four steps once."""
    spelled = unicodedata.normalize("NFKC", text).upper().translate(_LOOK_ALIKES)
    return "".join(char for char in spelled if unicodedata.category(char) in _KEPT)
