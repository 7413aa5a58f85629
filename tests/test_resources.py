"""Files that we ship and that an operator may replace: how they are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from engine.documents.purposes import Purposes
from engine.errors import ConfigError
from engine.plates.misreads import Misreads
from engine.resources import FILE_BYTES, as_struct, read, read_toml

LOADS = pytest.mark.parametrize("load", [Misreads.load, Purposes.load])
Load = Callable[[Path | None], object]


@pytest.mark.parametrize("name", ["misreads.toml", "purposes.json"])
def test_what_is_shipped_is_found_and_named(name: str) -> None:
    data, where = read(name, None)
    assert where == name
    assert data


def test_a_file_of_ones_own_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_bytes(b"x" * FILE_BYTES)
    assert read("misreads.toml", path) == (b"x" * FILE_BYTES, str(path))


@LOADS
def test_a_file_that_is_too_large(tmp_path: Path, load: Load) -> None:
    path = tmp_path / "large"
    path.write_bytes(b" " * (FILE_BYTES + 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: is larger than 1 MiB"


@LOADS
def test_a_file_that_is_not_there(tmp_path: Path, load: Load) -> None:
    path = tmp_path / "missing"
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


@LOADS
def test_a_directory_is_no_file(tmp_path: Path, load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read: Is a directory"


class Inner(msgspec.Struct):
    count: Annotated[int, Meta(ge=1, description="a whole number from 1")] = 1


class Outer(msgspec.Struct):
    text: Annotated[str, Meta(description="a text")]
    by_name: Annotated[
        dict[str, Annotated[list[str], Meta(description="a list of texts")]],
        Meta(max_length=2, description="a table of at most 2"),
    ] = {}
    inner: Inner | None = None


def test_a_table_as_a_struct() -> None:
    table = {"text": "x", "by_name": {"a": ["b"]}, "inner": {"count": 2}}
    assert as_struct(Outer, table, "f") == Outer("x", {"a": ["b"]}, Inner(2))
    assert as_struct(Outer, {"text": "x"}, "f") == Outer("x")


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (1, "f: must be a table"),
        ({}, "f: text: is required"),
        ({"text": 1}, "f: text: must be a text"),
        ({"text": "x", "next": 1}, "f: next: unknown field; there are text, by_name, inner"),
        ({"text": "x", "by_name": 1}, "f: by_name: must be a table of at most 2"),
        ({"text": "x", "by_name": dict.fromkeys("abc")}, "f: by_name: must be a table of at"),
        ({"text": "x", "by_name": {"a": [1]}}, "f: by_name.a: must be a list of texts"),
        ({"text": "x", "inner": 1}, "f: inner: must be a table"),
        ({"text": "x", "inner": {"count": 0}}, "f: inner.count: must be a whole number from 1"),
        ({"text": "x", "inner": {"count": True}}, "f: inner.count: must be a whole number from 1"),
        ({"text": "x", "inner": {"size": 0}}, "f: inner.size: unknown field; there are count"),
    ],
)
def test_what_breaks_a_rule_is_named_with_the_rule(table: Any, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        as_struct(Outer, table, "f")
    assert str(caught.value).startswith(what)


def test_what_is_not_text_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"a = 1\nb = '\xff'")
    with pytest.raises(ConfigError, match="is not TOML in UTF-8: see line 2"):
        read_toml("misreads.toml", path)
