"""What every connection to a broker needs around paho's client, whoever owns it."""
from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from twinbeat.links.mqtt_options import MqttOptions
from twinbeat.run_loop import boottime_ns

if TYPE_CHECKING:
    import ssl

log = logging.getLogger("twinbeat.mqtt")

PACKET_BYTES_MAX = 1 << 20
"""The broker keeps back what is larger, so no stranger decides how much memory a client of ours takes."""
REMIND_NS = 600 * 10**9


@dataclass
class MqttCounters:
    """What happened on one broker since the start. Written by the link's thread, read by anybody."""

    connects: int = 0
    losses: int = 0
    sent: int = 0
    received: int = 0
    stale_dropped: int = 0
    queue_dropped: int = 0
    notes_dropped: int = 0
    retained_refused: int = 0
    oversize_refused: int = 0
    not_taken: int = 0


@dataclass
class LinkState:
    """What status shows of a broker."""

    connected: bool = False
    reason: str = "not connected yet"
    since_ns: int = field(default_factory=boottime_ns)


class ReasonLog:
    """Says a thing when it is new and every ten minutes while it lasts: a broker away for a night fills no log."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._logged: tuple[str, int] = ("", 0)

    def say(self, text: str) -> None:
        """Log a warning about this broker, unless it was said lately."""
        now_ns = boottime_ns()
        if text != self._logged[0] or now_ns - self._logged[1] > REMIND_NS:
            self._logged = (text, now_ns)
            log.warning("%s: %s", self._place, text)

    def forget(self) -> None:
        """It is over: should it come again, it is new."""
        self._logged = ("", 0)


def make_client(options: MqttOptions, context: ssl.SSLContext | None, client_id: str) -> paho.Client:
    """A client that connects once, by MQTT 5, as the options say. Callbacks are the owner's business."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
    )
    client.connect_timeout = options.connect_timeout_s
    if context is not None:
        client.tls_set_context(context)
    if options.user is not None:
        client.username_pw_set(options.user, options.password)
    client.on_socket_open = tune_socket
    return client


def connect(client: paho.Client, options: MqttOptions) -> socket.socket:
    """Open the connection and ask for a session; returns the socket. Raises OSError, ValueError."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = PACKET_BYTES_MAX
    client.connect(options.host, options.port, options.keepalive_s, clean_start=True, properties=properties)
    connection = client.socket()
    assert isinstance(connection, socket.socket)
    return connection


def publish_properties(expiry_s: int, correlation: bytes = b"", response_topic: str = "") -> Properties | None:
    """The MQTT 5 properties of a message that the broker forgets after `expiry_s` seconds; None without any."""
    if not expiry_s and not correlation and not response_topic:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if expiry_s:
        properties.MessageExpiryInterval = expiry_s
    if correlation:
        properties.CorrelationData = correlation
    if response_topic:
        properties.ResponseTopic = response_topic
    return properties


def tune_socket(_client: paho.Client, _user: object, connection: object) -> None:
    """Send small packets at once, and give up a silent connection after 5 s instead of a quarter of an hour."""
    assert isinstance(connection, socket.socket)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)


def drain(fd: int) -> None:
    """Reset an eventfd."""
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        pass
