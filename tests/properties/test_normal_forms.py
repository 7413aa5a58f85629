"""Millions of plates in all scripts: the normal form is that of a reference written from the
contract.

NORMALIZATIONS in the environment is how many; a run of 3,500,000 takes some minutes.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from random import Random
from typing import Final

from engine.plates.normal_form import PlateError, is_normal, normalize
from tests.models.contract_plates import has_normal_form, normal_form

_NORMALIZATIONS: Final = int(os.environ.get("NORMALIZATIONS", "100000"))
_ASSIGNED: Final = tuple(
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(char) not in {"Cn", "Co", "Cs"}
)
#: What plates are made of, with separators, each as often as the others together.
_USUAL: Final = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "abcxyzßıİäöüñøåčšžđłþ",
    "АВЕКМНОРСТУХІЇабвкхїΑΒΕΖΗΙΚΜΝΟΡΤΥΧαβ",
    "ابجدهوىيكکیھەۀـأإئؤ٠١٢٣۰۱۲۳\u064e\u0651\u0654\ufeeb\ufef2",
    "กขคงจชฎฐธพมรวศสฬอฮุูิีึื่้ำาะเแโไ๐๑๒๓",
    "कखगचजटपबमयलवसहािीुूेैोौ्ंःँ़०१२३",
    "অআকখগঘচজটঢণতদনপবভমযরলশসহািীুেৈোৌ্ৎংঃ০১২৩",
    "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼あいうえかきくけこ品川",
    "가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주허하호\u1100\u1161\u11a8",
    "אבגדהוזחטיכלמנ\u05b8\u05bcაბგდეԱԲԳԴ",
    "ＡＢ１２Ⓐ①𝐁𝟐²½ª㍿ﬁ",
    "\u0300\u0301\u0302\u0303\u0307\u0308\u030a\u030c\u0323\u0327\u0328\u0345\u093c\u09be\u09d7",
)
_SEPARATORS: Final = " -.·•/\u200d\u00a0\u0000?"


def agrees(text: str) -> None:
    """Assert that a text has the normal form of the reference, or like there none."""
    wanted = normal_form(text) if has_normal_form(text) else None
    try:
        found = normalize(text)
    except PlateError:
        found = None
    assert found == wanted, f"{text!a}: {found!a}, not {wanted!a}"
    if found is not None:
        assert normalize(found) == found, ascii(text)
        assert is_normal(found), ascii(text)
    assert is_normal(text) == (text == found), ascii(text)


def plates(seed: int, count: int) -> Iterator[str]:
    """Yield that many texts: plates of one script, of several, and of anything assigned."""
    random = Random(seed)
    for number in range(count):
        length = random.randint(1, 12)
        if number % 4 == 0:
            yield "".join(random.choices(_ASSIGNED, k=length))
            continue
        scripts = random.sample(_USUAL, 1 if number % 4 == 1 else 3)
        letters = "".join(scripts) + "0123456789" + _SEPARATORS
        yield "".join(random.choices(letters, k=length))


def test_every_assigned_character_once() -> None:
    for char in _ASSIGNED:
        agrees(char)


def test_random_plates() -> None:
    for plate in plates(17, _NORMALIZATIONS):
        agrees(plate)
