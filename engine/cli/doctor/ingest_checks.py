"""`hotlist ingest --check`: what would keep the process from its work, before it starts.

The checks of this machine come first, because they need no broker: the certificate, the token, the
port. Then the brokers, the topic of the reads, this login's rights on it, and the source's policy.
They listen for a moment and change nothing.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka.errors import UnknownTopicOrPartitionError

from engine import limits
from engine.cli.doctor.asking import asking_admin, no_progress, safely
from engine.cli.doctor.findings import Finding, judge_rights, judge_topics
from engine.cli.doctor.rights import lacking_rights
from engine.cli.doctor.topic_settings import config_command
from engine.cli.webhook import tls_of, token_of
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.errors import ConfigError
from engine.kafka.acl_probe import topics_as_shown
from engine.kafka.acls import roles
from engine.kafka.cluster import Cluster
from engine.kafka.reader import read_to_end
from engine.kafka.topic_config import missing_topics, settings_in_effect
from engine.kafka.topics import Topics
from engine.serving.certificate import ServerTls
from engine.serving.port import Bounds, Port
from engine.setting_rules import is_loopback

_ROLE: Final = "ingest"
_DAY_MS: Final = 86_400_000
_SIZE: Final = "max.message.bytes"
#: The end of a note on what only another login can see.
_OTHER_LOGIN: Final = "with a login that may: "
_PORT_TODO: Final = {
    errno.EADDRINUSE: "choose another with --listen, or end what listens there: "
    "ss -ltnp 'sport = :{port}'",
    errno.EACCES: "choose a port above 1023 with --listen",
    errno.EADDRNOTAVAIL: "choose one of this machine's addresses with --listen: ip address",
}


class Planned(NamedTuple):
    """What `hotlist ingest` would do: the source of its reads, and where it would listen.

    With `is_mqtt` the messages come from an MQTT broker, and `listen` is the port of the status;
    then there is no token and no TLS. `is_insecure`: the network may see the token.
    """

    source: str
    listen: tuple[str, int] | None
    token_file: Path | None = None
    certfile: str | None = None
    keyfile: str | None = None
    is_mqtt: bool = False
    is_insecure: bool = False


async def examine_ingest(settings: Settings, planned: Planned) -> AsyncGenerator[Finding, None]:
    """Yield the findings as they are made."""
    if planned.is_mqtt:
        yield Finding(
            "mqtt",
            "note",
            "the MQTT broker was not asked: for a second connection it would end a running one",
            "see the log of the process, or the alert HotlistIngestMqttDisconnected",
        )
    else:
        for finding in (_token(planned), *_tls(planned)):
            yield finding
    if planned.listen is not None:
        yield await _port(*planned.listen)
    async for finding in safely(_brokers(settings, planned.source), "brokers"):
        yield finding


def _token(planned: Planned) -> Finding:
    try:
        token_of(planned.token_file)
    except ConfigError as error:
        return Finding("token", "problem", f"{error.where}: {error.what}", error.hint)
    return Finding("token", "ok", "senders must know the token")


def _tls(planned: Planned) -> Iterator[Finding]:
    try:
        tls = tls_of(planned.certfile, planned.keyfile)
    except ConfigError as error:
        yield Finding("tls", "problem", f"{error.where}: {error.what}", error.hint)
        return
    host, _ = planned.listen or ("localhost", 0)
    if tls is not None:
        yield judge_certificate(str(planned.certfile), tls, SystemClock().now_ms())
    elif is_loopback(host) or planned.is_insecure:
        yield Finding("tls", "ok", f"no TLS at {host}")
    else:
        yield Finding(
            "tls",
            "warning",
            f"{host} is not a loopback address, and the token crosses the network in clear",
            "set --tls-certfile, or --insecure if a proxy does TLS",
        )


def judge_certificate(certfile: str, tls: ServerTls, now_ms: int) -> Finding:
    """Judge whether senders accept the certificate now, and for long enough to renew it."""
    check, until = "tls", f"until {format_time(tls.expires_ms)}"
    todo = f"renew {certfile}, then restart hotlist ingest, which reads it at its start only"
    days = (tls.expires_ms - now_ms) // _DAY_MS
    if now_ms >= tls.expires_ms:
        return Finding(check, "problem", f"{certfile} was valid {until} only", todo)
    if now_ms < tls.begins_ms:
        begins = format_time(tls.begins_ms)
        what = f"{certfile} is not valid before {begins}"
        return Finding(check, "problem", what, "check this machine's clock, or wait")
    if days < limits.CERTIFICATE_DAYS:
        left = "less than a day" if days < 1 else f"{days} {'day' if days == 1 else 'days'}"
        return Finding(check, "warning", f"{certfile} is valid {until}, for {left}", todo)
    return Finding(check, "ok", f"{certfile} and its key fit, valid {until}")


async def _port(host: str, port: int) -> Finding:
    check, where = "port", f"{host}:{port}"
    listening = Port(asyncio.Protocol, Bounds(1, 1, 1.0))
    try:
        await listening.open(host, port)
    except OSError as error:
        todo = _PORT_TODO.get(error.errno or 0, "choose another address with --listen")
        what = f"cannot listen on {where} ({error.strerror or error})"
        return Finding(check, "problem", what, todo.format(port=port))
    await listening.close()
    return Finding(check, "ok", f"{where} is free" if port else f"{host} has free ports")


async def _brokers(settings: Settings, source: str) -> AsyncGenerator[Finding, None]:
    topics = Topics(settings.prefix)
    async with asking_admin(settings) as admin:
        count = len((await admin.describe_cluster())["brokers"])
        yield Finding("brokers", "ok", f"{count} answer at {settings.bootstrap}")
        for check in (_topic(settings, topics, admin), _policy(settings, topics, admin, source)):
            async for finding in safely(check):
                yield finding


async def _topic(settings: Settings, topics: Topics, admin: Any) -> AsyncGenerator[Finding, None]:
    name = topics.detections
    [shown] = await topics_as_shown(admin._client, [name])
    if shown.error == UnknownTopicOrPartitionError.errno:
        missing = missing_topics([name], Cluster.of(settings))
        yield Finding("topics", "problem", missing.what, missing.hint)
        return
    if not shown.error:
        for finding in judge_topics({name: shown.partitions}):
            yield finding
    if shown.may is None:
        yield Finding("rights", "note", "the brokers do not report this login's rights")
    else:
        lacks = lacking_rights(roles(topics, settings.group)[_ROLE], {name: shown}, {})
        for finding in judge_rights({_ROLE: lacks}, is_named=True):
            yield finding
    if not shown.error:
        in_effect = await settings_in_effect(admin, Cluster.of(settings), [name])
        yield judge_size(settings.bootstrap, name, in_effect.settings.get(name))


def judge_size(bootstrap: str, topic: str, in_effect: Mapping[str, str] | None) -> Finding:
    """Judge whether the topic takes the largest read. `in_effect` has its settings as Kafka writes
    them, None if the brokers do not show them."""
    check, least = "topics", limits.INGEST_RECORD_BYTES
    if in_effect is None or _SIZE not in in_effect:
        return Finding(
            check,
            "note",
            f"the brokers do not show whether {_SIZE} of topic {topic} is {least} or more",
            f"{_OTHER_LOGIN}hotlist doctor --bootstrap {bootstrap}",
        )
    most = int(in_effect[_SIZE])
    if most < least:
        return Finding(
            check,
            "warning",
            f"topic {topic}: {_SIZE} is {most}, and a read may have up to {least} bytes",
            config_command(bootstrap, topic, _SIZE, str(least)),
        )
    return Finding(check, "ok", f"topic {topic}: {_SIZE} is {most}")


async def _policy(
    settings: Settings, topics: Topics, admin: Any, source: str
) -> AsyncGenerator[Finding, None]:
    check = "policies"
    [shown] = await topics_as_shown(admin._client, [topics.policies])
    may_read = shown.may is None or "Read" in shown.may
    if not may_read and shown.error != UnknownTopicOrPartitionError.errno:
        what = f"this login may not see whether source {source} has a policy"
        yield Finding(check, "note", what, f"{_OTHER_LOGIN}hotlist policies show")
        return
    policies: Mapping[bytes, object] = {}
    if not shown.error:
        key = source.encode()
        policies = await read_to_end(settings, topics.policies, lambda _: no_progress(), only={key})
    if policies:
        yield Finding(check, "ok", f"source {source} has a policy")
    else:
        what = f"source {source} has no policy: its reads match nothing until it has one"
        yield Finding(check, "note", what, "write one, then: hotlist policies set FILE")
