"""An index in one file: named parts, as they were saved or not at all.

The file is a ZIP archive whose members are stored as they are, so that any tool opens it and
nothing in it unfolds to more than the file is long. A part's name says what it is:

    .npy      a flat array, in numpy's format 1.0, little-endian
    .roaring  a set of slots, in CRoaring's portable format
    .json     a value, in UTF-8
    .bin      bytes

The archive's comment, at the very end, is `hotlist-index FORMAT sha256 HEX`: HEX is the SHA-256
of everything before it. So a file that was cut off or damaged is refused before anything in it
is looked at. That is no signature: whoever may write the file decides what is in it. Therefore
the reader believes no length, type or number either; nothing is unpickled, and the header of an
array is not parsed but compared with the one that must stand there.

Such a file holds a hot list. It is made readable for its owner alone (mode 0600), under another
name, and takes its own name when all of it has reached the disk: whoever opens that finds the
old file or the new one.

Knows parts, not what they mean. Format: https://github.com/RoaringBitmap/RoaringFormatSpec and
numpy's `numpy.lib.format`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from engine.errors import IndexFileError

#: The format that is written, and the only one that is read.
FORMAT: Final = 1

_HEX_CHARACTERS: Final = 64
_COMMENT: Final = re.compile(rb"hotlist-index ([0-9]{1,9}) sha256 ([0-9a-f]{64})")
#: The longest comment that any format may have.
_COMMENT_BYTES: Final = len("hotlist-index 123456789 sha256 ") + _HEX_CHARACTERS
_CHUNK_BYTES: Final = 1 << 20
_ENCRYPTED: Final = 1
#: A file in which all is the same is the same file, whenever it is made.
_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)
#: What reading a member raises where an archive contradicts itself.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)

S = TypeVar("S", np.int32, np.int64, np.uint32, np.uint64)
V = TypeVar("V")


class PartsWriter:
    """Takes the parts of a file that is being written. Names are not repeated."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def array(self, name: str, values: npt.NDArray[Any]) -> None:
        """A flat array of whole numbers."""
        little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        self.blob(name, _npy_header(little.dtype, len(little)) + little.tobytes())

    def bitmap(self, name: str, slots: BitMap) -> None:
        """A set of slots."""
        self.blob(name, slots.serialize())

    def value(self, name: str, value: object) -> None:
        """What msgspec writes as JSON."""
        self.blob(name, msgspec.json.encode(value))

    def blob(self, name: str, data: bytes) -> None:
        """Bytes."""
        member = zipfile.ZipInfo(name, _NO_DATE)
        member.external_attr = 0o600 << 16
        self._archive.writestr(member, data)


class PartsReader:
    """Gives the parts of a file that is as it was written. IndexFileError where one is missing
    or is not what is asked for."""

    def __init__(self, archive: zipfile.ZipFile, where: str) -> None:
        self._archive = archive
        self._where = where

    def array(
        self, name: str, dtype: type[S], length: int, *, least: int = 0, below: int | None = None
    ) -> npt.NDArray[S]:
        """A flat array of so many numbers, all of them at least `least` and less than `below`;
        the caller's own."""
        data = self.blob(name)
        kind = np.dtype(dtype).newbyteorder("<")
        header = _npy_header(kind, length)
        if not data.startswith(header) or len(data) != len(header) + length * kind.itemsize:
            raise self.refuse(name, f"is no flat array of {length} {kind.name} in little-endian")
        values = np.frombuffer(data, dtype=kind, offset=len(header)).astype(dtype)
        if length and (values.min() < least or (below is not None and values.max() >= below)):
            raise self.refuse(name, "holds a number out of range")
        return values

    def bitmap(self, name: str, below: int) -> BitMap:
        """A set of slots, all of them less than `below`."""
        data = self.blob(name)
        try:
            slots = BitMap.deserialize(data)
        except (ValueError, IndexError):
            raise self.refuse(name, "is no bitmap in CRoaring's portable format") from None
        if slots and slots.max() >= below:
            raise self.refuse(name, f"holds a slot that is not below {below}")
        if slots.serialize() != data:
            raise self.refuse(name, "holds more than a bitmap")
        return slots

    def value(self, name: str, kind: type[V]) -> V:
        """A JSON value of this type."""
        try:
            return msgspec.json.decode(self.blob(name), type=kind)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            # The reason could quote what stands there.
            raise self.refuse(name, "is not the JSON that belongs there") from None

    def blob(self, name: str) -> bytes:
        """Bytes."""
        try:
            return self._archive.read(name)
        except KeyError:
            raise self.refuse(name, "is missing") from None
        except _ZIP_ERRORS as error:
            raise self.refuse(name, f"cannot be read: {error}") from error

    def refuse(self, name: str, what: str) -> IndexFileError:
        """The error that says so of a part."""
        return IndexFileError(f"{name} {what}", where=self._where)


@contextlib.contextmanager
def write_parts(path: Path) -> Iterator[PartsWriter]:
    """What the block gives to the writer is at `path` when the block ends; when it fails, what
    was there stays. IndexFileError where the file cannot be written."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(unfinished, flags, 0o600), "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                yield PartsWriter(archive)
                archive.comment = b"hotlist-index %d sha256 " % FORMAT + b"0" * _HEX_CHARACTERS
            length = file.seek(0, os.SEEK_END) - _HEX_CHARACTERS
            digest = _digest(file, length)
            file.seek(length)
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise IndexFileError(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def read_parts(path: Path) -> Iterator[PartsReader]:
    """The parts of a file, which is checked first. IndexFileError where it cannot be read, is
    none of ours, is damaged or has another format."""
    where = str(path)
    try:
        with path.open("rb") as file:
            size_bytes = _check_digest(file, where)
            try:
                archive = zipfile.ZipFile(file)
            except _ZIP_ERRORS as error:
                raise IndexFileError(f"is no archive: {error}", where=where) from error
            with archive:
                _check_members(archive, size_bytes, where)
                yield PartsReader(archive, where)
    except OSError as error:
        raise IndexFileError(f"cannot be read: {error.strerror or error}", where=where) from error


def _check_digest(file: IO[bytes], where: str) -> int:
    """The file's length in bytes, if it is of our format and whole."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, size_bytes - _COMMENT_BYTES))
    comment = _COMMENT.search(tail := file.read(_COMMENT_BYTES))
    if comment is None or comment.end() != len(tail):
        raise IndexFileError("is no saved index, or one that was cut off", where=where)
    if int(comment[1]) != FORMAT:
        raise IndexFileError(
            f"has format {int(comment[1])}, and this version reads format {FORMAT}",
            where=where,
            hint="load it with the version that saved it, or make the index anew",
        )
    if _digest(file, size_bytes - _HEX_CHARACTERS) != comment[2]:
        raise IndexFileError("is damaged: its checksum is another one", where=where)
    return size_bytes


def _check_members(archive: zipfile.ZipFile, size_bytes: int, where: str) -> None:
    members = archive.infolist()
    if len({member.filename for member in members}) != len(members):
        raise IndexFileError("holds a part twice", where=where)
    if any(
        member.compress_type != zipfile.ZIP_STORED
        or member.compress_size != member.file_size
        or member.flag_bits & _ENCRYPTED
        for member in members
    ):
        raise IndexFileError("holds a part that is not stored as it is", where=where)
    if sum(member.file_size for member in members) > size_bytes:
        raise IndexFileError("holds parts that are longer than the file", where=where)


def _digest(file: IO[bytes], length: int) -> bytes:
    """The SHA-256, in hex, of the first bytes of a file."""
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0:
        chunk = file.read(min(length, _CHUNK_BYTES))
        if not chunk:
            break
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest().encode()


def _npy_header(dtype: np.dtype[Any], length: int) -> bytes:
    """What stands before the numbers of a flat array in numpy's format 1.0."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({length},), }}"
    filled = -(10 + len(text) + 1) % 64
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(text) + filled + 1)
        + (text + " " * filled + "\n").encode("ascii")
    )


def _sync_folder(folder: Path) -> None:
    """Let a file's new name reach the disk, where the system has a way to ask for it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
