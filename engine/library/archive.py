"""An index in one file: named parts, exactly as they were saved.

The file is a ZIP archive whose members are not compressed. So any tool opens it, and no member is
longer than the file. The suffix of a part's name gives its type:

    .npy      a flat array, in numpy's format 1.0, little-endian
    .roaring  a set of slots, in CRoaring's portable format
    .json     a value, in UTF-8
    .bin      bytes

The archive's comment, at the very end, is `hotlist-index FORMAT sha256 HEX`. HEX is the SHA-256 of
everything before it. So a truncated or damaged file is refused before any part of it is read. That
is no signature: anyone with write access to the file decides its content. Therefore the reader
trusts no length, type or number either. Nothing is unpickled, and the header of an array is not
parsed but compared with the expected one.

Such a file holds a hot list, so only its owner may read it (mode 0600). It is written under another
name and renamed when all of it is on disk, so a reader finds either the old file or the new one.

This module handles parts, not their meaning. Format:
https://github.com/RoaringBitmap/RoaringFormatSpec and numpy's `numpy.lib.format`.
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

#: The format that is written, and the only one that can be read.
FORMAT: Final = 1

_HEX_CHARACTERS: Final = 64
_COMMENT: Final = re.compile(rb"hotlist-index ([0-9]{1,9}) sha256 ([0-9a-f]{64})")
#: The length of the longest comment of any format.
_COMMENT_BYTES: Final = len("hotlist-index 123456789 sha256 ") + _HEX_CHARACTERS
_CHUNK_BYTES: Final = 1 << 20
_ENCRYPTED: Final = 1
#: A fixed date, so that equal content gives equal files.
_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)
#: The errors of `zipfile` for an inconsistent archive.
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
    """A writer for the parts of a file; names must not repeat."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def array(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write a flat array of whole numbers."""
        little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        self.blob(name, _npy_header(little.dtype, len(little)) + little.tobytes())

    def bitmap(self, name: str, slots: BitMap) -> None:
        """Write a set of slots."""
        self.blob(name, slots.serialize())

    def value(self, name: str, value: object) -> None:
        """Write a value as JSON."""
        self.blob(name, msgspec.json.encode(value))

    def blob(self, name: str, data: bytes) -> None:
        """Write bytes."""
        member = zipfile.ZipInfo(name, _NO_DATE)
        member.external_attr = 0o600 << 16
        self._archive.writestr(member, data)


class PartsReader:
    """A reader for the parts of a checked file.

    Its methods raise IndexFileError if a part is missing or is not of the requested type.
    """

    def __init__(self, archive: zipfile.ZipFile, where: str) -> None:
        self._archive = archive
        self._where = where

    def array(
        self, name: str, dtype: type[S], length: int, *, least: int = 0, below: int | None = None
    ) -> npt.NDArray[S]:
        """Return a new flat array of `length` numbers, at least `least` and less than `below`."""
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
        """Return a set of slots, all of them less than `below`."""
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
        """Return a JSON value of this type."""
        try:
            return msgspec.json.decode(self.blob(name), type=kind)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            # No reason, because it could quote the content.
            raise self.refuse(name, "is not valid JSON for this part") from None

    def blob(self, name: str) -> bytes:
        """Return bytes."""
        try:
            return self._archive.read(name)
        except KeyError:
            raise self.refuse(name, "is missing") from None
        except _ZIP_ERRORS as error:
            raise self.refuse(name, f"cannot be read: {error}") from error

    def refuse(self, name: str, what: str) -> IndexFileError:
        """Return the error that refuses a part."""
        return IndexFileError(f"{name} {what}", where=self._where)


@contextlib.contextmanager
def write_parts(path: Path) -> Iterator[PartsWriter]:
    """Write the file at `path` from the parts that the block gives to the writer.

    If the block fails, the former file stays. Raises IndexFileError if the file cannot be written.
    """
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
    """Check a file and give the block a reader of its parts.

    Raises IndexFileError if the file cannot be read, is no saved index, is damaged or has another
    format.
    """
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
    """Return the file's length in bytes, if it has our format and is intact."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, size_bytes - _COMMENT_BYTES))
    comment = _COMMENT.search(tail := file.read(_COMMENT_BYTES))
    if comment is None or comment.end() != len(tail):
        raise IndexFileError("is no saved index, or one that was cut off", where=where)
    if int(comment[1]) != FORMAT:
        raise IndexFileError(
            f"has format {int(comment[1])}, and this version reads format {FORMAT}",
            where=where,
            hint="load it with the version that saved it, or build the index again",
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
    """Return the SHA-256, in hex, of the first bytes of a file."""
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
    """Return the header of a flat array in numpy's format 1.0."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({length},), }}"
    filled = -(10 + len(text) + 1) % 64
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(text) + filled + 1)
        + (text + " " * filled + "\n").encode("ascii")
    )


def _sync_folder(folder: Path) -> None:
    """Flush a file's new name to disk, if the system supports it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
