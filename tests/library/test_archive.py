"""Saved parts come back as they were, or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from engine.errors import IndexFileError
from engine.library.archive import FORMAT, PartsReader, read_parts, write_parts

_NUMBERS = np.array([3, 0, 7], dtype=np.int64)
_SLOTS = BitMap([1, 5, 100_000])


def write_some(path: Path) -> None:
    with write_parts(path) as parts:
        parts.value("manifest.json", {"entries": 3})
        parts.array("numbers.npy", _NUMBERS)
        parts.bitmap("slots.roaring", _SLOTS)
        parts.blob("text.bin", b"as it is")


def read_some(path: Path) -> tuple[Any, ...]:
    with read_parts(path) as parts:
        return (
            parts.value("manifest.json", dict[str, int]),
            parts.array("numbers.npy", np.int64, 3).tolist(),
            list(parts.bitmap("slots.roaring", 100_001)),
            parts.blob("text.bin"),
        )


_SOME = ({"entries": 3}, [3, 0, 7], [1, 5, 100_000], b"as it is")


def manifest_part(parts: PartsReader) -> object:
    return parts.value("manifest.json", dict[str, int])


def refused(path: Path, read: Callable[[PartsReader], object] | None = None) -> str:
    """What the error says, without the path that it begins with."""

    def attempt() -> None:
        with read_parts(path) as parts:
            (read or manifest_part)(parts)

    with pytest.raises(IndexFileError) as caught:
        attempt()
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def sealed(data: bytes) -> bytes:
    """An archive, made by anybody, with our comment and a checksum that is right."""
    comment = b"hotlist-index %d sha256 " % FORMAT
    at = data.rindex(b"PK\x05\x06")
    data = data[: at + 20] + struct.pack("<H", len(comment) + 64) + comment
    return data + hashlib.sha256(data).hexdigest().encode()


def archive_of(*members: tuple[str | zipfile.ZipInfo, bytes], **kwargs: Any) -> bytes:
    """An archive that a hostile writer has sealed."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that stands there twice
        with zipfile.ZipFile(file, "w", **kwargs) as archive:
            for name, data in members:
                archive.writestr(name, data)
    return sealed(file.getvalue())


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    write_some(path)
    assert read_some(path) == _SOME
    assert [one.name for one in tmp_path.iterdir()] == ["hot.index"]


def test_the_same_content_makes_the_same_file(tmp_path: Path) -> None:
    write_some(tmp_path / "one")
    write_some(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@given(
    values=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=200),
    dtype=st.sampled_from([np.int32, np.int64]),
)
def test_arrays_are_what_numpy_reads(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], dtype: type[np.int32]
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "hot.index"
    written = np.array(values, dtype=dtype)
    with write_parts(path) as parts:
        parts.array("values.npy", written)
    with read_parts(path) as reader:
        read = reader.array("values.npy", dtype, len(values), least=-(2**31))
    with zipfile.ZipFile(path) as archive:
        by_numpy = np.load(io.BytesIO(archive.read("values.npy")), allow_pickle=False)
    for each in (read, by_numpy):
        assert each.dtype == written.dtype
        assert each.tolist() == values
    assert read.flags.writeable


def test_any_unzip_reads_it(tmp_path: Path) -> None:
    write_some(tmp_path / "hot.index")
    with zipfile.ZipFile(tmp_path / "hot.index") as archive:
        assert archive.testzip() is None
        assert archive.read("text.bin") == b"as it is"


def test_bitmaps_are_in_the_portable_format(tmp_path: Path) -> None:
    """By RoaringFormatSpec: the cookie for files without run containers, the number of
    containers, then key and cardinality less one of each, where each lies, and their values."""
    write_some(tmp_path / "hot.index")
    with zipfile.ZipFile(tmp_path / "hot.index") as archive:
        data = archive.read("slots.roaring")
    cookie, containers = struct.unpack_from("<II", data)
    assert (cookie, containers) == (12346, 2)
    assert struct.unpack_from("<HHHH", data, 8) == (0, 2 - 1, 1, 1 - 1)
    first, second = struct.unpack_from("<II", data, 16)
    assert struct.unpack_from("<HH", data, first) == (1, 5)
    assert struct.unpack_from("<H", data, second) == (100_000 - 65_536,)
    assert len(data) == second + 2


def test_runs_are_in_the_portable_format(tmp_path: Path) -> None:
    slots = BitMap(range(10, 1000))
    slots.run_optimize()
    with write_parts(tmp_path / "hot.index") as parts:
        parts.bitmap("slots.roaring", slots)
    with zipfile.ZipFile(tmp_path / "hot.index") as archive:
        data = archive.read("slots.roaring")
    (cookie,) = struct.unpack_from("<I", data)
    assert (cookie & 0xFFFF, cookie >> 16) == (12347, 1 - 1)
    assert data[4:5] == b"\x01"  # which of the containers are runs
    assert struct.unpack_from("<HH", data, 5) == (0, 990 - 1)
    assert struct.unpack_from("<HHH", data, 9) == (1, 10, 990 - 1)
    with read_parts(tmp_path / "hot.index") as reader:
        assert reader.bitmap("slots.roaring", 1000) == slots


@pytest.mark.skipif(os.name == "nt", reason="no such modes there")
def test_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    path.write_bytes(b"what was there before")
    path.chmod(0o644)
    write_some(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    write_some(path)

    def fail_midway() -> None:
        with write_parts(path) as parts:
            parts.blob("half.bin", b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_midway()
    assert read_some(path) == _SOME
    assert [one.name for one in tmp_path.iterdir()] == ["hot.index"]


def test_nothing_has_the_name_before_all_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hot.index"
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.exists()))
    write_some(path)
    assert seen[0] is False
    assert all(seen[1:])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "hot.index"
    with pytest.raises(IndexFileError) as caught:
        write_some(path)
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    assert refused(path) == "cannot be read: No such file or directory"
    assert refused(tmp_path) == "cannot be read: Is a directory"
    for data in (b"", b"x", b"PK\x03\x04" + bytes(500), pickle.dumps({1: 2})):
        path.write_bytes(data)
        assert refused(path) == "is no saved index, or one that was cut off"
    path.write_bytes(data := b"no archive, hotlist-index 1 sha256 ")
    path.write_bytes(data + hashlib.sha256(data).hexdigest().encode())
    assert refused(path) == "is no archive: File is not a zip file"


def test_a_later_format(tmp_path: Path) -> None:
    """Whatever its archive may look like."""
    path = tmp_path / "hot.index"
    path.write_bytes(b"hotlist-index 2 sha256 " + b"0" * 64)
    assert refused(path) == (
        "has format 2, and this version reads format 1; "
        "load it with the version that saved it, or build the index again"
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "hot.index"
    write_some(path)
    return path.read_bytes()


def test_every_length_that_it_was_cut_to(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert refused(path) == "is no saved index, or one that was cut off"


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_every_byte_damaged(whole: bytes, tmp_path: Path, bit: int) -> None:
    path = tmp_path / "hot.index"
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        assert refused(path).startswith(
            ("is damaged: its checksum", "is no saved index", "has format ")
        )


@given(data=st.data())
def test_damaged_and_sealed_again(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes changed, cut out and put in on purpose: what is read is what was asked for, or there
    is one error that says why not."""
    path = tmp_path_factory.mktemp("hostile") / "hot.index"
    hostile = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(hostile) - 1))
        length = data.draw(st.integers(0, 8))
        hostile[place : place + length] = data.draw(st.binary(max_size=8))
    if b"PK\x05\x06" not in hostile:
        return
    path.write_bytes(sealed(bytes(hostile)))
    try:
        manifest, numbers, slots, _ = read_some(path)
    except IndexFileError:
        return
    assert all(isinstance(number, int) for number in manifest.values())
    assert len(numbers) == 3
    assert all(number >= 0 for number in numbers)
    assert slots == sorted(set(slots))
    assert all(slot <= 100_000 for slot in slots)


def array_part(parts: PartsReader) -> object:
    return parts.array("numbers.npy", np.int64, 3, below=10)


def npy(values: Any, **kwargs: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values, **kwargs)
    return file.getvalue()


_HUGE = b"\x93NUMPY\x01\x00v\x00" + (
    b"{'descr': '<i8', 'fortran_order': False, 'shape': (1152921504606846975,), }".ljust(117)
    + b"\n"
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        npy(np.array([1, 2], dtype="<i8")),
        npy(np.array([1, 2, 3], dtype="<i4")),
        npy(np.array([1, 2, 3], dtype=">i8")),
        npy(np.array([1.0, 2.0, 3.0], dtype="<f8")),
        npy(np.array([[1, 2, 3]], dtype="<i8")),
        npy(np.array([1, "two", None], dtype=object), allow_pickle=True),
        npy(np.array([1, 2, 3], dtype="<i8")) + b"more",
        npy(np.array([1, 2, 3], dtype="<i8"))[:-1],
        _HUGE,
    ],
)
def test_arrays_that_are_others(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "hot.index"
    path.write_bytes(archive_of(("numbers.npy", data)))
    what = refused(path, array_part)
    assert what == "numbers.npy is no flat array of 3 int64 in little-endian"


@pytest.mark.parametrize("numbers", [[1, 2, -1], [1, 2, 10], [2**62, 0, 0]])
def test_numbers_out_of_range(tmp_path: Path, numbers: list[int]) -> None:
    path = tmp_path / "hot.index"
    path.write_bytes(archive_of(("numbers.npy", npy(np.array(numbers, dtype="<i8")))))
    assert refused(path, array_part) == "numbers.npy holds a number out of range"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is no bitmap in CRoaring's portable format"),
        (bytes(8), "is no bitmap in CRoaring's portable format"),
        (_SLOTS.serialize()[:-1], "is no bitmap in CRoaring's portable format"),
        (_SLOTS.serialize() + b"x", "holds more than a bitmap"),
        (
            _SLOTS.serialize().replace(b"\x01\x00\x05\x00", b"\x05\x00\x01\x00"),
            "is no bitmap in CRoaring's portable format",
        ),
        (BitMap([100_001]).serialize(), "holds a slot that is not below 100001"),
        (BitMap([2**32 - 1]).serialize(), "holds a slot that is not below 100001"),
    ],
)
def test_bitmaps_that_are_none(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "hot.index"
    path.write_bytes(archive_of(("slots.roaring", data)))
    found = refused(path, lambda parts: parts.bitmap("slots.roaring", 100_001))
    assert found == f"slots.roaring {what}"


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b'{"entries": "secret"}', b"\xff"])
def test_values_that_are_others(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "hot.index"
    path.write_bytes(archive_of(("manifest.json", data)))
    assert refused(path) == "manifest.json is not valid JSON for this part"


def test_a_part_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    path.write_bytes(archive_of())
    assert refused(path) == "manifest.json is missing"


def test_a_part_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    path.write_bytes(archive_of(("manifest.json", b"{}"), ("manifest.json", b"{}")))
    assert refused(path) == "holds a part twice"


def test_nothing_unfolds(tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    bomb = archive_of(("manifest.json", bytes(10_000_000)), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000
    path.write_bytes(bomb)
    assert refused(path) == "holds a part that is not stored as it is"


def test_parts_that_lie_over_each_other(tmp_path: Path) -> None:
    """Two names for the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.bin", bytes(1000))
        member = archive.infolist()[0]
        for number in range(3):
            twin = zipfile.ZipInfo(f"two{number}.bin")
            twin.file_size, twin.compress_size = member.file_size, member.compress_size
            twin.CRC, twin.header_offset = member.CRC, member.header_offset
            archive.filelist.append(twin)
    path = tmp_path / "hot.index"
    path.write_bytes(sealed(file.getvalue()))
    assert refused(path) == "holds parts that are longer than the file"


def test_a_part_whose_own_checksum_is_wrong(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hot.index"
    path.write_bytes(sealed(whole.replace(b"as it is", b"as it ws")))
    what = refused(path, lambda parts: parts.blob("text.bin"))
    assert what == "text.bin cannot be read: Bad CRC-32 for file 'text.bin'"


def test_the_writer_does_not_repeat_names(tmp_path: Path) -> None:
    path = tmp_path / "hot.index"

    def repeat() -> None:
        with write_parts(path) as parts:
            parts.blob("a.bin", b"")
            parts.blob("a.bin", b"")

    with pytest.raises(UserWarning, match="Duplicate name"):
        repeat()
    assert not path.exists()
