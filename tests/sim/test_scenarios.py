"""The golden scenarios: every file comes out as it says.

After a wanted change: `twinbeat sim --rewrite tests/sim/scenarios/*.scn`, and read the difference.
"""
from __future__ import annotations

from pathlib import Path

import pytest

from twinbeat.sim.scenario import Scenario, format_scenario, parse
from twinbeat.sim.scenario_play import Player, difference
from twinbeat.sim.spec import SAFETY, Verb

FOLDER = Path(__file__).parent / "scenarios"
FILES = sorted(FOLDER.glob("*.scn"))
PLAYER = Player()


def scenarios(path: Path) -> list[Scenario]:
    return parse(path.read_text(encoding="utf-8"), path.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_comes_out_as_expected(path: Path) -> None:
    listed = scenarios(path)
    assert listed
    for scenario in listed:
        played = PLAYER.play(scenario)
        assert scenario.expected is not None, f"{path.name}:{scenario.line}: no expectation"
        assert difference(played, path.name) == []
        assert played.as_expected
        broken = [one for one in played.result.violations if one.rule in SAFETY]
        assert broken == [], f"{path.name}:{scenario.line}: a golden scenario must not pin a broken promise"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_canonical_text_says_the_same(path: Path) -> None:
    for scenario in scenarios(path):
        text = format_scenario(scenario)
        again, = parse(text)
        assert (again.shape, again.seed, again.actions, again.run_ns) == (
            scenario.shape, scenario.seed, scenario.actions, scenario.run_ns)
        assert (again.pins, again.expected, again.brief) == (scenario.pins, scenario.expected, scenario.brief)
        assert format_scenario(again) == text


def test_there_are_enough_and_they_use_every_verb() -> None:
    listed = [scenario for path in FILES for scenario in scenarios(path)]
    assert len(FILES) >= 40
    used = {action.verb for scenario in listed for action in scenario.actions}
    assert set(Verb) - used == set()
    assert {scenario.shape.lone for scenario in listed} == {"takeover", "hold"}
    assert {scenario.shape.nodes for scenario in listed} >= {1, 2, 3}
    assert any(scenario.shape.make_ms > 0 for scenario in listed)
    assert any(scenario.shape.groups > 1 for scenario in listed)


def test_another_seed_gives_another_story_and_the_same_seed_the_same() -> None:
    scenario = scenarios(FOLDER / "kill-driver.scn")[0]
    first, again, other = (PLAYER.play(scenario, seed).lines for seed in (7, 7, 8))
    assert first == again
    assert first != other
