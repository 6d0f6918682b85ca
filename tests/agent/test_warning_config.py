"""The [warning] table, the command line, and the verb in an agent around stand-ins."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from config_files import GOOD, write
from fake_agent import FakeAgent
from run_rig import Rig
from test_config_bad import problems_of

from twinbeat.cli_dispatch import dispatch
from twinbeat.config import load_config
from twinbeat.config_warning import WarningConfig
from twinbeat.warning.service import WarningService

WARNED: dict[str, Any] = {
    "ok": True, "node": "gw-a", "predict": "warn",
    "warnings": [{"figure": "temperature", "text": "temperature 71 °C: matters in 25 min, at 80 °C", "since_s": 130}],
    "figures": [{"figure": "temperature", "value": 71.0, "unit": "°C", "limit": 80.0, "age_s": 2.0}],
    "absent": [{"source": "eMMC wear", "why": "no such source on this machine"}],
}  # fmt: skip


def test_without_the_table_the_digest_is_what_it_was_and_defaults_count(tmp_path: Path) -> None:
    plain = load_config(write(tmp_path, GOOD), "gw-a")
    other = load_config(write(tmp_path, GOOD + "[warning]\nhorizon_s = 7200\n"), "gw-a")
    assert plain.warning is None
    assert other.warning is not None and other.warning.horizon_s == 7200
    assert other.digest != plain.digest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[warning]\npredikt = 1\n", '[warning]: unknown key "predikt"; did you mean "predict"?'),
        (
            '[warning]\npredict = "fence"\n',
            '[warning]: predict = "fence" is wrong; it takes "off" or "warn" or "handover"',
        ),
        ("[warning]\nevery_s = 0.5\n", "[warning]: every_s = 0.5 is wrong; it takes a number from 1 to 60"),
        (
            "[warning]\nhorizon_s = 600\nevery_s = 20\n",
            "[warning]: horizon_s = 600 holds fewer than 60 samples of every_s = 20: raise the one or lower the other",
        ),
        ("warning = 3\n" + GOOD, "[warning]: expected a table, found 3"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problems_of(tmp_path, text if GOOD in text else GOOD + text) == [problem]


# ---------------------------------------------------------------- command line


def ask(agent: FakeAgent, *words: str) -> int:
    return dispatch(["warnings", *words, "--socket", str(agent.path)])


def test_warnings_are_printed_and_the_exit_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calm = WARNED | {"warnings": []}
    off = {"ok": True, "node": "gw-a", "predict": "off", "warnings": []}
    with FakeAgent(tmp_path / "s", warnings=[WARNED, WARNED, WARNED, calm, off]) as agent:
        assert ask(agent) == 1
        assert capsys.readouterr().out == "temperature 71 °C: matters in 25 min, at 80 °C (for 2 min)\n"
        assert ask(agent, "--all") == 1
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert "temperature 71.0 °C 80.0 °C 2.0 s ago".split() in lines
        assert "eMMC wear: no such source on this machine".split() in lines
        assert ask(agent, "--json") == 1
        assert json.loads(capsys.readouterr().out) == WARNED
        assert ask(agent) == 0
        assert capsys.readouterr().out == "no early warning on gw-a\n"
        assert ask(agent) == 0
        assert "is off" in capsys.readouterr().out


def test_once_reads_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["warnings", "--once", "--json"]) == 0
    assert {"memory", "disk.root"} <= {one["figure"] for one in json.loads(capsys.readouterr().out)["figures"]}
    assert dispatch(["warnings", "--once"]) == 0
    assert "disk.root" in capsys.readouterr().out


# ---------------------------------------------------------------- in an agent


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


def test_an_agent_without_the_table_samples_and_shows(rig: Rig) -> None:
    def scenario() -> None:
        assert rig.ask("status")["early_warnings"] == []
        early = rig.agent.early
        assert isinstance(early, WarningService)
        rig.in_loop(early.tick)
        answer = rig.ask("warnings")
        assert (answer["predict"], answer["every_s"]) == ("warn", 5.0)
        assert "link.direct.gw-b.loss" in {one["figure"] for one in answer["figures"]}
        assert not [event for event in rig.rt.posted if type(event).__name__ == "Health"]

    assert rig.run(scenario) == 0


def test_predict_off_starts_nothing(rig: Rig) -> None:
    rig.voter = '[warning]\npredict = "off"\n'

    def scenario() -> None:
        assert rig.agent.early is None
        assert rig.ask("warnings")["predict"] == "off"

    assert rig.run(scenario) == 0


def test_defaults_fit_together() -> None:
    table = WarningConfig()
    assert table.horizon_s >= 60 * table.every_s
    assert table.predict == "warn"
