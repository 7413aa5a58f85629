"""Targets on what is opened for others: a saved index, two HTTP ports, the command line.

indexes  a file that `HotListIndex.load` is given, as it is and with its checksum put right
http     bytes that come to the HTTP port, to the last of them
webhook  what follows the token in a request to the webhook: headers and a body
cli      the arguments of a command, one a line; brokers are not reached
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
import tempfile
import warnings
import zipfile
from collections.abc import Coroutine, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from unittest import mock

from click.testing import CliRunner

from engine import HotListIndex, limits
from engine.cli import main
from engine.cli.entries import add, import_
from engine.documents.codec import encode
from engine.errors import BrokerError, IndexFileError
from engine.ingest.adapters import Adapted, Site, openalpr
from engine.ingest.producer import Ingest
from engine.ingest.webhook import Endpoint, IngestServer
from engine.kafka import session
from engine.observability.http_server import HttpServer
from engine.observability.metric_families import Exposition
from tests.fakes.documents import NOW_MS, detection
from tests.fuzz.fuzzer import Target, agree
from tests.fuzz.mutations import TEXTS, any_of, change_bytes, change_json, words
from tests.library.test_archive import archive_of, sealed
from tests.models.real_matcher import MISREADS, PURPOSES
from tests.observability.test_http_server import answer

_FOLDER: Final = tempfile.TemporaryDirectory(prefix="hotlist-fuzz-")

# ---- saved indexes

_PLATES: Final = ("ABC123", "A8C124", "ABC1", "ABC12", "ABX123", "XYZ123")


def _run_indexes(data: bytes) -> Iterable[Hashable]:
    outcomes: list[Hashable] = [("as it is", _load(data))]
    with contextlib.suppress(ValueError):  # nothing that could be sealed
        outcomes.append(_load(sealed(data)))
    return outcomes


def _load(data: bytes) -> Hashable:
    path = Path(_FOLDER.name) / "fuzz.index"
    path.write_bytes(data)
    try:
        index = HotListIndex.load(path, PURPOSES, MISREADS)
    except IndexFileError as error:
        text = str(error)
        assert text.isprintable(), repr(text)
        assert text.startswith(str(path))
        return error.what[:40]
    told = _answers(index)
    again = Path(_FOLDER.name) / "again.index"
    index.save(again)
    agree(_answers(HotListIndex.load(again, PURPOSES, MISREADS)), told, "saved and loaded again")
    entries = list(index.snapshot())
    agree(index.remove_many(entry.entry_id for entry in entries), len(entries), "removed")
    agree(len(index), 0, "left")
    return len(entries)


def _answers(index: HotListIndex) -> list[Any]:
    """What can be asked of an index."""
    snapshot = index.snapshot()
    entries = list(snapshot)
    agree(len(snapshot), len(entries), "entries")
    for entry in entries:
        agree(snapshot.get(entry.entry_id), entry, "by its id")
        if "?" not in entry.plate:
            assert entry in [found.entry for found in snapshot.find(entry.plate)]
    answers: list[Any] = [sorted(map(encode, entries)), snapshot.revision]
    for plate in _PLATES:
        matches = snapshot.match(detection(plate=plate), NOW_MS)
        answers.append(sorted(encode(match) for match in matches))
    answers.append(list(snapshot.eligible("S1", NOW_MS)))
    return answers


def _change_parts(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Changes a part of an archive, or which parts there are."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [(one.filename, archive.read(one)) for one in archive.infolist()]
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no archive any more
        return change_bytes(chance, data, pool)
    if not parts:
        return change_bytes(chance, data, pool)
    place = chance.randrange(len(parts))
    name, content = parts[place]
    match chance.randrange(12):
        case 0:
            del parts[place]
        case 1:
            parts.append((chance.choice(("../x", "/x", "pairs/0.roaring", name)), content))
        case 2:
            name = chance.choice([other for other, _ in parts])
            parts[place] = name, content
        case _ if name.endswith(".json"):
            parts[place] = name, change_json(chance, content, [b"{}"])
        case _:
            others = [other for _, other in parts]
            begin = 128 if name.endswith(".npy") and chance.random() < 0.8 else 0
            parts[place] = name, content[:begin] + change_bytes(chance, content[begin:], others)
    method = chance.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))
    return archive_of(*parts, compression=method)


# ---- the HTTP port


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _said(asking: Coroutine[Any, Any, tuple[bytes, bytes]], data: bytes) -> bytes:
    """What a port says to the data, if the next one is served and nothing is logged."""
    kept = _Kept()
    logging.getLogger().addHandler(kept)
    try:
        said, after = asyncio.run(asking)
    finally:
        logging.getLogger().removeHandler(kept)
    assert after.startswith(b"HTTP/1.1 200 "), "and the next one is served"
    ours = [record for record in kept.records if record.levelno >= logging.WARNING]
    assert not ours, [record.getMessage() for record in ours]
    # aiohttp fails to answer an Expect that is no text; no client needs one.
    wanted = b"1245" if b"expect" in data.lower() else b"124"
    assert not said or _status(said)[9:10] in wanted, said[:200]
    return said


def _status(said: bytes) -> bytes:
    return said.partition(b"\r\n")[0][:12]


def _run_http(data: bytes) -> Iterable[Hashable]:
    said = _said(_ask(data), data)
    assert len(said) < 16 * limits.KIB
    return [_status(said)]


async def _ask(data: bytes) -> tuple[bytes, bytes]:
    with mock.patch.object(limits, "HTTP_CONNECTION_S", 0.05):
        hasty = HttpServer("127.0.0.1", 0, lambda _: Exposition(b"m 1\n", "text/plain"), str, str)
    await hasty.start()
    try:
        said = await asyncio.wait_for(answer(hasty.port, data), 30)
        # Whoever is slow is hung up on, this machine among them; so it may ask more than once.
        after = b""
        while not after:
            after = await answer(hasty.port, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        return said, after
    finally:
        await hasty.stop()


# ---- the webhook

_TOKEN: Final = "a-token-of-the-tests"
_HEAD: Final = f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {_TOKEN}\r\n".encode()


def _run_webhook(data: bytes) -> Iterable[Hashable]:
    said = _said(_send(data), data)
    assert said.isascii()
    return [(_status(said), said.rpartition(b"\r\n")[2][:40])]


async def _send(data: bytes) -> tuple[bytes, bytes]:
    ingest = Ingest(None, "t", openalpr.adapt, Site("s"))
    with (
        mock.patch.object(limits, "INGEST_RECEIVE_S", 0.05),
        mock.patch.object(limits, "INGEST_IDLE_S", 0.05),
        mock.patch.object(ingest, "take", _adapted),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        server = IngestServer(ingest, Endpoint("127.0.0.1", 0, _TOKEN))
        await server.start()
        try:
            said = await asyncio.wait_for(answer(server.port, _HEAD + data), 30)
            return said, await answer(
                server.port, b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
        finally:
            await server.stop()


async def _adapted(message: bytes) -> Adapted:
    return openalpr.adapt(message, Site("s"))


# ---- the command line

#: Those that neither serve nor write files.
_COMMANDS: Final = ("check", "replay", "entries", "policies", "topics", "tail", "--help")


def _nobody_there(coroutine: Coroutine[Any, Any, Any]) -> None:
    coroutine.close()
    raise BrokerError("nobody is there")


def _run_cli(data: bytes) -> Iterable[Hashable]:
    arguments = data.decode("utf-8", "surrogateescape").split("\n")
    arguments = [argument.replace("\0", "") for argument in arguments[:30]]
    if arguments[0] not in _COMMANDS:
        arguments.insert(0, _COMMANDS[len(arguments[0]) % len(_COMMANDS)])
    runner = CliRunner()
    with (
        runner.isolated_filesystem(_FOLDER.name),
        mock.patch.object(session, "run", _nobody_there),
        mock.patch.object(add, "run", _nobody_there),
        mock.patch.object(import_, "run", _nobody_there),
    ):
        for name, content in _FILES.items():
            Path(name).write_text(content)
        result = runner.invoke(main, arguments, env={"HOTLIST_OPERATOR": "fuzz"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.exit_code
    for line in (result.stdout + result.stderr).split("\n"):
        assert line.isprintable(), repr(line)
    if result.exit_code and not result.stderr.startswith(("Usage:", "line ", "row ")):
        last = result.stderr.rstrip("\n").rpartition("\n")[2]
        assert last.startswith("hotlist: "), result.stderr
        assert "Traceback" not in result.stderr
    return [(arguments[0], result.exit_code, last_words(result.stderr))]


def last_words(text: str) -> str:
    """The rule at the end of an error."""
    return text.rstrip().rpartition(": ")[2][:20]


_FILES: Final = {
    "reads.jsonl": '{"read_id":"r","plate":"ab-1","captured_at":"2026-01-01T00:00:00Z",'
    '"source":"s","camera":"c"}\n[]\nx\n',
    "entries.csv": "plate,region\nABC123,NL\nab,\x1b[2J\n",
    "policy.json": '{"source":"s","rules":[]}',
}
_ARGUMENTS: Final = (
    *TEXTS,
    *_COMMANDS,
    *_FILES,
    *("add", "import", "sync", "remove", "show", "set", "explain", "create"),
    *("--json", "--dry-run", "--skip-invalid", "--config", "--bootstrap", "--prefix", "--rate"),
    *("--list=l", "--agency=a", "--purpose=stolen_vehicle", "--authority-kind=case"),
    *("--authority-ref=1", "--expires-in=30d", "--hours=mon 08:00-09:00 UTC", "--area=1 2 3"),
    *("--plate=ABC123", "--operator=\x1b[2J", "--profile=ncic", "--encoding=utf-8", "--", "-"),
    *("--expires-in", "9" * 30 + "d", "--partitions", "0", "1e9", "127.0.0.1:1"),
)


def _change_arguments(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    arguments = data.split(b"\n")
    place = chance.randrange(len(arguments) + 1)
    word = chance.choice(_ARGUMENTS).encode("utf-8", "surrogatepass")
    if chance.random() < 0.5 or place == len(arguments):
        arguments.insert(place, word)
    elif chance.random() < 0.3:
        del arguments[place]
    elif b"=" in arguments[place] and chance.random() < 0.7:
        arguments[place] = arguments[place].partition(b"=")[0] + b"=" + word
    else:
        arguments[place] = word
    return b"\n".join(arguments)


TARGETS: Final = (
    Target("indexes", _run_indexes, any_of(_change_parts, _change_parts, change_bytes)),
    Target(
        "http",
        _run_http,
        any_of(
            change_bytes,
            words(
                *("GET ", "POST ", "HEAD ", "\r\n", "\n", "\r\n\r\n", " HTTP/1.1", " HTTP/9.9"),
                *("Host: a\r\n", "Content-Length: 5\r\n", "Content-Length: -1\r\n"),
                *("Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n", "ffffffff\r\n"),
                *("Upgrade: websocket\r\n", "Connection: upgrade\r\n", "/metrics", "/%2e%2e/"),
                *("x" * 5000, "X: y\r\n" * 70, "\x16\x03\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                *TEXTS,
            ),
        ),
    ),
    Target(
        "webhook",
        _run_webhook,
        any_of(
            change_bytes,
            words(
                *("Content-Encoding: gzip\r\n", "Content-Encoding: deflate\r\n", "\r\n\r\n"),
                *("Content-Encoding: br\r\n", "Content-Encoding: identity\r\n", "--b--\r\n"),
                *("Content-Encoding: gzip, gzip\r\n", "Content-Length: 5\r\n", "--b\r\n"),
                *("Transfer-Encoding: chunked\r\n", "5\r\nabcde\r\n0\r\n\r\n", "0\r\n\r\n"),
                *("Transfer-Encoding: gzip, chunked\r\n", "fffffffffffffffff\r\n", "-1\r\n"),
                *("Content-Type: multipart/form-data; boundary=b\r\n", "; charset=utf-7"),
                *("Content-Type: multipart/form-data; boundary=\r\n", "Expect: 100-continue\r\n"),
                *('Content-Disposition: form-data; name="json"\r\n', "; filename*=utf-9''%ff"),
                *("Content-Transfer-Encoding: base64\r\n", "Content-Type: multipart/mixed\r\n"),
                *("\x1f\x8b\x08\x00", "\x78\x9c", "{}", *TEXTS),
            ),
        ),
    ),
    Target("cli", _run_cli, any_of(_change_arguments, _change_arguments, change_bytes)),
)
