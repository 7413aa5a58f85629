"""`hotlist ingest`: sends vendors' messages to Kafka as reads, from files or a webhook."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from engine import limits
from engine.cli.groups import Command
from engine.cli.mapping import GENERIC, adapter_of, takes_forms, takes_mapping
from engine.cli.mqtt import make_address, mqtt_options, serve_mqtt, warn_if_mqtt_in_clear
from engine.cli.options import takes_settings, warn_if_password_in_clear
from engine.cli.output import counted, json_line, remark
from engine.cli.site import make_site, remarking, takes_site
from engine.cli.value_types import OneOf
from engine.cli.webhook import (
    listen_options,
    make_endpoint,
    serve_webhook,
    warn_if_in_clear,
    warn_if_in_url,
)
from engine.config import Settings
from engine.errors import ConfigError, HotlistError
from engine.ingest.adapters import ADAPTERS, Adapter, AdapterError, Cars, Site
from engine.list_files.text import numbered_lines

#: Begins the body of a form, as people keep them in files.
_FORM_FIELD: Final = b"json="
#: Stands for a line that is too long to be held.
_TOO_LONG: Final = bytes(limits.INGEST_MESSAGE_BYTES + 1)


class IngestError(HotlistError):
    """Messages gave no read."""


@click.command(cls=Command)
@click.argument("vendor", metavar="VENDOR", type=OneOf("vendor", [*ADAPTERS, GENERIC]))
@click.argument("files", nargs=-1, type=click.File("rb"), metavar="[FILE]...")
@takes_site
@takes_mapping
@listen_options
@mqtt_options
@click.option("--dry-run", is_flag=True, help="Print the reads, one a line; send nothing.")
@click.option(
    "--check",
    "is_check",
    is_flag=True,
    help="Check whether --listen or --mqtt could start, and do not start; status 1 if there is a "
    "problem.",
)
@click.option("--json", "as_json", is_flag=True, help="With --check: print JSON, one a line.")
@takes_settings("bootstrap", "prefix")
def ingest(
    settings: Settings,
    vendor: str,
    files: tuple[BinaryIO, ...],
    source: str,
    country: str | None,
    camera: str | None,
    time_zone: str | None,
    mapping: Path | None,
    listen: tuple[str, int] | None,
    mqtt: str | None,
    mqtt_password_file: Path | None,
    token_file: Path | None,
    token_in_url: bool,
    tls_certfile: str | None,
    tls_keyfile: str | None,
    insecure: bool,
    dry_run: bool,
    is_check: bool,
    as_json: bool,
) -> None:
    """Send a VENDOR's messages to Kafka as reads.

    Reads FILEs (`-` is standard input) with one message, or one JSON message on each line. With
    --listen, serves the vendor's webhook instead; with --mqtt, subscribes to an MQTT broker, which
    needs the extra mqtt. Reports the position, field and rule of each message that gives no read;
    status 1 if there is one.
    """
    if bool(files) == bool(listen or mqtt):
        raise ConfigError("takes FILEs, --listen or --mqtt, one of them; see hotlist ingest --help")
    site = make_site(source, country, camera, time_zone)
    adapter = remarking(adapter_of(vendor, mapping))
    if not (insecure or dry_run):
        warn_if_password_in_clear(settings)
    if dry_run and (listen or mqtt):
        raise ConfigError("takes FILEs, not --listen or --mqtt", where="--dry-run")
    if is_check and (files or dry_run):
        raise ConfigError("takes --listen or --mqtt, not FILEs or --dry-run", where="--check")
    if as_json and not is_check:
        raise ConfigError("would do nothing without --check", where="--json")
    if mqtt is not None:
        if token_file or token_in_url or tls_certfile or tls_keyfile:
            raise ConfigError("would do nothing with --mqtt", where="--token-*, --tls-*")
        address = make_address(mqtt, vendor, source, mqtt_password_file)
        if not insecure:
            warn_if_mqtt_in_clear(address)
        if is_check:
            _check(settings, as_json=as_json, source=source, listen=listen, is_mqtt=True)
            return
        asyncio.run(serve_mqtt(settings, adapter, site, address, listen))
        return
    if mqtt_password_file is not None:
        raise ConfigError("would do nothing without --mqtt", where="--mqtt-password-file")
    if listen is not None and is_check:
        _check(
            settings,
            as_json=as_json,
            source=source,
            listen=listen,
            token_file=token_file,
            certfile=tls_certfile,
            keyfile=tls_keyfile,
            is_insecure=insecure,
        )
        return
    if listen is not None:
        endpoint = make_endpoint(
            listen, token_file, tls_certfile, tls_keyfile, vendor=vendor, is_in_url=token_in_url
        )
        endpoint = endpoint._replace(is_form=takes_forms(vendor, mapping))
        warn_if_in_url(endpoint)
        if not insecure:
            warn_if_in_clear(endpoint)
        asyncio.run(serve_webhook(settings, adapter, site, endpoint))
        return
    if token_file or token_in_url or tls_certfile or tls_keyfile:
        raise ConfigError("would do nothing without --listen", where="--token-*, --tls-*")
    if insecure and (dry_run or settings.security_protocol != "SASL_PLAINTEXT"):
        raise ConfigError("would do nothing without --listen or SASL_PLAINTEXT", where="--insecure")
    tally = _Tally()
    messages = _messages(files)
    if dry_run:
        _show(messages, adapter, site, tally)
    else:
        from engine.kafka.session import run

        run(_send(messages, settings, adapter, site, tally))
    if tally.bad:
        of = f"{tally.bad} of {counted(tally.messages, 'message')}"
        raise IngestError(f"{of} gave no read, or only some", where=vendor)


def _check(settings: Settings, *, as_json: bool, **planned: Any) -> None:
    """Report what `Planned` says of the start. Raises DoctorError if there is a problem."""
    from engine.cli.doctor.ingest_checks import Planned, examine_ingest
    from engine.cli.doctor.report import report_findings

    findings = examine_ingest(settings, Planned(**planned))
    report_findings(findings, as_json=as_json, where=settings.bootstrap)


@dataclass(slots=True)
class _Tally:
    """The count of messages, and of those that gave fewer reads than they should."""

    messages: int = 0
    bad: int = 0

    def count(self, where: str, problems: Sequence[AdapterError]) -> None:
        self.messages += 1
        self.bad += bool(problems)
        for problem in problems:
            remark(f"{where}: {problem}")


def _messages(files: Iterable[BinaryIO]) -> Iterator[tuple[str, bytes]]:
    """Yield each message and its position."""
    for file in files:
        name = "standard input" if file.name == "<stdin>" else file.name
        while not (first := file.readline(limits.INGEST_MESSAGE_BYTES + 1)).strip():
            if not first:
                break
        if _is_whole(first):
            yield f"{name}: line 1", first
            for number, line in numbered_lines(file, limits.INGEST_MESSAGE_BYTES):
                # The adapter rejects a message that is too long.
                yield f"{name}: line {number + 1}", _TOO_LONG if line is None else line
        elif message := first + file.read(limits.INGEST_MESSAGE_BYTES + 1):
            yield name, message


def _is_whole(line: bytes) -> bool:
    """Return whether a line is a whole JSON message, not the start of one of several lines."""
    import orjson

    text = line.removeprefix(codecs.BOM_UTF8)
    if text.startswith(_FORM_FIELD):
        return True
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _show(
    messages: Iterable[tuple[str, bytes]], adapter: Adapter, site: Site, tally: _Tally
) -> None:
    from engine.documents.codec import encode

    cars = Cars()
    for where, message in messages:
        try:
            adapted = adapter(message, site)
        except AdapterError as error:
            tally.count(where, [error])
            continue
        tally.count(where, adapted.problems)
        if not (adapted.reads or adapted.problems or adapted.car):
            remark(f"{where}: no read")
        for read in cars.take(adapted, time.monotonic()):
            json_line(encode(read))
    for read in cars.all():
        json_line(encode(read))


async def _send(
    messages: Iterator[tuple[str, bytes]],
    settings: Settings,
    adapter: Adapter,
    site: Site,
    tally: _Tally,
) -> None:
    """Send all messages, a few at a time; end at the first that the broker does not acknowledge."""
    from engine.ingest.producer import ingesting
    from engine.kafka.topics import Topics

    async def take(where: str, message: bytes) -> None:
        try:
            adapted = await ingest.take(message)
        except AdapterError as error:
            tally.count(where, [error])
        else:
            tally.count(where, adapted.problems)
        finally:
            room.release()

    room = asyncio.Semaphore(limits.INGEST_MESSAGES)
    async with ingesting(settings, adapter, site) as ingest:
        try:
            with _unwrapped():
                async with asyncio.TaskGroup() as tasks:
                    looking = tasks.create_task(ingest.look())
                    async for where, message in _in_thread(messages):
                        await room.acquire()
                        tasks.create_task(take(where, message))
                    for _ in range(limits.INGEST_MESSAGES):
                        await room.acquire()
                    looking.cancel()
        finally:
            await ingest.finish()
    click.echo(f"sent {counted(ingest.sent, 'read')} to {Topics(settings.prefix).detections}")


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """Raise the first error of a group of tasks instead of the group."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _in_thread(messages: Iterator[tuple[str, bytes]]) -> AsyncIterator[tuple[str, bytes]]:
    """Yield an iterator's items; it may block on standard input, but does not block the loop."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[str, bytes] | BaseException | None] = asyncio.Queue(1)

    def read() -> None:
        last: BaseException | None = None
        with contextlib.suppress(RuntimeError):  # the loop is closed
            try:
                for item in messages:
                    asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()
            except BaseException as error:  # noqa: BLE001 - the caller's, as executors do
                last = error
            asyncio.run_coroutine_threadsafe(queue.put(last), loop).result()

    # A daemon, so that exit does not wait for input that may never come.
    threading.Thread(target=read, daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


COMMANDS = (ingest,)
