"""One connection for messages of QoS 0, in a thread of its own, connected again after every loss.

paho opens it; from then on the thread reads and writes the socket itself (see lane.py). The witness and the gateways'
side of it are both couriers.
"""
from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from twinbeat.links.mqtt import SHORT_LIVES_SUSPECT, STABLE_S
from twinbeat.links.mqtt_client import drain
from twinbeat.links.mqtt_options import MqttOptions, explain, explain_refusal
from twinbeat.run_loop import boottime_ns
from twinbeat.witness.lane import GOODBYE, NORMAL_END, PING, Lane, Message, NotMqtt
from twinbeat.witness.opening import TAKEN_OVER, NotOpened, Opening, again_errors

if TYPE_CHECKING:
    import ssl

log = logging.getLogger("twinbeat.witness")

READ_BYTES = 1 << 17
UNSENT_BYTES_MAX = 1 << 20
REMIND_NS = 600 * 10**9
TURN_MS = 500


class Courier:
    """Subclasses say what to do with messages; all their hooks run in the courier's thread.

    `connected`: messages can flow. `reason`: why not, in words for an operator. `turned_at_ns`: when the thread last
    ran (CLOCK_BOOTTIME); while `opening`, a name server may hold it up.
    """

    def __init__(self, options: MqttOptions, context: ssl.SSLContext | None, client_id: str, topic: str) -> None:
        self.options = options
        self.client_id = client_id
        self.connected = False
        self.opening = False
        self.reason = "not connected yet"
        self.connects = 0
        self.malformed = 0
        self.unsent = 0
        self.turned_at_ns = boottime_ns()
        self.context = context
        self.stopping = threading.Event()
        self._topic = topic
        self._connection: socket.socket | None = None
        self._pending = b""
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._short_lives = 0
        self._logged: tuple[str, int] = ("", 0)
        self._again = again_errors(context)
        self._thread = threading.Thread(target=self._run, name=client_id, daemon=True)

    # ------------------------------------------------------------ any thread

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def call(self, what: Callable[[], None]) -> None:
        """Have the courier's thread call it soon."""
        self._calls.append(what)
        self.wake()

    def wake(self) -> None:
        """Have the thread take a turn now."""
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    def finish(self, limit_s: float) -> None:
        """Disconnect in order and end the thread, within `limit_s` seconds."""
        self.stopping.set()
        if self._thread.is_alive():
            self.wake()
            self._thread.join(limit_s)
        if not self._thread.is_alive() and self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    # ------------------------------------------------------------ hooks

    def prepare(self) -> None:
        """Before a connection is opened. OSError: try again later; anything else ends the thread."""

    def opened(self) -> None:
        """Connected and subscribed; `send` may be used from here on."""

    def closed(self) -> None:
        """The connection that `opened` told of is over."""

    def take(self, messages: list[Message], read_at_ns: int) -> None:
        """Messages that arrived, in their order."""

    def turn(self, now_ns: int) -> int:
        """Called again and again while connected: do what is due; returns ms until the next time, at most."""
        return TURN_MS

    def taken_over(self) -> None:
        """The broker gave this client id to somebody else. Returning means to try to get it back."""

    def failed(self, error: Exception) -> None:
        """The thread ends by this error."""

    # ------------------------------------------------------------ the courier's own thread

    def send(self, data: bytes) -> bool:
        """Write packets now, or as soon as the broker reads. False: too much is waiting, these are dropped."""
        if data and len(self._pending) > UNSENT_BYTES_MAX:
            self.unsent += 1
            return False
        if self._connection is None:
            return False
        data = self._pending + data
        try:
            sent = self._connection.send(data)
        except self._again:
            sent = 0
        self._pending = data[sent:]
        return True

    def _run(self) -> None:
        try:
            self._connect_for_ever()
        except Exception as error:  # noqa: BLE001 - told to whoever owns the courier
            self.connected = False
            self.failed(error)

    def _connect_for_ever(self) -> None:
        delay_s = self.options.backoff_min_s
        while not self.stopping.is_set():
            begun_ns = boottime_ns()
            was_up, reason = self._connect_once()
            if self.stopping.is_set():
                return
            stable = boottime_ns() - begun_ns > STABLE_S * 1e9
            self._short_lives = 0 if stable else self._short_lives + was_up
            if was_up and stable:
                delay_s = self.options.backoff_min_s
            self._log_reason(reason or "connection lost")
            self._pause(min(delay_s * random.uniform(1.0, 1.5), self.options.backoff_max_s))
            delay_s = min(delay_s * 2, self.options.backoff_max_s)

    def _connect_once(self) -> tuple[bool, str]:
        """One connection to its end: whether it stood, and why it ended."""
        opening = Opening(self.options, self.context, self.client_id, self._topic)
        try:
            connection = self._open(opening)
        except NotOpened as error:
            if error.code == TAKEN_OVER:
                self.taken_over()
            return False, error.reason
        except (OSError, ValueError) as error:
            return False, explain(error)
        try:
            return True, self._serve(connection)
        finally:
            self._connection = None
            connection.close()

    def _open(self, opening: Opening) -> socket.socket:
        self.opening, self.turned_at_ns = True, boottime_ns()
        try:
            self.prepare()
            return opening.open(self.stopping.is_set)
        finally:
            self.opening, self.turned_at_ns = False, boottime_ns()

    def _serve(self, connection: socket.socket) -> str:
        """Carry messages until the connection ends; returns why."""
        lane = Lane()
        self._connection, self._pending = connection, b""
        self.connects += 1
        if not self._short_lives:
            self._logged = ("", 0)
        try:
            self.opened()
            self.connected, self.reason = True, ""
            return self._turns(connection, lane)
        except NotMqtt as error:
            self.malformed += 1
            return f"it sent what is no MQTT here ({error})"
        except OSError:
            return self._last_words(connection, lane)
        finally:
            self.connected = False
            self.closed()

    def _turns(self, connection: socket.socket, lane: Lane) -> str:
        fd = connection.fileno()
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        keepalive_ns = self.options.keepalive_s * 10**9
        ping_at_ns = heard_at_ns = boottime_ns()
        wait_ms = 0
        if not self._read(connection, lane):       # TLS may hold what came together with the last packet of the opening
            return self._end_reason(lane)
        while not self.stopping.is_set():
            poller.register(fd, select.POLLIN | (select.POLLOUT if self._pending else 0))
            ready = dict(poller.poll(wait_ms))
            self.turned_at_ns = now_ns = boottime_ns()
            if self._wake_fd in ready:
                drain(self._wake_fd)
                self._run_calls()
            if ready.get(fd, 0) & ~select.POLLOUT:
                heard_at_ns = now_ns
                if not self._read(connection, lane):
                    return self._end_reason(lane)
            if self._pending:
                self.send(b"")
            if now_ns - heard_at_ns > 1.5 * keepalive_ns:
                return "it does not answer pings any more"
            if now_ns >= ping_at_ns:
                ping_at_ns = now_ns + keepalive_ns // 2
                self.send(PING)
            wait_ms = max(0, min(self.turn(now_ns), TURN_MS))
        if not self._pending:
            self.send(GOODBYE)
        return ""

    def _read(self, connection: socket.socket, lane: Lane) -> bool:
        """Take what has come. False: the connection is over, and nothing more is answered."""
        while True:
            try:
                data = connection.recv(READ_BYTES)
            except self._again:
                return True
            read_at_ns = boottime_ns()
            if not data:
                return False
            messages = lane.feed(data)
            if lane.ended is not None:
                return False
            self.take(messages, read_at_ns)
            if self.context is None or not connection.pending():  # type: ignore[attr-defined]
                return True

    def _last_words(self, connection: socket.socket, lane: Lane) -> str:
        """Why a connection ended that could not be written to any more; the reason may wait to be read."""
        with contextlib.suppress(OSError, NotMqtt):
            while data := connection.recv(READ_BYTES):
                lane.feed(data)
        return self._end_reason(lane)

    def _end_reason(self, lane: Lane) -> str:
        if lane.ended is None or lane.ended == NORMAL_END:
            return ""
        if lane.ended == TAKEN_OVER:
            self.taken_over()
        return explain_refusal(lane.ended, f"code 0x{lane.ended:02x}")

    def _run_calls(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def _log_reason(self, reason: str) -> None:
        """Say it when it is new and every ten minutes while it lasts."""
        if self._short_lives >= SHORT_LIVES_SUSPECT:
            reason += f" again and again; does another client use the id {self.client_id}? stop the other"
        self.reason = reason
        now_ns = boottime_ns()
        if reason != self._logged[0] or now_ns - self._logged[1] > REMIND_NS:
            self._logged = (reason, now_ns)
            log.warning("%s: %s; trying again", self.options.place, reason)

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; a stop ends it early, calls are served."""
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        until_ns = boottime_ns() + int(seconds * 1e9)
        while not self.stopping.is_set():
            self.turned_at_ns = now_ns = boottime_ns()
            left_ms = (until_ns - now_ns) // 1_000_000
            if left_ms <= 0:
                return
            if poller.poll(min(left_ms, TURN_MS)):
                drain(self._wake_fd)
                self._run_calls()
