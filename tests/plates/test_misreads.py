"""The table of misreads: what is shipped, what a file may say, and skeletons."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Settings
from engine.errors import ConfigError
from engine.plates.misreads import Misreads
from engine.worker.worker import Worker

SHIPPED = Misreads.load()
GOOD = """
groups = ["O0", "ÖŐ", "千7"]
missing_rate = 0.01
added_rate = 0.02
plate_density = 1
other_pattern_share = 0.5
other_length_share = 0.25
[counts]
0 = { 0 = 9, O = 1 }
"Ö" = { "Ö" = 3, "Ő" = 1 }
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_shipped() -> None:
    groups = [set(group) for group in SHIPPED.groups]
    for expected in ("OQD0", "IL1", "B8", "S5", "Z2", "G6"):
        assert any(set(expected) <= group for group in groups), expected
    assert sum(sum(counts.values()) for counts in SHIPPED.counts.values()) == 3811
    assert sum(SHIPPED.counts[char].get(char, 0) for char in SHIPPED.counts) == 3467


def test_a_file_of_our_own_replaces_it_whole(tmp_path: Path) -> None:
    own = Misreads.load(write(tmp_path, GOOD))
    assert own.groups == ("O0", "ÖŐ", "千7")
    assert own.counts == {"0": {"0": 9, "O": 1}, "Ö": {"Ö": 3, "Ő": 1}}
    assert (own.table.missing_rate, own.table.added_rate) == (0.01, 0.02)
    assert (own.table.plate_density, own.table.other_pattern_share) == (1.0, 0.5)
    assert own.table.other_length_share == 0.25
    assert own.skeleton("B0ŐÖ千7?") == "BOÖÖ77?"
    assert own.skeleton_bytes[ord("0")] == ord("O")
    assert own.skeleton_bytes[ord("B")] == ord("B")


REGIONAL = """
[regional]
DE = ["OÄ", "UÜ"]
DK = ["0Ø", "UÜ"]
EG = ["اأإ"]
"""


def test_regions_extend_the_groups(tmp_path: Path) -> None:
    text = changed("groups", '["O0", "S5", "千7"]') + REGIONAL
    own = Misreads.load(write(tmp_path, text))
    assert own.groups == ("O0", "S5", "千7")
    assert own.in_region("DE").groups == ("O0Ä", "S5", "千7", "UÜ")
    assert own.in_region("DK-84").groups == ("O0Ø", "S5", "千7", "UÜ")
    assert own.in_region("EG").groups == ("O0", "S5", "千7", "اأإ")
    assert own.in_region("US") is own
    assert own.in_region(None).groups == ("O0ÄØ", "S5", "千7", "UÜ", "اأإ")
    assert [own.number_in(region) for region in ("US", "DE", "DK", "EG", None)] == [0, 1, 2, 3, 4]
    assert own.in_region("DE").skeleton("0ÄØ?") == "OOØ?"


def test_a_file_without_regions_has_one_table(tmp_path: Path) -> None:
    own = Misreads.load(write(tmp_path, GOOD))
    assert own.tables == (own,)
    assert own.in_region(None) is own.in_region("DE") is own


@given(st.text(st.characters(max_codepoint=127)))
def test_plates_of_ascii_have_one_skeleton_everywhere(text: str) -> None:
    assert {table.skeleton(text) for table in SHIPPED.tables} == {SHIPPED.skeleton(text)}
    assert {table.skeleton_bytes for table in SHIPPED.tables} == {SHIPPED.skeleton_bytes}


@pytest.mark.parametrize(
    ("region", "read", "listed"),
    [
        ("DE", "FUS123", "FÜS123"),
        ("DE-BY", "TO0L1", "TÖ0L1"),
        ("SE", "AAO123", "ÅÄÖ123"),
        ("NO", "B0R123", "BØR123"),
        ("HR", "CK123ZA", "ČK123ZA"),
        ("SI", "LE059SN", "LE059ŠN"),
        ("RS", "CADC12", "ČAĐĆ12"),
        ("VN", "29MD1", "29MĐ1"),
        ("ES", "AN123", "AÑ123"),
        ("EG", "اب12", "أب12"),
        (None, "FUS123", "FÜS123"),
    ],
)
def test_what_readers_cannot_output_in_a_region(region: str | None, read: str, listed: str) -> None:
    there = SHIPPED.in_region(region)
    assert there.skeleton(read) == there.skeleton(listed)
    assert SHIPPED.skeleton(read) != SHIPPED.skeleton(listed)
    if region is not None:
        assert SHIPPED.in_region("US").skeleton(read) != SHIPPED.in_region("US").skeleton(listed)


def test_a_worker_takes_the_file_that_it_is_given(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert Worker(Settings(misreads=path)).lists.misreads.groups == ("O0", "ÖŐ", "千7")
    assert Worker(Settings()).lists.misreads.groups == SHIPPED.groups
    path.write_text("groups = []")
    with pytest.raises(ConfigError, match="counts: is required"):
        Worker(Settings(misreads=path))


CHARACTERS = st.sampled_from("ABDGILOQSTZ01256789ÖŐ千?")


@given(st.text(CHARACTERS), st.text(CHARACTERS))
def test_plates_fold_to_the_same_where_they_are_look_alikes(one: str, other: str) -> None:
    def alike(char: str, another: str) -> bool:
        return char == another or any(
            char in group and another in group for group in SHIPPED.groups
        )

    look_alikes = len(one) == len(other) and all(map(alike, one, other))
    assert (SHIPPED.skeleton(one) == SHIPPED.skeleton(other)) == look_alikes
    assert SHIPPED.skeleton(SHIPPED.skeleton(one)) == SHIPPED.skeleton(one)


@given(st.text(st.characters(max_codepoint=127)))
def test_bytes_are_folded_as_characters_are(text: str) -> None:
    assert text.encode().translate(SHIPPED.skeleton_bytes) == SHIPPED.skeleton(text).encode()


def test_bytes_beyond_ascii_stay() -> None:
    assert SHIPPED.skeleton_bytes[128:] == bytes(range(128, 256))
    assert len(SHIPPED.skeleton_bytes) == 256


SHARES = (
    "missing_rate",
    "added_rate",
    "plate_density",
    "other_pattern_share",
    "other_length_share",
)

GROUPS = "groups: must be a list of at most 100 texts of 2 to 36 characters"


def changed(name: str, written: str) -> str:
    """The good file with one value written otherwise."""
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{name} = ")]
    assert len(lines) < len(GOOD.splitlines())
    return "\n".join([f"{name} = {written}", *lines])


def without(name: str) -> str:
    return changed(name, "0").split("\n", 1)[1]


def counting(written: str) -> str:
    """The good file with other counts."""
    return GOOD[: GOOD.index("[counts]")] + f"[counts]\n{written}\n"


def many(count: int) -> str:
    """Counts of so many characters."""
    return ", ".join(f'"{chr(0x4E00 + number)}" = 1' for number in range(count))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "group = []\n" + GOOD,
            f"group: unknown field; there are groups, counts, {', '.join(SHARES)}, regional",
        ),
        *((without(name), f"{name}: is required") for name in ("groups", *SHARES)),
        (GOOD[: GOOD.index("[counts]")], "counts: is required"),
        (
            changed("groups", '"O0"'),
            GROUPS,
        ),
        (
            changed("groups", str(["O0"] * 101)),
            GROUPS,
        ),
        (
            changed("groups", "[1]"),
            GROUPS,
        ),
        (
            changed("groups", '["O"]'),
            GROUPS,
        ),
        (changed("groups", '["O0", "S5O"]'), "groups: 'S5O': 'O' is in 'O0' too"),
        (changed("groups", '["O0", "O0"]'), "groups: 'O0': 'O' is in 'O0' too"),
        (changed("groups", '["O0O"]'), "groups: 'O0O': 'O' is there twice"),
        *(
            (
                changed("groups", f'["X{char}"]'),
                f"groups: 'X{char}': {char!r} is not one character of a plate in normal form",
            )
            for char in ("o", "?", "-", " ", "О", "０")
        ),
        *(
            (changed(name, written), f"{name}: must be a number from {least} to {most}")
            for name, least, most in (
                ("missing_rate", "1e-06", "0.5"),
                ("added_rate", "1e-06", "0.5"),
                ("plate_density", "1e-09", "1"),
                ("other_pattern_share", "1e-09", "1"),
                ("other_length_share", "1e-09", "1"),
            )
            for written in ("0", "1.1", "-0.1", "true", '"0.1"', "nan", "inf", "[0.1]")
        ),
        (
            counting("").replace("[counts]", "counts = 1"),
            "counts: must be a table of at most 256 characters",
        ),
        *(
            (GOOD + f"[regional]\n{written}\n", what)
            for written, what in (
                ('Germany = ["UÜ"]', "regional.Germany: must be an ISO 3166-1 code such as DE"),
                ('DE = "UÜ"', f"regional.DE: {GROUPS[8:]}"),
                ('DE = ["Ü"]', f"regional.DE: {GROUPS[8:]}"),
                (
                    'DE = ["Uü"]',
                    "regional.DE: 'Uü': 'ü' is not one character of a plate in normal form",
                ),
                ('DE = ["UÜ", "AÜ"]', "regional.DE: 'AÜ': 'Ü' is in 'UÜ' too"),
                (
                    'DE = ["UVÜ"]',
                    (
                        "regional.DE: 'UVÜ': 'V' may only stand first, as the character that "
                        "readers output"
                    ),
                ),
                ('DE = ["UÖ"]', "regional.DE: 'UÖ': 'Ö' is in 'ÖŐ' of groups too"),
                (
                    'DE = ["UÜ"]\nEE = ["VÜ"]',
                    "regional.EE: 'VÜ': 'Ü' is read as 'U' in DE, so it must be here too",
                ),
            )
        ),
        (counting("o = { O = 1 }"), "counts: 'o' is not one character of a plate in normal form"),
        (counting("OO = { O = 1 }"), "counts: 'OO' is not one character of a plate in normal form"),
        (counting("O = 1"), "counts.O: must be a table of 1 to 256 characters"),
        (counting("O = {}"), "counts.O: must be a table of 1 to 256 characters"),
        (counting("O = { o = 1 }"), "counts.O: 'o' is not one character of a plate in normal form"),
        (counting(f"O = {{ {many(251)} }}"), "names more than 256 characters"),
        *(
            (
                counting(f"O = {{ 0 = {written} }}"),
                "counts.O.0: must be a whole number from 0 to 1000000000",
            )
            for written in ("-1", "1000000001", "1.0", "true", '"1"')
        ),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, what: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        Misreads.load(path)
    assert str(caught.value) == f"{path}: {what}"


@pytest.mark.parametrize(
    "data", [b"groups", b"\xff", b"a = " + b"[" * 100_000, b"[counts]\nO = {}\nO = {}"]
)
def test_a_file_that_is_not_toml(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"mine\.toml: is not TOML in UTF-8: "):
        Misreads.load(path)


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert Misreads.load(write(tmp_path, "\ufeff" + GOOD)).groups == ("O0", "ÖŐ", "千7")


def test_as_many_characters_as_there_may_be(tmp_path: Path) -> None:
    text = counting(f"O = {{ {many(250)} }}")  # with those of the groups
    assert len(Misreads.load(write(tmp_path, text)).counts["O"]) == 250


def test_no_group_and_no_counts_are_possible(tmp_path: Path) -> None:
    text = changed("groups", "[]")
    bare = Misreads.load(write(tmp_path, text[: text.index("[counts]")] + "[counts]\n"))
    assert bare.skeleton("AO0Q?") == "AO0Q?"
    assert bare.skeleton_bytes == bytes(range(256))


def share_at_least(count: int, of: float) -> float:
    """The lower end of Wilson's 95% interval, six readings counting as one."""
    n, share, z = of / 6, count / of, 1.96
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (share + z * z / (2 * n) - half) / (1 + z * z / n)


def test_the_shipped_groups_follow_the_rules_beside_them() -> None:
    counts = SHIPPED.counts
    shown = {
        frozenset((true, read))
        for true, of_true in counts.items()
        for read, count in of_true.items()
        if read != true and share_at_least(count, sum(of_true.values())) >= 0.01
    }
    assert {"".join(sorted(pair)) for pair in shown} == {
        *("0O", "2Z", "1I", "6G", "7T", "8B", "OQ"),
        *("IJ", "MW", "0G", "9S", "39"),
    }
    groups = [set(group) for group in SHIPPED.groups]
    put_together = {pair for pair in shown if any(pair <= group for group in groups)}
    assert {"".join(sorted(pair)) for pair in put_together} == {
        *("0O", "2Z", "1I", "6G", "7T", "8B", "OQ")
    }
    for group in groups:
        assert len([char for char in group if char.isdigit()]) == 1
        letters = {char for char in group if char.isalpha()}
        assert len(letters) == 1 or letters in ({"O", "Q", "D"}, {"I", "L"})
