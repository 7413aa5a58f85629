"""`engine.list_files.file_kinds`: what a file is, by its first bytes."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.list_files.file_kinds import FileKind, kind_of

_FLAGS = (
    *("--list=l", "--agency=PD01", "--purpose=stolen_vehicle", "--authority-kind=case"),
    *("--authority-ref=1", "--expires-in=5d", "--operator=jo"),
)
#: With a fixed time, so that the tests have the same names in every process.
_GZIP = gzip.compress(b"plate\nABC1234\n", mtime=0)
_LATIN_1_PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def one_line(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("hotlist: ").rstrip("\n")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("l.csv", _GZIP, "is compressed (gzip); unpack it first"),
        ("l.jsonl", _GZIP, "is compressed (gzip); unpack it first"),
        ("l.csv", _LATIN_1_PDF, "is a PDF; ask for the list as CSV, .xlsx or .jsonl"),
        (
            "l.csv",
            b"\xef\xbb\xbf<?xml version='1.0'?><r/>",
            "is XML or a web page; ask for the list as CSV, .xlsx or .jsonl",
        ),
        (
            "l.csv",
            b"<!DOCTYPE html>\n<html>",
            "is XML or a web page; ask for the list as CSV, .xlsx or .jsonl",
        ),
        (
            "l.csv",
            b'{"plate": "ABC1234"}\n',
            "is JSON; name it .jsonl, with one entry on each line",
        ),
        ("l.csv", b'[\n  {"plate": "A"}]', "is JSON; name it .jsonl, with one entry on each line"),
        ("l.jsonl", b'[{"plate": "A"},\n', "is a JSON array; put each entry on a line of its own"),
        ("l.jsonl", b"plate;colour\nABC1234;red\n", "is a table; name it .csv"),
        ("l.jsonl", b"plate\nABC1234\n", "is a table; name it .csv"),
    ],
)
@pytest.mark.parametrize("command", ["import", "sync"])
def test_what_a_list_is_comes_before_its_rows(
    command: str, name: str, content: bytes, line: str
) -> None:
    Path(name).write_bytes(content)
    assert one_line(run("entries", command, name, *_FLAGS)) == f"{name}: {line}"


@pytest.mark.parametrize("command", ["check", "replay"])
@pytest.mark.parametrize(
    ("content", "line"),
    [
        (_GZIP, "is compressed (gzip); unpack it first"),
        (_LATIN_1_PDF, "is a PDF, and not reads in JSON"),
        (b"<html>", "is XML or a web page, and not reads in JSON"),
        (b"plate,camera\nABC1234,1\n", "is a table, and not reads in JSON"),
        ("plate\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"PK\x03\x04\x14\x00", "is an Excel workbook, and not reads in JSON"),
    ],
)
def test_what_is_no_file_of_reads_is_one_line(command: str, content: bytes, line: str) -> None:
    Path("reads.jsonl").write_bytes(content)
    assert one_line(run(command, "reads.jsonl")) == f"reads.jsonl: {line}"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n\n",
        b"plate\nABC1234\n",
        b"PLATE,STATE\n",
        b"{ABC},1\n",  # a GUID in braces, not JSON
        b"<ABC,1\n",
        b"AB\xc7,1\n",
    ],
)
def test_a_table_is_a_table(head: bytes) -> None:
    assert kind_of(head, ".csv") is None


@pytest.mark.parametrize("head", [b"", b'{"plate"', b"7\n", b"[]\n", b"# made today\n{}\n", b"x{"])
def test_lines_of_json_are_lines_of_json(head: bytes) -> None:
    assert kind_of(head, ".jsonl") is None


def test_a_tar_in_gzip_is_named_by_its_outside(tmp_path: Path) -> None:
    with tarfile.open("l.tgz", "w:gz") as archive:
        archive.add(__file__, "l.csv")
    assert kind_of(Path("l.tgz").read_bytes()[:512], ".csv") is FileKind.GZIP
