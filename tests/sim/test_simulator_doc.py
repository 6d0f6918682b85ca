"""docs/simulator.md names every statement, field, rule, excuse, profile and kind of fault; its scenario is true."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from twinbeat.sim.chance import PROFILES
from twinbeat.sim.prove import KINDS
from twinbeat.sim.scenario import parse
from twinbeat.sim.scenario_actions import statement_list
from twinbeat.sim.scenario_play import Player, difference
from twinbeat.sim.scenario_world import FIELDS
from twinbeat.sim.spec import Excuse, Rule
from twinbeat.sim.worlds import WORLDS

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
SPANS = re.compile(r"`([^`\n]+)`")


def spans(line: str) -> list[str]:
    """What stands in backquotes; in a table a bar has a backslash before it."""
    return [span.replace("\\|", "|") for span in SPANS.findall(line)]


def first_cells(heading: str) -> list[str]:
    """The words in backquotes in the first column of the tables under a heading."""
    part = re.split(r"^#+ ", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [re.split(r"(?<!\\)\|", line)[1] for line in part.splitlines() if line.startswith("|")]
    return [span for row in rows for span in spans(row)]


def test_every_statement_has_its_row() -> None:
    assert sorted(first_cells("Statements")) == sorted(statement_list())


def test_every_world_and_field_is_named() -> None:
    assert sorted(first_cells("Worlds")) == sorted([*FIELDS, "seed"])
    assert set(WORLDS) <= set(spans(PAGE))


def test_every_rule_and_excuse_has_its_row() -> None:
    assert sorted(first_cells("How a run is judged")) == sorted(rule.name.lower().replace("_", " ") for rule in Rule)
    assert first_cells("Excuses") == [excuse.name.lower() for excuse in Excuse if excuse]


def test_every_profile_and_kind_is_named() -> None:
    rows = first_cells("Campaigns")
    assert set(PROFILES) <= set(rows)
    assert all(f"| {text} |" in PAGE for text in PROFILES.values())
    assert set(KINDS) <= set(spans(PAGE.partition("`--kinds`")[2]))


@pytest.mark.parametrize("text", re.findall(r"^```scenario\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
def test_scenario_comes_out_as_it_says(text: str) -> None:
    scenario, = parse(text, "docs/simulator.md")
    assert scenario.expected
    assert difference(Player().play(scenario), "docs/simulator.md") == []


def test_there_is_a_scenario() -> None:
    assert PAGE.count("```scenario\n") == 1
