"""The network to the broker: packets are told apart, agents known by their CONNECT, cut, lossy, closed."""
from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinbeat.demo import mqttwire, switchboard
from twinbeat.demo.helper import Helper
from twinbeat.demo.proxy import Path as NetworkPath
from twinbeat.demo.switchboard import Switchboard

WAIT_S = 5.0
NODES = ["gw-a", "gw-b"]
PING = b"\xc0\0"


def connect(node: str, will: bool = True) -> bytes:
    """An MQTT 5 CONNECT with the will topic of a node."""
    name, topic = b"some-client" if will else node.encode(), f"twinbeat/v1/p/{node}/status".encode()
    body = b"\0\4MQTT\5" + (b"\6" if will else b"\2") + b"\0\x3c\0" + struct.pack(">H", len(name)) + name
    if will:
        body += b"\0" + struct.pack(">H", len(topic)) + topic + b"\0\1x"
    return bytes([0x10, len(body)]) + body


def publish(topic: str, payload: bytes = b"x", quality: int = 0) -> bytes:
    """An MQTT 5 PUBLISH without properties."""
    body = struct.pack(">H", len(topic)) + topic.encode() + (b"\0\1" if quality else b"") + b"\0" + payload
    length = bytes([len(body) % 128 | 0x80, len(body) // 128]) if len(body) > 127 else bytes([len(body)])
    return bytes([0x30 | quality << 1]) + length + body


BEAT = publish("twinbeat/v1/p/gw-a/beat")


def test_packets_are_split_in_any_pieces() -> None:
    packets = [connect("gw-a"), PING, BEAT, publish("t", b"y" * 300), PING]
    stream = b"".join(packets)
    splitter = mqttwire.Splitter()
    found = [packet for place in range(len(stream)) for packet in splitter.feed(stream[place:place + 1])]
    assert found == packets
    assert mqttwire.Splitter().feed(stream) == packets


def test_an_impossible_length_is_no_mqtt() -> None:
    with pytest.raises(mqttwire.NotMqtt):
        mqttwire.Splitter().feed(b"\x30\xff\xff\xff\xff\x01")


@pytest.mark.parametrize(("packet", "expected"), [
    (BEAT, True),
    (publish("twinbeat/v1/p/gw-a/beat", b"y" * 200), True),
    (publish("twinbeat/v1/p/gw-a/beat", quality=1), False),
    (publish("twinbeat/v1/p/gw-a/status"), False),
    (PING, False),
    (connect("gw-a"), False),
])
def test_only_heartbeats_may_be_lost(packet: bytes, expected: bool) -> None:
    assert mqttwire.is_heartbeat(packet) is expected


@pytest.mark.parametrize(("packet", "expected"), [
    (connect("gw-a"), 0),
    (connect("gw-b"), 1),
    (connect("gw-b", will=False), 1),
    (connect("other"), None),
    (publish("gw-a/status"), None),
])
def test_an_agent_is_known_by_its_connect(packet: bytes, expected: int | None) -> None:
    assert mqttwire.connecting_node(packet, NODES) == expected


def test_loss_is_by_direction_and_spares_everything_but_beats() -> None:
    path = NetworkPath("1")
    path.set(loss_up=1.0)
    assert not path.keeps(BEAT, up=True)
    assert path.keeps(BEAT, up=False)
    assert path.keeps(PING, up=True)
    path.set(loss_up=0.25)
    kept = sum(path.keeps(BEAT, up=True) for _ in range(4000))
    assert 2800 < kept < 3200
    with pytest.raises(ValueError, match="loss_up"):
        path.set(loss_up=25)


class Bench:
    """The proxy process between a client and a listening socket that plays the broker."""

    def __init__(self, directory: Path) -> None:
        self.board = Switchboard(directory / "board", create=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(WAIT_S)
        words = ["--board", str(directory / "board"), "--node", NODES[0], "--node", NODES[1]]
        self.helper = Helper("proxy", "twinbeat.demo.proxy",
                             [*words, "--broker-port", str(self.listener.getsockname()[1])], directory / "log")
        self.port = self.helper.wait_ready()["port"]
        self.open: list[socket.socket] = []

    def pair(self, node: str) -> tuple[socket.socket, socket.socket]:
        """(the agent's socket, the broker's socket) of a connected agent."""
        agent = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
        agent.sendall(connect(node))
        broker, _ = self.listener.accept()
        broker.settimeout(WAIT_S)
        self.open += [agent, broker]
        assert receive(broker, len(connect(node))) == connect(node)
        return agent, broker


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or as many as come in time; stops at the end of the stream."""
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


def nothing_comes(sock: socket.socket, wait_s: float = 0.05) -> bool:
    """Silence at a socket."""
    return not select.select([sock], [], [], wait_s)[0]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for sock in [*made.open, made.listener]:
        sock.close()
    made.helper.close()


def test_bytes_pass_both_ways_for_both_agents(bench: Bench) -> None:
    for node in NODES:
        agent, broker = bench.pair(node)
        agent.sendall(BEAT + PING)
        assert receive(broker, len(BEAT + PING)) == BEAT + PING
        broker.sendall(BEAT)
        assert receive(agent, len(BEAT)) == BEAT


def test_a_cut_is_a_black_hole_for_one_agent_and_heals(bench: Bench) -> None:
    agent_a, broker_a = bench.pair("gw-a")
    agent_b, broker_b = bench.pair("gw-b")
    bench.board.set(switchboard.mqtt_cut(0), True)
    agent_a.sendall(PING)
    broker_a.sendall(BEAT)
    agent_b.sendall(PING)
    assert receive(broker_b, 2) == PING, "the other agent is not touched"
    assert nothing_comes(broker_a)
    assert nothing_comes(agent_a)
    bench.board.set(switchboard.mqtt_cut(0), False)
    bench.helper.request(resume=True)
    assert receive(broker_a, 2) == PING, "TCP brings it after healing"
    assert receive(agent_a, len(BEAT)) == BEAT


def test_the_broker_does_not_see_an_agent_vanish_behind_a_cut(bench: Bench) -> None:
    agent, broker = bench.pair("gw-a")
    bench.board.set(switchboard.dark(0), True)
    agent.close()
    assert nothing_comes(broker)
    bench.helper.request(close=0)
    assert receive(broker, 1) == b""


def test_an_end_is_passed_on_when_nothing_is_cut(bench: Bench) -> None:
    agent, broker = bench.pair("gw-a")
    agent.close()
    assert receive(broker, 1) == b""
    agent, broker = bench.pair("gw-a")
    broker.close()
    assert receive(agent, 1) == b""


def test_beats_are_lost_and_the_session_lives(bench: Bench) -> None:
    agent, broker = bench.pair("gw-a")
    bench.helper.request(set={"loss_up": 1.0}, node=0)
    agent.sendall(BEAT + PING + BEAT)
    assert receive(broker, 2) == PING
    assert nothing_comes(broker)
    stats = bench.helper.request(stats=True)["stats"]
    assert (stats[0]["beats_up"], stats[0]["dropped_up"]) == (2, 2)


def test_delay_keeps_the_order(bench: Bench) -> None:
    agent, broker = bench.pair("gw-a")
    bench.helper.request(set={"delay_ms": 20})
    agent.sendall(BEAT)
    agent.sendall(PING)
    assert receive(broker, len(BEAT + PING)) == BEAT + PING


def test_a_stranger_a_refused_agent_and_a_missing_broker_are_closed(bench: Bench) -> None:
    for words in (connect("stranger"), PING, b"\x30\xff\xff\xff\xff\x01"):
        with socket.create_connection(("127.0.0.1", bench.port), WAIT_S) as other:
            other.sendall(words)
            assert receive(other, 1) == b""
    bench.helper.request(set={"refuse": True}, node=0)
    with socket.create_connection(("127.0.0.1", bench.port), WAIT_S) as agent:
        agent.sendall(connect("gw-a"))
        assert receive(agent, 1) == b""
    bench.listener.close()
    with socket.create_connection(("127.0.0.1", bench.port), WAIT_S) as agent:
        agent.sendall(connect("gw-b"))
        assert receive(agent, 1) == b""
