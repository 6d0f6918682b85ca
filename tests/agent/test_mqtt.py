"""A broker as a link, against a real broker: what goes through, what is refused, what happens when it goes away."""
from __future__ import annotations

import json
import logging
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from broker_fixture import Broker, free_port, running_broker
from paho.mqtt.enums import CallbackAPIVersion
from run_fakes import WAIT_S, Watched

from twinbeat.links.mqtt import BEATS_QUEUED_MAX, NOTES_QUEUED_MAX, MqttLink
from twinbeat.links.mqtt_note import Note
from twinbeat.links.mqtt_options import MqttOptions, tls_context
from twinbeat.run_loop import boottime_ns


class Side(Watched):
    """One node's end of a broker link, with what arrived."""

    def __init__(self, node: str, port: int, **more: Any) -> None:
        super().__init__()
        self.frames: list[tuple[bytes, int]] = []
        self.states: list[bool] = []
        settings = {"backoff_min_s": 0.05, "backoff_max_s": 0.2} | more
        self.options = MqttOptions(link=1, name="b", pair="pump-7", node=node, host="127.0.0.1", port=port, **settings)
        will = Note(self.options.topic(f"{node}/status"), b'{"state":"offline"}', retain=True, qos=1)
        self.link = MqttLink(self.options, tls_context(self.options), self._frame, self._state, will)

    def _frame(self, data: bytes, rx_at_ns: int) -> bool:
        self.frames.append((data, rx_at_ns))
        self.touch()
        return True

    def _state(self, up: bool) -> None:
        self.states.append(up)
        self.touch()

    def up(self) -> Side:
        self.link.start()
        self.wait(lambda: self.states[-1:] == [True], "connected")
        return self


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def sides(broker: Broker) -> Iterator[tuple[Side, Side]]:
    a, b = Side("gw-a", broker.port).up(), Side("gw-b", broker.port).up()
    yield a, b
    a.link.stop(None, 2.0)
    b.link.stop(None, 2.0)


class Lines(Watched, logging.Handler):
    """The log's lines as they come, from whichever thread."""

    def __init__(self) -> None:
        Watched.__init__(self)
        logging.Handler.__init__(self)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname}: {record.getMessage()}")
        self.touch()

    def line(self, text: str) -> str:
        self.wait(lambda: any(text in line for line in self.lines), f"{text!r} in the log: {self.lines}")
        return next(line for line in self.lines if text in line)


@pytest.fixture
def logged() -> Iterator[Lines]:
    logger, lines = logging.getLogger("twinbeat"), Lines()
    logger.addHandler(lines)
    yield lines
    logger.removeHandler(lines)


class Observer(Watched):
    """A plain client that reads and writes what it likes."""

    def __init__(self, port: int, topic: str) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        subscribed = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(WAIT_S)

    def _message(self, _client: object, _user: object, message: Any) -> None:
        self.heard.append(message)
        self.touch()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_a_beat_reaches_the_other_node_and_not_its_sender(sides: tuple[Side, Side]) -> None:
    a, b = sides
    sent_at_ns = boottime_ns()
    a.link.send_beat(b"beat-1", sent_at_ns)
    b.wait(lambda: b.frames, "the beat")
    assert b.frames[0][0] == b"beat-1"
    assert sent_at_ns <= b.frames[0][1] <= boottime_ns()
    b.link.send_beat(b"beat-2", boottime_ns())
    a.wait(lambda: a.frames, "the answer")
    assert [data for data, _ in a.frames] == [b"beat-2"]
    assert (a.link.counters.sent, a.link.counters.received) == (1, 1)


def test_a_beat_is_neither_retained_nor_kept_and_carries_an_expiry(broker: Broker, sides: tuple[Side, Side]) -> None:
    observer = Observer(broker.port, "twinbeat/v1/pump-7/gw-a/beat")
    sides[0].link.send_beat(b"x", boottime_ns())
    observer.wait(lambda: observer.heard, "the beat")
    message = observer.heard[0]
    assert (message.qos, message.retain) == (0, False)
    assert message.properties.MessageExpiryInterval == 1
    observer.close()
    late = Observer(broker.port, "twinbeat/v1/pump-7/+/beat")
    sides[0].link.send_beat(b"y", boottime_ns())
    late.wait(lambda: late.heard, "the next beat")
    assert [message.payload for message in late.heard] == [b"y"]
    late.close()


def test_a_retained_beat_is_refused_and_counted(broker: Broker) -> None:
    observer = Observer(broker.port, "twinbeat/v1/pump-7/gw-b/beat")
    observer.client.publish("twinbeat/v1/pump-7/gw-b/beat", b"old", 1, True).wait_for_publish(WAIT_S)
    side = Side("gw-a", broker.port).up()
    observer.client.publish("twinbeat/v1/pump-7/gw-b/beat", b"new").wait_for_publish(WAIT_S)
    side.wait(lambda: side.frames, "the beat that is not retained")
    assert [data for data, _ in side.frames] == [b"new"]
    assert side.link.counters.retained_refused == 1
    observer.client.publish("twinbeat/v1/pump-7/gw-b/beat", b"").wait_for_publish(WAIT_S)
    side.link.stop(None, 2.0)
    observer.close()


def test_oversized_payloads_are_refused(broker: Broker, sides: tuple[Side, Side]) -> None:
    observer = Observer(broker.port, "twinbeat/v1/pump-7/gw-b/beat")
    observer.client.publish("twinbeat/v1/pump-7/gw-b/beat", bytes(100_000))
    observer.client.publish("twinbeat/v1/pump-7/gw-b/beat", b"small")
    a = sides[0]
    a.wait(lambda: a.frames, "the small one")
    assert [data for data, _ in a.frames] == [b"small"]
    assert a.link.counters.oversize_refused == 1
    observer.close()


def test_a_stale_beat_is_dropped(sides: tuple[Side, Side]) -> None:
    a, b = sides
    a.link.send_beat(b"stale", boottime_ns() - 150_000_000)
    a.link.send_beat(b"fresh", boottime_ns())
    b.wait(lambda: b.frames, "the fresh beat")
    assert [data for data, _ in b.frames] == [b"fresh"]
    assert a.link.counters.stale_dropped == 1


def test_beats_before_a_connection_go_nowhere_and_queues_are_bounded() -> None:
    side = Side("gw-a", free_port())
    side.link.send_beat(b"x", boottime_ns())
    assert not side.link._beats
    side.link.state.connected = True
    for _ in range(BEATS_QUEUED_MAX + 3):
        side.link.send_beat(b"x", boottime_ns())
    for number in range(NOTES_QUEUED_MAX + 2):
        side.link.send_note(Note(f"t/{number}", b"", retain=False, qos=0))
    assert (side.link.counters.queue_dropped, side.link.counters.notes_dropped) == (3, 2)
    side.link.stop(None, 0.1)


def test_nodelay_is_set_on_the_socket(sides: tuple[Side, Side]) -> None:
    import socket

    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with sock:
            connected = sock.family == socket.AF_INET and sock.type == socket.SOCK_STREAM
            if connected and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY):
                found.append(sock.getpeername()[1])
    assert found.count(sides[0].options.port) == 2


def test_the_broker_goes_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    with running_broker(tmp_path, port=port):
        side = Side("gw-a", port).up()
    side.wait(lambda: side.states == [True, False], "loss seen")
    assert side.link.state.reason
    with running_broker(tmp_path, port=port):
        side.wait(lambda: side.states == [True, False, True], "connected again")
        assert (side.link.counters.connects, side.link.counters.losses) == (2, 1)
        other = Side("gw-b", port).up()
        side.link.send_beat(b"again", boottime_ns())
        other.wait(lambda: other.frames, "a beat after the restart")
        for one in (side, other):
            one.link.stop(None, 2.0)


def test_retained_telemetry_is_repeated_by_a_new_connection_newest_only(tmp_path: Path) -> None:
    port = free_port()
    topic = "twinbeat/v1/pump-7/role/pump"
    with running_broker(tmp_path, port=port):
        side = Side("gw-a", port).up()
        side.link.send_note(Note(topic, b"first", retain=True, qos=1))
        side.link.send_note(Note("twinbeat/v1/pump-7/role/other", b"theirs", retain=True, qos=1))
    side.wait(lambda: side.states == [True, False], "loss seen")
    side.link.send_note(Note(topic, b"second", retain=True, qos=1))
    side.link.forget("twinbeat/v1/pump-7/role/other")
    with running_broker(tmp_path, port=port):
        side.wait(lambda: side.states == [True, False, True], "connected again")
        observer = Observer(port, "twinbeat/v1/pump-7/role/+")
        observer.wait(lambda: observer.heard, "the value, as it comes or retained")
        assert [message.payload for message in observer.heard] == [b"second"]
        observer.close()
        later = Observer(port, "twinbeat/v1/pump-7/role/+")
        later.wait(lambda: later.heard, "the retained value")
        assert [(message.payload, message.retain) for message in later.heard] == [(b"second", True)]
        later.close()
        side.link.stop(None, 2.0)


def test_an_orderly_stop_leaves_the_farewell_and_a_death_leaves_the_will(broker: Broker) -> None:
    observer = Observer(broker.port, "twinbeat/v1/pump-7/+/status")
    a = Side("gw-a", broker.port).up()
    a.link.stop(Note("twinbeat/v1/pump-7/gw-a/status", b'{"state":"stopped"}', retain=True, qos=1), 2.0)
    observer.wait(lambda: observer.heard, "the farewell")
    b = Side("gw-b", broker.port, backoff_min_s=30.0, backoff_max_s=60.0).up()
    # The same client id connects: the broker ends the first connection, as it ends one of a dead node.
    twin = Side("gw-b", broker.port).up()
    observer.wait(lambda: len(observer.heard) == 2, "the will")
    said = [(message.topic.split("/")[3], json.loads(message.payload)["state"]) for message in observer.heard]
    assert said == [("gw-a", "stopped"), ("gw-b", "offline")]
    b.wait(lambda: False in b.states, "the first one was shown out")
    for one in (b, twin):
        one.link.stop(None, 2.0)
    observer.close()


def test_two_clients_with_one_id_are_suspected(broker: Broker, logged: Lines) -> None:
    first, second = Side("gw-a", broker.port), Side("gw-a", broker.port)
    for side in (first, second):
        side.link.start()
    assert "does another client use the id twinbeat-pump-7-gw-a-b?" in logged.line("again and again")
    for side in (first, second):
        side.link.stop(None, 2.0)


def test_wrong_password_names_broker_reason_and_remedy_and_goes_on_trying(tmp_path: Path, logged: Lines) -> None:
    (tmp_path / "empty").write_text("")
    with running_broker(tmp_path, f"allow_anonymous false\npassword_file {tmp_path}/empty\n") as broker:
        side = Side("gw-a", broker.port, user="u", password="wrong")
        side.link.start()
        text = logged.line("refused")
        assert f'broker "b" (127.0.0.1:{broker.port}): refused:' in text
        assert "user" in text and "trying again" in text
        assert side.states == []
        side.link.stop(None, 2.0)


def test_a_broker_without_permission_for_the_topics(tmp_path: Path, logged: Lines) -> None:
    (tmp_path / "acl").write_text("topic read nothing\n")
    with running_broker(tmp_path, f"allow_anonymous true\nacl_file {tmp_path}/acl\n") as broker:
        side = Side("gw-a", broker.port)
        side.link.start()
        side.wait(lambda: side.states, "an answer to the subscription")
        # This broker grants subscriptions and filters messages; telemetry with QoS 1 is what tells.
        side.link.send_note(Note("twinbeat/v1/pump-7/gw-a/status", b"{}", retain=True, qos=1))
        assert "it refuses telemetry (Not authorized); allow this user to write" in logged.line("refuse")
        side.link.stop(None, 2.0)


def test_nothing_listens(logged: Lines) -> None:
    side = Side("gw-a", free_port())
    side.link.start()
    assert "nothing listens there; is the broker running" in logged.line("nothing listens")
    side.link.stop(None, 2.0)
    assert len([line for line in logged.lines if "nothing listens" in line]) == 1


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    commands = [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca",
        "req -newkey rsa:2048 -nodes -keyout srv.key -out srv.csr -subj /CN=localhost",
        "x509 -req -in srv.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out srv.crt",
        "req -newkey rsa:2048 -nodes -keyout cli.key -out cli.csr -subj /CN=gw-a",
        "x509 -req -in cli.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out cli.crt",
    ]
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    try:
        for command in commands:
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("openssl is not installed: TLS is not tested")
    return folder


TLS_LINES = (
    "allow_anonymous true\ncafile {0}/ca.crt\ncertfile {0}/srv.crt\nkeyfile {0}/srv.key\nrequire_certificate true\n"
)


def test_tls_with_a_client_certificate(tmp_path: Path, certificates: Path) -> None:
    with running_broker(tmp_path, TLS_LINES.format(certificates)) as broker:
        more = {"tls": True, "ca": f"{certificates}/ca.crt", "cert": f"{certificates}/cli.crt",
                "key": f"{certificates}/cli.key"}
        a, b = Side("gw-a", broker.port, **more).up(), Side("gw-b", broker.port, **more).up()
        for number in range(20):
            a.link.send_beat(b"beat %d" % number, boottime_ns())
            b.wait(lambda wanted=number: len(b.frames) > wanted, "a beat through TLS")
        for side in (a, b):
            side.link.stop(None, 2.0)


def test_an_untrusted_broker_is_refused_with_the_remedy(
    tmp_path: Path, certificates: Path, logged: Lines
) -> None:
    with running_broker(tmp_path, TLS_LINES.format(certificates)) as broker:
        side = Side("gw-a", broker.port, tls=True)
        side.link.start()
        text = logged.line("certificate")
        assert "its certificate is not trusted" in text and "name the certificate authority's file as `ca`" in text
        side.link.stop(None, 2.0)


def test_contexts_name_the_file_that_is_wrong(tmp_path: Path) -> None:
    from twinbeat.errors import KeyFileError

    base = {"link": 0, "name": "b", "pair": "p", "node": "n", "host": "h", "port": 1, "tls": True}
    with pytest.raises(KeyFileError, match=r'broker "b" \(h:1\): ca = /nowhere/ca.crt does not exist'):
        tls_context(MqttOptions(**base, ca="/nowhere/ca.crt"))
    junk = tmp_path / "junk"
    junk.write_text("junk")
    with pytest.raises(KeyFileError, match="holds no certificate in PEM form"):
        tls_context(MqttOptions(**base, ca=str(junk)))
    with pytest.raises(KeyFileError, match="cannot be used"):
        tls_context(MqttOptions(**base, cert=str(junk), key=str(junk)))
    assert tls_context(MqttOptions(**(base | {"tls": False}))) is None
    context = tls_context(MqttOptions(**base))
    assert context is not None and context.verify_mode == ssl.CERT_REQUIRED
