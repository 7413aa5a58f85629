"""Which encoding a file is taken for; its lines, whatever the file holds."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.list_files.text import (
    UTF_8,
    WINDOWS_1252,
    Encoding,
    EntryFileError,
    encoding_of,
    numbered_lines,
)

BYTES = st.lists(st.sampled_from([b"\r", b"\n", b"a", b" ", b"\xef\xbb\xbf"])).map(b"".join)


def found(data: bytes, wanted: str = "auto") -> Encoding:
    file = io.BytesIO(data)
    file.seek(len(data))
    encoding = encoding_of(file, wanted, "x.csv")
    assert file.tell() == 0
    return encoding


@given(text=st.text())
def test_utf_8_is_never_taken_for_anything_else(text: str) -> None:
    assert found(text.encode()) == UTF_8 or text.encode().startswith((b"\xff\xfe", b"\xfe\xff"))
    assert found(text.encode("utf-8-sig")) == UTF_8


@pytest.mark.parametrize("before", [0, 1, 1024 * 1024 - 1, 1024 * 1024])
def test_windows_1252_where_it_is_no_utf_8(before: int) -> None:
    # A letter that lies across two pieces of the file is no less UTF-8.
    assert found(b"a" * before + "é".encode()) == UTF_8
    guessed = found(b"a" * before + "é\n".encode("cp1252"))
    assert guessed == Encoding("Windows-1252", "cp1252", guessed=True)
    assert found(b"a" * before + "é".encode()[:1]).guessed
    # Beside letters in UTF-8, or if Windows-1252 does not have it either, a byte is damage.
    assert found("é".encode() + b"a" * before + b"\xe9") == UTF_8
    assert found(b"\xe9" + b"a" * before + "é".encode()) == UTF_8
    assert found(b"\xe9" + b"a" * before + b"\x81") == UTF_8


@given(text=st.text(), at=st.floats(0, 1), byte=st.integers(0x80, 0xFF))
def test_one_byte_makes_no_other_encoding_of_a_utf_8_file(text: str, at: float, byte: int) -> None:
    data = ("Ü" + text + "Ü").encode()
    place = 2 + round(at * (len(data) - 4))
    data = data[:place] + bytes([byte]) + data[place:]
    assert found(data) == UTF_8


def test_what_is_asked_for_counts() -> None:
    assert found(b"\xe9", "utf-8") == UTF_8
    assert found("é".encode(), "windows-1252") == WINDOWS_1252
    # With the mark it says itself what it is, whatever else is in it.
    assert found(b"\xef\xbb\xbfa\xff") == UTF_8


@pytest.mark.parametrize("wanted", ["auto", "utf-8", "windows-1252"])
def test_utf_16_is_refused(wanted: str) -> None:
    for codec in ("utf-16-le", "utf-16-be"):
        with pytest.raises(EntryFileError) as caught:
            found("\ufeffplate\n".encode(codec), wanted)
        assert str(caught.value) == "x.csv: is UTF-16 text; save it as UTF-8"


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", []),
        (b"a", [(1, b"a")]),
        (b"a\n\n b\r\n", [(1, b"a"), (3, b" b")]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", [(1, b"a"), (2, b"\xef\xbb\xbfb")]),
        (b"12345\n123456\n1", [(1, b"12345"), (2, None), (3, b"1")]),
        (b"12345\r\n1", [(1, b"12345"), (2, b"1")]),
        (b"x" * 1000, [(1, None)]),
        (b"\xff\n", [(1, b"\xff")]),
    ],
)
def test_lines(data: bytes, lines: list[tuple[int, bytes | None]]) -> None:
    assert list(numbered_lines(io.BytesIO(data), 5)) == lines


@given(BYTES | st.binary(), st.integers(min_value=1, max_value=20))
def test_every_line_is_there_once(data: bytes, limit_bytes: int) -> None:
    expected: list[tuple[int, bytes | None]] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        content = line.removesuffix(b"\r")
        if len(content) > limit_bytes:
            expected.append((number, None))
        elif content.strip():
            expected.append((number, content))
    assert list(numbered_lines(io.BytesIO(data), limit_bytes)) == expected
