"""Plates: one normal form for all spellings, for all of Unicode."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DocumentError
from engine.limits import PLATE_CHARACTERS
from engine.plates.normal_form import (
    ARABIC,
    LOOK_ALIKES,
    SIGN_BLOCKS,
    PlateError,
    is_normal,
    is_normal_pattern,
    normalize,
    updated,
)

#: Characters between which something happens: marks, Hangul letters that join, case oddities.
TRICKY = (
    "aäÄßẞıİiſŉǰΐσςΣʼµªºᾳﬁﷺ①½Ⅳ²㍿ꭰᏴ가-· \u200d"
    "\u1100\u1161\u11a8\u3131\u314f\u0300\u0301\u0307\u0308\u0345\u3099"
    # Arabic letters, tatweel, hamza; signs that join, that reorder, and that never join.
    "\u064a\u06cc\u0649\u06a9\u06d5\u06c1\u0640\u0654\u0663\u06f3"
    "\u09c7\u09be\u09d7\u0928\u093c\u0915\u0e01\u0e38\u0e48\u0e33\u0f71\u0f72\u0dd9\u0dcf\u0dca"
)


def test_the_contracts_look_alikes() -> None:
    assert normalize("АВЕКМНОРСТУХІ") == "ABEKMHOPCTYXI"
    assert normalize("авекмнорстухі") == "ABEKMHOPCTYXI"


def test_greek_look_alikes() -> None:
    assert normalize("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ") == "ABEZHIKMNOPTYX"
    assert normalize("αβεζηικμνορτυχ") == "ABEZHIKMNOPTYX"


@pytest.mark.parametrize(("capital", "latin"), LOOK_ALIKES.items())
def test_look_alikes_are_single_capitals_of_the_right_scripts(capital: str, latin: str) -> None:
    assert unicodedata.name(capital).startswith(("CYRILLIC", "GREEK"))
    assert unicodedata.name(latin).startswith("LATIN CAPITAL")
    assert unicodedata.normalize("NFKC", capital) == capital, "could never be looked up"
    assert normalize(capital) == latin
    assert normalize(f"1{capital.lower()}2") == f"1{latin}2"


@pytest.mark.parametrize("letter", ["Ь", "Һ", "З", "И", "Й", "Я", "Ѵ", "Λ", "Σ", "Ά", "Ў"])
def test_letters_that_only_resemble_a_latin_one_stay(letter: str) -> None:
    assert normalize(letter) == letter


def test_diacritics_stay_and_accented_look_alikes_keep_theirs() -> None:
    assert normalize("mü 12") == "MÜ12" != normalize("mu 12")
    assert normalize("ёї") == "ËÏ"


def test_a_decomposed_letter_comes_out_as_one_character() -> None:
    assert normalize("Mu\u0308 12") == "MÜ12"
    assert len(normalize("Mu\u0308 12")) == 4


def test_a_mark_that_does_not_join_is_dropped() -> None:
    assert normalize("x\u0308q\u0301 1") == "ẌQ1"
    assert normalize("\u0308A") == "A"


@pytest.mark.parametrize(
    ("plate", "normal"),
    [
        ("7ABC-123", "7ABC123"),
        (" m·ab 1234 ", "MAB1234"),
        ("ab\n12\t3\0", "AB123"),
        ("ＡＢ－１２３", "AB123"),  # full width
        ("Ⓐ①𝐁𝟐", "A1B2"),  # circled, mathematical
        ("straße", "STRASSE"),
        ("İıi", "III"),
        ("А123ВС 77", "A123BC77"),  # Russia
        ("АА 1234 ІН", "AA1234IH"),  # Ukraine
        ("ΙΚΑ-1234", "IKA1234"),  # Greece
        ("品川 500 さ 46-49", "品川500さ4649"),  # Japan
        ("京A·12345", "京A12345"),  # China
        ("12가 3456", "12가3456"),  # Korea
        ("1กก 1234 กรุงเทพ", "1กก1234กรุงเทพ"),  # Thailand: vowel signs stay
        ("أ ب ج ١٢٣٤", "أبج1234"),  # Egypt
        ("12 ب 345 - 67", "12ب34567"),  # Iran
        ("१२ बा ३४", "12बा34"),  # Nepal
        ("ဆ/၁၂၃၄", "ဆ1234"),  # Myanmar
        ("ភ្នំពេញ 2A-1234", "ភ្នំពេញ2A1234"),  # Cambodia: coeng and vowel signs
        ("ກຳແພງ 1234", "ກໍາແພງ1234"),  # Laos: NFKC writes one vowel as two
        ("ঢাকা মেট্রো-গ ১১", "ঢাকামেট্রোগ11"),  # Bangladesh
        ("12-אבג-34", "12אבג34"),  # Hebrew letters
        ("აბ-123-გდ", "ᲐᲑ123ᲒᲓ"),  # Georgia: upper case is Mtavruli
        ("Ա 12 բգ", "Ա12ԲԳ"),  # Armenian letters
    ],
)
def test_plates_from_around_the_world(plate: str, normal: str) -> None:
    assert normalize(plate) == normal
    assert is_normal(normal)


@pytest.mark.parametrize("first", "٠۰߀०০੦૦୦௦౦೦൦๐໐༠၀០᠐０𑁦𝟎")
def test_the_decimal_digits_of_every_script(first: str) -> None:
    assert normalize("A" + "".join(chr(ord(first) + each) for each in range(10))) == "A0123456789"


def test_numbers_that_are_no_decimal_digits_stay_or_go() -> None:
    assert normalize("一Ⅳ") == "一IV"
    with pytest.raises(PlateError):
        normalize("\u09f4")  # a numerator of Bengali fractions


def test_the_turkish_dotted_capital() -> None:
    assert normalize("İ") == normalize("I\u0307") == normalize("i\u0307") == normalize("ı") == "I"


@pytest.mark.parametrize(
    "spellings",
    [
        ("12ي345", "12ی345", "12ى345", "12\ufef2345", "١٢ي٣٤٥", "۱۲ی۳۴۵"),
        ("12ك3", "12ک3", "12ڪ3", "12\ufedb3"),
        ("12ه3", "12هـ3", "12ہ3", "12ھ3", "12ە3", "12\ufeeb3", "12ۀ3", "12ه\u06543"),
        ("أ1", "ا\u06541", "أـ1", "أَ1"),  # a hamza joins the alef, a vowel point goes
    ],
)
def test_arabic_and_persian_spellings_of_one_plate(spellings: tuple[str, ...]) -> None:
    assert len(set(map(normalize, spellings))) == 1


@pytest.mark.parametrize(("letter", "other"), [("ا", "أ"), ("ه", "ة"), ("ي", "ئ"), ("ي", "ے")])
def test_other_arabic_letters_stay_different(letter: str, other: str) -> None:
    assert normalize(letter) != normalize(other)


@pytest.mark.parametrize(("letter", "normal"), ARABIC.items())
def test_arabic_letters_become_ones_that_stay(letter: str, normal: str) -> None:
    assert unicodedata.normalize("NFKC", letter) == letter, "could never be looked up"
    assert normalize(letter) == normal == normalize(normal)


@pytest.mark.parametrize(
    ("one", "other"),
    [("กุ1", "กา1"), ("बा1", "बि1"), ("का1", "क1"), ("ভা1", "ভ1"), ("ကို1", "ကု1"), ("ភ្ន1", "ភន1")],
)
def test_plates_that_differ_by_their_signs_are_different(one: str, other: str) -> None:
    assert normalize(one) != normalize(other)


def test_signs_in_any_order_are_one_plate() -> None:
    assert normalize("ก\u0e48\u0e38") == normalize("ก\u0e38\u0e48") == "ก\u0e38\u0e48"
    assert normalize("ক\u09c7-\u09be") == "ক\u09cb", "they meet where a hyphen was dropped"


@pytest.mark.parametrize("block", SIGN_BLOCKS)
def test_the_blocks_of_signs_are_those_of_such_scripts(block: tuple[int, int]) -> None:
    first, last = block
    names = [unicodedata.name(chr(code), "") for code in range(first, last + 1)]
    assert any(" VOWEL SIGN " in name or "SARA " in name for name in names)
    foreign = ("ARABIC", "HEBREW", "VEDIC", "LATIN", "HANGUL", "ETHIOPIC")
    assert not [name for name in names if name.startswith(foreign)]


def test_letters_that_meet_where_something_was_dropped_join() -> None:
    assert normalize("ᄀ-ᅡ.ᆨ") == "각"


@pytest.mark.parametrize(
    "plate", ["", " ", "-.·", "\u0308", "?", "\ud800", "A" * 17, "ß" * 9, "가나" * 9]
)
def test_no_normal_form(plate: str) -> None:
    with pytest.raises(PlateError) as caught:
        normalize(plate)
    assert isinstance(caught.value, DocumentError)
    assert caught.value.reason == "plate_length"
    assert caught.value.field == "$.plate"
    assert str(caught.value) == "$.plate: must have 1 to 16 letters and digits"


@pytest.mark.parametrize("length", [1, PLATE_CHARACTERS])
@pytest.mark.parametrize("letter", ["A", "Ü", "京"])
def test_the_bounds_of_the_length_are_allowed(letter: str, length: int) -> None:
    assert normalize(" ".join(letter * length)) == letter * length


def check_properties(plate: str) -> None:
    try:
        normal = normalize(plate)
    except PlateError:
        assert not is_normal(plate)
        return
    assert 1 <= len(normal) <= PLATE_CHARACTERS
    assert normalize(normal) == normal
    assert is_normal(normal)
    assert is_normal(plate) == (plate == normal)
    assert normal.upper() == normal
    assert unicodedata.normalize("NFKC", normal) == normal
    for char in normal:
        category = unicodedata.category(char)
        assert category[0] == "L" or char in "0123456789" or category in ("Mn", "Mc")
        assert char not in LOOK_ALIKES
        assert char not in ARABIC
        assert normalize(char) == char, "a settled text is made of settled characters"


@given(st.text())
def test_any_text(plate: str) -> None:
    check_properties(plate)


@given(st.text(st.characters(max_codepoint=127)))
def test_any_ascii_text_goes_the_long_way_to_the_same_form(plate: str) -> None:
    check_properties(plate)
    try:
        normal = normalize(plate)
    except PlateError:
        with pytest.raises(PlateError):
            normalize(plate + "\u200b")
    else:
        assert normalize(plate + "\u200b") == normal


@given(st.text(st.sampled_from(TRICKY), max_size=20))
def test_tricky_text(plate: str) -> None:
    check_properties(plate)


@given(st.text(st.characters(categories=["L", "Nd", "M"])))
def test_letters_digits_and_marks(plate: str) -> None:
    check_properties(plate)


def test_every_character() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) not in {"Cn", "Co", "Cs"}:
            check_properties(char)
    for unassigned in "\ud800\udfff\ue000\U000e0fff\U0010ffff":
        with pytest.raises(PlateError):
            normalize(unassigned)


@given(st.text(st.sampled_from(TRICKY)))
def test_settled_characters_can_only_join(plate: str) -> None:
    """The repetition ends: from its second round on a text becomes shorter, or is put in order."""
    settled = "".join(
        part for char in plate for part in [_or_nothing(char)] if part and is_normal(part)
    )
    joined = unicodedata.normalize("NFKC", settled)
    assert len(joined) < len(settled) or sorted(joined) == sorted(settled)
    assert unicodedata.normalize("NFKC", joined) == joined
    assert all(is_normal(char) for char in joined)


def _or_nothing(char: str) -> str:
    try:
        return normalize(char)
    except PlateError:
        return ""


@pytest.mark.parametrize("plate", ["ABC123", "京A12345", "MÜ12", "A", "0" * 16, "กุ", "बा"])
def test_is_normal(plate: str) -> None:
    assert is_normal(plate)


@pytest.mark.parametrize(
    ("former", "today"),
    [
        ("أبج١٢٣٤", "أبج1234"),
        ("12ب34567", "12ب34567"),
        ("١٢?ی", "12?ي"),
        ("هـ12", "ه12"),
        ("İSTANBUL", "ISTANBUL"),
        ("กรงเทพ", "กรงเทพ"),
        ("abc", None),
        ("AB-1", None),
        ("１２", None),
        ("١٢-٣", None),
        ("А1", None),
        ("ـ", None),
        ("", None),
    ],
)
def test_the_normal_form_of_version_01_brought_to_that_of_today(
    former: str, today: str | None
) -> None:
    assert updated(former) == today


@pytest.mark.parametrize(
    "plate",
    ["", "abc", "AB-1", "AB 1", "АВ1", "MU\u0308", "A" * 17, "AB?1", "Ü" * 17, "١", "İ", "ی", "ـ"],
)
def test_is_not_normal(plate: str) -> None:
    assert not is_normal(plate)


@pytest.mark.parametrize("plate", ["ABC123", "AB?1", "?", "????", "京?Ü", "A" * 15 + "?"])
def test_is_normal_pattern(plate: str) -> None:
    assert is_normal_pattern(plate)


@pytest.mark.parametrize("plate", ["", "ab?", "A-?", "A" * 16 + "?", "А?", "A？", "u\u0308?", "A*"])
def test_is_not_normal_pattern(plate: str) -> None:
    assert not is_normal_pattern(plate)
