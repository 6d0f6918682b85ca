"""The witness's connection against a broker's end that the test holds: who was replaced answers nothing more."""
from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from witness_rig import GRANT_MS, KEY, NAME, WAIT_S, Watched, signed

from twinbeat.config_digest import pair_id_of
from twinbeat.errors import AlreadyRunning
from twinbeat.links.mqtt_options import MqttOptions
from twinbeat.run_loop import boottime_ns
from twinbeat.witness import courier as courier_module
from twinbeat.witness.desk import Desk
from twinbeat.witness.lane import GOODBYE, Lane, publish
from twinbeat.witness.link import WitnessLink
from twinbeat.witness.opening import NotOpened
from twinbeat.witness.presence import answer_packet, life_text, question_topic
from twinbeat_bridge import witness as witness_module
from twinbeat_bridge.protocol import Session, Told
from twinbeat_bridge.witness import Witness, voter_id

PAIR = "pump-7"
TAKEN_OVER = b"\xe0\x02\x8e\x00"


def query(stamp: int = 1) -> bytes:
    session = Session(0, pair_id_of(PAIR), 7, voter_id(NAME), GRANT_MS)
    return publish(f"twinbeat/v1/{PAIR}/witness/{NAME}/ask".encode(), signed(KEY, session.query(stamp)), b"corr")


class Held(Watched):
    """A link whose connections are the near ends of socket pairs; `far` is the broker's end of the newest."""

    def __init__(self, keepalive_s: int = 5) -> None:
        super().__init__()
        self.witness = Witness(NAME, 9, GRANT_MS, boottime_ns() // 1_000_000)
        self.witness.serve(PAIR, KEY, pair_id_of(PAIR))
        self.errors: list[Exception] = []
        self.openings = 0
        self.refuse: OSError | None = None
        options = MqttOptions(
            link=0, name="held", pair="", node=NAME, host="h", port=1, keepalive_s=keepalive_s, backoff_min_s=0.01,
            backoff_max_s=0.02,
        )  # fmt: skip
        desk = Desk(self.witness, print)
        self.link = WitnessLink(options, None, desk, self.touch, self._ended)
        link: Any = self.link
        link._open = self._open
        self.far = socket.socket()
        self.first: list[bytes] = []

    def _ended(self, error: Exception) -> None:
        self.errors.append(error)
        self.touch()

    def _open(self, _opening: object) -> socket.socket:
        if self.refuse is not None:
            self.openings += 1
            raise self.refuse
        near, far = socket.socketpair()
        near.setblocking(False)
        far.settimeout(WAIT_S)
        for data in self.first:
            far.sendall(data)
        self.far = far
        self.openings += 1
        self.touch()
        return near

    def up(self) -> Held:
        self.link.start()
        self.wait(lambda: self.openings, "a connection")
        return self

    def heard(self) -> list[bytes]:
        """Payloads of what the link sent before it closed its end or fell silent for the answer's time."""
        lane, found = Lane(), []
        while data := self.far.recv(65536):
            data = data.replace(b"\xc0\x00", b"")        # its pings
            data = data.removesuffix(GOODBYE)
            found += [message.payload for message in lane.feed(data)]
        return found


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.link.finish(WAIT_S)


@pytest.mark.parametrize("together", [True, False])
def test_whoever_was_replaced_answers_nothing_more(held: Held, together: bool) -> None:
    held.first = [query() * 3 + TAKEN_OVER] if together else [TAKEN_OVER]
    held.up()
    held.wait(lambda: held.errors, "the end")
    assert isinstance(held.errors[0], AlreadyRunning) and NAME in str(held.errors[0])
    assert held.heard() == []
    assert held.openings == 1 and not held.link.connected


def test_being_replaced_is_seen_where_nothing_can_be_written_any_more(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = held.link.send

    def fails(data: bytes) -> bool:
        if len(data) > 2:                        # not a ping
            held.far.sendall(TAKEN_OVER)
            raise BrokenPipeError
        return real(data)

    monkeypatch.setattr(held.link, "send", fails)
    held.first = [query()]
    held.up()
    held.wait(lambda: held.errors, "the end")
    assert isinstance(held.errors[0], AlreadyRunning)


def test_a_refused_name_ends_it_too(held: Held) -> None:
    held.refuse = NotOpened("taken", 0x8E)
    held.up()
    held.wait(lambda: held.errors, "the end")
    assert isinstance(held.errors[0], AlreadyRunning)


def test_a_query_is_answered_with_its_correlation(held: Held) -> None:
    held.up().far.sendall(query())
    [message] = Lane().feed(received(held.far))
    session = Session(0, pair_id_of(PAIR), 7, voter_id(NAME), GRANT_MS)
    session.query(1)
    assert isinstance(session.receive(message.payload[:-8]), Told)
    assert message.correlation == b"corr"
    held.wait(lambda: held.link.answers == 1, "its count")


def received(far: socket.socket) -> bytes:
    """The first packet that is no ping."""
    data = b""
    while not data:
        data = far.recv(65536).replace(b"\xc0\x00", b"")
    return data


@pytest.mark.parametrize("last", [b"", b"\xe0\x00", b"\xe0\x02\x8b\x00", b"\x20\x02\x00\x00"])
def test_any_other_end_is_followed_by_a_new_connection_and_abstention(held: Held, last: bytes) -> None:
    held.up()
    before_ms = held.witness.abstains_until_ms
    held.far.sendall(last)
    held.far.close()
    held.wait(lambda: held.openings >= 2, "a second connection")
    held.far.sendall(query())
    received(held.far)
    assert held.witness.abstains_until_ms >= before_ms and held.errors == []
    assert held.link.connects == held.openings


def test_a_broker_that_answers_no_ping_is_left(caplog: pytest.LogCaptureFixture) -> None:
    held = Held(keepalive_s=1)
    held.up()
    held.wait(lambda: held.openings >= 2, "another connection")
    assert "it does not answer pings any more" in caplog.text
    held.link.finish(WAIT_S)


def test_a_broker_that_reads_nothing_costs_answers_and_no_memory(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "UNSENT_BYTES_MAX", 2000)
    monkeypatch.setattr(witness_module, "ANSWERS_PER_S", 1 << 30)
    held.up()
    for number in range(5000):
        if held.link.unsent:
            break
        held.far.sendall(query(number))
    assert held.link.unsent
    link: Any = held.link
    assert len(link._pending) < 2000 + 65536
    assert held.errors == []


def test_a_stop_says_goodbye(held: Held) -> None:
    held.up()
    held.far.sendall(query())
    received(held.far)
    held.link.finish(WAIT_S)
    data = b""
    while more := held.far.recv(65536):
        data += more
    assert data.endswith(GOODBYE)


def test_the_presence_of_another_life_is_told_and_ones_own_is_not(held: Held) -> None:
    assert answer_packet(NAME, 9, 300, life_text(9)) is None
    assert answer_packet(NAME, 9, 300, b"xyz") is None
    held.up().far.sendall(publish(question_topic(NAME), life_text(0xAB)))
    [message] = Lane().feed(received(held.far))
    assert message.topic == f"twinbeat/v1/-/witness/{NAME}/000000ab".encode()
    assert message.payload == f"00000009 {GRANT_MS}".encode()
