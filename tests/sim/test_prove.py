"""The model check: complete within bounds that CI affords, and able to find what is broken."""
from __future__ import annotations

import json
from dataclasses import replace

import pytest

from twinbeat.cli_dispatch import dispatch
from twinbeat.sim import prove_command
from twinbeat.sim.engine import Engine
from twinbeat.sim.explore import Choice, Explorer
from twinbeat.sim.prove import BOOT_NS, KINDS, Bounds, confirm, prove, small
from twinbeat.sim.scenario import parse
from twinbeat.sim.spec import MS, Action, Rule, Verb

FRAMES = frozenset({"loss", "late", "twice"})


@pytest.mark.parametrize("world", prove_command.WORLDS)
@pytest.mark.parametrize("from_start", [False, True], ids=["beating", "starting"])
def test_one_fault_of_any_kind_breaks_nothing(world: str, from_start: bool) -> None:
    proof = prove(world, Bounds(faults=1, from_start=from_start))
    assert proof.found is None
    assert proof.complete
    assert proof.levels[1].schedules > 50


@pytest.mark.parametrize("world", ["pair", "hold", "three", "voter"])
def test_a_failover_and_a_lost_or_late_frame_anywhere_break_nothing(world: str) -> None:
    """Killed and back soon or late, or without power, with any frame before, during or after lost, late or doubled."""
    proof = prove(world, Bounds(faults=2, kinds=FRAMES | {"kill"}))
    assert proof.found is None
    assert proof.complete
    assert proof.levels[2].states > 1_000_000


def test_kinds_are_what_they_say() -> None:
    every = prove("pair", Bounds(faults=1)).levels[1].schedules
    alone = {kind: prove("pair", Bounds(faults=1, kinds=frozenset({kind}))).levels[1].schedules - 1 for kind in KINDS}
    none_here = {"voter", "unfit", "unprepared"}    # no third voter, nothing that moves by itself
    assert {kind for kind, count in alone.items() if count == 0} == none_here
    # "late" and "twice" look the same where a frame is late enough to be a copy; all else is counted once.
    assert sum(alone.values()) == every - 1


def test_search_is_the_same_each_time() -> None:
    first, second = (prove("voter", Bounds(faults=1)).levels[1] for _ in range(2))
    assert replace(first, seconds=0.0) == replace(second, seconds=0.0)


def test_limit_ends_the_search_and_says_so() -> None:
    proof = prove("pair", Bounds(faults=2, limit=50_000))
    assert not proof.complete
    assert proof.found is None
    assert "the limit was reached" in "\n".join(prove_command.text_of(proof))


def broken_world() -> Explorer:
    """Outputs that release in 60 ms where the settings say 2: the promises do not outlast them."""
    shape = small("three")
    spec = replace(shape.spec(), release_us=(60_000,))
    choices = [Choice(Action(0, Verb.POWER, node), node) for node in range(3)]
    return Explorer(spec, [Action(0, Verb.START)], choices, [], 20)


def test_two_drivers_are_found_and_the_schedule_shows_them_again() -> None:
    explorer = broken_world()
    figures = explorer.search(1, BOOT_NS, 10 * MS, 1 << 30)
    found = figures["found"]
    assert Rule(found.rule) == Rule.TWO_DRIVERS
    assert [action.verb for action in found.actions] == [Verb.START, Verb.POWER]
    spec = replace(small("three").spec(), release_us=(60_000,))
    result = Engine(spec).run(found.actions, 1, found.at_ns + 500 * MS)
    assert result.violations[0].rule == Rule.TWO_DRIVERS
    assert result.violations[0].at_ns == found.at_ns


def test_nobody_driving_is_found() -> None:
    """Without power and for good: with lone = hold nobody may take over, and the search calls that by its name."""
    spec = small("hold").spec()
    explorer = Explorer(spec, [Action(0, Verb.START)], [Choice(Action(0, Verb.POWER, 0), 0)], [], 20)
    assert Rule(explorer.search(1, BOOT_NS, 10 * MS, 1 << 30)["found"].rule) == Rule.NO_DRIVER


def test_command_prints_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["prove", "--faults", "1", "--world", "pair", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["complete"]
    assert answer["broken"] is None
    assert [level["faults"] for level in answer["levels"]] == [0, 1]


def test_counterexample_is_a_scenario(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                      tmp_path: object) -> None:
    """A bound that nothing can meet makes the model check find something, which it prints and saves."""
    found = broken_world().search(1, BOOT_NS, 10 * MS, 1 << 30)["found"]
    proof = prove("three", Bounds(faults=0))
    proof.found, proof.until_ns = found, found.at_ns + 100 * MS
    assert not confirm(proof)                       # in the world as it is described nothing is broken
    monkeypatch.setattr(prove_command, "prove", lambda name, bounds, tell: proof)
    assert dispatch(["prove", "--world", "three", "--save", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "BROKEN: Authority: one driver" in shown
    text = prove_command.scenario_of(proof)
    assert text in shown
    (scenario,) = parse(text)
    assert list(scenario.actions) == found.actions


@pytest.mark.parametrize(("words", "says"), [
    (["--faults", "x"], '"x" is no number from 0 to 6'),
    (["--faults", "7"], '"7" is no number from 0 to 6'),
    (["--window-ms", "0"], '"0" is no time in ms above 0'),
    (["--kinds", "loss,kil"], '"kil" is no kind of fault; kinds: loss, late'),
    (["--world", "pear"], 'unknown world "pear"; did you mean "pair"?'),
    (["--limit", "0"], '"0" is no number from 1'),
])
def test_bad_input(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["prove", *words]) == 2
    assert says in capsys.readouterr().err
