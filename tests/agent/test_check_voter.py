"""`twinbeat check` with a third voter: its sum, the outages, what is covered, warnings and problems."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from config_files import GOOD, changed, write

from twinbeat.check import Report, as_data, build_report
from twinbeat.check_text import report_text
from twinbeat.config import core_settings, load_config
from twinbeat.config_core import third_settings

REALTIME = ("[pair]", "[timing]\nrealtime = true\n\n[pair]")
CROSS = 'serial.cross = "/dev/ttyAMA0"\n'
MQTT_LINK = '[[link]]\ntype = "mqtt"\nbroker = "mqtt://broker.plant"\nperiod_ms = 100\n'
SERIAL_LINK = '[[link]]\ntype = "serial"\nport = "cross"\nperiod_ms = 10\n'
RELAY = 'type = "serial-relay"\nport = "relay"\nboard = "lcus-1"\nrelease_ms = 8'
HOOK = 'type = "hook"\nstart = ["a"]\nstop = ["b"]'
BUDGET = ("outage_budget_ms = 100", "outage_budget_ms = 10000")
CONTACT = '[[group.output]]\ntype = "arbiter"\nrelease_ms = 6\nmake_ms = 4\n'
SECOND = '[[group]]\nname = "fan"\n[[group.output]]\ntype = "mock"\n'
TABLES = {
    "arbiter": '[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "a0b1c2d3"\n',
    "gated": CONTACT + '[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "a0b1c2d3"\n',
    "mixed": CONTACT + SECOND + '[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "a0b1c2d3"\n',
    "witness": '[third_voter]\ntype = "witness"\nwitness = "w1"\nbroker = "mqtt://other.plant"\n',
    "zookeeper": '[third_voter]\ntype = "zookeeper"\nhosts = "zk1,zk2,zk3"\nsession_ms = 4000\n',
}
SLOW = ("witness", "zookeeper")
FAULTS = [
    "planned handover or stop",
    "agent killed or crashed",
    "agent frozen",
    "kernel hung, power on",
    "power of the driver lost",
    "serial cable cut",
    "broker or network lost",
    "all links cut, both alive",
    "one link deaf one way",
    "third voter lost",
    "driver cut off from it",
]


def text_of(form: str, *changes: tuple[str, str]) -> str:
    base = GOOD + TABLES[form]
    if form not in SLOW:
        base = base.replace(CROSS, CROSS + 'serial.vote = "/dev/ttyAMA2"\n')
    return changed(REALTIME, *((BUDGET,) if form in SLOW else ()), *changes, base=base)


def report_of(directory: Path, form: str, *changes: tuple[str, str]) -> Report:
    return build_report(load_config(write(directory, text_of(form, *changes)), "gw-a"))


def row(report: Report, fault: str) -> tuple[str, float | None, str]:
    (found,) = (one for one in report.faults if one.fault == fault)
    return found.covered, found.outage_ms, found.text


# ---------------------------------------------------------------- the sum and the outages


@pytest.mark.parametrize("form", TABLES)
def test_the_sum_adds_up_to_the_core_s_figures(tmp_path: Path, form: str) -> None:
    report = report_of(tmp_path, form)
    cfg = load_config(tmp_path / "twinbeat.toml", "gw-a")
    core, given, third = core_settings(cfg).compile(), third_settings(cfg), report.third_voter
    assert third is not None
    assert (third.lease_ms, third.grant_ms) == (core.third_lease_ms, core.third_grant_ms)
    terms = {term.name: term.ms for term in third.terms}
    names = list(terms)
    at = names.index("lease")
    assert sum(terms[name] for name in names[:at]) == pytest.approx(terms["lease"])
    assert terms["lease"] + sum(terms[name] for name in names[at + 1 : -1]) == pytest.approx(terms["grant"])
    assert terms["renewals"] == given["third_missed"] * max(10.0, given["third_period_ms"])
    assert terms["round_trip"] == given["third_rtt_ms"]
    assert 0 <= terms["whole_ms"] < 1.01 and 0 < terms["drift"] < 10


def test_a_longer_promise_of_the_file_stands_in_the_sum(tmp_path: Path) -> None:
    third = report_of(tmp_path, "arbiter", ('id = "a0b1c2d3"', 'id = "a0b1c2d3"\ngrant_ms = 90')).third_voter
    assert third is not None and third.grant_ms == 90
    (added,) = (term for term in third.terms if term.name == "whole_ms")
    assert added.ms > 30 and added.text == "what grant_ms of the file adds"


@pytest.mark.parametrize("form", TABLES)
def test_a_silent_death_waits_for_the_third_voter_s_promise_too(tmp_path: Path, form: str) -> None:
    report = report_of(tmp_path, form)
    third, fast, slow = report.third_voter, *report.links
    assert third is not None
    contacts_ms = 10.0 if form in ("gated", "mixed") else 0.0
    tail_ms = 1.0 + contacts_ms + (4.0 if contacts_ms else 0.0)
    longest_ms = max(fast.grant_ms, third.takeover_ms)
    assert third.takeover_ms > third.grant_ms
    assert report.outage.fast_ms == pytest.approx(longest_ms + tail_ms, abs=1.0)
    assert report.outage.slow_ms == pytest.approx(max(slow.grant_ms + 4, third.takeover_ms) + tail_ms, abs=1.0)
    assert row(report, "power of the driver lost")[:2] == ("yes", report.outage.fast_ms)


def test_a_told_death_costs_the_way_to_a_voter_that_no_gate_can_reach(tmp_path: Path) -> None:
    cost = {form: report_of(tmp_path, form).third_voter for form in TABLES}
    told = {form: third.killed_ms for form, third in cost.items() if third is not None and third.killed_ms is not None}
    assert set(told) == set(TABLES)
    assert told["gated"] == pytest.approx(told["arbiter"] + 10 + 4)
    assert told["arbiter"] < 40 and 200 < told["witness"] - told["arbiter"] < 300 < told["zookeeper"]
    assert "passes that signed word on" in row(report_of(tmp_path, "witness"), "agent killed or crashed")[2]
    assert "and to the arbiter" in row(report_of(tmp_path, "arbiter"), "agent killed or crashed")[2]


def test_without_a_crosslink_nobody_tells_the_peer(tmp_path: Path) -> None:
    report = report_of(tmp_path, "witness", (SERIAL_LINK, ""))
    assert report.third_voter is not None and report.third_voter.killed_ms is None
    covered, outage_ms, text = row(report, "agent killed or crashed")
    assert (covered, outage_ms) == ("yes", report.outage.fast_ms) and "without a crosslink" in text


def test_a_budget_that_the_third_voter_breaks_names_its_keys(tmp_path: Path) -> None:
    report = report_of(tmp_path, "arbiter", ("outage_budget_ms = 100", "outage_budget_ms = 55"))
    (problem,) = report.problems
    assert problem.startswith(f"worst outage {report.outage.fast_ms:.1f} ms is ")
    assert "renew_ms, missed or rtt_ms of the third voter" in problem


@pytest.mark.parametrize(
    ("change", "piece"),
    [
        (("outage_budget_ms = 10000", "outage_budget_ms = 4000"), "ZooKeeper cannot meet outage_budget_ms = 4000"),
        (("session_ms = 4000", "session_ms = 20000"), "session_ms = 20000 is too long"),
    ],
)
def test_zookeeper_is_refused_where_it_cannot_be_met(tmp_path: Path, change: tuple[str, str], piece: str) -> None:
    text = text_of("zookeeper").replace(*change)
    report = build_report(load_config(write(tmp_path, text), "gw-a"))
    assert [problem for problem in report.problems if piece in problem] == report.problems[:1]
    assert as_data(report)["ok"] is False


# ---------------------------------------------------------------- coverage


@pytest.mark.parametrize(
    ("form", "changes", "covered"),
    [
        ("arbiter", (), "yes yes yes no yes yes yes yes yes yes yes"),
        ("arbiter", ((RELAY, HOOK),), "yes yes yes partly yes yes yes yes yes yes yes"),
        ("arbiter", ((MQTT_LINK, ""),), "yes yes yes no yes yes yes yes yes yes yes"),
        ("gated", (), "yes yes yes yes yes yes yes yes yes no yes"),
        ("mixed", (), "yes yes yes partly yes yes yes yes yes no yes"),
        ("witness", (), "yes yes yes no yes yes yes yes yes yes yes"),
        ("witness", ((SERIAL_LINK, ""),), "yes yes yes no yes yes yes yes yes yes yes"),
        ("witness", ((SERIAL_LINK, ""), ("other.plant", "broker.plant")),
         "yes yes yes no yes yes no yes yes yes yes"),
        ("zookeeper", (), "yes yes yes no yes yes yes yes yes yes yes"),
    ],
)  # fmt: skip
def test_coverage(tmp_path: Path, form: str, changes: tuple[tuple[str, str], ...], covered: str) -> None:
    report = report_of(tmp_path, form, *changes)
    assert [found.fault for found in report.faults] == FAULTS
    assert [found.covered for found in report.faults] == covered.split()
    assert all(len(found.text) > 15 and "lone =" not in found.text for found in report.faults)


def test_gated_outputs_say_plainly_what_they_cost(tmp_path: Path) -> None:
    gated, bare, mixed = (report_of(tmp_path, form) for form in ("gated", "arbiter", "mixed"))
    assert "nobody drives until it is back" in row(gated, "third voter lost")[2]
    assert row(bare, "third voter lost")[1] == 0.0 and "no role moves" in row(bare, "third voter lost")[2]
    assert "the arbiter opens its contact" in row(gated, "kernel hung, power on")[2]
    assert "hands over to the node that still reaches the arbiter" in row(gated, "driver cut off from it")[2]
    assert (row(gated, "driver cut off from it")[1] or 0) > 50
    text = row(mixed, "third voter lost")[2]
    assert text.startswith("groups that the arbiter gates: ") and "; other groups: no role moves" in text
    assert gated.third_voter is not None and gated.third_voter.gated == ["pump"]


def test_lone_changes_nothing_but_a_warning(tmp_path: Path) -> None:
    takeover = report_of(tmp_path, "arbiter")
    hold = report_of(tmp_path, "arbiter", ('prefer = ["gw-b", "gw-a"]', 'lone = "hold"'))
    assert hold.faults == takeover.faults
    assert [text for text in hold.warnings if "it has no effect" in text and "[[group]] 1 (pump)" in text]


# ---------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("form", "changes", "piece"),
    [
        ("arbiter", ((MQTT_LINK, ""),), "its loss means that the third voter alone keeps the driver"),
        ("arbiter", (), 'group "pump": relay#1 keeps its level while its gateway is frozen as a whole'),
        ("witness", ((SERIAL_LINK, ""), ("other.plant", "broker.plant")), "every link goes through broker.plant as"),
        ("zookeeper", (('hosts = "zk1,zk2,zk3"', 'hosts = "zk1"'),), "hosts names 1 server:"),
    ],
)
def test_warning(tmp_path: Path, form: str, changes: tuple[tuple[str, str], ...], piece: str) -> None:
    assert len([text for text in report_of(tmp_path, form, *changes).warnings if piece in text]) == 1


def test_the_arbiter_s_port_is_a_used_one_and_a_usb_adapter_there_is_doubtful(tmp_path: Path) -> None:
    assert not [text for text in report_of(tmp_path, "arbiter").warnings if "uses this name" in text]
    usb = text_of("arbiter").replace("/dev/ttyAMA2", "/dev/ttyACM0")
    found = [text for text in build_report(load_config(write(tmp_path, usb), "gw-a")).warnings if "ttyACM0" in text]
    assert len(found) == 4
    assert sum("a USB adapter to the arbiter holds received bytes back" in text for text in found) == 2


def test_a_gated_line_is_not_said_to_keep_its_level(tmp_path: Path) -> None:
    gpio = (RELAY, 'type = "gpio"\nchip = "pinctrl-rp1"\nline = "GPIO17"\nrelease_ms = 8')
    level = "a GPIO line keeps its level"
    assert [text for text in report_of(tmp_path, "arbiter", gpio).warnings if level in text]
    assert not [text for text in report_of(tmp_path, "gated", gpio).warnings if level in text]


# ---------------------------------------------------------------- text and JSON


@pytest.mark.parametrize("form", TABLES)
def test_text_and_json_have_the_third_voter(tmp_path: Path, form: str) -> None:
    report = report_of(tmp_path, form)
    text, third = report_text(report), report.third_voter
    assert third is not None and f"\nThird voter ({third.type})\n" in text
    for term in third.terms:
        assert f"{term.ms:9.2f} ms  {term.name.replace('_', ' '):<20} {term.text}" in text
    assert f"{third.takeover_ms:.1f} ms after the driver died in silence" in text
    assert ("gates the outputs of: pump" in text) is bool(third.gated)
    data = json.loads(json.dumps(as_data(report)))
    assert data["third_voter"]["type"] == third.type and data["third_voter"]["grant_ms"] == third.grant_ms
    assert max(map(len, text.splitlines())) <= 125


def test_a_pair_without_has_none(tmp_path: Path) -> None:
    report = build_report(load_config(write(tmp_path, changed(REALTIME)), "gw-a"))
    assert report.third_voter is None and "Third voter" not in report_text(report)
    assert as_data(report)["third_voter"] is None
