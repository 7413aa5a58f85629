"""Plates: one spelling for every way that a plate can be written.

The normal form is what the record key holds and what an entry names, so upstream services and
this engine must reach the same one. Four steps, each easy to repeat in another language:

1. Unicode NFKC: full-width, circled and other styled characters become plain ones, and a letter
   followed by its diacritic becomes one character (`Mü` written as two becomes `Mü`).
2. Upper case, by Unicode's full mapping and no locale's (`ß` becomes `SS`, `ı` becomes `I`).
3. Cyrillic and Greek capitals that look like Latin ones become those (`LOOK_ALIKES`).
4. Whatever is not a letter (Unicode categories L*) or a decimal digit (Nd) is dropped: spaces,
   dots, bullets, symbols. A combining mark that step 1 could not join to its letter is neither,
   so it goes too; a diacritic that belongs to its letter stays, and `MÜ` is not `MU`. Digits
   of other scripts stay as they are.

The steps are repeated until nothing changes, which makes the result idempotent by construction:
dropping a hyphen can let two Hangul letters meet, which the next round joins. The repetition
ends. After the first rounds every character is one that the steps leave alone when it stands by
itself (a test tries all of Unicode); steps 2 to 4 look at one character at a time, so from then
on only step 1 can change the text, and all that it can still do is join neighbours, which
makes the text shorter.

This module knows nothing of documents or of the index, does no input or output, and keeps no
state. Its errors never hold the plate.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from engine import limits
from engine.errors import DocumentError

#: Stands for exactly one unknown character in the plate of an entry.
WILDCARD: Final = "?"

# What is in the table: capitals that plain sans-serif type, such as plates use, draws with the
# same outline as the Latin letter, plus У, which every country that limits its plates to shared
# letters (Russia, Belarus, Ukraine, Bulgaria) counts as Y. Letters with a diacritic are there
# where the Latin letter has the same one. What is not: capitals that resemble a Latin letter in
# lower case or a digit (Ь b, Һ h, З 3), or only nearly (И N, Я R, Ѵ V, Λ A), because they are
# told apart by people, and the OCR errors between them are the business of `confusables`. Nor
# are accented Greek capitals (Ά): their accent stands beside the letter, not above it.
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
    """A plate has no normal form of 1 to 16 characters."""

    def __init__(self) -> None:
        super().__init__(
            "plate_length",
            field="$.plate",
            rule=f"must have 1 to {limits.PLATE_CHARACTERS} letters and digits",
        )


def normalize(plate: str) -> str:
    """The normal form of a plate: 1 to 16 letters and digits, the same however it is written.

    Total but for its length: any string gives a normal form or `PlateError`. Idempotent:
    `normalize(normalize(plate)) == normalize(plate)`. It is the key of a read on the
    detections topic.
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
    """Whether `plate` is its own normal form."""
    if plate.isascii():
        if not plate.isalnum() or plate.upper() != plate:  # isalnum() is false of ""
            return False
    elif _round(plate) != plate:
        return False
    return len(plate) <= limits.PLATE_CHARACTERS


def is_normal_pattern(plate: str) -> bool:
    """As `is_normal`, with `?` allowed wherever one character is unknown.

    How many characters must be known is not asked here but in `engine.documents.admission`.
    """
    # A digit joins with no neighbour, so it can hold the place of the unknown character.
    return is_normal(plate.replace(WILDCARD, "0"))


def _round(text: str) -> str:
    """The four steps, once."""
    spelled = unicodedata.normalize("NFKC", text).upper().translate(_LOOK_ALIKES)
    return "".join(char for char in spelled if unicodedata.category(char) in _KEPT)
