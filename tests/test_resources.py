"""Files that we ship and that an operator may replace: how they are read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.documents.purposes import Purposes
from engine.errors import ConfigError
from engine.plates.misreads import Misreads
from engine.resources import FILE_BYTES, read

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
    assert str(caught.value) == f"{path}: is larger than 1048576 bytes"


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
