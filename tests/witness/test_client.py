"""The gateway's side: votes in, asks out, against a witness in this process or as one of its own."""
from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_fixture import Broker, free_port, running_broker
from witness_rig import KEY, NAME, PACE_S, WAIT_S, Watched, WitnessProcess, notice, signed, write_config

from twinbeat.config_digest import pair_id_of
from twinbeat.links.mqtt_options import MqttOptions, tls_context
from twinbeat.run_loop import boottime_ns
from twinbeat.version import __version__
from twinbeat.voter.witness_client import WitnessClient
from twinbeat.witness.lane import Lane, Message
from twinbeat_bridge.contract import Code, VoteAnswer, VoterClient
from twinbeat_bridge.witness import Witness, voter_id

PAIR = "pump-7"
GRANT_MS = 300


class Side(Watched):
    """One gateway's client and the votes it delivered."""

    def __init__(self, port: int, node: int, ca: str | None = None, **more: Any) -> None:
        super().__init__()
        self.votes: list[VoteAnswer] = []
        options = MqttOptions(
            link=0, name="voter", pair=PAIR, node=f"gw-{'ab'[node]}", host="127.0.0.1", port=port, tls=ca is not None,
            ca=ca, backoff_min_s=0.05, backoff_max_s=0.2,
        )  # fmt: skip
        settings: dict[str, Any] = {
            "witness": NAME, "pair": PAIR, "pair_id": pair_id_of(PAIR), "key": KEY, "node": node, "incarnation": 7,
            "grant_ms": GRANT_MS,
        } | more  # fmt: skip
        self.client = WitnessClient(options, tls_context(options), votes=self._vote, **settings)
        self._stamp = 0

    def _vote(self, vote: VoteAnswer) -> None:
        self.votes.append(vote)
        self.touch()

    def stamp(self) -> int:
        self._stamp = max(self._stamp + 1, boottime_ns() // 1000)
        return self._stamp

    def up(self) -> Side:
        """Until something came from the witness."""
        self.client.start()
        for _ in range(1000):
            if self.client.describe()["answers"]:
                return self
            with self.changed:
                self.changed.wait(WAIT_S / 1000)
        raise AssertionError(self.client.describe())

    def ask(self, group: int, epoch: int) -> VoteAnswer:
        """The vote to one ask."""
        stamp = self.stamp()
        self.client.ask(group, epoch, stamp)
        self.wait(lambda: any(vote.stamp == stamp for vote in self.votes), "a vote")
        return next(vote for vote in self.votes if vote.stamp == stamp)

    def ask_until(self, code: Code, group: int, epoch: int) -> VoteAnswer:
        until_ns = boottime_ns() + int(WAIT_S * 1e9)
        while boottime_ns() < until_ns:
            vote = self.ask(group, epoch)
            if vote.code is code:
                return vote
            with self.changed:
                self.changed.wait(PACE_S)
        raise AssertionError(f"never {code.name}: {self.votes[-3:]}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def witness(tmp_path: Path, broker: Broker) -> Iterator[WitnessProcess]:
    process = WitnessProcess(write_config(tmp_path, broker.port, {PAIR: KEY})).up()
    yield process
    process.stop()


@pytest.fixture
def sides(witness: WitnessProcess, broker: Broker) -> Iterator[tuple[Side, Side]]:
    a, b = Side(broker.port, 0).up(), Side(broker.port, 1).up()
    yield a, b
    a.client.stop()
    b.client.stop()


def test_it_is_a_voter_client(sides: tuple[Side, Side]) -> None:
    client: VoterClient = sides[0].client
    said = client.describe()
    assert (said["type"], said["connected"], said["answering"]) == ("witness", True, True)
    assert said["voter"] == f"{voter_id(NAME):08x}" and said["life"] > 0 and said["version"] == __version__
    assert 0 < said["round_trip_ms"] < WAIT_S * 1000


def test_one_is_promised_and_the_other_refused(sides: tuple[Side, Side]) -> None:
    a, b = sides
    vote = a.ask_until(Code.PROMISED, 0, 8)
    assert (vote.group, vote.epoch, vote.ms) == (0, 8, GRANT_MS)
    refused = b.ask(0, 17)
    assert (refused.code, refused.epoch) == (Code.REFUSED, 8) and 0 < refused.ms <= GRANT_MS + 1
    a.client.give_back(0, 8)
    b.ask_until(Code.PROMISED, 0, 17)
    assert b.ask(0, 0)[:3] == (0, Code.REFUSED, 17)


def test_the_gates_notice_is_forwarded(sides: tuple[Side, Side]) -> None:
    a, b = sides
    a.ask_until(Code.PROMISED, 0, 8)
    b.client.peer_dead(0, 7, frozenset({0}), notice(KEY, PAIR, 0, 7, [True]))
    assert b.ask(0, 17).code is Code.PROMISED


def test_the_echo_stays_fresh_while_nothing_is_asked(witness: WitnessProcess, sides: tuple[Side, Side]) -> None:
    a, _ = sides
    a.ask_until(Code.PROMISED, 0, 8)
    before = a.client.answers
    for _ in range(1000):
        if a.client.answers >= before + 6:     # two promises' worth of queries
            break
        with a.changed:
            a.changed.wait(WAIT_S / 1000)
    assert a.client.answers >= before + 6
    assert [vote for vote in a.votes if vote.code is Code.PROMISED][-1] == a.votes[-1]
    assert a.ask(0, 8).code is Code.PROMISED


def test_groups_of_one_beat_go_in_one_frame(sides: tuple[Side, Side]) -> None:
    a, _ = sides
    a.ask_until(Code.PROMISED, 0, 8)
    stamp = a.stamp()
    for group in range(20):
        a.client.ask(group, 8, stamp)
    a.wait(lambda: sum(vote.stamp == stamp for vote in a.votes) == 20, "twenty votes")
    assert {vote.group for vote in a.votes if vote.stamp == stamp} == set(range(20))


def test_a_lost_broker_is_told_once_for_each_group(broker: Broker, sides: tuple[Side, Side]) -> None:
    a, _ = sides
    a.ask_until(Code.PROMISED, 0, 8)
    a.ask_until(Code.PROMISED, 1, 8)
    broker.stop()
    a.wait(lambda: {vote.group for vote in a.votes if vote.code is Code.GONE} == {0, 1}, "GONE for both")
    gone = len(a.votes)
    for _ in range(50):
        a.client.ask(0, 8, a.stamp())
    assert len(a.votes) == gone and not a.client.describe()["connected"]
    assert a.client.describe()["reason"]
    broker.start()
    for _ in range(1000):
        if a.client.describe()["connected"] and a.client.describe()["answering"]:
            break
        with a.changed:
            a.changed.wait(WAIT_S / 1000)
    a.ask_until(Code.PROMISED, 0, 8)


def test_a_witness_that_ends_is_gone_and_comes_back(
    tmp_path: Path, witness: WitnessProcess, sides: tuple[Side, Side]
) -> None:
    a, _ = sides
    a.ask_until(Code.PROMISED, 0, 8)
    witness.stop()
    vote = a.ask(0, 8)
    assert vote.code is Code.GONE
    assert a.client.describe()["connected"] and not a.client.describe()["answering"]
    again = WitnessProcess(tmp_path / "witness.toml").up()
    refused = a.ask_until(Code.REFUSED, 0, 8)
    a.ask_until(Code.PROMISED, 0, refused.epoch + 8)
    again.stop()


def test_without_a_broker_an_ask_is_answered_at_once() -> None:
    side = Side(free_port(), 0)
    side.client.start()
    side.client.ask(0, 8, 5)
    side.client.ask(0, 8, 6)
    side.client.give_back(0, 8)
    assert side.votes == [VoteAnswer(0, Code.GONE, 0, 5, 0)]
    side.client.stop()


def test_answers_with_another_key_are_refused(broker: Broker, witness: WitnessProcess) -> None:
    side = Side(broker.port, 0, key=bytes(16))
    side.client.start()
    witness.line("has another key than the one here")
    assert side.client.describe()["answers"] == 0
    side.client.stop()


def test_all_of_it_over_tls(tmp_path: Path) -> None:
    words = (
        "req -x509 -newkey rsa:2048 -nodes -keyout srv.key -out srv.crt -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1"
    )
    try:
        subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True, timeout=WAIT_S)
    except FileNotFoundError:
        pytest.skip("openssl is not installed: TLS is not tested")
    lines = f"allow_anonymous true\ncertfile {tmp_path}/srv.crt\nkeyfile {tmp_path}/srv.key\n"
    with running_broker(tmp_path, lines) as broker:
        config = write_config(tmp_path, broker.port, {PAIR: KEY}, ca="srv.crt")
        config.write_text(config.read_text().replace("mqtt://", "mqtts://"))
        witness = WitnessProcess(config).up()
        side = Side(broker.port, 0, ca=f"{tmp_path}/srv.crt").up()
        side.ask_until(Code.PROMISED, 0, 8)
        stamp = side.stamp()
        for group in range(60):
            side.client.ask(group, 8, stamp)
        side.wait(lambda: sum(vote.stamp == stamp for vote in side.votes) == 60, "sixty votes through TLS")
        second = WitnessProcess(config.parent / "witness.toml")
        assert second.ended() == 7
        broker.stop()
        broker.start()
        witness.line("connected;", 2)
        side.client.stop()
        assert witness.stop() == 0


# ------------------------------------------------------------ without a network


class Quiet:
    """A client without its connection: what it sends is answered by a witness here, as far as the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.side = Side(free_port(), 0)
        self.client = self.side.client
        self.sent: list[bytes] = []
        self.now_ms = boottime_ns() // 1_000_000
        self.witness = Witness(NAME, 0x10001, GRANT_MS, self.now_ms - GRANT_MS - 1)
        self.witness.serve(PAIR, KEY, pair_id_of(PAIR))
        courier: Any = self.client._courier
        monkeypatch.setattr(courier, "send", self._send)
        monkeypatch.setattr(courier, "connected", True)
        self.client.opened()

    def _send(self, packet: bytes) -> bool:
        [message] = Lane().feed(packet)
        self.sent.append(message.payload)
        return True

    def answer(self) -> None:
        """Let the witness answer everything that was sent."""
        sent, self.sent = self.sent, []
        for payload in sent:
            answered = self.witness.handle(PAIR, payload, self.now_ms)
            if answered is not None:
                self.client.take([Message(b"", answered[1], False, b"", b"")], self.now_ms * 1_000_000)

    def write(self) -> None:
        self.witness.reserved(self.witness.to_reserve)
        self.witness.to_reserve = {}

    def turn(self) -> int:
        return self.client.turn(self.now_ms * 1_000_000)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Quiet:
    return Quiet(monkeypatch)


def test_an_unproven_ask_is_repeated_at_once_and_once(quiet: Quiet) -> None:
    quiet.answer()
    quiet.write()
    quiet.now_ms += 2 * GRANT_MS                        # deaf for a while: the echo is old
    quiet.client.ask(0, 8, 1000)
    quiet.client._orders[0] = quiet.client._orders[0]._replace(at_ns=quiet.now_ms * 1_000_000)
    quiet.turn()
    quiet.answer()
    assert quiet.side.votes == [] and len(quiet.sent) == 1
    quiet.answer()
    assert [(vote.code, vote.stamp) for vote in quiet.side.votes] == [(Code.PROMISED, 1000)]


def test_an_ask_that_stays_unproven_is_gone(quiet: Quiet) -> None:
    quiet.client.ask(0, 8, 1000)
    quiet.turn()
    quiet.sent = quiet.sent[1:]                         # the query is lost
    quiet.answer()
    quiet.now_ms += 2 * GRANT_MS                        # so long is its repetition on the way
    quiet.answer()
    assert [(vote.code, vote.stamp) for vote in quiet.side.votes] == [(Code.GONE, 1000)]


def test_an_ask_that_waits_for_the_disk_is_repeated_soon(quiet: Quiet) -> None:
    quiet.answer()
    quiet.client.ask(0, 50000, 1000)
    quiet.turn()
    quiet.answer()
    assert quiet.side.votes == [] and quiet.turn() <= 51
    quiet.write()
    quiet.now_ms += 51
    quiet.turn()
    quiet.answer()
    assert [(vote.code, vote.epoch) for vote in quiet.side.votes] == [(Code.PROMISED, 50000)]


def test_an_answer_that_waits_behind_a_newer_ask_says_nothing(quiet: Quiet) -> None:
    quiet.client.ask(0, 8, 1000)
    quiet.turn()
    quiet.client.ask(0, 8, 2000)
    quiet.turn()
    quiet.answer()                                      # query, both asks: the first two carry no echo
    quiet.write()
    quiet.answer()
    assert {vote.stamp for vote in quiet.side.votes} <= {2000}


@pytest.mark.parametrize("change", ["tag", "retained", "voter", "node", "short"])
def test_foreign_answers_are_counted_and_ignored(quiet: Quiet, change: str) -> None:
    quiet.client.ask(0, 8, 1000)
    quiet.turn()
    witness = Witness("other", 5, GRANT_MS, 0) if change == "voter" else quiet.witness
    witness.serve(PAIR, KEY, pair_id_of(PAIR))
    answered = witness.handle(PAIR, quiet.sent[-1], quiet.now_ms)
    assert answered is not None
    payload = answered[1]
    if change == "node":
        payload = signed(KEY, payload[:2] + b"\x01" + payload[3:-8])
    payload = {"tag": payload[:-1] + b"?", "short": payload[:4]}.get(change, payload)
    quiet.client.take([Message(b"", payload, change == "retained", b"", b"")], quiet.now_ms * 1_000_000)
    assert quiet.side.votes == [] and quiet.client.answers == 0
    said = quiet.client.describe()
    assert said["bad_tags"] + said["retained_refused"] + sum(said["refused"].values()) == 1


def test_asking_never_waits(quiet: Quiet) -> None:
    """A thousand asks from a loop that nobody serves: the oldest are dropped."""
    done = threading.Event()

    def ask() -> None:
        for number in range(1000):
            quiet.client.ask(0, 8, number)
        done.set()

    threading.Thread(target=ask, daemon=True).start()
    assert done.wait(WAIT_S)
    assert len(quiet.client._orders) < 1000
