"""The demo's command line: options, exit codes, words."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinbeat.demo import command, explain
from twinbeat.demo.command import exit_code, make_report
from twinbeat.demo.faults import FAULTS
from twinbeat.demo.measure import Change, TrialFigures, evaluate
from twinbeat.demo.options import parse
from twinbeat.demo.trial import TrialRecord
from twinbeat.demo.view import trial_lines

MS = 1_000_000


def record(fault: str, changes: list[Change], why: dict[str, dict[str, Any]] | None = None) -> TrialRecord:
    """A trial with the fault at 100 ms and gw-a driving."""
    figures = evaluate(changes, 100 * MS, 500 * MS, 900 * MS)
    return TrialRecord(1, FAULTS[fault], "gw-a", 100 * MS, 500 * MS, 900 * MS, changes, figures, why or {},
                       FAULTS[fault].moves_role)


TAKEN = [Change(0, "gw-a", True), Change(100_200_000, "gw-a", False), Change(100_500_000, "gw-b", True)]
BOTH = [Change(0, "gw-a", True), Change(140 * MS, "gw-b", True), Change(180 * MS, "gw-a", False)]
GONE = [Change(0, "gw-a", True), Change(120 * MS, "gw-a", False)]
CALM = [Change(0, "gw-a", True)]


@pytest.mark.parametrize(("words", "changes", "expected"), [
    (["--fault", "kill"], TAKEN, 0),
    (["--fault", "kill"], BOTH, 1),
    (["--fault", "kill"], GONE, 1),
    (["--fault", "none"], CALM, 0),
    (["--fault", "cut-serial"], BOTH, 1),
    (["--fault", "cut-all"], BOTH, 0),
    (["--fault", "cut-all", "--lone", "hold"], BOTH, 1),
    (["--fault", "cut-all", "--lone", "hold"], GONE, 0),
    (["--fault", "power", "--lone", "hold"], GONE, 0),
    (["--fault", "kill", "--lone", "hold"], GONE, 1),
    (["--fault", "power"], GONE, 1),
])
def test_exit_code_follows_the_promises(words: list[str], changes: list[Change], expected: int) -> None:
    options = parse(words)
    report = make_report(options, [record(options.fault.name, changes)], {}, {})
    assert exit_code(options, report) == expected


def test_the_report_has_the_documented_shape() -> None:
    options = parse(["--fault", "kill", "--trials", "1", "--seed", "7"])
    use = {"gw-a": {"cpu_percent": 1.0, "rss_mib": 20.0, "gate_pss_mib": 3.0}}
    report = json.loads(json.dumps(make_report(options, [record("kill", TAKEN)], {"cpus": 2}, use)))
    assert set(report) == {"fault", "trials", "period_ms", "takeover_ms", "gap_ms", "overlap_ms_max",
                           "double_driver_trials", "no_driver_trials", "role_changes", "dropouts", "machine", "agents"}
    assert report["takeover_ms"] == {"min": 0.5, "p50": 0.5, "p99": 0.5, "max": 0.5}
    assert report["machine"]["seed"] == 7
    assert report["agents"] == use
    calm = make_report(parse(["--fault", "none"]), [record("none", CALM)], {}, {})
    assert calm["takeover_ms"] is None


@pytest.mark.parametrize("words", [["--fault", "fire"], ["--loss", "101"], ["--trials", "0"], ["--period-ms", "x"],
                                   ["--lone", "maybe"], ["surplus"]])
def test_wrong_options_are_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_defaults_come_with_the_fault() -> None:
    assert parse([]).fault.name == "kill"
    assert parse(["--fault", "loss"]).loss_percent == 10
    assert parse(["--fault", "stop", "--loss", "5"]).loss_percent == 5
    assert parse(["--fault", "none", "--seconds", "3"]).seconds == 3
    assert parse(["--fault", "cut-serial"]).seconds == FAULTS["cut-serial"].default_seconds


def test_no_broker_is_a_clear_message_and_exit_code_5(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("twinbeat.demo.broker.find_broker", lambda: None)
    assert command.run(["--fault", "none"]) == 5
    assert "install mosquitto" in capsys.readouterr().err


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert command.run(["--keep", str(tmp_path / "file" / "x")]) == 5
    assert "--keep" in capsys.readouterr().err


def test_words_say_what_the_boards_saw() -> None:
    said = " ".join(explain.sentences(record("kill", TAKEN)))
    assert "gw-a went off 0.20 ms after" in said
    assert "gw-b came on 0.50 ms after" in said
    assert "undriven for 0.30 ms" in said
    assert "Never were both on" in said
    assert "Both were on at once for 40.0 ms" in " ".join(explain.sentences(record("cut-all", BOTH)))
    assert "The role did not move" in " ".join(explain.sentences(record("none", CALM)))
    assert "Nobody drove the output in the end" in " ".join(explain.sentences(record("kill", GONE)))


def test_the_picture_is_to_scale() -> None:
    changes = [Change(0, "gw-a", True), Change(50, "gw-a", False), Change(75, "gw-b", True)]
    assert explain.bar(changes, "gw-a", 0, 100, width=4) == "██··"
    assert explain.bar(changes, "gw-b", 0, 100, width=4) == "···█"
    assert explain.bar(changes, "gw-b", 0, 100, width=2) == "·▌"


def test_a_trial_is_shown_with_what_the_agents_say() -> None:
    why = {"gw-a": {"ok": False, "error": "gone"}, "gw-b": {"ok": True, "verdicts": [
        {"boottime_ns": 50 * MS, "sentence": "an older one"},
        {"boottime_ns": 101 * MS, "sentence": "gw-a's gate said that it died"}]}}
    text = "\n".join(trial_lines(record("kill", TAKEN, why), 5))
    assert "gw-b says: gw-a's gate said that it died" in text
    assert "gone" not in text
    assert "an older one" not in text


def test_figures_without_a_driver_are_still_words() -> None:
    nothing = TrialFigures(None, None, None, None, None, 0.0, True, 0, 0)
    shown = TrialRecord(9, FAULTS["kill"], "gw-a", 0, 1, 2, [], nothing)
    assert "no takeover" in trial_lines(shown, 10)[0]
