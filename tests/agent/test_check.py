"""`twinbeat check`: the sums, the load, the outage, the coverage table, the warnings."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from config_files import GOOD, changed, write

from twinbeat.check import Report, as_data, build_report
from twinbeat.check_text import report_text
from twinbeat.config import core_settings, load_config
from twinbeat_core.timing import timing_terms

MQTT_LINK = '[[link]]\ntype = "mqtt"\nbroker = "mqtt://broker.plant"\nperiod_ms = 100\n'
SERIAL_LINK = '[[link]]\ntype = "serial"\nport = "cross"\nperiod_ms = 10\n'
UDP_LINK = '[[link]]\ntype = "udp"\naddress = "direct"\n'
RELAY = 'type = "serial-relay"\nport = "relay"\nboard = "lcus-1"\nrelease_ms = 8'
REALTIME = ("[pair]", "[timing]\nrealtime = true\n\n[pair]")
HOLD = ('prefer = ["gw-b", "gw-a"]', 'lone = "hold"')


def report_of(directory: Path, *changes: tuple[str, str]) -> Report:
    return build_report(load_config(write(directory, changed(REALTIME, *changes)), "gw-a"))


def rows(report: Report) -> dict[str, tuple[str, float | None, str]]:
    return {row.fault: (row.covered, row.outage_ms, row.text) for row in report.faults}


def test_the_sum_is_the_core_s_own(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    cfg = load_config(tmp_path / "twinbeat.toml", "gw-a")
    expected = [(term.link, term.name, term.ms) for term in timing_terms(core_settings(cfg))]
    assert [(n, term.name, term.ms) for n, link in enumerate(report.links) for term in link.terms] == expected
    assert [(link.name, link.type) for link in report.links] == [("cross", "serial"), ("mqtt", "mqtt")]
    for link in report.links:
        assert (link.lease_ms, link.grant_ms) == tuple(t.ms for t in link.terms if t.name in ("lease", "grant"))


def test_wire_load_of_a_serial_line(tmp_path: Path) -> None:
    load = report_of(tmp_path).links[0].load
    assert load.frame_bytes == 61
    assert load.frame_ms == pytest.approx(61 * 10_000 / 921600)
    assert load.quiet_percent == pytest.approx(10 * 61 * 10_000 / 921600)
    assert load.busy_percent == pytest.approx(2 * (load.quiet_percent or 0))
    assert load.worst_percent is not None and load.busy_percent is not None
    assert load.busy_percent < load.worst_percent <= 100


def test_load_of_a_broker_is_in_bits_per_second(tmp_path: Path) -> None:
    load = report_of(tmp_path).links[1].load
    assert (load.frame_ms, load.quiet_percent) == (None, None)
    assert load.kbit_s == pytest.approx(2 * load.frame_bytes * 8 / 100)
    assert load.fast_kbit_s == pytest.approx(2 * load.frame_bytes * 8 / 20)
    assert load.frame_bytes > 61 + len("twinbeat/v1/pump-7/gw-a/beat")


def test_detection_and_outage_follow_the_fastest_link(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    fast, slow = report.links
    assert report.detection_ms == (fast.grant_ms - 10, fast.grant_ms)
    assert fast.grant_ms < report.outage.fast_ms < fast.grant_ms + 3
    assert slow.grant_ms < report.outage.slow_ms < slow.grant_ms + 7
    assert (report.outage.budget_ms, report.outage.over_ms, report.problems) == (100.0, 0.0, [])
    assert report.listen_ms >= slow.grant_ms


def test_broken_budget_says_by_how_much(tmp_path: Path) -> None:
    report = report_of(tmp_path, ("outage_budget_ms = 100", "outage_budget_ms = 20"))
    over_ms = report.outage.fast_ms - 20
    assert report.outage.over_ms == pytest.approx(over_ms)
    assert report.problems == [
        f"worst outage {report.outage.fast_ms:.1f} ms is {over_ms:.1f} ms over outage_budget_ms = 20; lower "
        "period_ms or missed of the fastest link, use an output with a shorter release_ms, or raise the budget"
    ]
    assert "This configuration does not do what it is asked for." in report_text(report)
    assert as_data(report)["ok"] is False


def test_slow_output_make_counts_into_the_outage(tmp_path: Path) -> None:
    before = report_of(tmp_path).outage.fast_ms
    second = '\n\n[[group.output]]\ntype = "mock"\nmake_ms = 30'
    after = report_of(tmp_path, ("release_ms = 8", "release_ms = 8" + second)).outage.fast_ms
    assert after == pytest.approx(before + 30)


def test_without_realtime_the_promise_is_longer(tmp_path: Path) -> None:
    with_it = build_report(load_config(write(tmp_path, changed(REALTIME)), "gw-a"))
    text = changed(("[pair]", "[timing]\nrealtime = false\n\n[pair]"))
    without = build_report(load_config(write(tmp_path, text), "gw-a"))
    assert (with_it.check_ms, without.check_ms) == (5.0, 15.0)
    assert without.links[0].grant_ms == pytest.approx(with_it.links[0].grant_ms + 10, abs=1)
    assert any(text.startswith("without real-time scheduling") for text in without.warnings)
    assert not any(text.startswith("without real-time scheduling") for text in with_it.warnings)


# ---------------------------------------------------------------- coverage

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
]


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ((), "yes yes yes no yes yes yes no yes"),
        ((HOLD,), "yes yes partly no no yes yes yes yes"),
        (((MQTT_LINK, ""),), "yes yes yes no yes no yes no no"),
        (((MQTT_LINK, ""), HOLD), "yes yes partly no no yes yes yes yes"),
        (((SERIAL_LINK, ""),), "yes yes yes no yes yes no no no"),
        (((SERIAL_LINK, ""), HOLD), "yes no partly no no yes yes yes yes"),
        (((RELAY, 'type = "hook"\nstart = ["a"]\nstop = ["b"]'),), "yes yes yes partly yes yes yes no yes"),
        (((RELAY, 'type = "hook"\nstart = ["a"]\nstop = ["b"]'), HOLD), "yes yes partly no no yes yes yes yes"),
        (((SERIAL_LINK, UDP_LINK),), "yes yes yes no yes yes yes no yes"),
    ],
)
def test_coverage(tmp_path: Path, changes: tuple[tuple[str, str], ...], covered: str) -> None:
    report = report_of(tmp_path, *changes)
    assert [row.fault for row in report.faults] == FAULTS
    assert [row.covered for row in report.faults] == covered.split()
    assert all(len(row.text) > 15 for row in report.faults)


def test_coverage_texts_name_what_matters(tmp_path: Path) -> None:
    found = rows(report_of(tmp_path))
    assert "keep their level" in found["kernel hung, power on"][2]
    assert "both drive until a link is back" in found["all links cut, both alive"][2]
    frozen_ms, power_ms = found["agent frozen"][1], found["power of the driver lost"][1]
    assert frozen_ms is not None and power_ms is not None
    assert 0 < frozen_ms < power_ms
    held = rows(report_of(tmp_path, HOLD))
    assert held["all links cut, both alive"][1:] == (0.0, (
        "the driver drives on, because with lone = hold a promise does not end by time; only a takeover is not "
        "possible until a link is back"))
    alone = rows(report_of(tmp_path, (SERIAL_LINK, "")))
    assert "without a crosslink" in alone["agent killed or crashed"][2]


def test_one_group_that_holds_decides_the_table(tmp_path: Path) -> None:
    second = '[[group]]\nname = "fan"\nlone = "hold"\n[[group.output]]\ntype = "mock"\n'
    report = build_report(load_config(write(tmp_path, GOOD + second), "gw-a"))
    found = rows(report)
    assert found["power of the driver lost"][0] == "no"
    cut = found["all links cut, both alive"]
    assert cut[:2] == ("no", 0.0)
    assert cut[2].startswith("groups with lone = takeover: both drive until a link is back")
    assert "; groups with lone = hold: the driver drives on" in cut[2]
    hung = found["kernel hung, power on"][2]
    assert hung.startswith("groups with lone = takeover: GPIO lines") and "; groups with lone = hold: GPIO" in hung


def test_the_only_link_says_what_its_loss_means(tmp_path: Path) -> None:
    found = rows(report_of(tmp_path, (MQTT_LINK, "")))
    assert found["serial cable cut"][:2] == ("no", 0.0)
    assert found["serial cable cut"][2].startswith("it is the only link: both drive until a link is back")
    assert found["one link deaf one way"][:2] == ("no", None)
    assert found["one link deaf one way"][2].startswith("it is the only link: two may drive until it works both ways")
    held = rows(report_of(tmp_path, (MQTT_LINK, ""), HOLD))
    for fault in ("serial cable cut", "one link deaf one way"):
        assert held[fault][1] == 0.0
        assert held[fault][2].startswith("it is the only link: the driver drives on")


# ---------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("changes", "piece"),
    [
        (((MQTT_LINK, ""),), "there is one link only: its loss means two drivers while both nodes live"),
        (((MQTT_LINK, ""), HOLD), "there is one link only: its loss means that no takeover is possible; add"),
        ((), "the crosslink is a tty only"),
        (((SERIAL_LINK, '[[link]]\ntype = "mqtt"\nbroker = "mqtt://b"\n'),),
         "so every takeover waits for the promise to run out"),
        (((SERIAL_LINK, '[[link]]\ntype = "mqtt"\nbroker = "mqtt://b"\n'), HOLD),
         "so with lone = hold nobody takes over when it dies"),
        ((('[node.gw-b]\nserial.cross = "/dev/ttyAMA0"', '[node.gw-b]\nserial.cross = "/dev/ttyUSB0"'),),
         "[node.gw-b] serial.cross = /dev/ttyUSB0: a USB adapter as crosslink"),
        ((('[node.gw-b]\nserial.cross = "/dev/ttyAMA0"', '[node.gw-b]\nserial.cross = "/dev/ttyUSB0"'),),
         "[node.gw-b] serial.cross = /dev/ttyUSB0: the number changes when adapters are plugged"),
        ((('[node.gw-b]\nserial.cross', '[node.gw-b]\nserial.spare = "/dev/ttyS7"\nserial.cross'),),
         "[node.gw-b] serial.spare = /dev/ttyS7: no link and no output uses this name"),
        (((RELAY, 'type = "gpio"\nchip = "pinctrl-rp1"\nline = "GPIO4"'),), "this line is pulled up from power-on"),
        (((RELAY, 'type = "gpio"\nchip = "pinctrl-rp1"\nline = "GPIO17"'),),
         "a GPIO line keeps its level when agent and gate"),
        (((RELAY, 'type = "gpio"\nchip = "pinctrl-rp1"\nline = "GPIO17"'),),
         "release_ms is 0, but a relay takes 2 to 20 ms"),
        (((RELAY, 'type = "hook"\nstart = ["/bin/x"]\nstop = ["b"]'),), 'output x: the stop command is not waited for'),
        (((RELAY, 'type = "mock"'),), "a mock output switches nothing"),
        ((("release_ms = 8", 'release_ms = 8\nexit = "hold"'),), "exit = hold leaves it on"),
        ((('"mqtt://broker.plant"', '"mqtt://broker.plant"\nuser = "u"'),),
         "[[link]] 2 (mqtt): user and password go to"),
        ((("outage_budget_ms = 100\n", ""),), "no outage_budget_ms is set in [pair]"),
        ((("outage_budget_ms = 100", "outage_budget_ms = 70"),),
         "once only the slowest link is left, the worst outage is "),
    ],
)
def test_warning(tmp_path: Path, changes: tuple[tuple[str, str], ...], piece: str) -> None:
    found = [text for text in report_of(tmp_path, *changes).warnings if piece in text]
    assert len(found) == 1


def test_a_good_pair_has_no_warnings(tmp_path: Path) -> None:
    second_group = ('[[group]]\nname = "pump"', UDP_LINK + '\n[[group]]\nname = "pump"')
    report = report_of(tmp_path, second_group, ("outage_budget_ms = 100", "outage_budget_ms = 400"))
    assert report.warnings == []


# ---------------------------------------------------------------- text and JSON


def test_text_shows_every_term_fault_and_warning(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    text = report_text(report)
    flat = " ".join(text.split())
    for link in report.links:
        for term in link.terms:
            assert f"{term.ms:9.2f} ms  {term.name.replace('_', ' '):<20} {term.text}" in text
    for row in report.faults:
        assert row.fault in text
    for warning in report.warnings:
        assert warning in flat
    assert text.endswith("No problem found.")
    assert max(map(len, text.splitlines())) <= 125


def test_json_is_complete(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    data = json.loads(json.dumps(as_data(report)))
    assert data["ok"] is True
    assert set(data) == {"ok", *report.__struct_fields__}
    assert data["links"][0]["terms"][0].keys() == {"name", "ms", "text"}
    assert [row["fault"] for row in data["faults"]] == FAULTS
