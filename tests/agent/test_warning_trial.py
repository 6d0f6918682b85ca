"""The figures of docs/early-warning.md are those of the command that it names, and good enough to stand there."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from twinbeat.cli_dispatch import dispatch
from twinbeat.warning import traces, trial

PAGE = (Path(__file__).parents[2] / "docs" / "early-warning.md").read_text()
NEAR = 0.1
"""Trigonometry may differ in its last digit on another machine, and a warning then by a sample."""


def rows_below(heading: str) -> dict[str, list[str]]:
    """The cells of all tables below a heading, by the first."""
    text = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert text, heading
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text[1].splitlines() if line[:2] == "| "]
    return {row[0]: row[1:] for row in rows}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return trial.run(quick=True)


def test_the_short_version_is_as_documented(found: dict[str, Any]) -> None:
    documented = rows_below("The short version")
    for row in found["faults"]:
        cells = documented[row["name"]]
        assert cells[0] == f"{row['warned']} of {row['traces']}"
        for cell, key in ((cells[1], "lead_s"), (cells[2], "told_to_matter_s")):
            for text, share in zip(cell.split(" / "), ("p10", "p50"), strict=True):
                assert float(text.split()[0]) == pytest.approx(row[key][share] / 60, rel=NEAR)
    for row in found["healthy"]:
        assert documented[row["name"]][:2] == [f"{row['hours']:g}", str(row["false"])]
    names = {row["name"] for row in (*found["faults"], *found["healthy"])}
    assert set(documented) - {"fault", "healthy"} == names


def test_every_fault_is_told_in_time_and_no_healthy_trace_at_all(found: dict[str, Any]) -> None:
    for row in found["faults"]:
        assert row["warned"] == row["traces"] == row["told_to_matter"], row
        assert row["lead_s"]["p10"] > 600, row
    assert [row["name"] for row in found["healthy"] if row["false"]] == []


def test_the_full_version_is_in_the_page_with_the_same_kinds() -> None:
    documented = rows_below("How early, how often in vain")
    assert {case.name for case in (*traces.FAULTS, *traces.HEALTHY)} <= set(documented)


def test_the_same_seed_gives_the_same_trace_and_another_another() -> None:
    case = traces.FAULTS[0]
    one, same, other = (case.make(trial.source(case, *key), 7200) for key in ((0,), (0,), (0, 7)))
    assert one == same != other


def test_the_window_of_the_core_is_reproduced() -> None:
    """Rises at once, falls by a quarter a window."""
    chance = trial.source(traces.FAULTS[1], 0)
    window = traces.LossWindow(chance)
    window.window(1.0)
    assert window.percent() == 100.0
    window.window(0.0)
    assert window.percent() == 75.0


def test_the_command_prints_tables_or_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "FAULTS", traces.FAULTS[:1])
    monkeypatch.setattr(trial, "HEALTHY", traces.HEALTHY[:1])
    monkeypatch.setattr(trial, "QUICK", (1, 24.0))
    assert dispatch(["warnings", "--quick-trial", "--json", "--seed", "5"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["seed"], answer["quick"], len(answer["faults"])) == (5, True, 1)
    assert answer["cost_us_per_sample"] > 0
    assert dispatch(["warnings", "--quick-trial"]) == 0
    assert "| fan slows down | 1 of 1 |" in capsys.readouterr().out
