"""A connection that paho opens, in order and with all that TLS and log-in need, and that then goes on without it."""
from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from twinbeat.links.mqtt_client import tune_socket
from twinbeat.links.mqtt_options import MqttOptions, explain_refusal
from twinbeat.run_loop import boottime_ns
from twinbeat.witness.lane import PACKET_BYTES_MAX

if TYPE_CHECKING:
    import ssl

TAKEN_OVER = 0x8E
POLL_MS = 100


class NotOpened(OSError):
    """The broker refused; `code` is its reason code, 0 where it gave none. The text carries the remedy."""

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def again_errors(context: ssl.SSLContext | None) -> tuple[type[Exception], ...]:
    """What a socket raises that can take or give nothing now. Without TLS its library is not loaded."""
    if context is None:
        return BlockingIOError, InterruptedError
    import ssl

    return BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError


class Opening:
    """One connection: `open` returns its socket once the subscription stands. Keep the object as long as the socket."""

    def __init__(self, options: MqttOptions, context: ssl.SSLContext | None, client_id: str, topic: str) -> None:
        self._options = options
        self._topic = topic
        self._done = False
        self._refused: NotOpened | None = None
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = options.connect_timeout_s
        if context is not None:
            client.tls_set_context(context)
        if options.user is not None:
            client.username_pw_set(options.user, options.password)
        client.on_socket_open = tune_socket
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        self._client = client

    def open(self, stopping: Callable[[], bool]) -> socket.socket:
        """Connect and subscribe. Raises OSError, and NotOpened where the broker refused or `stopping` came true."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = PACKET_BYTES_MAX
        options, client = self._options, self._client
        client.connect(options.host, options.port, options.keepalive_s, clean_start=True, properties=properties)
        connection = client.socket()
        assert connection is not None
        poller = select.poll()
        deadline_ns = boottime_ns() + int(options.connect_timeout_s * 1e9)
        while not (self._done and not client.want_write()):
            if self._refused is not None:
                raise self._refused
            if client.socket() is None:
                raise NotOpened("it closed the connection before it answered")
            if stopping() or boottime_ns() > deadline_ns:
                raise NotOpened("no answer; check the address, the network and its firewalls")
            poller.register(connection, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            pending = getattr(connection, "pending", lambda: 0)()
            ready = poller.poll(0 if pending else POLL_MS)
            if client.want_write():
                client.loop_write()
            if pending or any(event & ~select.POLLOUT for _, event in ready):
                client.loop_read()
        assert isinstance(connection, socket.socket)
        return connection

    def _on_connect(self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _more: object) -> None:
        if code.is_failure:
            self._refused = NotOpened(explain_refusal(code.value, code.getName()), code.value)
            return
        client.subscribe(self._topic, options=SubscribeOptions(qos=0, retainAsPublished=True))

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, codes: list[ReasonCode], _more: object
    ) -> None:
        if any(code.is_failure for code in codes):
            self._refused = NotOpened(
                f"it refuses the subscription to {self._topic} ({codes[0].getName()}); "
                "allow this user to read it and to write the answers in the broker's access list"
            )
        self._done = True

    def _on_disconnect(
        self, _client: paho.Client, _data: object, flags: object, code: ReasonCode, _more: object
    ) -> None:
        if getattr(flags, "is_disconnect_packet_from_server", False):
            self._refused = self._refused or NotOpened(explain_refusal(code.value, code.getName()), code.value)
