"""Words for vehicles: what is one, what contradicts, and that no word means two things."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.model import Vehicle
from engine.errors import ConfigError
from engine.matching.vehicles import (
    VEHICLE_FIELDS,
    VehicleTables,
    compare_vehicles,
    shipped_words,
    vehicle_differs,
    vehicle_in_words,
    words_of,
)
from engine.resources import as_struct

TABLES = tomllib.loads((files("engine") / "data" / "vehicles.toml").read_text("utf-8"))
CODES = tomllib.loads((files("engine") / "data" / "profiles/ncic.toml").read_text("utf-8"))[
    "values"
]
FIELDS = ("make", "model", "color", "type")


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("color", ["GRY", "grey", "gray", "Gray", "GY", " g.r.e.y "]),
        ("color", ["BLK", "black", "Black ", "bk"]),
        ("color", ["DBL", "dark blue", "Dark-Blue", "navy"]),
        ("color", ["WHI", "white", "ＷＨＩＴＥ", "white metallic"]),
        ("color", ["MUL", "multi-colored", "multicoloured", "two-tone"]),
        ("make", ["CHEV", "Chevrolet", "Chevy", "chevy", "CHEVROLET Motor Division"]),
        ("make", ["VOLK", "VW", "Volkswagen"]),
        ("make", ["MERZ", "Mercedes", "Mercedes-Benz", "mercedes benz", "MB"]),
        ("make", ["SKODA", "Škoda", "škoda"]),
        ("make", ["LNDR", "Land Rover", "LANDROVER", "Range Rover"]),
        ("make", ["Zastava", "ZASTAVA!", "zasTáva"]),  # which no table has
        ("type", ["MC", "motorcycle", "Motorbike", "moped", "MS"]),
        ("type", ["PK", "pickup", "Pick-up", "pickup truck", "Pickup Truck Crew Cab"]),
        ("type", ["bigtruck", "Big Truck", "tractor-trailer", "DS", "dump truck", "DP"]),
        ("type", ["SUV", "suv-standard", "sport utility", "LL"]),
        ("type", ["SW", "station wagon", "Estate"]),
        ("model", ["F-150", "F150", "f 150", "Ford F-150"]),
        ("model", ["CITROËN C4", "c4"]),
    ],
)
def test_these_are_one(field: str, texts: list[str]) -> None:
    for read in texts:
        for listed in texts:
            assert shipped_words().compare(field, read, listed) == "same", (read, listed)


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("color", "BLK/WHI", "white"),
        ("color", "BLK/WHI", "RED/BLK"),
        ("color", "silver-gray", "SIL"),
        ("color", "silver-gray", "grey"),
        ("color", "sea-foam green", "GRN"),
        ("color", "white over blue", "BLU"),
        ("make", "Dodge/Ram", "DODG"),
        ("type", "sedan-convertible", "CV"),
        ("type", "4 door sedan", "4D"),
    ],
)
def test_of_several_words_one_that_agrees_is_enough(field: str, one: str, other: str) -> None:
    assert shipped_words().compare(field, one, other) == "same"
    assert shipped_words().compare(field, other, one) == "same"


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        # A general word beside a special one.
        *(("type", "car", kind) for kind in ("sedan", "SUV", "coupe", "4D", "VN", "pickup")),
        *(("type", "truck", kind) for kind in ("pickup", "bigtruck", "DP", "van")),
        *(("type", "vehicle", kind) for kind in ("bus", "MC", "SUV", "hovercraft")),
        ("type", "4D", "PK"),
        ("type", "sedan", "coupe"),
        ("type", "SW", "SUV"),
        ("color", "blue", "DBL"),
        ("color", "MUL", "red"),
        ("color", "CAM", "ultraviolet"),
        ("make", "GM", "BUIC"),
        # What is taken for one another.
        ("color", "silver", "gray"),
        ("color", "MAR", "red"),
        ("color", "tan", "BGE"),
        ("make", "Ram", "DODG"),
        # What says nothing.
        *(
            ("color", nothing, "red")
            for nothing in ("", "unknown", "UNK", "N/A", "?", "other", "-")
        ),
        ("model", "unknown", "Golf"),
        ("model", "", ""),
        ("type", "unknown", "unknown"),
        # What is not known says nothing, on either side: a usage code of NCIC, a code or a word
        # that no table has, a part of a text.
        *(("model", "F-150", code) for code in ("TK", "CYL", "TL", "000", "F15", "ZZZ")),
        ("model", "CIV", "Camry"),
        ("model", "Roadrunner 9", "Camry"),
        ("color", "red", "ultraviolet"),
        ("color", "red", "XXY"),
        ("color", "BLK/ZZZ", "red"),
        ("make", "Ford", "ZZZZ"),
        ("make", "Ford", "Wartburg"),
        ("type", "car", "hovercraft"),
        ("type", "car", "0P"),
        ("type", "car carrier", "truck"),
        # Models that may be the same.
        ("model", "F-150", "F-250"),
        ("model", "CAM", "Camry"),
        ("model", "SLV", "Silverado"),
        ("model", "4RN", "4Runner"),
        ("model", "Toyota Camry", "CAM"),
    ],
)
def test_these_may_be_one_or_not(field: str, one: str, other: str) -> None:
    assert shipped_words().compare(field, one, other) == "unknown"
    assert shipped_words().compare(field, other, one) == "unknown"


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("color", "red", "blue"),
        ("color", "BLK/WHI", "RED/GRN"),
        ("color", "LBL", "DBL"),
        ("color", "BLK/WHI", "red"),
        ("make", "Ford", "CHEV"),
        ("make", "Ford", "Zastava"),
        ("make", "CHEV", "GMC"),
        ("type", "car", "motorcycle"),
        ("type", "car", "bus"),
        ("type", "pickup", "bigtruck"),
        ("type", "2D", "4D"),
        ("type", "sedan", "SUV"),
        ("model", "Camry", "Corolla"),
        ("model", "Grand Cherokee", "Cherokee"),
        ("model", "Toyota Camry LE", "Honda Civic"),
    ],
)
def test_these_differ(field: str, one: str, other: str) -> None:
    assert shipped_words().compare(field, one, other) == "differs"
    assert shipped_words().compare(field, other, one) == "differs"


def test_what_a_read_does_not_say_is_unknown() -> None:
    assert all(shipped_words().compare(field, None, "x") == "unknown" for field in VEHICLE_FIELDS)


def test_a_vehicle_is_compared_in_the_fields_that_are_listed() -> None:
    listed = Vehicle(make="CHEV", model="Malibu", color="GRY", type="4D")
    read = Vehicle(make="Chevy", color="red", type="car")
    assert compare_vehicles(read, listed) == {
        "make": "same",
        "model": "unknown",
        "color": "differs",
        "type": "unknown",
    }
    assert compare_vehicles(None, Vehicle(color="GRY")) == {"color": "unknown"}
    assert compare_vehicles(read, Vehicle()) == {}


_TEXTS = st.none() | st.sampled_from(
    ["Ford", "CHEV", "white", "GRY", "silver", "car", "SUV", "BLK/WHI", "Civic", "Civic EX", ""]
)
_VEHICLES = st.builds(Vehicle, make=_TEXTS, model=_TEXTS, color=_TEXTS, type=_TEXTS)


@given(_VEHICLES, _VEHICLES)
def test_a_vehicle_differs_where_any_field_does(read: Vehicle, listed: Vehicle) -> None:
    assert vehicle_differs(read, listed) is ("differs" in compare_vehicles(read, listed).values())
    assert vehicle_differs(read, listed) is vehicle_differs(listed, read)


@pytest.mark.parametrize("field", VEHICLE_FIELDS)
@given(one=st.text(max_size=64), other=st.text(max_size=64))
def test_any_text_can_be_compared_both_ways(field: str, one: str, other: str) -> None:
    compare = shipped_words().compare
    assert compare(field, one, other) == compare(field, other, one)
    assert compare(field, one, one) in ("same", "unknown")
    assert compare(field, one, one.upper()) != "differs" or "ß" in one or not one.isascii()


def _means(field: str, text: str) -> set[str] | None:
    """What the tables say of one word or of several with `/` between; None: it is not known.

    Several may be one word of the tables: `tractor/truck`."""
    meanings: set[str] = set()
    whole = text.lower().replace("/", " ")
    words = {word for meaning, others in TABLES[field].items() for word in (meaning, *others)}
    for word in [whole] if whole in words else text.lower().split("/"):
        codes = {
            code.lower(): said.lower() for code, said in CODES[f"vehicle_{field}"].items() if said
        }
        word = codes.get(word, word)
        found = {meaning for meaning, others in TABLES[field].items() if word in (meaning, *others)}
        if not found:
            return None
        meanings |= found
    return meanings


def _near(field: str, one: str, other: str) -> bool:
    table = TABLES["near"].get(field, {})
    return any(
        "*" in table.get(this, ()) or that in table.get(this, ())
        for this, that in ((one, other), (other, one))
    )


def _texts(field: str) -> st.SearchStrategy[str]:
    words = sorted({*TABLES[field], *(word for words in TABLES[field].values() for word in words)})
    word = st.sampled_from(words + sorted(CODES[f"vehicle_{field}"]) + ["zzz", "Q9", "frob"])
    return st.one_of(word, st.builds("{}/{}".format, word, word))


@pytest.mark.parametrize("field", FIELDS)
@given(data=st.data())
def test_only_what_both_sides_are_known_to_mean_differently_differs(
    field: str, data: st.DataObject
) -> None:
    read, listed = data.draw(_texts(field)), data.draw(_texts(field))
    meant, wanted = _means(field, read), _means(field, listed)
    known_to_differ = (
        meant is not None
        and wanted is not None
        and not any(one == other or _near(field, one, other) for one in meant for other in wanted)
    )
    assert (shipped_words().compare(field, read, listed) == "differs") is known_to_differ


def test_in_words() -> None:
    assert vehicle_in_words(Vehicle(make="Ford", model="Transit", color="white", type="van")) == (
        "Ford Transit white van"
    )
    assert vehicle_in_words(Vehicle(color="white")) == "white"
    assert vehicle_in_words(Vehicle()) == ""


# ---- the tables


@pytest.mark.parametrize("field", FIELDS)
def test_every_word_and_code_of_ncic_has_its_meaning(field: str) -> None:
    """A meaning by itself, each other word for it, and each code beside the word it stands for."""
    words = shipped_words()
    for meaning, synonyms in TABLES[field].items():
        for word in (meaning, *synonyms):
            assert words.compare(field, word, meaning) == "same"
            assert words.compare(field, word.upper(), meaning) == "same"
            assert len(words.meanings(field, word)) == 1, word
    for code, word in CODES[f"vehicle_{field}"].items():
        if not word:  # a code that says nothing
            assert words.compare(field, code, next(iter(TABLES[field]))) == "unknown"
            continue
        assert words.compare(field, code, word) == "same"
        assert words.meanings(field, code) == words.meanings(field, word)


@pytest.mark.parametrize("field", FIELDS)
def test_no_two_meanings_are_the_same(field: str) -> None:
    meanings = list(TABLES[field])
    for place, one in enumerate(meanings):
        for other in meanings[place + 1 :]:
            assert shipped_words().compare(field, one, other) != "same", (one, other)


@pytest.mark.parametrize(
    ("text", "codes", "line"),
    [
        ("[mark]", {}, "vehicles.toml: mark: unknown field; there are make, model, color, type"),
        (
            "[near.mark]",
            {},
            "vehicles.toml: near.mark: unknown field; there are make, model, color, type",
        ),
        ("make = 1", {}, "vehicles.toml: make: must be a table"),
        ("near = 1", {}, "vehicles.toml: near: must be a table"),
        ("nothing = 'x'", {}, "vehicles.toml: nothing: must be a list of texts"),
        ("[color]\nred = 'rd'", {}, "vehicles.toml: color.red: must be a list of texts"),
        ("[color]\nred = [1]", {}, "vehicles.toml: color.red: must be a list of texts"),
        (
            "[color]\nred = ['rd']\nrose = ['RD']",
            {},
            "vehicles.toml: color.rose: 'RD' has a meaning already",
        ),
        (
            "[color]\nred = []\n[near.color]\nred = ['pink']",
            {},
            "vehicles.toml: near.color.red: 'pink' is no meaning of a word",
        ),
        (
            "[color]\nred = ['rd']\nblue = []\n[near.color]\nblue = ['rd']",
            {},
            "vehicles.toml: near.color.blue: 'rd' is no meaning of a word",
        ),
        (
            "[color]\nred = []",
            {"vehicle_color": {"BLU": "blue"}},
            "vehicles.toml: color: lacks 'blue', the word for BLU in profiles/ncic.toml",
        ),
        (
            "[color]\nred = ['blu']\nblue = []",
            {"vehicle_color": {"BLU": "blue"}},
            "vehicles.toml: color: 'BLU' has another meaning in profiles/ncic.toml",
        ),
    ],
)
def test_tables_that_cannot_be_right(text: str, codes: Any, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        words_of(as_struct(VehicleTables, tomllib.loads(text), "vehicles.toml"), codes)
    assert str(caught.value).startswith(line)
