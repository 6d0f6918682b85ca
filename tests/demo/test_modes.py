"""The modes of the demo: layouts and their configuration, options that go together, figures and words of many units."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinbeat.config import load_config
from twinbeat.demo import unit_report, unit_view
from twinbeat.demo.agents import PairSettings, config_text
from twinbeat.demo.command import exit_code, make_report
from twinbeat.demo.faults import FAULTS
from twinbeat.demo.layout import MODES
from twinbeat.demo.measure import Change
from twinbeat.demo.options import parse
from twinbeat.demo.timeline import Timeline
from twinbeat.demo.unit_measure import Moments, evaluate_units, last_ms, summary
from twinbeat.demo.unit_status import all_settled
from twinbeat.demo.unit_trial import UnitRecord

MS = 1_000_000
AT = Moments(100 * MS, 500 * MS, 900 * MS, "gw-a")


def settings(mode: str, units: int = 1) -> PairSettings:
    """As the command line makes them."""
    return PairSettings(mode=mode, units=units)


def written(tmp_path: Path, chosen: PairSettings) -> Path:
    """The configuration file of a layout, with the paths that the rig would give."""
    layout = chosen.layout
    ports = {node: {name: f"/dev/{node}-{name}" for name in layout.cables} for node in layout.nodes}
    if layout.has_network:
        del ports["gw-s"]["cross"]
    for unit, may in enumerate(layout.drivers):
        for node in may:
            ports[node][layout.relay(unit)] = f"/dev/{node}-{layout.relay(unit)}"
    addresses = {node: f"127.0.0.1:{7400 + place}" for place, node in enumerate(layout.nodes)}
    path = tmp_path / "twinbeat.toml"
    path.write_text(config_text(chosen, 18830, ports, (), addresses if layout.has_network else None))
    return path


# ---------------------------------------------------------------- layouts
@pytest.mark.parametrize(("mode", "units", "names"), [
    ("hot-warm", 1, ["pump"]), ("hot-warm", 64, [f"pump-{number}" for number in range(64)]),
    ("hot-hot", 8, [f"lines.{number}" for number in range(8)]), ("hot-hot", 1, ["lines.0"]),
    ("hot-hot", 64, [f"lines.{number}" for number in range(64)]),
    ("overlap", 1, ["horn"]), ("hot-spare", 2, ["press", "saw"]),
])
def test_the_layout_is_what_the_agents_make_of_the_file(
    tmp_path: Path, mode: str, units: int, names: list[str]
) -> None:
    chosen = settings(mode, units)
    path, layout = written(tmp_path, chosen), chosen.layout
    for node in layout.nodes:
        config = load_config(path, node)
        assert [group.name for group in config.groups] == names == layout.units
        assert [group.drivers for group in config.groups] == layout.drivers
    ports = [output.port for group in config.groups for output in group.outputs]    # type: ignore[union-attr]
    assert ports == [layout.relay(unit) for unit in range(len(names))]


def test_homes_are_shared_and_a_spare_backs_both() -> None:
    homes = [settings("hot-hot", 8).layout.home(unit) for unit in range(8)]
    assert sorted(homes.count(frozenset({node})) for node in ("gw-a", "gw-b")) == [4, 4]
    spare = settings("hot-spare", 2).layout
    assert (spare.home(0), spare.drivers[0]) == ({"gw-a"}, ("gw-a", "gw-s"))
    assert settings("overlap").layout.home(0) == {"gw-a", "gw-b"}


# ---------------------------------------------------------------- options
def test_each_mode_has_its_units() -> None:
    for mode, units in (("hot-warm", 1), ("hot-hot", 8), ("overlap", 1), ("hot-spare", 2)):
        assert len(parse(["--mode", mode]).settings.layout.units) == units
    assert parse([]).settings.single
    assert not parse(["--groups", "2"]).settings.single
    assert parse(["--mode", "hot-hot", "--shards", "64"]).settings.units == 64


@pytest.mark.parametrize(("words", "told"), [
    (["--fault", "partition"], "needs a third node"),
    (["--mode", "hot-hot", "--fault", "partition"], "--fault partition makes no sense with --mode hot-hot"),
    (["--mode", "hot-spare", "--fault", "cut-all"], "--fault partition"),
    (["--mode", "overlap", "--fault", "handover"], "nobody to hand over to"),
    (["--mode", "hot-hot", "--fault", "freeze"], "arbiter"),
    (["--mode", "hot-hot", "--fault", "voter-kill"], "--mode hot-warm"),
    (["--mode", "hot-hot", "--third-voter", "arbiter"], "--mode hot-warm"),
    (["--mode", "hot-spare", "--third-voter", "witness"], "third node that votes"),
    (["--mode", "overlap", "--lone", "hold"], "means nothing"),
    (["--shards", "8"], "needs --mode hot-hot"),
    (["--mode", "hot-hot", "--groups", "2"], "needs --mode hot-warm"),
    (["--mode", "hot-hot", "--shards", "65"], "65 is outside of 1 to 64"),
])
def test_what_does_not_go_together_is_refused_with_the_reason(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_every_fault_says_where_it_makes_sense() -> None:
    for fault in FAULTS.values():
        assert set(fault.modes) <= set(MODES)
        assert "hot-warm" in fault.modes or fault.not_there


# ---------------------------------------------------------------- figures
def change(at_ms: float, unit: int, node: str, on: bool) -> Change:
    return Change(round(at_ms * MS), node, on, unit=unit)


BEGIN = [change(0, 0, "gw-a", True), change(0, 1, "gw-b", True), change(0, 2, "gw-a", True)]
TAKEN = [*BEGIN, change(100.2, 0, "gw-a", False), change(100.5, 0, "gw-b", True),
         change(100.3, 2, "gw-a", False), change(101.3, 2, "gw-b", True)]
HOME = [*TAKEN, change(700, 0, "gw-b", False), change(700.25, 0, "gw-a", True),
        change(800, 2, "gw-b", False), change(800.5, 2, "gw-a", True)]


def record(changes: list[Change], at: Moments = AT, mode: str = "hot-hot", units: int = 3) -> UnitRecord:
    """A trial in which gw-a is killed."""
    figures = evaluate_units(changes, units, at)
    return UnitRecord(1, FAULTS["kill"], settings(mode, units).layout, at, changes, figures, "gw-a", 0.4,
                      {"gw-b": ["gw-b took over lines.0"]})


def test_lost_units_are_driven_again_and_the_others_stay() -> None:
    figures = evaluate_units(HOME, 3, AT)
    assert [unit.lost for unit in figures] == [True, False, True]
    assert [unit.takeover_ms for unit in figures] == [0.5, None, 1.3]
    assert [unit.undriven_ms for unit in figures] == [pytest.approx(0.3), 0, pytest.approx(1.0)]
    assert [unit.returned_ms for unit in figures] == [pytest.approx(0.25), None, pytest.approx(0.5)]
    assert not any(unit.disturbed or unit.overlap_ms for unit in figures)
    assert last_ms(figures) == 1.3
    found = summary([figures])
    assert (found["lost_units"], found["disturbed_units"], found["double_driver_trials"]) == (2, 0, 0)
    assert found["no_driver_trials"] == 0


def test_an_off_of_the_survivor_is_a_disturbance_however_short() -> None:
    figures = evaluate_units([*HOME, change(101, 1, "gw-b", False), change(101.001, 1, "gw-b", True)], 3, AT)
    assert [unit.disturbed for unit in figures] == [False, True, False]
    nothing_moves = Moments(AT.fault_ns, AT.observed_ns, AT.end_ns, None)
    dropped = evaluate_units([*BEGIN, change(200, 0, "gw-a", False), change(201, 0, "gw-a", True)], 3, nothing_moves)
    assert [unit.disturbed for unit in dropped] == [True, False, False]
    assert not any(unit.lost for unit in dropped)


def test_two_drivers_of_one_unit_and_none_are_seen() -> None:
    both = [*BEGIN, change(101, 0, "gw-b", True), change(141, 0, "gw-a", False), *TAKEN[-2:]]
    assert evaluate_units(both, 3, AT)[0].overlap_ms == pytest.approx(40)
    report = make_report(parse(["--mode", "hot-hot", "--shards", "3"]), [], {}, {}, [record(both)])
    assert report["double_driver_trials"] == 1
    assert exit_code(parse(["--mode", "hot-hot"]), report) == 1
    gone = [*BEGIN, change(100.2, 0, "gw-a", False), *TAKEN[-2:]]
    figures = evaluate_units(gone, 3, AT)
    assert (figures[0].undriven_ms, last_ms(figures)) == (None, None)
    assert summary([figures])["no_driver_trials"] == 1


def test_two_that_drive_together_are_one_as_long_as_either_does() -> None:
    at = Moments(AT.fault_ns, AT.observed_ns, AT.end_ns, "gw-a", exclusive=False)
    both = [change(0, 0, "gw-a", True), change(0, 0, "gw-b", True), change(101, 0, "gw-a", False),
            change(800, 0, "gw-a", True)]
    (unit,) = evaluate_units(both, 1, at)
    assert (unit.undriven_ms, unit.overlap_ms, unit.disturbed, unit.returned_ms) == (0, 0, False, 0)
    (gap,) = evaluate_units([*both, change(102, 0, "gw-b", False), change(105, 0, "gw-b", True)], 1, at)
    assert (gap.undriven_ms, gap.disturbed) == (pytest.approx(3), True)
    assert "without a break" in " ".join(unit_view.sentences(record(both, at, "overlap", 1)))


def test_the_report_is_plain_data_that_can_be_pooled() -> None:
    options = parse(["--mode", "hot-hot", "--shards", "3"])
    report = json.loads(json.dumps(make_report(options, [], {"cpus": 2}, {}, [record(HOME), record(HOME)])))
    assert (report["mode"], report["units"], report["trials"]) == ("hot-hot", 3, 2)
    assert report["takeover_ms"]["max"] == 1.3
    assert report["samples"][0]["takeover_ms"] == [0.5, 1.3]
    assert exit_code(options, report) == 0
    assert any("all driven again" in line for line in unit_report.table({**report, "agents": {}}))


# ---------------------------------------------------------------- words
def test_a_trial_is_drawn_as_a_table_over_time() -> None:
    lines = unit_view.trial_lines(record(HOME), 5)
    rows = [line.split() for line in lines[1:4]]
    assert [row[0] for row in rows] == ["lines.0", "lines.1", "lines.2"]
    assert (rows[0][1][0], rows[0][1][-1], rows[0][2][-1]) == ("A", "B", "A")
    assert "·" in rows[2][1]
    assert set(rows[1][1] + rows[1][2]) == {"B"}
    text = "\n".join(lines)
    assert "The agent of gw-a is killed (SIGKILL)." in text
    assert "2 units had to move, driven again after 1.30 ms at the latest, undriven for 0.30 ms to 1.00 ms" in text
    assert "Of 1 other none was disturbed." in text
    assert "at most 0.50 ms each" in text
    assert "gw-b says: gw-b took over lines.0" in text


def test_columns_are_to_scale_and_two_at_once_show() -> None:
    changes = [Change(0, "gw-a", True), Change(50, "gw-b", True), Change(75, "gw-a", False)]
    assert unit_view.bar(changes, (0, 100), 4) == "AA#B"
    assert unit_view.bar([Change(0, "gw-s", True), Change(50, "gw-s", False)], (0, 100), 4) == "SS··"


# ---------------------------------------------------------------- who drives now
def test_the_timeline_keeps_units_apart() -> None:
    timeline = Timeline(["gw-a", "gw-b"], 2)
    timeline.add(Change(5, "gw-a", True), Change(6, "gw-b", True, unit=1))
    timeline.add(Change(4, "gw-a", False))
    assert timeline.drivers() == [{"gw-a"}, {"gw-b"}]
    assert timeline.driver() == "gw-a"
    assert timeline.levels(1) == {"gw-a": False, "gw-b": True}
    timeline.add(Change(9, "gw-b", False, unit=1))
    assert timeline.wait_drivers(lambda drivers: not drivers[1], 0)
    timeline.forget_before(8)
    assert [(one.at_ns, one.unit) for one in timeline.since(0)] == [(5, 0), (6, 1), (9, 1)]


def status(states: list[tuple[str, list[str]]], up: bool = True) -> dict[str, Any]:
    groups = [{"name": f"lines.{unit}", "state": state, "drivers": drivers}
              for unit, (state, drivers) in enumerate(states)]
    return {"ok": True, "groups": groups, "links": [{"up": up, "here": True}]}


def test_settled_is_when_every_agent_says_so() -> None:
    layout = settings("hot-hot", 2).layout
    drivers = [frozenset({"gw-a"}), frozenset({"gw-b"})]
    one = status([("ACTIVE", ["gw-a"]), ("STANDBY", ["gw-b"])])
    other = status([("STANDBY", ["gw-a"]), ("ACTIVE", ["gw-b"])])
    assert all_settled({"gw-a": one, "gw-b": other}, layout, drivers)
    for wrong in ({"ok": False}, status([("STANDBY", ["gw-a"]), ("LISTEN", ["gw-b"])]),
                  status([("STANDBY", ["gw-a"]), ("ACTIVE", [])]),
                  status([("STANDBY", ["gw-a"]), ("ACTIVE", ["gw-b"])], up=False)):
        assert not all_settled({"gw-a": one, "gw-b": wrong}, layout, drivers)
