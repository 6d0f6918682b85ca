"""`twinbeat replay`: the same to the bit, and the right cause with its evidence, for every fault from both nodes."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded_pair import Pair, pair_settings
from recording_tools import EVENT, Capture, pair, parts, rewrite, told

from twinbeat.cli_dispatch import dispatch
from twinbeat.demo.agents import NODES, PairSettings, config_text
from twinbeat.run_words import CAUSES
from twinbeat_core.model import Cause, CommandCode, Lone
from twinbeat_core.timing import lease_from_grant_ms
from twinbeat_rt.offline import CoreRecorder, parameters_of
from twinbeat_rt.recording import read_recording

CONFIG = Path(__file__).resolve().parents[2] / "docs" / "example.toml"


def causes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """(what the change led to, its cause) of every role change, in order."""
    return [(change["to"], change["cause"]) for change in answer["changes"]]


def times(answer: dict[str, Any], kind: str, words: str = "") -> list[float]:
    return [step["at_ms"] for step in answer["steps"] if step["kind"] == kind and words in step["text"]]


# ---------------------------------------------------------------- every fault, from both nodes
def freeze_the_driver(world: Pair) -> None:
    world.freeze(0, 400)


def cut_everything(world: Pair) -> None:
    world.cut(0, 1)


def lose_the_links_and_mend_them(world: Pair) -> None:
    world.cut(0, 1)
    world.run_ms(300)
    world.cut(0, 1, cut=False)


def stop(world: Pair) -> None:
    world.command(0, CommandCode.CMD_STOP)


FAULTS: dict[str, tuple[Callable[[Pair], None], list[tuple[str, str]], list[tuple[str, str]]]] = {
    "power": (lambda world: world.power(0), [], [("ACTIVE", "SILENCE")]),
    "kill": (lambda world: world.kill(0), [], [("ACTIVE", "DEATH_NOTICE")]),
    "freeze": (freeze_the_driver, [("RELEASING", "SELF_LATE")], [("ACTIVE", "SILENCE")]),
    "handover": (lambda world: world.command(0, CommandCode.CMD_HANDOVER), [("RELEASING", "HANDOVER")],
                 [("ACTIVE", "HANDOVER")]),
    "stop": (stop, [("RELEASING", "STOP"), ("OUT", "STOP")], [("ACTIVE", "HANDOVER")]),
    "out": (lambda world: world.command(0, CommandCode.CMD_OUT), [("RELEASING", "OPERATOR"), ("OUT", "OPERATOR")],
            [("ACTIVE", "HANDOVER")]),
    "cut-all": (cut_everything, [], [("ACTIVE", "SILENCE")]),
    "cut-all-mended": (lose_the_links_and_mend_them, [("RELEASING", "HIGHER_EPOCH")], [("ACTIVE", "SILENCE")]),
    "cut-serial": (lambda world: world.cut(0), [], []),
    "cut-mqtt": (lambda world: world.cut(1), [], []),
    "nothing": (lambda world: None, [], []),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_replays_and_is_explained_from_both_sides(tmp_path: Path, capsys: Capture, fault: str) -> None:
    world = pair()
    inject, driver, other = FAULTS[fault]
    inject(world)
    world.run_ms(1500)
    for number, after in ((0, [("ACTIVE", "COLD_START"), *driver]), (1, other)):
        answer = told(capsys, world.save(number, tmp_path))
        assert answer["same"] and answer["differences"] == 0
        assert causes(answer) == after
        for change in answer["changes"]:
            cause = Cause[f"CAUSE_{change['cause']}"]
            assert CAUSES[cause] in change["sentence"]
            assert change["sentence"].startswith(f"node {number} ")


def test_a_takeover_by_silence_is_told_step_by_step(tmp_path: Path, capsys: Capture) -> None:
    world = pair()
    world.power(0)
    world.run_ms(1500)
    path = world.save(1, tmp_path)
    answer = told(capsys, path)
    change = answer["changes"][-1]
    core_settings = read_recording(str(path)).settings
    grant_ms = core_settings.grant_ms(0)
    assert change["at_ms"] == 0
    assert change["measured"]["promise_ms"] == grant_ms
    assert change["measured"]["promise_lease_ms"] == lease_from_grant_ms(core_settings, grant_ms)
    assert grant_ms <= change["measured"]["silence_ms"]["node 0"]["0 (serial)"] <= grant_ms + 0.1
    assert change["measured"]["ordered_to_on_ms"] == pytest.approx(0.1, abs=0.01)
    last_frame = max(step["at_ms"] for step in answer["steps"] if step["kind"] == "frames" and "serial" in step["text"])
    story = [last_frame, *times(answer, "suspicion"), *times(answer, "promise ran out"),
             *times(answer, "state", "CLAIMING ->"), *times(answer, "drive", " on "), *times(answer, "output", "is on")]
    assert len(story) == 6
    assert story == sorted(story)
    assert story[0] == pytest.approx(-grant_ms, abs=0.2)
    assert story[1] == pytest.approx(story[0] + 15, abs=0.2)      # one and a half periods of the fast link
    frames = [step for step in answer["steps"] if step["kind"] == "frames"]
    assert {step["link"] for step in frames} == {"0 (serial)", "1 (mqtt)"}
    assert next(step for step in frames if step["link"] == "0 (serial)")["every_ms"] == pytest.approx(10, abs=0.1)


def test_votes_and_authority_are_told(tmp_path: Path, capsys: Capture) -> None:
    world = pair()
    answer = told(capsys, world.save(0, tmp_path))
    (vote,) = [step for step in answer["steps"] if step["kind"] == "vote"]
    (drive,) = [step for step in answer["steps"] if step["kind"] == "drive"]
    assert vote["from"] == "node 1" and vote["ms"] == pytest.approx(drive["authority_ms"], abs=0.01)
    assert answer["changes"][0]["by"] == "MAJORITY"
    assert answer["changes"][0]["measured"]["claim_ms"] > 0


def test_a_freeze_is_told_as_the_nodes_own_stall(tmp_path: Path, capsys: Capture) -> None:
    world = pair()
    world.freeze(0, 400)
    world.run_ms(1000)
    answer = told(capsys, world.save(0, tmp_path))
    assert times(answer, "self-doubt", "ordinary threads ran late by 400.0 ms")
    assert "was not running" in answer["changes"][-1]["sentence"]


def test_a_cut_link_is_told_though_no_role_moved(tmp_path: Path, capsys: Capture) -> None:
    world = pair()
    world.cut(0)
    world.run_ms(500)
    path = world.save(1, tmp_path)
    answer = told(capsys, path)
    assert answer["changes"] == [] and answer["explained"] == 0
    assert times(answer, "suspicion") and times(answer, "report", "link 0 (serial): nothing more is heard from node 0")
    assert answer["at_end"] == "group 0: node 0 drives, here STANDBY."
    assert dispatch(["replay", str(path)]) == 0
    assert "No role changed in this recording." in capsys.readouterr().out


def test_a_promise_that_holds_stands_though_it_ran_out(tmp_path: Path, capsys: Capture) -> None:
    world = pair(Lone.LONE_HOLD)
    world.cut(0, 1)
    world.run_ms(500)
    answer = told(capsys, world.save(1, tmp_path))
    assert answer["changes"] == []
    assert times(answer, "promise ran out", 'with lone = "hold" it stands nevertheless')


def test_a_recording_that_begins_in_the_middle(tmp_path: Path, capsys: Capture) -> None:
    world = pair()
    node = world.nodes[1]
    node.recorder = CoreRecorder(node.recorder.core)
    world.power(0)
    world.run_ms(1500)
    answer = told(capsys, world.save(1, tmp_path))
    assert "START" not in answer["events"]
    assert causes(answer) == [("ACTIVE", "SILENCE")]


# ---------------------------------------------------------------- for people
def test_the_text_names_cause_evidence_and_figures(tmp_path: Path, capsys: Capture) -> None:
    world = pair()
    world.power(0)
    world.run_ms(1500)
    assert dispatch(["replay", str(world.save(1, tmp_path))]) == 0
    text = capsys.readouterr().out
    verdict = text[text.index("Verdict:"):]
    assert "replayed: the same bit for bit" in text
    assert CAUSES[Cause.CAUSE_SILENCE] in verdict and "cause SILENCE, by ALONE" in verdict
    assert "the promise that ran out: 38.0 ms (T_G)" in verdict
    assert "frames sent since anything was heard: " in text
    assert "evidence: node 0 last said ACTIVE (epoch 72), proven 38.0 ms ago; links: 0 (serial) UP" in verdict


def test_the_configuration_gives_the_names(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "twinbeat.toml"
    ports = {node: {"cross": f"/dev/{node}-cross", "relay": f"/dev/{node}-relay"} for node in NODES}
    config.write_text(config_text(PairSettings(), 1883, ports))
    answer = told(capsys, pair().save(1, tmp_path), "--config", config)
    assert answer["node"] == "gw-b" and answer["at_end"] == "pump: gw-a drives, here STANDBY."
    assert {step["link"] for step in answer["steps"] if step["kind"] == "frames"} == {"cross", "mqtt"}
    assert "ran with another configuration (abcd)" in answer["warning"]


def test_a_configuration_of_another_pair_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert dispatch(["replay", str(pair().save(0, tmp_path)), "--config", str(CONFIG)]) == 3
    assert "but the recording is of 2 nodes, 2 links, 1 group" in capsys.readouterr().err


def test_each_role_change_can_be_chosen_and_the_window_set(tmp_path: Path, capsys: Capture) -> None:
    world = pair()
    world.command(0, CommandCode.CMD_HANDOVER)
    world.run_ms(3000)
    world.command(1, CommandCode.CMD_HANDOVER)
    world.run_ms(1500)
    path = world.save(0, tmp_path)
    first, last = told(capsys, path, "--change", 1), told(capsys, path)
    assert (first["explained"], last["explained"]) == (1, 3)
    assert times(first, "start") and not times(last, "start")
    narrow = told(capsys, path, "--around", "0.02")
    assert all(abs(step["at_ms"]) <= 20 for step in narrow["steps"])
    assert dispatch(["replay", str(path), "--change", "4"]) == 2
    assert "this recording has 3 role changes" in capsys.readouterr().err


def test_every_event_is_printed_on_demand(tmp_path: Path, capsys: Capture) -> None:
    path = pair().save(0, tmp_path)
    events = len(read_recording(str(path)).events)
    answer = told(capsys, path, "--all")
    assert [step["event"] for step in answer["every_event"]] == list(range(events))
    assert any("drive group 0 on at epoch 72" in effect for step in answer["every_event"] for effect in step["effects"])
    assert dispatch(["replay", "--all", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("heartbeat of node 1 on 0 (serial)" in line for line in lines) > 200


def test_settings_come_back_as_they_were_compiled() -> None:
    given_settings = pair_settings()
    found = parameters_of(given_settings.compile())
    assert found.compile().to_bytes() == given_settings.compile().to_bytes()
    assert [(link.kind, link.period_ms, link.missed, link.rtt_ms, link.reask_ms) for link in found.links] == [
        (link.kind, link.period_ms, link.missed, link.rtt_ms, link.reask_ms) for link in given_settings.links]


def test_records_are_taken_apart_as_they_were_written(tmp_path: Path) -> None:
    path = pair().save(0, tmp_path)
    before = path.read_bytes()
    kinds = [kind for kind, _payload in parts(before)[1]]
    rewrite(path, lambda head, records: (head, records))
    assert path.read_bytes() == before
    assert kinds.count(EVENT) == len(read_recording(str(path)).events)
