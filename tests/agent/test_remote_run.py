"""Remote commands against a real broker and a whole agent: what an operator sees, and what a stranger can do."""
from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_fixture import Broker, free_port, running_broker
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from run_fakes import core_view, peer_view, reaches
from run_rig import Rig
from test_mqtt import Observer

from twinbeat.cli_dispatch import dispatch
from twinbeat.errors import ControlError, RefusedError
from twinbeat.links.mqtt_options import MqttOptions
from twinbeat.remote.client import RemoteClient
from twinbeat.remote.envelope import answer_topic, cmd_stem, signing_key
from twinbeat.remote.keyring import Operator
from twinbeat.run_loop import boottime_ns
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode, ReportCode
from twinbeat_rt.messages import Reported

SECRET = "ffeeddccbbaa99887766554433221100"
ALICE = Operator("alice", signing_key(bytes.fromhex(SECRET)))
STEM = cmd_stem("pump-7", "gw-a")


class Desk(Rig):
    """A rig whose agent takes commands of alice over a broker."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port
        self.links = f'[[link]]\ntype = "mqtt"\nname = "plant"\nbroker = "mqtt://127.0.0.1:{port}"\n'
        self.operator_key = folder / "alice.key"
        self.operator_key.write_text(SECRET + "\n")
        self.operator_key.chmod(0o600)
        self.agent_lines = '[[operator]]\nname = "alice"\nkey_file = "alice.key"\n'

    def serve(self, scenario: Callable[[], None]) -> int:
        """Run with a scenario that begins once commands arrive."""

        def begin() -> None:
            (broker,) = self.agent.parts.brokers.values()
            self.rt.wait(lambda: self.rt.beats >= 0 and broker.mail.open, "the commands' topic is open")
            scenario()

        return self.run(begin)

    def client(self, operator: Operator = ALICE, **more: Any) -> RemoteClient:
        options = MqttOptions(link=0, name="plant", pair="pump-7", node="operator", host="127.0.0.1", port=self.port)
        return RemoteClient(options, None, operator, **{"limit_s": 5.0} | more)

    def cli(self, *words: str) -> int:
        return dispatch(["remote", *words, "--config", str(self.config)])

    def codes(self, code: str) -> list[str]:
        return [event["text"] for event in self.ask("events", count=200)["events"] if event["code"] == code]

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.ask("remote")["counters"]
        return found


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def desk(tmp_path: Path, broker: Broker) -> Iterator[Desk]:
    desk = Desk(tmp_path, broker.port)
    yield desk
    desk.gate.end()


def copy_of(message: Any) -> tuple[str, bytes, Properties]:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = message.properties.ResponseTopic
    properties.CorrelationData = message.properties.CorrelationData
    return message.topic, message.payload, properties


def test_a_command_over_the_broker_does_what_the_socket_does(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    def scenario() -> None:
        desk.rt.core = core_view("ACTIVE", epoch=9)
        desk.rt.act = reaches(desk.rt, "STANDBY", peers=[peer_view(1, state="ACTIVE", epoch=17)])
        with desk.client() as client:
            answer = client.ask("gw-a", "handover", {"node": "gw-b"})
        assert (answer["ok"], answer["driver"]) == (True, "gw-b")
        command = next(event for event in desk.rt.posted if isinstance(event, Command))
        assert (command.code, command.group, command.node) == (CommandCode.CMD_HANDOVER, 0, 1)
        assert desk.codes("REMOTE")[1:] == [
            "operator alice commands over a broker: handover node=gw-b", "handover node=gw-b, by operator alice: done",
        ]
        assert desk.cli("gw-a", "status", "--json") == 0
        assert json.loads(capfd.readouterr().out)["node"] == "gw-a"
        assert desk.cli("gw-a", "events", "count=3") == 0
        assert len(capfd.readouterr().out.splitlines()) == 3
        desk.rt.core = core_view()

    assert desk.serve(scenario) == 0


def test_a_handover_to_a_sick_node_is_refused_with_the_agents_reason(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    def scenario() -> None:
        desk.rt.core = core_view("ACTIVE", epoch=9)
        desk.rt.act = lambda event: desk.rt.push(
            Reported(boottime_ns(), ReportCode.RP_HANDOVER_REFUSED, 0, 15, 0, 9, 3, 0)
        )
        capfd.readouterr()
        assert desk.cli("gw-a", "handover", "group=pump", "node=gw-b") == 1
        assert "twinbeat: handover of pump refused: " in capfd.readouterr().err
        assert desk.cli("gw-a", "handover", "group=pmp") == 2
        assert 'there is no group "pmp"' in capfd.readouterr().err
        desk.rt.core = core_view()

    desk.serve(scenario)


def test_two_operators_at_once(desk: Desk) -> None:
    """The second is told who is at it and for how long, whichever way either came."""
    desk.agent_lines += "[remote]\npair_key = true\n"
    pair = Operator("pair", signing_key(bytes.fromhex("00112233445566778899aabbccddeeff")))

    def scenario() -> None:
        desk.rt.core = core_view("ACTIVE", epoch=9)
        found: list[Any] = []

        def first() -> None:
            with desk.client() as client:
                try:
                    found.append(client.ask("gw-a", "handover", {"node": "gw-b"}))
                except RefusedError as error:
                    found.append(str(error))

        thread = threading.Thread(target=first)
        thread.start()
        desk.rt.wait(lambda: any(isinstance(event, Command) for event in desk.rt.posted), "the first is under way")
        with desk.client(pair) as client, pytest.raises(RefusedError) as refused:
            client.ask("gw-a", "out")
        thread.join(10)
        assert re.search(
            r"handover of pump( to gw-b)? by operator alice is under way and over in \d\.\d s at the latest",
            str(refused.value),
        )
        assert len(found) == 1
        desk.rt.core = core_view()

    desk.serve(scenario)


def test_a_recorded_command_is_worth_nothing(desk: Desk) -> None:
    """Whoever reads the broker sends it again: at once, to the other node, as another verb, after a restart."""
    recorded: list[Any] = []

    def first() -> None:
        observer = Observer(desk.port, f"{STEM}/out")
        desk.rt.act = reaches(desk.rt, "OUT")
        with desk.client() as client:
            assert client.ask("gw-a", "out", {"group": "pump"})["ok"]
        observer.wait(lambda: observer.heard, "the command as others see it")
        recorded.append(copy_of(observer.heard[0]))
        topic, payload, properties = recorded[0]
        done = len(desk.rt.posted)
        for place in (topic, f"{STEM}/in", f"{cmd_stem('pump-7', 'gw-b')}/out"):
            observer.client.publish(place, payload, 1, False, properties).wait_for_publish(5)
        desk.rt.wait(lambda: desk.agent.parts.brokers[1].mail.counters.passed >= 4, "the copies")
        with desk.client() as client:
            client.ask("gw-a", "events")
        counts = desk.counts()
        assert (counts["refused_repeated"], counts["refused_place"]) == (1, 1)
        assert len([event for event in desk.rt.posted[done:] if isinstance(event, Command)]) == 0
        observer.close()

    def second() -> None:
        topic, payload, properties = recorded[0]
        observer = Observer(desk.port, answer_topic("pump-7", "alice", "+"))
        observer.client.publish(topic, payload, 1, False, properties).wait_for_publish(5)
        observer.wait(lambda: observer.heard, "the signed refusal")
        assert desk.counts()["refused_session"] == 1
        (text,) = desk.codes("REMOTE_REFUSED")
        assert text.startswith("remote command refused, signed by operator alice: the command is for another start")
        assert not any(isinstance(event, Command) and event.code == CommandCode.CMD_OUT for event in desk.rt.posted)
        observer.close()

    desk.serve(first)
    desk.gate.end()
    desk.serve(second)


def test_held_back_until_it_is_too_late(desk: Desk) -> None:
    """A broker that keeps a command for itself and gives it out later."""

    def scenario() -> None:
        with desk.client() as client:
            challenge = client.challenge("gw-a")
            old = {"session": challenge["session"], "at_ns": challenge["at_ns"] - 10**10, "valid_ms": 5000, "args": {}}
            heard = client._exchange("gw-a", "out", old)
        assert heard.answer is not None and heard.answer["reason"] == "expired"
        assert "was valid for 5 s" in heard.answer["error"]

    desk.serve(scenario)


def test_retained_and_unsigned_commands_are_refused(desk: Desk) -> None:
    def scenario() -> None:
        observer = Observer(desk.port, f"{STEM}/#")
        observer.client.publish(f"{STEM}/out", b'{"verb":"out"}', 1, True).wait_for_publish(5)
        observer.client.publish(f"{STEM}/out", b'{"verb":"out"}', 1).wait_for_publish(5)
        with desk.client() as client:
            client.ask("gw-a", "events")
        counts = desk.counts()
        assert (counts["refused_retained"], counts["refused_unsigned"]) == (1, 1)
        observer.client.publish(f"{STEM}/out", b"", 1, True).wait_for_publish(5)
        observer.close()

    desk.serve(scenario)


def test_what_the_broker_has_kept_is_not_even_sent(desk: Desk) -> None:
    keeper = Observer(desk.port, "nothing")
    keeper.client.publish(f"{STEM}/out", b"kept", 1, True).wait_for_publish(5)

    def scenario() -> None:
        with desk.client() as client:
            client.ask("gw-a", "events")
        assert "refused_retained" not in desk.counts()

    desk.serve(scenario)
    keeper.close()


def test_wrong_key_unknown_operator_and_wrong_verb_say_what_to_change(
    desk: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.key"
    other.write_text("0" * 32 + "\n")
    other.chmod(0o600)
    by_hand = ["--broker", f"mqtt://127.0.0.1:{desk.port}", "--pair", "pump-7", "--key", str(other)]

    def scenario() -> None:
        capfd.readouterr()
        assert desk.cli("gw-a", "status", "--key", str(other)) == 1
        said = capfd.readouterr().err
        assert "answers without a signature, so it may be anybody: the signature is not that of operator" in said
        assert dispatch(["remote", "gw-a", "status", *by_hand, "--operator", "eve"]) == 1
        assert 'knows no operator "eve"; add an [[operator]]' in capfd.readouterr().err
        with desk.client() as client, pytest.raises(RefusedError, match='no verb "record" may be asked of gw-a'):
            client.ask("gw-a", "record")

    desk.serve(scenario)


def test_no_answer_is_explained(desk: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def scenario() -> None:
        capfd.readouterr()
        assert desk.cli("gw-b", "status", "--timeout", "1") == 6
        said = capfd.readouterr().err
        assert "gw-b was not reached" in said and "nobody listens for this node's commands" in said
        assert "pair pump-7 has no status of it there" in said

    desk.serve(scenario)
    assert desk.cli("gw-a", "status", "--timeout", "1") == 6
    assert "its last status is offline (stopped): start its agent" in capfd.readouterr().err
    hand = ["--operator", "alice", "--key", str(desk.operator_key), "--timeout", "1"]
    here = f"mqtt://127.0.0.1:{desk.port}"
    assert dispatch(["remote", "gw-a", "status", "--broker", here, "--pair", "x", *hand]) == 6
    assert "nothing of pair x is on this broker" in capfd.readouterr().err
    nowhere = f"mqtt://127.0.0.1:{free_port()}"
    assert dispatch(["remote", "gw-a", "status", "--broker", nowhere, "--pair", "pump-7", *hand]) == 5
    assert "nothing listens there; is the broker running" in capfd.readouterr().err


def test_a_broker_that_dies_in_between_leaves_an_honest_answer(
    desk: Desk, broker: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    def scenario() -> None:
        desk.rt.act = lambda event: broker.stop()
        capfd.readouterr()
        assert desk.cli("gw-a", "out") == 6
        said = capfd.readouterr().err
        assert 'gw-a did not answer out (broker "plant"' in said and "closed the connection)" in said
        assert re.search(r"The command may still begin within the next \d+\.\d s; whether it did: twinbeat", said)
        assert any(isinstance(event, Command) for event in desk.rt.posted), "it was carried out all the same"
        desk.rt.act = lambda event: None

    desk.serve(scenario)


def test_a_lost_answer_after_the_whole_time_means_that_nothing_begins_later(desk: Desk) -> None:
    def scenario() -> None:
        with desk.client(limit_s=1.0) as client, pytest.raises(
            ControlError, match=r"did not answer out in 1 s. The command cannot begin any more"
        ):
            client.ask("gw-a", "out")

    desk.serve(scenario)


def test_forged_answers_are_not_believed(desk: Desk, broker: Broker) -> None:
    """Somebody who may write to the answers' topics says that it is done; and sends an old signed answer."""
    heard: list[Any] = []

    def scenario() -> None:
        observer = Observer(desk.port, answer_topic("pump-7", "alice", "+"))
        asked = Observer(desk.port, f"{STEM}/out")

        def forge(_client: Any, _user: Any, message: Any) -> None:
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = message.properties.CorrelationData
            for payload in (b'{"ok":true}', heard[0].payload, message.payload):
                asked.client.publish(message.properties.ResponseTopic, payload, 0, False, properties)

        with desk.client() as client:
            client.challenge("gw-a")
            observer.wait(lambda: observer.heard, "a signed answer")
            heard.extend(observer.heard)
            asked.client.on_message = forge
            with pytest.raises(RefusedError, match="not done within"):
                client.ask("gw-a", "out", {"group": "pump"})
        observer.close()
        asked.close()

    desk.serve(scenario)


def test_a_flood_shuts_the_topic_and_the_link_stands(desk: Desk) -> None:
    def scenario() -> None:
        observer = Observer(desk.port, "twinbeat/v1/pump-7/gw-a/beat")
        (link,) = desk.agent.parts.brokers.values()
        for _ in range(400):
            observer.client.publish(f"{STEM}/out", b"x" * 200)
        desk.rt.wait(lambda: link.mail.counters.floods == 1, "the flood is noticed")
        link.send_beat(b"beat", boottime_ns())
        observer.wait(lambda: observer.heard, "a heartbeat while the flood is kept out")
        passed = link.mail.counters.passed
        assert passed <= 60 and not link.mail.open
        assert (link.counters.losses, link.state.connected) == (0, True)
        (text,) = desk.codes("REMOTE_FLOOD")
        assert 'broker "plant"' in text and "it is closed for 10 s" in text
        observer.close()

    desk.serve(scenario)


def test_the_access_list_of_the_page_allows_what_is_needed_and_no_more(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "remote.md").read_text()
    acl = tmp_path / "acl"
    acl.write_text(next(block for block in page.split("```") if "user gw-a" in block))
    with running_broker(tmp_path, f"allow_anonymous true\nacl_file {acl}\n") as broker:
        desk = Desk(tmp_path, broker.port)
        desk.links += 'user = "gw-a"\n'

        def scenario() -> None:
            assert desk.cli("gw-a", "events", "--user", "alice") == 0
            capfd.readouterr()
            assert desk.cli("gw-a", "events", "--user", "bob", "--timeout", "2") == 6
            assert "refuses the command (Not authorized)" in capfd.readouterr().err
            assert desk.cli("gw-a", "events", "--timeout", "2") == 6, "a gateway commands nobody"
            assert "refuses the command (Not authorized)" in capfd.readouterr().err

        assert desk.serve(scenario) == 0
        desk.gate.end()


def test_broker_that_refuses_is_named_on_both_sides(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    acl = tmp_path / "acl"
    acl.write_text(
        "topic readwrite twinbeat/v1/pump-7/gw-a/#\ntopic readwrite twinbeat/v1/pump-7/+/beat\n"
        "topic read twinbeat/v1/pump-7/#\ntopic write twinbeat/v1/pump-7/role/#\n"
    )
    with running_broker(tmp_path, f"allow_anonymous true\nacl_file {acl}\n") as broker:
        desk = Desk(tmp_path, broker.port)

        def scenario() -> None:
            capfd.readouterr()
            assert desk.cli("gw-a", "status", "--timeout", "2") == 6
            said = capfd.readouterr().err
            assert "refuses the command (Not authorized): allow this user to write twinbeat/v1/pump-7/cmd/#" in said

        desk.serve(scenario)
        desk.gate.end()
