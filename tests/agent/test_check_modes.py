"""`twinbeat check` about redundancy modes: who drives, who is next, what is covered, what is doubtful."""
from __future__ import annotations

from pathlib import Path

import pytest
from config_files import GOOD, changed, write
from mode_files import HOT_HOT, OVERLAP, SPARE

from twinbeat.check import Report, as_data, build_report
from twinbeat.check_modes import shard_ranges
from twinbeat.check_text import report_text
from twinbeat.config import load_config
from twinbeat.wire_load import heartbeat_bytes

REALTIME = "[timing]\nrealtime = true\n"


def report_of(directory: Path, text: str, node: str = "gw-a") -> Report:
    return build_report(load_config(write(directory, REALTIME + text), node))


def flat(report: Report) -> str:
    """The text without its line breaks."""
    return " ".join(report_text(report).split())


def rows(report: Report) -> dict[str, tuple[str, float | None, str]]:
    return {row.fault: (row.covered, row.outage_ms, row.text) for row in report.faults}


# ---------------------------------------------------------------- who drives


def test_shards_are_shown_with_their_homes(tmp_path: Path) -> None:
    report = report_of(tmp_path, HOT_HOT + "[balance]\n")
    (row,) = report.modes
    assert {node: len(units) for node, units in row.homes.items()} == {"gw-a": 4, "gw-b": 4}
    assert sorted(unit for units in row.homes.values() for unit in units) == [f"poll.{shard}" for shard in range(8)]
    assert (row.failback, row.failback_after_s, row.balance) == ("after", 60.0, True)
    assert ("hot-hot, 8 shards: 4 at home on gw-a (0, 1, 3, 6); 4 at home on gw-b (2, 4, 5, 7); each home again 60 s "
            "after that node is ready; load moves shards; after a change planned moves wait 5 s, doubled by each "
            "further change up to 300 s") in flat(report)
    assert as_data(report)["modes"][0]["homes"]["gw-a"] == [f"poll.{shard}" for shard in (0, 1, 3, 6)]


@pytest.mark.parametrize(("numbers", "text"), [
    ([], "none"), ([4], "4"), ([0, 1], "0, 1"), ([0, 1, 2], "0-2"), ([0, 2, 3, 4, 5, 9, 11, 12], "0, 2-5, 9, 11, 12"),
])
def test_runs_of_shards_are_written_short(numbers: list[int], text: str) -> None:
    assert shard_ranges([f"a.b.{number}" for number in numbers]) == text


def test_a_plain_pair_says_who_drives(tmp_path: Path) -> None:
    report = report_of(tmp_path, GOOD)
    assert "hot-warm: gw-b drives, then gw-a; no failback; after a change planned moves wait 5 s" in flat(report)
    keys = 'failback = "manual"\nhold_down_s = 0\n[[group.prepare]]\ncommand = ["x"]\n'
    report = report_of(tmp_path, changed(('prefer = ["gw-b", "gw-a"]\n', keys)))
    assert ("hot-warm: gw-a drives, then gw-b; back to gw-a when an operator says so; changes are not damped; the "
            "taker may prepare for 2000 ms") in flat(report)


def test_a_spare_is_named(tmp_path: Path) -> None:
    report = report_of(tmp_path, SPARE)
    text = flat(report)
    assert "hot-spare: gw-a drives, then gw-s (the spare), gw-b only votes; no failback" in text
    assert "hot-warm: gw-a drives, then gw-b, gw-s only votes" in text
    assert [(row.spare, row.votes) for row in report.modes] == [("gw-s", ["gw-b"]), (None, ["gw-s"])]


# ---------------------------------------------------------------- what is covered


def test_three_nodes_are_covered_by_majority(tmp_path: Path) -> None:
    report = report_of(tmp_path, SPARE)
    found = rows(report)
    assert {fault: row[0] for fault, row in found.items()} == {
        "planned handover or stop": "yes", "agent killed or crashed": "yes", "agent frozen": "yes",
        "kernel hung, power on": "no", "power of the driver lost": "yes", "serial cable cut": "yes",
        "broker or network lost": "yes", "all links cut, all alive": "no", "driver cut off from all": "yes",
        "one link deaf one way": "yes", "a node lost that drives not": "yes", "two of three nodes lost": "no",
    }
    assert report.outage.fast_ms == found["power of the driver lost"][1]
    assert "never two drivers" in found["all links cut, all alive"][2]
    assert report.problems == []


def test_the_third_node_s_vote_costs_an_ask(tmp_path: Path) -> None:
    """What a silent death costs with three nodes, and with two of them: an ask that is refused once, and rounding."""
    three = report_of(tmp_path, SPARE)
    (grant_ms, rtt_ms), = [(link.grant_ms, 1.0) for link in three.links if link.type == "udp"]
    assert grant_ms + 2.5 * rtt_ms < three.outage.fast_ms < grant_ms + 10


def test_a_cable_is_not_what_is_left_when_links_fail(tmp_path: Path) -> None:
    """The slowest link that reaches all decides, however slow the cable is."""
    slow = changed(('between = ["gw-a", "gw-b"]', 'between = ["gw-a", "gw-b"]\nperiod_ms = 1000'), base=SPARE)
    assert report_of(tmp_path, slow).outage.slow_ms == pytest.approx(report_of(tmp_path, SPARE).outage.slow_ms, rel=0.1)


def test_without_udp_the_gate_can_tell_nobody(tmp_path: Path) -> None:
    udp = '[[link]]\ntype = "udp"\naddress = "direct"\n\n'
    text = changed((udp, ""), ("period_ms = 10", "period_ms = 10"), base=SPARE.replace(
        'broker = "mqtt://broker.plant"', 'broker = "mqtt://broker.plant"\nperiod_ms = 10'
    ).replace('port = "cross"', 'port = "cross"\nperiod_ms = 50'))
    report = report_of(tmp_path, text)
    found = rows(report)
    assert found["agent killed or crashed"][1] == found["power of the driver lost"][1]
    assert found["broker or network lost"][0] == "partly"
    assert found["one link deaf one way"][0] == "partly"
    assert any(warning.startswith("one link only reaches all nodes, mqtt: ") for warning in report.warnings)


def test_an_output_that_falls_with_the_kernel_is_partly_covered(tmp_path: Path) -> None:
    relay = 'type = "serial-relay"\nport = "relay"\nboard = "lcus-1"\nrelease_ms = 8'
    hook = 'type = "hook"\nstart = ["a"]\nstop = ["b"]\nrelease_ms = 8'
    assert rows(report_of(tmp_path, changed((relay, hook), base=SPARE)))["kernel hung, power on"][0] == "partly"


def test_overlap_knows_no_outage(tmp_path: Path) -> None:
    report = report_of(tmp_path, OVERLAP)
    assert [(row.fault, row.covered, row.outage_ms) for row in report.faults] == [
        ("overlap: a node fails", "yes", 0.0), ("overlap: all links cut", "yes", 0.0)
    ]
    assert report.outage.fast_ms == report.outage.slow_ms == 0.0
    assert "hot-hot with overlap: gw-a, gw-b drive all the time" in flat(report)


def test_overlap_beside_other_groups_has_its_own_rows(tmp_path: Path) -> None:
    text = OVERLAP + '[[group]]\nname = "fan"\nlone = "hold"\n[[group.output]]\ntype = "mock"\n'
    found = rows(report_of(tmp_path, text))
    assert found["overlap: a node fails"][2].startswith("poll: ")
    assert found["all links cut, both alive"][0] == "yes", "only the group that holds counts"


def test_overlap_beside_a_third_voter(tmp_path: Path) -> None:
    """What nobody takes over changes no figure of what is taken over."""
    fan = '[[group]]\nname = "fan"\n[[group.output]]\ntype = "gpio"\nchip = "c"\nline = 1\nrelease_ms = 5\n'
    horn = ('[[group]]\nname = "horn"\nmode = "hot-hot"\noverlap = true\n[[group.output]]\ntype = "hook"\n'
            'start = ["a"]\nstop = ["b"]\nrelease_ms = 70\nmake_ms = 60\n')
    witness = '\n[third_voter]\ntype = "witness"\nwitness = "w"\nbroker = "mqtt://w"\n'
    head = changed(("outage_budget_ms = 100\n", witness),
                   base=HOT_HOT[:HOT_HOT.index("[[group]]")])
    alone, both = report_of(tmp_path, head + fan), report_of(tmp_path, head + fan + horn)
    assert both.third_voter is not None and alone.third_voter is not None
    assert both.third_voter.grant_ms == alone.third_voter.grant_ms
    assert both.outage.fast_ms == pytest.approx(alone.outage.fast_ms, abs=1.0)
    assert {row.fault for row in both.faults} - {row.fault for row in alone.faults} == {
        "overlap: a node fails", "overlap: all links cut"
    }
    only = report_of(tmp_path, head + horn)
    assert [row.fault for row in only.faults] == ["overlap: a node fails", "overlap: all links cut"]
    assert only.outage.fast_ms == 0.0


# ---------------------------------------------------------------- load, warnings, health


def test_three_nodes_load_a_link_more(tmp_path: Path) -> None:
    """A node sends a heartbeat and two answers to two others; over UDP each of them twice."""
    report = report_of(tmp_path, SPARE)
    udp, cable, mqtt = (link.load for link in report.links)
    assert cable.frame_bytes == heartbeat_bytes(3, 2) > heartbeat_bytes(2, 2)
    assert udp.kbit_s == pytest.approx(3 * 2 * udp.frame_bytes * 8 / 10)
    assert mqtt.kbit_s == pytest.approx(3 * 2 * mqtt.frame_bytes * 8 / 100)


def test_sixty_four_shards_count_on_every_link(tmp_path: Path) -> None:
    text = changed(("shards = 8", "shards = 64"), ('port = "cross"', 'port = "cross"\nperiod_ms = 20'), base=HOT_HOT)
    report = report_of(tmp_path, text)
    assert report.links[1].load.frame_bytes == heartbeat_bytes(2, 64)
    assert "64 shards: 32 at home on gw-a" in flat(report)


def test_warnings_are_told_once_for_all_shards(tmp_path: Path) -> None:
    report = report_of(tmp_path, HOT_HOT)
    assert [warning for warning in report.warnings if "mock output" in warning] == [
        'group "poll" (each shard), output mock: a mock output switches nothing'
    ]


@pytest.mark.parametrize(("base", "old", "new", "expected"), [
    (SPARE, 'name = "lights"', 'name = "lights"\nlone = "hold"', '[[group]] 2 (lights): lone = "hold" says what a pair '
     "without third vote does; with a spare node it has no effect: remove it"),
    (SPARE.replace('mode = "hot-spare"\nprefer = ["gw-a", "gw-s"]\n', "").replace('port = "relay"', 'port = "/dev/t"'),
     "[pair]", "[pair]", 'the spare gw-s backs no group, it only votes: write mode = "hot-spare" where it shall drive'),
    (GOOD, "[node.gw-b]\n", "[node.gw-b]\ncapacity = 50\n", "[node.gw-b]: capacity = 50 has no effect, because no "
     "group has shards; remove it"),
    (GOOD, "[[group.output]]\n", '[[group.output]]\ntype = "hook"\nstart = ["a", "{shard}"]\nstop = ["b"]\n'
     "[[group.output]]\n", 'group "pump", output a: {shard} is replaced in groups with shards only, and this has none'),
])
def test_what_is_doubtful(tmp_path: Path, base: str, old: str, new: str, expected: str) -> None:
    assert expected in report_of(tmp_path, changed((old, new), base=base)).warnings
    assert expected not in report_of(tmp_path, SPARE).warnings + report_of(tmp_path, HOT_HOT).warnings


def test_ports_count_as_unused_only_where_nothing_uses_them(tmp_path: Path) -> None:
    port = 'serial.cross = "/dev/ttyAMA0"\n'
    text = changed((f"{port}serial.relay", f'{port}serial.old = "/dev/x"\nserial.relay'), base=SPARE)
    unused = [warning for warning in report_of(tmp_path, text).warnings if "uses this name" in warning]
    assert unused == ["[node.gw-a] serial.old = /dev/x: no link and no output uses this name"]


def test_a_check_that_fails_moves_what_the_node_may_drive(tmp_path: Path) -> None:
    check = '[[check]]\nname = "disk"\ntype = "disk"\npath = "/"\nmin_free_percent = 5\n'
    found = {row.node: row.drives for row in report_of(tmp_path, SPARE + check).checks}
    assert found == {"gw-a": {"press": "gw-s", "lights": "gw-b"}, "gw-b": {"lights": "gw-a"}, "gw-s": {"press": "gw-a"}}
    lights = SPARE[:SPARE.index('[[group]]\nname = "press"')] + SPARE[SPARE.index('[[group]]\nname = "lights"'):]
    assert "check disk on gw-s can change nothing: gw-s may drive nothing, it only votes; remove it" in (
        report_of(tmp_path, lights + check).problems
    )
