"""The benchmark's table from made-up results, and what it asks of the system. Nothing is measured here."""
from __future__ import annotations

import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twinbeat.bench import command, keepalived, many_groups, shards
from twinbeat.bench.netlab import RTM_DELADDR, RTM_NEWADDR, VIRTUAL, address_changes
from twinbeat.bench.rolling import Gap, unplanned
from twinbeat.bench.runs import Results
from twinbeat.bench.table import NAMES, ROWS, RUNS, SETS
from twinbeat.demo.options import parse

CALM = {"takeover_ms": None, "gap_ms": {"min": 0.0, "p50": 0.0, "p99": 0.0, "max": 0.0}, "overlap_ms_max": 0.0,
        "double_driver_trials": 0, "no_driver_trials": 0, "role_changes": 0, "dropouts": 0, "trials": 20}
UNITS = {**CALM, "units": 8, "lost_units": 80, "disturbed_units": 0}
USE = {"cpu_percent": 1.2, "rss_mib": 25.0, "gate_pss_mib": 3.1}


def taken(p50: float, p99: float, gap: float) -> dict[str, Any]:
    """A result with a takeover."""
    return {**CALM, "takeover_ms": {"min": p50, "p50": p50, "p99": p99, "max": p99},
            "gap_ms": {"min": gap, "p50": gap, "p99": gap, "max": gap}, "role_changes": 20}


def pooled(unit_ms: float, last_ms: float) -> dict[str, Any]:
    """The spreads of one of both in turn."""
    return {"unit_ms": {"p50": unit_ms}, "last_ms": {"p50": last_ms}}


def results() -> Results:
    """Every run, each within its target."""
    return {
        **{run.name: dict(CALM) for run in RUNS},
        "kill": taken(0.4, 5, 0.2), "stop": taken(35, 41, 9), "stop-loss": taken(40, 60, 9), "power": taken(33, 40, 33),
        "power-5ms": taken(20, 25, 20), "handover": taken(1, 1.5, 0.2), "kill-load": taken(0.8, 3, 0.2),
        "cost": {**CALM, "agents": {"gw-a": USE, "gw-b": {**USE, "cpu_percent": 0.9, "gate_pss_mib": None}}},
        "core": {"nogil_ns": 80.0, "python_ns": 700.0},
        "sim": {"steps_per_s": 2e6},
        "campaign": {"runs": 10_000, "seconds": 30.0, "early_mib": 40.0, "late_mib": 41.0},
        "kill-arbiter": taken(1, 2, 0.9), "freeze-gated": taken(48.5, 52, 3.4),
        "arbiter-trip": {"runs_in": "MicroPython", "asks": 3000, "promised": 3000,
                         "round_trip_ms": {"min": 0.1, "p50": 0.2, "p99": 0.9, "max": 2.0}},
        "witness": {"pairs": 5000, "lost": 0, "machine": {"cpus": 2}, "answer_ms": {"p50": 1.0, "p99": 9.0}},
        "prove": {"complete": True, "faults": 2, "states_per_s": 2e6, "states": 12345},
        "hot-hot": {**UNITS, **taken(0.7, 1.2, 0.3)},
        "hot-spare": {**UNITS, **taken(0.6, 3.5, 0.3), "units": 2, "lost_units": 20},
        "partition": {**UNITS, **taken(38, 40, 6)},
        "handover-64": {**UNITS, **taken(12, 20, 1.1), "units": 64, "lost_units": 1280},
        "many-groups": {**CALM, "few": pooled(0.6, 0.6), "many": pooled(0.9, 1.5), "added_last_ms": 0.9,
                        "disturbed_units": 0},
        "upgrade": {**CALM, "upgrades": 10, "unplanned_gaps": 0, "unplanned_causes": 0,
                    "gap_ms": {"p50": 0.4, "p99": 1.0}},
        "shards": {"uneven": 1, "moved": 1.0},
        "keepalived/kill": {**taken(30, 35, 0), "double_driver_trials": 20},
        "keepalived/stop": {**taken(28, 33, 0), "double_driver_trials": 20},
        "keepalived/planned": taken(4, 6, 3.1),
        "keepalived/loss-10": {**CALM, "role_changes": 1, "dropouts": 6},
        "keepalived/loss-30": {**CALM, "role_changes": 2, "dropouts": 120},
        "keepalived/cost": {"cpu_percent": 0.35, "rss_mib": 13.0, "pss_mib": 3.5},
    }


def table(found: Results, failures: dict[str, str] | None = None) -> list[str]:
    """The Markdown lines for some results."""
    failed = failures or {}
    rows = [command._row(row, found, failed) for row in ROWS]
    report = {"date": "2026-01-01", "command": "twinbeat bench", "machine": command.machine(), "results": found,
              "failures": failed, "rows": rows}
    return command.markdown(report)


def test_every_row_is_reached_with_good_figures_and_stands_beside_keepalived() -> None:
    lines = table(results())
    assert not [line for line in lines if "missed" in line or "not measured" in line]
    text = "\n".join(lines)
    assert "0.40 / 5.00 ms" in text
    assert "30.0 / 35.0 ms (75.0 x)" in text
    assert "20 of 20" in text
    assert "1.2 %; 25.0 MiB; 3.1 MiB" in text
    assert "0 of 20; 48.5 ms; 3.40 ms" in text
    assert "7 false takeovers; 122 false takeovers" in text
    assert len([line for line in lines if line.startswith("|")]) == len(ROWS) + 2


@pytest.mark.parametrize(("name", "worse"), [
    ("kill", {"takeover_ms": {"min": 1, "p50": 1.0, "p99": 5, "max": 5}}),
    ("kill", {"double_driver_trials": 1}),
    ("stop-loss", {"double_driver_trials": 1}),
    ("power", {"takeover_ms": None}),
    ("handover", {"gap_ms": None}),
    ("loss-30", {"dropouts": 1}),
    ("cut-mqtt", {"role_changes": 1}),
    ("load", {"role_changes": 1}),
    ("core", {"nogil_ns": 101.0}),
    ("sim", {"steps_per_s": 9e5}),
    ("campaign", {"seconds": 121.0}),
    ("campaign", {"late_mib": 60.0}),
    ("prove", {"complete": False}),
    ("cut-all-arbiter", {"double_driver_trials": 1}),
    ("cut-all-arbiter", {"no_driver_trials": 1}),
    ("cut-all-arbiter", {"role_changes": 1}),
    ("kill-arbiter", {"gap_ms": {"p50": 5.1}}),
    ("freeze-gated", {"double_driver_trials": 1}),
    ("freeze-gated", {"takeover_ms": {"p50": 61.0}}),
    ("arbiter-restart", {"role_changes": 1}),
    ("arbiter-unplug", {"dropouts": 1}),
    ("arbiter-trip", {"round_trip_ms": {"p50": 1.1, "p99": 2}}),
    ("arbiter-trip", {"promised": 2999}),
    ("witness", {"answer_ms": {"p99": 51.0}}),
    ("witness", {"lost": 1}),
    ("witness", {"pairs": 500}),
    ("hot-hot", {"takeover_ms": {"p50": 4.0, "p99": 15.1}}),
    ("hot-hot", {"disturbed_units": 1}),
    ("hot-hot", {"double_driver_trials": 1}),
    ("many-groups", {"added_last_ms": 1.1}),
    ("many-groups", {"added_last_ms": None}),
    ("hot-spare", {"gap_ms": {"p50": 5.1}}),
    ("hot-spare", {"disturbed_units": 1}),
    ("partition", {"double_driver_trials": 1}),
    ("partition", {"no_driver_trials": 1}),
    ("handover-64", {"gap_ms": {"p50": 4.1}}),
    ("upgrade", {"unplanned_gaps": 1}),
    ("upgrade", {"unplanned_causes": 1}),
    ("shards", {"uneven": 2}),
    ("shards", {"moved": 1.01}),
    ("cost", {"agents": {"gw-a": {**USE, "rss_mib": 31.0}}}),
])
def test_a_worse_figure_misses_its_target(name: str, worse: dict[str, Any]) -> None:
    found = results()
    found[name] = {**found[name], **worse}
    assert [line for line in table(found) if "(target missed)" in line]


def test_what_could_not_be_measured_says_why() -> None:
    found = {name: result for name, result in results().items() if name == "kill"}
    lines = table(found, {"stop": "no broker", "keepalived": "network namespaces need root"})
    text = "\n".join(lines)
    assert "not measured (stop: no broker)" in text
    assert "Not measured: keepalived: network namespaces need root." in text
    assert "| not measured |" in text, "the column of keepalived"


def test_every_run_is_a_valid_demo_command() -> None:
    for run in RUNS:
        for quick in (False, True):
            options = parse(run.words(quick))
            assert options.trials == run.trials[quick]
    assert {need for row in ROWS for need in row.needs} <= set(NAMES)


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A demo that does not end by itself, and where its process id will stand."""
    program, pid_file = tmp_path / "demo", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {pid_file}.x; mv {pid_file}.x {pid_file}; echo; exec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return pid_file


def test_a_demo_that_does_not_end_is_ended(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "START_LIMIT_S", 0.5)
    assert command._demo([], 0, 0.0) == "no end within 0.5 s"
    assert not endless.exists() or not Path(f"/proc/{int(endless.read_text())}").exists()


def test_a_benchmark_that_is_interrupted_ends_its_demo(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = subprocess.Popen.communicate

    def interrupted(process: subprocess.Popen[str], *words: Any, timeout: float | None = None) -> tuple[str, str]:
        if timeout is None:
            return whole(process, *words)
        assert process.stdout is not None
        process.stdout.readline()            # it runs
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command._demo([], 0, 0.0)
    assert not Path(f"/proc/{int(endless.read_text())}").exists()


def test_sets_of_rows_are_made_of_runs() -> None:
    assert {name for names in SETS.values() for name in names} == set(NAMES)
    for names in SETS.values():
        rows = [row for row in ROWS if set(row.needs) <= set(names)]
        assert rows


def test_what_many_groups_add_is_the_difference_of_medians_of_both_in_turn() -> None:
    asked: list[str] = []

    def demo(words: list[str], trials: int, _seconds: float) -> dict[str, Any]:
        many = words[words.index("--shards") + 1] == "64"
        asked.append("many" if many else "few")
        last_ms = 1.5 if many else 0.5
        return {"samples": [{"takeover_ms": [0.5, last_ms], "last_ms": last_ms, "gap_ms": [0.1, 0.2]}] * trials,
                "machine": {"busy_percent": 50.0}, "disturbed_units": 0, "double_driver_trials": 0}

    found = many_groups.measure(False, demo, lambda _text: None)
    assert asked == ["few", "many"] * (len(asked) // 2)
    assert found["added_last_ms"] == 1.0
    assert found["many"]["unit_ms"]["p50"] == 1.0
    with pytest.raises(many_groups.TooFewError, match="no broker"):
        many_groups.measure(True, lambda *_: "no broker", lambda _text: None)


def test_a_gap_that_no_handover_explains_is_unplanned() -> None:
    planned = [Gap(0, 1, "gw-a", "gw-b"), Gap(5, 6, "gw-b", "gw-a")]
    assert unplanned(planned, "gw-a", ["gw-b", "gw-a"]) == []
    dropout = Gap(2, 3, "gw-b", "gw-b")
    assert unplanned([planned[0], dropout, planned[1]], "gw-a", ["gw-b", "gw-a"]) == [dropout]


def test_shards_are_even_and_only_those_of_a_node_that_left_move() -> None:
    found = shards.measure(True)
    assert (found["uneven"], found["moved"]) == (1, 1.0)


def test_a_wrong_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--only", "nothing"])
    assert ended.value.code == 2
    assert "keepalived" in capsys.readouterr().err


def test_keepalived_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinbeat.bench.keepalived.tool", lambda _name: None)
    assert keepalived.unavailable() == "keepalived is not installed"
    monkeypatch.setattr("twinbeat.bench.keepalived.tool", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert keepalived.unavailable() == "network namespaces need root"


def message(kind: int, address: str) -> bytes:
    """A netlink message about an address, padded as the kernel does."""
    body = b"\2\x20\0\0\1\0\0\0" + struct.pack("=HH", 8, 1) + socket.inet_aton(address)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_only_the_virtual_address_counts() -> None:
    data = message(RTM_NEWADDR, VIRTUAL) + message(RTM_NEWADDR, "10.83.0.1") + message(RTM_DELADDR, VIRTUAL)
    assert address_changes(data) == [True, False]
    assert address_changes(data[:40]) == [True]
    assert address_changes(b"\0" * 64) == []


def test_descendants_of_a_process_begin_with_itself() -> None:
    import os

    assert keepalived.descendants(os.getpid())[0] == os.getpid()


def test_the_daemon_is_configured_for_its_shortest_interval(tmp_path: Path) -> None:
    assert "advert_int 0.01" in keepalived.config_text("ka-a", keepalived.ADVERT_S)
