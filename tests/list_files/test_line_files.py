"""Files of lines: numbers and contents, whatever the file holds."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.list_files.line_files import numbered_lines


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


BYTES = st.lists(st.sampled_from([b"\r", b"\n", b"a", b" ", b"\xef\xbb\xbf"])).map(b"".join)


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
