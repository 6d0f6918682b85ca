"""One MQTT broker as one link: beats out and in, telemetry beside them, connected again after every loss.

A thread of its own owns the paho client, so the client is never touched by two threads and nothing that a
broker or a name server does can hold up another link. Beats that waited longer than a period are dropped:
a late heartbeat is a lie. Loss of the broker is reported as a hint and moves no role.
"""
from __future__ import annotations

import logging
import os
import random
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from twinbeat.links.mqtt_client import (
    LinkState,
    MqttCounters,
    ReasonLog,
    connect,
    drain,
    make_client,
    publish_properties,
)
from twinbeat.links.mqtt_note import Note
from twinbeat.links.mqtt_options import MqttOptions, explain, explain_refusal
from twinbeat.run_loop import boottime_ns

if TYPE_CHECKING:
    import ssl

    from twinbeat.links.mqtt_mail import CommandMail
    from twinbeat.links.mqtt_watch import TopicWatch

log = logging.getLogger("twinbeat.mqtt")

BEATS_QUEUED_MAX = 4
NOTES_QUEUED_MAX = 64
FRAME_BYTES_MAX = 2048
STABLE_S = 1.0        # a connection that lasted so long was a good one: the back-off starts anew
SHORT_LIVES_SUSPECT = 3
"""So many short connections in a row look like two clients with one id; not every broker says so."""


class MqttLink:
    """Connection to one broker. Public methods may be called from any thread; only `stop` waits.

    `post_frame(data, rx_at_ns) -> bool` takes a beat that arrived, stamped at once with CLOCK_BOOTTIME;
    `on_state(up)` is told when beats can flow and when they no longer can. Both are called from the link's
    thread. `will` is the telemetry message that the broker sends for us when we vanish.
    """

    def __init__(
        self,
        options: MqttOptions,
        context: ssl.SSLContext | None,
        post_frame: Callable[[bytes, int], bool],
        on_state: Callable[[bool], None],
        will: Note | None = None,
    ) -> None:
        self.options = options
        self.counters = MqttCounters()
        self.state = LinkState()
        self.watch: TopicWatch | None = None
        self.mail: CommandMail | None = None
        self._context = context
        self._post_frame = post_frame
        self._on_state = on_state
        self._will = will
        self._beat_topic = options.topic(f"{options.node}/beat")
        self._beat_filter = options.topic("+/beat")
        self._beats: deque[tuple[bytes, int]] = deque()
        self._notes: deque[Note] = deque()
        self._retained: dict[str, Note] = {}
        self._unsent: dict[str, Note] = {}
        self._lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = threading.Event()
        self._farewell: Note | None = None
        self._reason = ""
        self._short_lives = 0
        self._log = ReasonLog(options.place)
        self._first_mid: int | None = None
        self._beat_properties = publish_properties(options.expiry_s)
        self._thread = threading.Thread(target=self._run, name=f"twinbeat-mqtt-{options.name}", daemon=True)

    # ------------------------------------------------------------ any thread

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def send_beat(self, data: bytes, at_ns: int) -> None:
        """Publish a heartbeat made at `at_ns`. While not connected it is dropped: there is nobody to hear it."""
        if not self.state.connected:
            return
        with self._lock:
            if len(self._beats) >= BEATS_QUEUED_MAX:
                self._beats.popleft()
                self.counters.queue_dropped += 1
            self._beats.append((data, at_ns))
        self._wake()

    def send_note(self, note: Note) -> None:
        """Publish telemetry. A retained value replaces its predecessor; events beyond the bound are counted only."""
        with self._lock:
            if note.retain:
                self._retained[note.topic] = note
                self._unsent[note.topic] = note
            elif not self.state.connected or len(self._notes) >= NOTES_QUEUED_MAX:
                self.counters.notes_dropped += 1
                return
            else:
                self._notes.append(note)
        self._wake()

    def forget(self, topic: str) -> None:
        """Stop repeating a retained value at a new connection (another node speaks for it now)."""
        with self._lock:
            self._retained.pop(topic, None)
            self._unsent.pop(topic, None)

    def stop(self, farewell: Note | None, limit_s: float) -> None:
        """Send `farewell` if connected, disconnect in order and end the thread, within `limit_s` seconds."""
        self._farewell = farewell
        self._stopping.set()
        if self._thread.is_alive():
            self._wake()
            self._thread.join(limit_s)
        if not self._thread.is_alive() and self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def _wake(self) -> None:
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    # ------------------------------------------------------------ the link's own thread

    def _run(self) -> None:
        delay_s = self.options.backoff_min_s
        while not self._stopping.is_set():
            begun_ns = boottime_ns()
            self._reason = ""
            try:
                self._connection()
            except (OSError, ValueError) as error:
                self._reason = self._reason or explain(error)
            was_up = self._set_state(False)
            if self._stopping.is_set():
                break
            stable = boottime_ns() - begun_ns > STABLE_S * 1e9
            self._short_lives = 0 if stable else self._short_lives + was_up
            self._log_reason(was_up)
            if was_up and stable:
                delay_s = self.options.backoff_min_s
            self._pause(min(delay_s * random.uniform(1.0, 1.5), self.options.backoff_max_s))
            delay_s = min(delay_s * 2, self.options.backoff_max_s)

    def _connection(self) -> None:
        """One connection from connect to its end, with a client of its own: nothing is left over from the last."""
        client = self._client()
        connection = connect(client, self.options)
        fd = connection.fileno()
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        try:
            while client.socket() is not None:
                poller.register(fd, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
                pending = getattr(connection, "pending", lambda: 0)()
                ready = dict(poller.poll(0 if pending else 1000))
                if self._wake_fd in ready:
                    drain(self._wake_fd)
                if fd in ready or pending:
                    client.loop_read()
                if client.socket() is None:
                    break
                if self._stopping.is_set():
                    self._leave(client, poller)
                    break
                if client.want_write():
                    client.loop_write()
                else:
                    self._publish(client)
                if self.mail is not None and self.state.connected:
                    self.mail.tend(client)
                client.loop_misc()
        finally:
            connection.close()

    def _client(self) -> paho.Client:
        client = make_client(self.options, self._context, self.options.client_id)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        return client

    def _publish(self, client: paho.Client) -> None:
        """Write what is due, beats first, until the socket takes no more."""
        if not self.state.connected:
            return
        while not client.want_write():
            with self._lock:
                beat = self._beats.popleft() if self._beats else None
                note = None if beat else self._next_note()
            if beat is not None:
                self._publish_beat(client, *beat)
            elif note is not None:
                properties = publish_properties(note.expiry_s, note.correlation)
                client.publish(note.topic, note.payload, note.qos, note.retain, properties)
            else:
                return

    def _next_note(self) -> Note | None:
        if self._unsent:
            return self._unsent.pop(next(iter(self._unsent)))
        return self._notes.popleft() if self._notes else None

    def _publish_beat(self, client: paho.Client, data: bytes, at_ns: int) -> None:
        if boottime_ns() - at_ns > self.options.period_ms * 1e6:
            self.counters.stale_dropped += 1
            return
        client.publish(self._beat_topic, data, 0, False, self._beat_properties)
        self.counters.sent += 1

    def _leave(self, client: paho.Client, poller: select.poll) -> None:
        """The orderly end: the farewell, then DISCONNECT, so that the broker does not send the will."""
        if not self.state.connected:
            return
        if self._farewell is not None:
            note = self._farewell
            client.publish(note.topic, note.payload, note.qos, note.retain)
        client.disconnect()
        for _ in range(20):
            if client.socket() is None or not client.want_write():
                return
            poller.poll(50)
            client.loop_write()

    # ------------------------------------------------------------ paho's callbacks, in the same thread

    def _on_connect(self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _more: object) -> None:
        if code.is_failure:
            self._reason = explain_refusal(code.value, code.getName())
            return
        wish = SubscribeOptions(qos=0, noLocal=True, retainAsPublished=True)
        wishes = [(self._beat_filter, wish), *(self.watch.wishes() if self.watch else [])]
        self._first_mid = client.subscribe(wishes)[1]

    def _on_subscribe(
        self, client: paho.Client, _data: object, mid: int, codes: list[ReasonCode], _more: object
    ) -> None:
        if mid != self._first_mid:
            self._mail_answered(codes)
            return
        if any(code.is_failure for code in codes[:1]):
            self._reason = (
                f"it refuses the subscription to {self._beat_filter} ({codes[0].getName()}); "
                "allow this user to read and write the pair's topics in the broker's access list"
            )
            client.disconnect()
            return
        if self.watch is not None:
            self.watch.answered(codes[1:])
        with self._lock:
            self._beats.clear()
            self._notes.clear()
            self._unsent = dict(self._retained)
        if self.mail is not None:
            self.mail.connected()
        self.counters.connects += 1
        self._set_state(True)
        if not self._short_lives:
            log.info("%s: connected", self.options.place)
            self._log.forget()

    def _mail_answered(self, codes: list[ReasonCode]) -> None:
        """The topic of the commands is subscribed to apart from the beats: refused or not, the link stands."""
        if self.mail is None or not codes:
            return
        self.mail.answered(codes[0])
        if self.mail.refused:
            self._log.say(
                f"it refuses the subscription to {self.mail.topic_filter} ({self.mail.refused}), so no remote command "
                "comes this way; allow this user to read it in the broker's access list"
            )

    def _on_message(self, _client: paho.Client, _user: object, message: paho.MQTTMessage) -> None:
        rx_at_ns = boottime_ns()
        if self.watch is not None and self.watch.take(message.topic, bytes(message.payload), rx_at_ns):
            return
        if self.mail is not None and self.mail.take(message):
            return
        if message.retain:
            self.counters.retained_refused += 1
            if self.counters.retained_refused == 1:
                log.warning("%s: a retained heartbeat on %s was refused; clear it", self.options.place, message.topic)
        elif len(message.payload) > FRAME_BYTES_MAX:
            self.counters.oversize_refused += 1
        else:
            self.counters.received += 1
            if not self._post_frame(bytes(message.payload), rx_at_ns):
                self.counters.not_taken += 1

    def _on_publish(self, _client: paho.Client, _data: object, _mid: int, code: ReasonCode, _more: object) -> None:
        if code.is_failure:
            text = f"it refuses telemetry ({code.getName()}); allow this user to write {self.options.topic('#')}"
            self._log.say(text)

    def _on_disconnect(
        self, _client: paho.Client, _data: object, flags: object, code: ReasonCode, _more: object
    ) -> None:
        from_broker = bool(getattr(flags, "is_disconnect_packet_from_server", False))
        if from_broker:
            self._reason = self._reason or explain_refusal(code.value, code.getName())

    # ------------------------------------------------------------ state and log

    def _set_state(self, up: bool) -> bool:
        """Note and report the state; returns the one before."""
        before = self.state.connected
        reason = "" if up else self._reason or "connection lost"
        self.state = LinkState(up, reason, boottime_ns())
        if before != up:
            self.counters.losses += 0 if up else 1
            self._on_state(up)
        return before

    def _log_reason(self, was_up: bool) -> None:
        reason = self._reason or ("connection lost" if was_up else "it closed the connection before it answered")
        if self._short_lives >= SHORT_LIVES_SUSPECT and not self._reason:
            reason += (
                f" again and again; does another client use the id {self.options.client_id}? "
                f"only one agent may run as {self.options.node} of this pair: stop the other"
            )
        self._log.say(reason + "; trying again")

    def _pause(self, seconds: float) -> None:
        end_ns = boottime_ns() + int(seconds * 1e9)
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        while not self._stopping.is_set():
            left_ms = (end_ns - boottime_ns()) / 1e6
            if left_ms <= 0:
                return
            if poller.poll(left_ms):
                drain(self._wake_fd)
