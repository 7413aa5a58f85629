"""Messages of an MQTT broker as detections.

The only module that imports aiomqtt and paho, which the extra `mqtt` installs.

A message with QoS 1 is acknowledged to the MQTT broker after Kafka has its reads, and the session
is persistent: the broker keeps what is not acknowledged, while Kafka is away and while this process
is not running. The broker sends a bounded number of messages before the first is acknowledged
(Receive Maximum of MQTT 5). A message that gives no read is acknowledged too: it would give none
again.

The MQTT broker does not keep a message with QoS 0. Its reads are held in memory, bounded, until
Kafka has them (`engine.ingest.spool`).

Nothing of a message is logged.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import NamedTuple

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from engine import limits
from engine.errors import BrokerError
from engine.ingest.adapters import AdapterError
from engine.ingest.producer import Ingest

log = logging.getLogger(__name__)


class MqttAddress(NamedTuple):
    """The vendor, the MQTT broker, the topic to subscribe to, the session's id, and the login."""

    vendor: str
    host: str
    port: int
    topic: str
    client_id: str
    user: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


class MqttSource:
    """The subscription to one topic; see the module."""

    def __init__(self, ingest: Ingest, address: MqttAddress) -> None:
        self._ingest = ingest
        self._address = address
        self.is_connected = False
        self.is_subscribed = False
        ingest.metrics.watch_mqtt(lambda: self.is_connected)

    async def run(self) -> None:
        """Take messages until cancelled, and connect again whenever the connection ends.

        Raises BrokerError if the first connection fails: then the address or the login is wrong.
        """
        pause_s = limits.MQTT_RETRY_S
        was_connected = False
        while True:
            failed: BaseException | None = None
            try:
                async with self._connect() as client:
                    self.is_connected = was_connected = True
                    await self._take_all(client)
            except* aiomqtt.MqttError as group:
                failed = group.exceptions[0]
            if not was_connected:
                raise BrokerError(
                    f"the MQTT broker does not accept the connection ({failed})",
                    where=f"{self._address.host}:{self._address.port}",
                    hint="it must know MQTT 5; check the address, the user and the password",
                )
            pause_s = limits.MQTT_RETRY_S if self.is_connected else pause_s
            self.is_connected = self.is_subscribed = False
            log.warning("the MQTT broker is away, connecting again (%s)", type(failed).__name__)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, limits.MQTT_RETRY_MOST_S)

    def _connect(self) -> _Client:
        _, host, port, _, client_id, user, password, tls = self._address
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = limits.MQTT_SESSION_S
        session.ReceiveMaximum = limits.INGEST_MESSAGES
        session.MaximumPacketSize = limits.INGEST_MESSAGE_BYTES
        return _Client(
            host,
            port,
            username=user,
            password=password,
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=session,
            tls_context=tls,
            timeout=limits.CONNECT_S,
            keepalive=limits.MQTT_KEEPALIVE_S,
            logger=_silent(),
        )

    async def _take_all(self, client: _Client) -> None:
        """Take messages until the connection ends; what is not acknowledged then comes again."""
        await client.subscribe(self._address.topic, qos=1)
        self.is_subscribed = True
        async with asyncio.TaskGroup() as tasks:
            async for message in client.messages:
                tasks.create_task(self._take(client, message))

    async def _take(self, client: _Client, message: aiomqtt.Message) -> None:
        body: bytes = message.payload
        result = "taken"
        try:
            if message.qos == 0:
                self._ingest.hold(body)
            else:
                await self._delivered(body)
        except AdapterError:
            result = "bad"
        except BrokerError:
            result = "not_taken"
        self._ingest.metrics.count_message(result)
        client.acknowledge(message)

    async def _delivered(self, body: bytes) -> None:
        """Return when Kafka has the reads of a message, however long that takes."""
        while True:
            try:
                await self._ingest.take(body)
            except BrokerError:
                await asyncio.sleep(limits.RETRY_PAUSE_S)
            else:
                return


class _Client(aiomqtt.Client):
    """aiomqtt's client, whose messages are acknowledged by hand."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._client.manual_ack_set(True)

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Acknowledge a message; there is nothing to do for QoS 0."""
        if message.qos:
            self._client.ack(message.mid, message.qos)


def _silent() -> logging.Logger:
    """Return a logger for aiomqtt and paho, which would log topics and payloads."""
    found = logging.getLogger("engine.ingest.mqtt.client")
    found.setLevel(logging.CRITICAL + 1)
    return found
