"""The normal form: one spelling for every way in which a plate can be written.

Record keys and entries hold the normal form, so upstream services and this engine must compute the
same one. It takes five steps, each easy to repeat in another language:

1. Unicode NFKC: full-width, circled and other styled characters become plain ones, and a letter
   followed by its diacritic becomes one character (`Mü` written as two becomes `Mü`).
2. Upper case, by Unicode's full mapping and no locale's (`ß` becomes `SS`, `ı` becomes `I`).
3. One letter for those that are one on a plate: Cyrillic and Greek capitals that look like Latin
   ones become those (`LOOK_ALIKES`), the Turkish `İ` becomes `I`, and Persian code points of yeh,
   kaf and heh become the Arabic ones (`ARABIC`). The Arabic tatweel, which only stretches the
   letter before it, is dropped.
4. Decimal digits of every script (Unicode category Nd) become 0 to 9.
5. Everything except letters (categories L*), digits, and signs of Indic and South-East Asian
   scripts is dropped: spaces, dots, bullets, symbols. A sign is a combining mark (Mn or Mc) in one
   of the blocks of `SIGN_BLOCKS`. There a vowel sign, a virama or a nukta is a part of the
   syllable that a plate shows: `กุ` is not `กา`. Marks of other scripts that step 1 could not join
   to their letter are dropped, as are the vowel points of Arabic and Hebrew. A diacritic that step
   1 joined stays, so `MÜ` is not `MU`.

The steps are repeated until nothing changes, which makes the result idempotent by construction:
dropping a hyphen can make two Hangul letters adjacent, and the next round joins them. The
repetition ends. After the first rounds, the steps leave every character alone when it stands by
itself (a test tries all of Unicode). Steps 2 to 5 look at one character at a time, so from then on
only step 1 can change the text. All that it can still do is join neighbours, which makes the text
shorter, and put signs in their canonical order, which it does once.

This module does no input or output, and keeps nothing of a plate but what becomes of its single
characters. Its errors never hold the plate.
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

# Letters that are one on a plate, whichever code point the reader has for them. The Arabic code
# point stands for each: yeh for Farsi yeh and for alef maksura (a yeh without dots), kaf for keheh
# and swash kaf, heh for heh goal, heh doachashmee, ae, and for heh goal and ae with a hamza, which
# the other heh loses because nothing joins it. Yeh barree is a letter of its own in Urdu.
#: Arabic letters, and the one that each is on a plate.
ARABIC: Final[dict[str, str]] = dict(
    zip(
        "\u06cc\u0649" + "\u06a9\u06aa" + "\u06c1\u06be\u06d5\u06c0\u06c2",
        "\u064a" * 2 + "\u0643" * 2 + "\u0647" * 5,
        strict=True,
    )
)
_TATWEEL: Final = "\u0640"

#: The Unicode blocks, first and last code point, whose combining marks are signs of letters.
SIGN_BLOCKS: Final = (
    (0x0900, 0x109F),  # Devanagari, Bengali, ..., Sinhala, Thai, Lao, Tibetan, Myanmar
    (0x1700, 0x17FF),  # Tagalog, Hanunoo, Buhid, Tagbanwa, Khmer
    (0x1900, 0x1AAF),  # Limbu, Tai Le, New Tai Lue, Buginese, Tai Tham
    (0x1B00, 0x1C4F),  # Balinese, Sundanese, Batak, Lepcha
    (0xA800, 0xA95F),  # Syloti Nagri, Saurashtra, Devanagari Extended, Kayah Li, Rejang
    (0xA980, 0xAAFF),  # Javanese, Cham, Myanmar Extended, Tai Viet, Meetei Mayek Extensions
    (0xABC0, 0xABFF),  # Meetei Mayek
    (0x11000, 0x11FFF),  # Brahmi, Kaithi, Chakma and the other Brahmic scripts
)

# These became one letter after version 0.1.
_SINCE = {**ARABIC, "\u0130": "I", _TATWEEL: ""}
_ONE_LETTER = {ord(char): one for char, one in {**LOOK_ALIKES, **_SINCE}.items()}
_ONE_LETTER_SINCE = str.maketrans(_SINCE)
_MOST_KEPT: Final = 8192
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo"})
_MARKS = frozenset({"Mn", "Mc"})
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
    """Return the normal form of a plate: 1 to 16 letters, digits and signs of letters.

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


def updated(plate: str) -> str | None:
    """Return the plate of an entry that has the normal form of version 0.1 in that of today.

    That version kept digits of other scripts, `İ`, the Persian letters and the tatweel. None if the
    plate is in neither form. It dropped signs, and nothing restores those.
    """
    if is_normal_pattern(plate):
        return plate
    if unicodedata.normalize("NFKC", plate) != plate:
        return None
    today = "".join(
        str(unicodedata.decimal(char)) if unicodedata.category(char) == "Nd" else char
        for char in plate.translate(_ONE_LETTER_SINCE)
    )
    return today if is_normal_pattern(today) else None


def _round(text: str) -> str:
    """Apply the five steps once."""
    return unicodedata.normalize("NFKC", text).upper().translate(_KEPT)


class _Kept(dict[int, str]):
    """What steps 3 to 5 make of each character, by code point, filled as characters come.

    Bounded, because a text may have any of Unicode's characters.
    """

    def __missing__(self, code: int) -> str:
        kept = _kept(chr(code))
        if len(self) < _MOST_KEPT:
            self[code] = kept
        return kept


def _kept(char: str) -> str:
    category = unicodedata.category(char)
    if category in _LETTERS:
        return char
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category in _MARKS and any(first <= ord(char) <= last for first, last in SIGN_BLOCKS):
        return char
    return ""


_KEPT: Final = _Kept(_ONE_LETTER)
