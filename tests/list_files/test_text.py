"""Which encoding a file is taken for."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.list_files.text import UTF_8, WINDOWS_1252, Encoding, EntryFileError, encoding_of


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
