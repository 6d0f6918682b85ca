"""`twinbeat witness` as a process against a real broker: what it answers, what ends it, what it knows afterwards."""
from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_fixture import Broker, free_port, running_broker
from witness_rig import (
    GRANT_MS,
    KEY,
    NAME,
    WAIT_S,
    Gateway,
    WitnessProcess,
    notice,
    opened,
    read_metrics,
    signed,
    write_config,
    write_key,
)

from twinbeat.config_digest import pair_id_of
from twinbeat.version import __version__
from twinbeat_bridge.protocol import Session, VoteCode, Votes

PAIR = "pump-7"
OTHER_KEY = bytes(16)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
def witness(tmp_path: Path, broker: Broker, metrics_port: int) -> Iterator[WitnessProcess]:
    process = WitnessProcess(write_config(tmp_path, broker.port, {PAIR: KEY}, metrics_port=metrics_port)).up()
    yield process
    process.stop()


@pytest.fixture
def gateways(witness: WitnessProcess, broker: Broker) -> Iterator[tuple[Gateway, Gateway]]:
    a, b = Gateway(broker.port, PAIR, 0), Gateway(broker.port, PAIR, 1)
    yield a, b
    a.close()
    b.close()


def test_two_gateways_and_one_promise(gateways: tuple[Gateway, Gateway], metrics_port: int) -> None:
    a, b = gateways
    told = a.query()
    assert (told.board, told.grant_max_ms, told.version) == (4, GRANT_MS, __version__)
    a.ask_until(VoteCode.PROMISED, 0, 8)
    assert b.ask(0, 17)[0] is VoteCode.REFUSED
    a.send(signed(KEY, a.session.give_back([(0, 8)], a.stamp())))
    b.ask_until(VoteCode.PROMISED, 0, 17)
    figures = read_metrics(metrics_port)
    assert figures["pairs"] == figures["connected"] == figures["start"] == 1
    assert figures["promises_total"] >= 2 and figures["returns_total"] == 1
    assert figures["answer_seconds_count"] == figures["answers_total"] > 0
    assert figures['answer_seconds_bucket{le="+Inf"}'] == figures["answers_total"]


def test_it_abstains_after_its_start(gateways: tuple[Gateway, Gateway], metrics_port: int) -> None:
    """From the connection on, for the longest promise: the answer says how long yet."""
    a, _ = gateways
    a.query()
    begun_ns = time.monotonic_ns()
    a.ask_until(VoteCode.PROMISED, 0, 8)
    waited_ms = (time.monotonic_ns() - begun_ns) / 1e6
    rows = [answer.rows[0] for answer in a.heard if isinstance(answer, Votes)]
    abstained = [row.ms for row in rows if row.code is VoteCode.ABSTAINS]
    if abstained:                       # on a machine that stalls it may be over before the first ask
        assert max(abstained) <= GRANT_MS + 1
        assert waited_ms >= max(abstained)


def test_an_answer_goes_where_it_was_asked_for(broker: Broker, witness: WitnessProcess) -> None:
    wished = f"twinbeat/v1/{PAIR}/witness/{NAME}/gw-a"
    gateway = Gateway(broker.port, PAIR, 0, response=wished)
    stranger = Gateway(broker.port, PAIR, 1, response="twinbeat/v1/fan-1/witness/plant/1")
    gateway.query()
    gateway.send(signed(KEY, gateway.session.query(gateway.stamp())), correlation=b"\0corr\xff")
    gateway.wait(lambda: hasattr(gateway.messages[-1].properties, "CorrelationData"), "the correlation")
    message = gateway.messages[-1]
    assert (message.topic, message.qos, message.retain) == (wished, 0, False)
    properties: Any = message.properties
    assert (properties.CorrelationData, properties.MessageExpiryInterval) == (b"\0corr\xff", 1)
    stranger.query()
    assert {message.topic for message in stranger.messages} >= {f"twinbeat/v1/{PAIR}/witness/{NAME}/1"}
    gateway.close()
    stranger.close()


def test_a_wrong_key_is_said_once_and_counted(
    broker: Broker, witness: WitnessProcess, gateways: tuple[Gateway, Gateway], metrics_port: int
) -> None:
    gateways[0].query()
    stranger = Gateway(broker.port, PAIR, 1, key=OTHER_KEY)
    for _ in range(20):
        stranger.send(signed(OTHER_KEY, stranger.session.query(stranger.stamp())))
    gateways[1].query()
    witness.line('pair "pump-7" has another key than the one here')
    until_ns = time.monotonic_ns() + int(WAIT_S * 1e9)
    while read_metrics(metrics_port)['messages_refused_total{reason="tag"}'] < 20:
        assert time.monotonic_ns() < until_ns
    assert stranger.heard == []
    assert sum("another key" in line for line in witness.lines) == 1
    stranger.close()


def test_another_witnesss_name_is_not_answered(broker: Broker, gateways: tuple[Gateway, Gateway]) -> None:
    other = Gateway(broker.port, PAIR, 0, witness="elsewhere")
    other.send(signed(KEY, other.session.query(other.stamp())))
    gateways[0].query()
    gateways[1].query()
    assert other.messages == []
    other.close()


def test_a_retained_ask_is_refused(
    tmp_path: Path, broker: Broker, witness: WitnessProcess, gateways: tuple[Gateway, Gateway], metrics_port: int
) -> None:
    a, b = gateways
    b.query()
    a.send(signed(KEY, a.session.query(a.stamp())), retain=True)
    witness.line("a retained ask on twinbeat/v1/pump-7/witness/plant/ask was refused; clear it")
    assert a.heard == []
    witness.stop()
    again = WitnessProcess(tmp_path / "witness.toml").up()
    again.line("a retained ask")
    a.query()
    assert read_metrics(metrics_port)["retained_refused_total"] == 1
    again.stop()


def test_a_forwarded_death_notice_ends_the_promise(gateways: tuple[Gateway, Gateway]) -> None:
    a, b = gateways
    a.ask_until(VoteCode.PROMISED, 0, 8)
    a.ask_until(VoteCode.PROMISED, 1, 8)
    b.query()
    b.send(notice(KEY, PAIR, 0, 7, [True, False]))
    b.ask_until(VoteCode.PROMISED, 0, 17)
    assert a.heard[-1].rows[0].code is VoteCode.PROMISED
    b.send(signed(KEY, a.session.death([1])))


def test_a_restart_keeps_the_floor_and_counts(
    tmp_path: Path, witness: WitnessProcess, gateways: tuple[Gateway, Gateway], metrics_port: int
) -> None:
    a, _ = gateways
    life = a.query().life
    a.ask_until(VoteCode.PROMISED, 0, 8)
    assert witness.stop(signal.SIGKILL) == -signal.SIGKILL
    again = WitnessProcess(tmp_path / "witness.toml").up()
    assert a.query().life != life
    floor = a.ask_until(VoteCode.REFUSED, 0, 8)
    assert floor >= 8192
    a.ask_until(VoteCode.PROMISED, 0, floor + 8)
    assert read_metrics(metrics_port)["start"] == 2
    assert not any("first start" in line for line in again.lines)
    assert again.stop() == 0


def test_a_second_one_on_this_machine_is_refused(tmp_path: Path, witness: WitnessProcess) -> None:
    second = WitnessProcess(tmp_path / "witness.toml")
    assert second.ended() == 7
    assert f"already running here (pid {witness.process.pid}); stop it first" in second.lines[-1]


def test_a_second_one_elsewhere_takes_the_name_over(
    tmp_path: Path, broker: Broker, witness: WitnessProcess, gateways: tuple[Gateway, Gateway]
) -> None:
    a, b = gateways
    a.ask_until(VoteCode.PROMISED, 0, 8)
    life = a.session.life
    second = WitnessProcess(write_config(tmp_path / "elsewhere", broker.port, {PAIR: KEY}, grant_max_ms=100)).up()
    second.line(f"nothing is promised for {GRANT_MS} ms")       # the older one's promises may last so long
    assert b.ask(0, 17)[0] is VoteCode.ABSTAINS
    assert witness.ended() == 7
    assert 'another witness named "plant" has connected there; this one has stopped answering' in witness.lines[-1]
    assert b.query().life != life
    # Shown out once, it never came back: the second one connected once only.
    assert sum("connected;" in line for line in second.lines) == 1
    assert second.stop() == 0


def test_after_a_new_connection_it_abstains_again(
    broker: Broker, witness: WitnessProcess, gateways: tuple[Gateway, Gateway]
) -> None:
    a, _ = gateways
    a.ask_until(VoteCode.PROMISED, 0, 8)
    life = a.session.life
    broker.stop()
    broker.start()
    witness.line("connected;", 2)
    for old in gateways:
        old.close()
    again = Gateway(broker.port, PAIR, 1)
    assert again.query().life == life
    again.ask_until(VoteCode.PROMISED, 0, 17)
    codes = [answer.rows[0].code for answer in again.heard if isinstance(answer, Votes)]
    assert codes[-1] is VoteCode.PROMISED
    again.close()


def test_keys_come_and_go(tmp_path: Path, broker: Broker, witness: WitnessProcess) -> None:
    gateway = Gateway(broker.port, "fan-1", 0, key=OTHER_KEY)
    gateway.send(signed(OTHER_KEY, gateway.session.query(gateway.stamp())))
    witness.line('pair "fan-1" asks, but no key of that name is here')
    write_key(tmp_path / "keys" / "fan-1.key", OTHER_KEY)
    witness.process.send_signal(signal.SIGHUP)
    witness.line("keys read again: 2 pairs")      # new, or found already because it asked
    gateway.query()
    late = Gateway(broker.port, "fan-2", 0, key=KEY)
    write_key(tmp_path / "keys" / "fan-2.key", KEY)     # served without being told: it is looked for when it asks
    late.query()
    (tmp_path / "keys" / "fan-1.key").unlink()
    witness.process.send_signal(signal.SIGHUP)
    witness.line("keys read again: 2 pairs, 0 new, 1 gone")
    (tmp_path / "keys" / "fan-2.key").chmod(0o644)
    witness.process.send_signal(signal.SIGHUP)
    witness.line("fan-2.key: everybody can read the key")
    gateway.close()
    late.close()


def test_two_hundred_pairs(tmp_path: Path, broker: Broker) -> None:
    keys = {f"p-{number}": number.to_bytes(16) for number in range(200)}
    witness = WitnessProcess(write_config(tmp_path, broker.port, keys)).up()
    first = Gateway(broker.port, "p-0", 0, key=keys["p-0"])
    first.ask_until(VoteCode.PROMISED, 0, 8)
    first.close()
    crowd = Gateway(broker.port, "+", 0)
    sessions = {name: Session(0, pair_id_of(name), 7, None, GRANT_MS) for name in keys}
    codes: dict[str, VoteCode] = {}
    lock = threading.Condition()

    def answered(_client: object, _user: object, message: object) -> None:
        topic, payload = message.topic, message.payload  # type: ignore[attr-defined]
        name = topic.split("/")[2]
        if topic.endswith("/ask"):
            return
        answer = sessions[name].receive(opened(keys[name], payload))
        with lock:
            if isinstance(answer, Votes):
                codes[name] = answer.rows[0].code
            lock.notify_all()

    crowd.client.on_message = answered
    for _ in range(300):
        for name in keys:
            if codes.get(name) is not VoteCode.PROMISED:
                body = sessions[name].ask([(0, 8)], crowd.stamp())
                crowd.client.publish(f"twinbeat/v1/{name}/witness/{NAME}/ask", signed(keys[name], body))
        with lock:
            if lock.wait_for(lambda: sum(c is VoteCode.PROMISED for c in codes.values()) == len(keys), WAIT_S / 300):
                break
    # p-0 was promised before, to the same life: it is renewed like the others.
    assert sum(code is VoteCode.PROMISED for code in codes.values()) == len(keys)
    crowd.close()
    assert witness.stop() == 0
    assert len((tmp_path / "state" / "plant.reservations").read_text().splitlines()) >= 201


def test_the_service_manager_is_told(tmp_path: Path, broker: Broker) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(WAIT_S)
        environ = os.environ | {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "300000"}
        witness = WitnessProcess(write_config(tmp_path, broker.port, {PAIR: KEY}), environ)
        said = [manager.recv(4096).decode()]
        assert said[0].startswith("READY=1\nSTATUS=1 pairs")
        while "WATCHDOG=1" not in said:
            said.append(manager.recv(4096).decode())
        assert witness.stop() == 0
        while not said[-1].startswith("STOPPING=1"):
            said.append(manager.recv(4096).decode())


def test_without_a_broker_it_tries_for_ever_and_stops_when_told(tmp_path: Path) -> None:
    witness = WitnessProcess(write_config(tmp_path, free_port(), {PAIR: KEY}))
    witness.line("nothing listens there; is the broker running, and is the port right?; trying again")
    assert witness.stop() == 0


def test_a_metrics_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        witness = WitnessProcess(write_config(tmp_path, free_port(), {PAIR: KEY}, metrics_port=port))
        assert witness.ended() == 5
    assert f"metrics_port = {port}: Address already in use; choose a port that nobody uses" in witness.lines[-1]


def test_a_broker_that_refuses_is_told_with_its_remedy(tmp_path: Path) -> None:
    with running_broker(tmp_path, "allow_anonymous false\n") as broker:
        witness = WitnessProcess(write_config(tmp_path, broker.port, {PAIR: KEY}))
        witness.line("not authorised; check `user` and `password_file`")
        assert witness.stop() == 0


@pytest.mark.slow
def test_the_load_tool_measures_promises() -> None:
    from twinbeat.bench.witness_load import measure

    found = measure(50, 2.0, queries=True)
    assert found["asks"] >= 99 and found["lost"] == 0
    assert set(found["codes"]) == {"promised"} and found["told"] >= 99
    assert 0 < found["answer_ms"]["p50"] <= found["answer_ms"]["p99"] <= found["answer_ms"]["max"]
