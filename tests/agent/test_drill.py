"""Drills on a pair in memory: the conditions, the way there and back, what goes wrong in between, and the report."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from config_files import write
from drill_fakes import FakePair
from fake_agent import FakeAgent

from twinbeat.cli_dispatch import dispatch
from twinbeat.config import load_config
from twinbeat.drill.conditions import Figures, Look, chosen_groups, figures_of
from twinbeat.drill.live import Live
from twinbeat.drill.measure import gap_between, judged
from twinbeat.drill.report import Condition, Report, headline, markdown
from twinbeat.drill.report import write as write_report
from twinbeat.errors import DeviceError

FIGURES = Figures(switch_ms={"pump": 8.0}, worst_ms=40.0, budget_ms=100.0)


def drill(pair: FakePair, fault: str = "handover", *, peer: bool = True, local: bool = True, budget_ms: float = 100.0,
          told: list[str] | None = None, to: str | None = None) -> Report:
    """A live drill from beginning to end."""
    report = Report(kind="live", fault=fault, time="T", by="me", node="gw-a", pair="pump-7", groups=list(pair.groups),
                    possible=True, budget_ms=budget_ms)
    other = pair.door("gw-b", local) if peer else None
    tell = told.append if told is not None else lambda _text: None
    Live(pair.door("gw-a"), other, report, pair.clock, tell, dwell_s=1.0, return_s=30.0, to=to).run()
    return report


def commands(pair: FakePair) -> list[tuple[str, str, Any]]:
    """What was not a question."""
    return [(node, verb, more.get("node")) for node, verb, more in pair.asked if verb not in ("ping", "status", "why")]


# ---------------------------------------------------------------- live


def test_there_and_back() -> None:
    pair = FakePair()
    report = drill(pair)
    assert (report.passed, report.reverted, report.failure) == (True, True, ""), report
    assert commands(pair) == [("gw-a", "handover", None), ("gw-b", "handover", "gw-a")]
    assert [(gap.giver, gap.taker, gap.ms, gap.exact, gap.within) for gap in report.gaps] == [
        ("gw-a", "gw-b", 0.4, True, True), ("gw-b", "gw-a", 0.4, True, True)]
    assert [verdict["id"] for verdict in report.verdicts] == [
        "gw-a/pump/8/RELEASING", "gw-b/pump/16/ACTIVE", "gw-b/pump/16/RELEASING", "gw-a/pump/24/ACTIVE"]
    assert report.left == "gw-a drives pump"


def test_several_groups_go_and_come_one_by_one() -> None:
    pair = FakePair(("pump", "fan"))
    report = drill(pair, to="gw-b")
    assert report.passed and len(report.gaps) == 4
    assert commands(pair) == [("gw-a", "handover", "gw-b")] * 2 + [("gw-b", "handover", "gw-a")] * 2


@pytest.mark.parametrize(("fault", "cause"), [("kill", "DEATH_NOTICE"), ("stop", "STOP")])
def test_a_fault_and_the_way_back(fault: str, cause: str) -> None:
    pair = FakePair()
    report = drill(pair, fault)
    assert report.passed, report
    assert commands(pair) == [("gw-b", "handover", "gw-a")]
    assert report.gaps[0].exact and report.gaps[0].ms == pytest.approx(0.4)
    assert cause in [verdict["cause"] for verdict in report.verdicts]


def test_from_another_machine_the_gap_is_a_bound() -> None:
    report = drill(FakePair(), local=False)
    assert report.passed
    assert [(gap.exact, gap.ms) for gap in report.gaps] == [(False, 2.0), (False, 2.0)]
    tight = drill(FakePair(), local=False, budget_ms=1.0)
    assert tight.passed and [gap.within for gap in tight.gaps] == [None, None]


def test_the_other_half_may_come_over_the_broker() -> None:
    pair = FakePair()
    pair.mqtt_verdicts = True
    pair.on_ask = lambda _node, _verb: pair.clock.after(0.0, lambda: None)
    pair.clock.after(2.0, lambda: pair.move("pump", "gw-a", "HANDOVER") if pair.driver["pump"] == "gw-b" else None)
    told: list[str] = []
    report = drill(pair, peer=False, told=told)
    assert report.passed, report
    assert "gw-b/pump/16/ACTIVE" in [verdict["id"] for verdict in report.verdicts]
    assert any("now on gw-b: twinbeat handover pump --to gw-a" in text for text in told)


def test_a_gap_over_the_budget_fails_and_is_still_put_back() -> None:
    pair = FakePair()
    pair.gap_ns = 120_000_000
    report = drill(pair)
    assert (report.passed, report.reverted) == (False, True)
    assert "not within the budget" in report.failure
    assert headline(report).endswith("The roles are as they were.")


def test_two_drivers_at_once_are_never_right() -> None:
    gap = judged(gap_between("pump", "a", "b", off_ns=100, on_ns=90, one_clock=True, bound_ms=None), None)
    assert gap.within is False and gap.how == "BOTH DROVE AT ONCE"


def test_a_refusal_moves_nothing() -> None:
    pair = FakePair()
    pair.refuse["gw-a"] = "handover refused: drain by somebody is under way"
    report = drill(pair)
    assert (report.passed, report.reverted, report.gaps) == (False, None, [])
    assert "drain by somebody is under way" in report.failure
    assert headline(report).endswith("No role had moved.")


def test_a_refusal_on_the_way_back_says_how_it_was_left() -> None:
    pair = FakePair()
    pair.refuse["gw-b"] = "handover refused: gw-a is not fit"
    report = drill(pair)
    assert (report.passed, report.reverted) == (False, False)
    assert "gw-a is not fit" in report.failure and report.left == "gw-b drives pump"
    assert "NOT as they were" in markdown(report)


def test_an_agent_that_does_not_come_back() -> None:
    pair = FakePair()
    pair.returns_after_s = None
    report = drill(pair, "kill")
    assert (report.passed, report.reverted) == (False, False)
    assert "has not come back within 30 s: start it with systemctl start twinbeat" in report.failure


def test_nobody_hands_back() -> None:
    pair = FakePair()
    report = drill(pair, peer=False)
    assert (report.passed, report.reverted) == (False, False)
    assert "hand it over on gw-b with twinbeat handover pump --to gw-a" in report.failure


def test_a_taker_that_lets_go_early_is_seen() -> None:
    pair = FakePair()
    pair.clock.after(0.3, lambda: pair.move("pump", "gw-a", "DEATH_NOTICE"))
    report = drill(pair)
    assert (report.passed, report.reverted) == (False, True)
    assert "gw-b did not keep pump: gw-a drives it" in report.failure


@pytest.mark.parametrize("place", range(1, 20))
def test_interrupted_anywhere_it_ends_where_it_began(place: int) -> None:
    """Ctrl-C at the n-th question: the role is put back, or was not moved; the report says which."""
    pair = FakePair()
    count = [0]

    def interrupt(_node: str, _verb: str) -> None:
        count[0] += 1
        if count[0] == place:
            raise KeyboardInterrupt

    pair.on_ask = interrupt
    report = drill(pair)
    assert pair.driver["pump"] == "gw-a"
    assert report.left == "gw-a drives pump"
    assert report.interrupted or report.passed
    assert report.reverted is not False


def test_interrupted_twice_it_leaves_at_once_and_says_so() -> None:
    pair = FakePair()
    count = [0]

    def interrupt(_node: str, _verb: str) -> None:
        count[0] += 1
        if pair.driver["pump"] == "gw-b" and count[0] in (9, 10, 11):
            raise KeyboardInterrupt

    pair.on_ask = interrupt
    report = drill(pair)
    assert report.interrupted and report.passed is False
    assert pair.driver["pump"] == "gw-b" and report.reverted is False
    assert report.steps[-1].text == "interrupted again: left as it is"


# ---------------------------------------------------------------- conditions


def look(pair: FakePair, fault: str = "handover", plans: list[dict[str, Any]] | None = None,
         figures: Figures | None = FIGURES, wanted: str | None = None, other: bool = True,
         ) -> dict[str, list[Condition]]:
    """The conditions by their mark."""
    status = pair.status("gw-a")
    seen = Look(status, pair.status("gw-b") if other else None, plans or [], figures, fault)
    found = seen.conditions(chosen_groups(status, wanted), wanted)
    return {mark: [item for item in found if item.mark == mark] for mark in ("ok", "note", "no")}


def test_a_ready_pair() -> None:
    found = look(FakePair())
    assert not found["no"] and not found["note"]
    expected = Look(FakePair().status("gw-a"), None, [], FIGURES, "handover").expected(["pump"])
    assert [(one.driver, one.taker, one.gap_ms, one.worst_ms) for one in expected] == [("gw-a", "gw-b", 8.0, 40.0)]


@pytest.mark.parametrize(("change", "words"), [
    ({"links": [{"name": "cross", "up": True}, {"name": "mqtt", "up": False}]}, "mqtt not up in both directions"),
    ({"fit": False}, "gw-a is not fit, so the roles could not come back"),
    ({"third_voter": {"type": "arbiter", "heard_ago_ms": 9000}}, "it does not answer"),
    ({"third_voter": {"type": "witness", "connected": False}}, "it does not answer"),
    ({"peers": [{"name": "gw-b", "alive": False}]}, "nobody could take it: gw-b is silent"),
    ({"peers": [{"name": "gw-b", "alive": True, "groups": {"pump": "OUT"}}]}, "gw-b is OUT for pump"),
    ({"peers": [{"name": "gw-b", "alive": True, "config_mismatch": True}]}, "another configuration"),
    ({"peers": [{"name": "gw-b", "alive": True, "version_mismatch": True}]}, "another protocol version"),
    ({"peers": [{"name": "gw-b", "alive": True, "fit": False, "groups": {"pump": "STANDBY"}}]}, "gw-b is not fit"),
    ({"peers": []}, "no other node is known"),
    ({"groups": [{"name": "pump", "driver": "gw-b", "state": "STANDBY"}]}, "drives nothing that could move"),
    ({"groups": [{"name": "pump", "driver": "gw-a", "state": "ACTIVE", "alone": True}]}, "drives it alone"),
    ({"families": [{"name": "pump", "overlap": True, "units": ["pump"]}]}, "driven by every node at once"),
    ({"families": [{"name": "pump", "units": ["pump"], "drivers": [["gw-a", "gw-s"]]}]}, "gw-b only votes on pump"),
])
def test_what_forbids_a_drill(change: dict[str, Any], words: str) -> None:
    pair = FakePair()
    pair.more_status = change
    assert any(words in item.text for item in look(pair)["no"]), look(pair)


def test_a_named_group_that_another_drives() -> None:
    pair = FakePair()
    pair.driver["pump"] = "gw-b"
    assert any("gw-b drives it: run the drill there" in item.text for item in look(pair, wanted="pump")["no"])
    pair.driver["pump"] = None
    assert any("nobody drives it now" in item.text for item in look(pair, wanted="pump")["no"])
    assert any('no group "pomp"' in item.text for item in look(pair, wanted="pomp")["no"])


def test_the_shards_of_a_group() -> None:
    pair = FakePair(("jobs.0", "jobs.1"))
    pair.more_status = {"families": [{"name": "jobs", "units": ["jobs.0", "jobs.1"]}]}
    assert chosen_groups(pair.status("gw-a"), "jobs") == ["jobs.0", "jobs.1"]
    assert chosen_groups(pair.status("gw-a"), "jobs.1") == ["jobs.1"]


def test_a_kill_takes_every_group_along() -> None:
    found = look(FakePair(("pump", "fan")), "kill", wanted="pump")
    assert any("kill takes every group of this node along, fan too" in item.text for item in found["no"])
    assert any(item.about == "restart" for item in found["note"])


def test_notes_and_the_agents_own_reasons() -> None:
    pair = FakePair()
    pair.more_status = {"groups": [{"name": "pump", "driver": "gw-a", "state": "ACTIVE", "hold_down_ms": 4000.0,
                                    "failback_in_ms": 100.0}]}
    found = look(pair, plans=[{"group": "pump", "to": "gw-b", "expected_gap_ms": 3.5, "reasons": ["gw-b is stopping"]}],
                 figures=None, other=False)
    told = " ".join(item.text for item in found["note"])
    for words in ("held down for 4 s", "way back by itself", "cannot be asked from here", "cannot be read by this"):
        assert words in told
    assert [item.text for item in found["no"]] == ["gw-b is stopping"]


@pytest.mark.parametrize(("budget_ms", "mark", "words"), [
    (100.0, "ok", "within outage_budget_ms = 100"), (5.0, "no", "pump would be undriven for longer"),
    (None, "note", "judged against the worst outage"),
])
def test_the_budget(budget_ms: float | None, mark: str, words: str) -> None:
    figures = Figures(switch_ms={"pump": 8.0}, worst_ms=40.0, budget_ms=budget_ms)
    assert any(words in item.text for item in look(FakePair(), figures=figures)[mark])


def test_figures_are_those_of_check(tmp_path: Path) -> None:
    figures = figures_of(load_config(write(tmp_path), "gw-a"))
    assert figures.budget_ms == 100 and figures.switch_ms["pump"] >= 8 and figures.worst_ms > 8


# ---------------------------------------------------------------- report and command


def test_the_report_as_page_and_data(tmp_path: Path) -> None:
    report = drill(FakePair())
    page, data = write_report(report, str(tmp_path / "monday.md"))
    assert "| pump | gw-a | gw-b | 0.40 ms | both gates' own stamps, on one clock | yes |" in page.read_text()
    assert json.loads(data.read_text()) == report.data()
    assert data.name == "monday.json" and report.data()["ok"] is True
    assert [path.name for path in write_report(report, str(tmp_path / "other"))] == ["other.md", "other.json"]
    assert write_report(report, None) == []
    with pytest.raises(DeviceError, match="cannot be written"):
        write_report(report, str(tmp_path / "gone" / "x.md"))


def run(tmp_path: Path, status: dict[str, Any], *words: str) -> int:
    """The command against an agent that answers one status."""
    with FakeAgent(tmp_path / "s", status=[status]) as agent:
        return dispatch(["drill", *words, "--config", str(write(tmp_path)), "--node", "gw-a", "--socket",
                         str(agent.path)])


def test_a_dry_run_of_an_older_agent_asks_for_its_status_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agent that knows no rehearsal would take one for the real thing."""
    status = FakePair().status("gw-a")
    with FakeAgent(tmp_path / "s", status=[status]) as agent:
        words = ["drill", "--dry", "--config", str(write(tmp_path)), "--node", "gw-a", "--socket", str(agent.path)]
        assert dispatch(words) == 0
    assert agent.requests == [{"verb": "status"}]
    assert "**It would work.**" in capsys.readouterr().out


def test_a_dry_run_of_a_newer_agent_rehearses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = FakePair().status("gw-a") | {"command_limit_s": 4.0}
    plan = {"group": "pump", "to": "gw-b", "expected_gap_ms": 9.5, "reasons": ["gw-b is stopping"]}
    with FakeAgent(tmp_path / "s", status=[status], handover=[{"ok": True, "plans": [plan]}]) as agent:
        words = ["drill", "--dry", "--json", "--config", str(write(tmp_path)), "--node", "gw-a", "--socket",
                 str(agent.path)]
        assert dispatch(words) == 1
    assert agent.requests[1] == {"verb": "handover", "group": "pump", "dry_run": True, "by": "a drill"}
    answer = json.loads(capsys.readouterr().out)
    assert answer["expected"][0]["gap_ms"] == 9.5 and answer["passed"] is None


def test_a_live_drill_that_is_not_possible_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = FakePair().status("gw-a") | {"links": [{"name": "cross", "up": False}]}
    page = tmp_path / "r.md"
    assert run(tmp_path, status, "--live", "--report", str(page)) == 1
    assert "Failed: the conditions are not met. No role had moved." in page.read_text()
    assert "written:" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "code", "told"), [
    (["--live", "--fault", "kill"], 2, "really kills the agent"),
    (["--dry", "--live"], 2, "not allowed with"),
    ([], 2, "one of the arguments --dry --live is required"),
    (["--dry", "--fault", "stop", "--to", "gw-b"], 2, "--to has no meaning"),
    (["--dry", "--key", "k"], 2, "belong to --remote"),
    (["--dry", "--dwell", "-1"], 2, "is no time"),
    (["--live", "--report", "/nowhere/at/all.md"], 5, "there is no directory /nowhere/at"),
])
def test_bad_command_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, told: str
) -> None:
    assert run(tmp_path, FakePair().status("gw-a"), *words) == code
    assert told in capsys.readouterr().err


def test_the_other_socket_must_be_the_other_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = FakePair().status("gw-a")
    with FakeAgent(tmp_path / "o", status=[status]) as other:
        assert run(tmp_path, status, "--dry", "--peer-socket", str(other.path)) == 2
    assert "not the other node of pair pump-7; forward the socket of gw-b" in capsys.readouterr().err
