"""Do two versions work together: facts, points, steps, and the digests that files must keep from version to version."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from config_files import GOOD, changed, write
from fake_agent import FakeAgent

from twinbeat.cli_dispatch import dispatch
from twinbeat.config import core_settings, load_config
from twinbeat.errors import ConfigError, UsageError
from twinbeat.upgrade.facts import RELEASES, Facts, as_data, facts_of, facts_of_file, own_facts, release_facts
from twinbeat.upgrade.judge import PeerSeen, Point, Seen, fits, judge
from twinbeat.upgrade.pin import NEWEST, OLDEST, PIN
from twinbeat.upgrade.steps import steps
from twinbeat.version import __version__

SAID = changed(('name = "pump"\n', 'name = "pump"\nmode = "hot-warm"\nfailback = "never"\nlone = "takeover"\n'))
TIMED = GOOD + "\n[timing]\ndrift_ppm = 500\n"
VOTED = changed(('serial.relay = "/dev/ttyAMA1"\nudp.direct = "10.0.0.1:7400"',
                 'serial.relay = "/dev/ttyAMA1"\nserial.arbiter = "/dev/ttyACM0"\nudp.direct = "10.0.0.1:7400"'),
                ('serial.relay = "/dev/ttyAMA1"\nudp.direct = "10.0.0.2:7400"',
                 'serial.relay = "/dev/ttyAMA1"\nserial.arbiter = "/dev/ttyACM0"\nudp.direct = "10.0.0.2:7400"'),
                ) + '\n[third_voter]\ntype = "arbiter"\nport = "arbiter"\nid = "0badcafe"\n'
GROUPS = GOOD + '\n[[group]]\nname = "fan"\nlone = "hold"\nlonely_start_ms = 700\n\n[[group.output]]\ntype = "mock"\n'
CHECKED = GOOD + '\n[[check]]\nname = "disk"\ntype = "disk"\npath = "/"\nmin_free_percent = 5\n'

OLD = Facts(twinbeat="0.1.0", protocol_oldest=1, protocol_newest=1, digest_rules=1, state_format=1, voter_protocol=0xD1)
NEW = Facts(twinbeat="0.2.0", protocol_oldest=1, protocol_newest=2, digest_rules=1, state_format=1, voter_protocol=0xD1)


def but(facts: Facts, **changes: Any) -> Facts:
    """The facts with some changed."""
    return msgspec.structs.replace(facts, **changes)


def point(points: list[Point], about: str) -> Point:
    """The one point about something."""
    (found,) = [item for item in points if item.about == about]
    return found


# ---------------------------------------------------------------- digests


@pytest.mark.parametrize(("text", "digest"), [
    (GOOD, 0x02D9), (SAID, 0x02D9), (TIMED, 0x0D4E), (VOTED, 0x416A), (GROUPS, 0x9A4B),
    (CHECKED, 0x6F8F),
], ids=["plain", "defaults written down", "timing", "third voter", "two groups", "check"])
def test_files_keep_the_digest_that_version_0_1_0_read(tmp_path: Path, text: str, digest: int) -> None:
    """Written down from that version. Another figure here means a pause at the upgrade: raise DIGEST_RULES then."""
    assert f"{load_config(write(tmp_path, text), 'gw-a').digest:04x}" == f"{digest:04x}"


# ---------------------------------------------------------------- the pin


@pytest.mark.parametrize(("text", "pinned"), [("", None), ("  ", None), ("1", 1), (str(NEWEST), NEWEST)])
def test_the_environment_pins_the_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, pinned: int | None
) -> None:
    monkeypatch.setenv(PIN, text)
    assert core_settings(load_config(write(tmp_path), "gw-a")).wire_version_max == pinned
    assert own_facts().protocol_pinned == pinned


@pytest.mark.parametrize("text", ["0", str(NEWEST + 1), "one", "-1", "²"])
def test_a_pin_that_is_no_layout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setenv(PIN, text)
    with pytest.raises(ConfigError, match=f'{PIN} = "{text}" is no layout .* correct it'):
        core_settings(load_config(write(tmp_path), "gw-a"))
    assert dispatch(["version", "--json"]) == 3
    assert PIN in capsys.readouterr().err


# ---------------------------------------------------------------- points


def test_neighbours_work_together_in_the_older_layout() -> None:
    for here, there in ((NEW, OLD), (OLD, NEW)):
        points = judge(here, there, Seen())
        assert fits(points)
        assert "they speak layout 1" in point(points, "protocol").text


def test_no_common_layout() -> None:
    far = but(NEW, protocol_oldest=3, protocol_newest=4)
    for here, there, whose in ((far, OLD, "here"), (OLD, far, "on the other gateway")):
        found = point(judge(here, there, Seen()), "protocol")
        assert found.verdict == "no" and f"the program {whose} is more than one step ahead" in found.text
        assert "TWINBEAT_PROTOCOL_MAX" not in found.text


def test_a_pin_that_is_in_the_way_is_named() -> None:
    ahead = but(NEW, protocol_oldest=2, protocol_newest=3)
    found = point(judge(but(NEW, protocol_pinned=1), ahead, Seen()), "protocol")
    assert found.verdict == "no" and "remove TWINBEAT_PROTOCOL_MAX" in found.text


def test_what_the_running_agent_hears_is_enough() -> None:
    seen = Seen(node="gw-a", digest=7, peers=(PeerSeen(name="gw-b", alive=True, version_max=1),))
    points = judge(but(NEW, config_digest=7, config_file="f"), None, seen)
    assert fits(points) and "gw-b speaks up to 1" in point(points, "protocol").text
    far = judge(but(NEW, protocol_oldest=2), None, seen)
    assert point(far, "protocol").verdict == "no"


def test_nothing_known_is_no_yes() -> None:
    points = judge(NEW, None, Seen())
    assert not fits(points) and point(points, "protocol").verdict == "unknown"


@pytest.mark.parametrize(("own", "other", "seen", "verdict", "words"), [
    (7, 7, None, "yes", "as the program there does"),
    (7, None, 7, "yes", "as the running agent here does"),
    (7, 7, 7, "yes", "the running agent here and the program there"),
    (7, 8, None, "no", "the files differ"),
    (7, 7, 9, "no", "the running agent here to 0009"),
    (None, None, None, "yes", "the same file gives the same"),
])
def test_digests(own: int | None, other: int | None, seen: int | None, verdict: str, words: str) -> None:
    points = judge(but(NEW, config_digest=own, config_file="f"), but(OLD, config_digest=other), Seen(digest=seen))
    found = point(points, "configuration")
    assert (found.verdict, words in found.text) == (verdict, True), found


def test_other_rules_of_the_digest() -> None:
    rules = but(OLD, digest_rules=2)
    assert point(judge(NEW, rules, Seen()), "configuration").verdict == "unknown"
    both = judge(but(NEW, config_digest=1, config_file="f"), but(rules, config_digest=2), Seen())
    assert "the rules of the digest differ (1 here, 2 there)" in point(both, "configuration").text
    same = judge(but(NEW, config_digest=1, config_file="f"), but(rules, config_digest=1), Seen())
    assert fits(same)


def test_a_file_that_the_new_program_cannot_read() -> None:
    found = point(judge(but(NEW, config_problem="line 3: what?"), OLD, Seen()), "configuration")
    assert found.verdict == "no" and "line 3: what?" in found.text


def test_a_mismatch_that_is_there_already() -> None:
    seen = Seen(node="gw-a", peers=(PeerSeen(name="gw-b", alive=True, config_mismatch=True, version_max=1),))
    found = point(judge(NEW, OLD, seen), "configuration")
    assert found.verdict == "no" and "gw-b runs with another configuration even now" in found.text


def test_the_rest_of_the_points() -> None:
    assert point(judge(NEW, but(OLD, state_format=2), Seen()), "state file").verdict == "note"
    assert not [item for item in judge(NEW, OLD, Seen()) if item.about == "third voter"]
    arbiter = but(NEW, third_voter="arbiter")
    assert point(judge(arbiter, OLD, Seen()), "third voter").verdict == "yes"
    other = point(judge(arbiter, but(OLD, voter_protocol=0xD2), Seen()), "third voter")
    assert other.verdict == "no" and "flash the arbiter" in other.text
    lacks = judge(but(NEW, libraries={"msgspec": "missing"}), OLD, Seen())
    assert point(lacks, "libraries").verdict == "no"
    differ = judge(but(NEW, python="3.12.1", libraries={"msgspec": "0.2"}),
                   but(OLD, python="3.11.2", libraries={"msgspec": "0.1"}), Seen())
    assert point(differ, "libraries").text.startswith("Python 3.12.1 here, 3.11.2 there; msgspec 0.2 here, 0.1 there")
    assert fits(differ)


# ---------------------------------------------------------------- steps


def test_who_stands_by_is_upgraded_first() -> None:
    seen = Seen(node="gw-a", peers=(PeerSeen(name="gw-b", alive=True),), drives=("gw-b",))
    plan = steps(judge(NEW, OLD, seen), seen)
    stops = [step.partition(":")[0] for step in plan if "systemctl stop" in step]
    assert stops == ["gw-a", "gw-b"]
    handed = next(number for number, step in enumerate(plan) if "twinbeat handover" in step)
    assert plan[handed].startswith("gw-b") and "systemctl stop" in " ".join(plan[:handed])


def test_other_digests_cost_a_pause_and_no_common_layout_everything() -> None:
    seen = Seen()
    pause = steps(judge(but(NEW, config_digest=1, config_file="f"), but(OLD, config_digest=2), seen), seen)
    assert "must not run at the same time" in pause[0]
    assert steps(judge(but(NEW, protocol_oldest=3, protocol_newest=3), OLD, seen), seen) == []
    assert steps(judge(but(NEW, config_problem="no"), OLD, seen), seen) == []


# ---------------------------------------------------------------- where facts come from


def test_own_facts_survive_the_way_through_a_file(tmp_path: Path) -> None:
    own = own_facts(str(write(tmp_path)))
    assert own.config_digest == 0x02D9 and (own.protocol_oldest, own.protocol_newest) == (OLDEST, NEWEST)
    path = tmp_path / "other.json"
    path.write_text(json.dumps(as_data(own)))
    assert facts_of_file(str(path)) == own
    assert fits(judge(own, facts_of_file(str(path)), Seen(digest=0x02D9)))


def test_a_release_that_says_little_is_known_by_its_number() -> None:
    """0.1.0 said no more than this."""
    facts = facts_of({"twinbeat": "0.1.0", "python": "3.11.2", "kernel": "6", "machine": "armv7l"}, "x")
    assert facts == but(RELEASES["0.1.0"], python="3.11.2")
    assert release_facts("0.1.0") == RELEASES["0.1.0"]
    assert release_facts(__version__).twinbeat == __version__


@pytest.mark.parametrize(("text", "words"), [
    ("", "not the answer"), ("[]", "not the answer"), ('{"twinbeat": 3}', "not the answer"),
    ('{"twinbeat": "9.9"}', "does not say protocol_oldest"),
    ('{"twinbeat": "0.1.0", "state_format": "x"}', "no number"),
    ('{"twinbeat": "0.1.0", "protocol_newest": true}', "no number"), ("[" * 100000, "not the answer"),
])
def test_bad_answers_of_the_other_gateway(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        facts_of_file(str(path))


def test_unknown_places() -> None:
    with pytest.raises(UsageError, match="No such file"):
        facts_of_file("/nowhere/other.json")
    with pytest.raises(UsageError, match=r"knows the releases .*0\.1\.0"):
        release_facts("7.0")


# ---------------------------------------------------------------- the command

STATUS: dict[str, Any] = {
    "ok": True, "node": "gw-a", "version": "0.1.0", "config_digest": 0x02D9,
    "groups": [{"name": "pump", "driver": "gw-a"}],
    "peers": [{"name": "gw-b", "alive": True, "version_max": 1, "config_mismatch": False}],
}


def check(tmp_path: Path, status: dict[str, Any] | None, *words: str) -> int:
    """upgrade-check with or without a running agent."""
    more = ["--config", str(write(tmp_path)), "--node", "gw-a", "--run-dir", str(tmp_path)]
    if status is None:
        return dispatch(["upgrade-check", *words, *more])
    with FakeAgent(tmp_path / "s", status=[status]) as agent:
        return dispatch(["upgrade-check", *words, *more, "--socket", str(agent.path)])


def test_the_command_says_yes_with_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, STATUS) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "They work together." in shown and "running here: twinbeat 0.1.0" in shown
    assert shown.index("gw-b: `systemctl stop") < shown.index("gw-a: `twinbeat handover")
    assert "Not kept:" in shown


def test_the_command_says_no(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, {**STATUS, "config_digest": 1}, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert [item["about"] for item in answer["points"] if item["verdict"] == "no"] == ["configuration"]
    assert answer["running"]["node"] == "gw-a" and answer["steps"]


def test_the_command_without_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, None) == 1
    assert "cannot be said yet" in capsys.readouterr().out
    assert check(tmp_path, None, "--peer-version", "0.1.0") == 0
    assert "no agent runs here" in capsys.readouterr().out
    assert check(tmp_path, None, "--peer-version", "77") == 2


def test_version_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["version", "--json", "--config", str(write(tmp_path))]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["config_digest"] == 0x02D9 and answer["digest_rules"] == 1 and answer["state_format"] == 1
