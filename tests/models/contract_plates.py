"""The normal form of a plate, written from section 3 of the contract and Unicode's character names.

Nothing is imported from the engine. Where the engine has tables of characters and of blocks, this
asks the name of each character, so that a hole in a table is not repeated here.
"""

import unicodedata
from functools import cache

LONGEST = 16  # "The result is 1 to 16 characters; otherwise the read is rejected."

# "Cyrillic and Greek capitals that look like Latin ones become those (А В Е К М Н О Р С Т У Х І →
# A B E K M H O P C T Y X I, and so on)". A letter with the mark of a Latin one goes with it.
_CAPITALS = """
CYRILLIC: A A, VE B, IE E, KA K, EM M, EN H, O O, ER P, ES C, TE T, U Y, HA X, DZE S, JE J,
BYELORUSSIAN-UKRAINIAN I I, STRAIGHT U Y, KOMI SJE G, QA Q, WE W, SCHWA Ə, IE WITH GRAVE È, IO Ë,
YI Ï, KJE Ḱ, A WITH BREVE Ă, A WITH DIAERESIS Ä, IE WITH BREVE Ĕ, O WITH DIAERESIS Ö,
U WITH MACRON Ȳ, U WITH DIAERESIS Ÿ;
GREEK: ALPHA A, BETA B, EPSILON E, ZETA Z, ETA H, IOTA I, KAPPA K, MU M, NU N, OMICRON O, RHO P,
TAU T, UPSILON Y, CHI X, YOT J, IOTA WITH DIALYTIKA Ï, UPSILON WITH DIALYTIKA Ÿ
"""
_LATIN = {
    f"{script} CAPITAL LETTER {letter}": latin
    for script, pairs in (line.split(": ") for line in " ".join(_CAPITALS.split()).split("; "))
    for letter, latin in (pair.rsplit(" ", 1) for pair in pairs.split(", "))
}
_ONE_LETTER = {
    **_LATIN,
    "LATIN CAPITAL LETTER I WITH DOT ABOVE": "I",  # "the Turkish dotted İ is I"
    "CYRILLIC LETTER PALOCHKA": "I",
    "GREEK LETTER DIGAMMA": "F",
    "GREEK CAPITAL LUNATE SIGMA SYMBOL": "C",
    "CYRILLIC CAPITAL LIGATURE A IE": "Æ",
    # "letters that are one letter with several code points become one (Arabic and Persian yeh, kaf,
    # heh; a tatweel is dropped)"
    "ARABIC LETTER FARSI YEH": "ي",
    "ARABIC LETTER ALEF MAKSURA": "ي",
    "ARABIC LETTER KEHEH": "ك",
    "ARABIC LETTER SWASH KAF": "ك",
    "ARABIC LETTER HEH GOAL": "ه",
    "ARABIC LETTER HEH GOAL WITH HAMZA ABOVE": "ه",
    "ARABIC LETTER HEH DOACHASHMEE": "ه",
    "ARABIC LETTER HEH WITH YEH ABOVE": "ه",
    "ARABIC LETTER AE": "ه",
    "ARABIC TATWEEL": "",
}
# "a sign that belongs to a letter in its script (the vowel signs of Indic and South-East Asian
# scripts)": the scripts by the beginning of their characters' names.
_SCRIPTS = (
    "DEVANAGARI BENGALI GURMUKHI GUJARATI ORIYA TAMIL TELUGU KANNADA MALAYALAM SINHALA THAI LAO "
    "TIBETAN MYANMAR TAGALOG HANUNOO BUHID TAGBANWA KHMER LIMBU BUGINESE TAI BALINESE SUNDANESE "
    "BATAK LEPCHA SYLOTI SAURASHTRA KAYAH REJANG JAVANESE CHAM MEETEI BRAHMI KAITHI CHAKMA "
    "MAHAJANI SHARADA KHOJKI KHUDAWADI GRANTHA NEWA TIRHUTA SIDDHAM MODI TAKRI AHOM DOGRA DIVES "
    "NANDINAGARI ZANABAZAR SOYOMBO BHAIKSUKI MARCHEN MASARAM GUNJALA MAKASAR KAWI TULU-TIGALARI"
)
_SIGNED = frozenset(_SCRIPTS.split())


def normal_form(plate: str) -> str:
    """Return the normal form, whatever its length: "It is idempotent", so until nothing changes."""
    while True:
        upper = unicodedata.normalize("NFKC", plate).upper()
        again = "".join(map(_one, upper))
        if again == plate:
            return plate
        plate = again


def has_normal_form(plate: str) -> bool:
    """Whether a plate has a normal form of a length that is not rejected."""
    return 1 <= len(normal_form(plate)) <= LONGEST


@cache
def _one(char: str) -> str:
    category, name = unicodedata.category(char), unicodedata.name(char, "")
    if name in _ONE_LETTER:
        return _ONE_LETTER[name]
    if category.startswith("L"):
        return char
    if category == "Nd":  # "decimal digits of every script become 0 to 9"
        return "0123456789"[int(unicodedata.numeric(char))]
    if category in ("Mn", "Mc") and name.removeprefix("COMBINING ").split(" ")[0] in _SIGNED:
        return char
    if name == "COMBINING BINDU BELOW":  # of Grantha, whatever its name
        return char
    return ""
