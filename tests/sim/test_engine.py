"""The engine: same seed, same run; clocks, contacts, links and checkers do what their words say."""
from __future__ import annotations

from dataclasses import replace

import pytest

from twinbeat.sim.engine import Engine, Rng, SimulatorError
from twinbeat.sim.spec import ALL, MS, Action, Excuse, LogKind, Rule, RunResult, Verb
from twinbeat.sim.worlds import Shape, shape
from twinbeat_core.errors import TwinbeatError

S = 1000 * MS
START = Action(0, Verb.START)


def run(world: Shape, *actions: Action, until_ns: int = 4 * S, seed: int = 1, log: bool = False) -> RunResult:
    return Engine(world.spec()).run([START, *actions], seed, until_ns, log=log)


def outputs(result: RunResult) -> list[tuple[float, int, int]]:
    return [(entry.at_ns / MS, entry.node, entry.a) for entry in result.log if entry.kind == LogKind.OUTPUT]


def test_splitmix_gives_the_published_numbers() -> None:
    """Seed 1234567: the sequence that implementations are compared by."""
    rng = Rng(1234567)
    assert [rng.next() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert {Rng(7).below(0), Rng(7).below(-3)} == {0}
    assert {rng.between(3, 5) for _ in range(100)} == {3, 4, 5}


def test_same_seed_same_run_whatever_ran_before() -> None:
    engine = Engine(shape("three").spec())
    actions = [START, Action(S, Verb.LOSS, value=400, lasts_ns=S), Action(2 * S, Verb.KILL, 0, lasts_ns=200 * MS)]
    first = engine.run(actions, 5, 4 * S, log=True)
    engine.run([START, Action(S, Verb.CLOG, lasts_ns=S), Action(S, Verb.REPLAY, 0, value=3)], 6, 3 * S)
    assert engine.run(actions, 5, 4 * S, log=True) == first
    assert Engine(shape("three").spec()).run(actions, 5, 4 * S, log=True) == first
    assert engine.run(actions, 6, 4 * S, log=True) != first


def test_actions_may_come_in_any_order_and_keep_their_numbers() -> None:
    engine = Engine(shape("pair").spec())
    kill, start = Action(S, Verb.KILL, 0), START
    late = engine.run([kill, start], 1, 2 * S)
    assert [gap.action for gap in late.gaps if gap.before == 0] == [0]
    assert engine.run([start, kill], 1, 2 * S).steps == late.steps


def test_contact_makes_and_releases_late() -> None:
    world = shape("pair", release_ms=40.0, make_ms=15.0)
    result = run(world, Action(S, Verb.KILL, 0), log=True)
    order = [entry for entry in result.log if entry.kind in (LogKind.OUTPUT, LogKind.STATE)]
    claimed = next(entry.at_ns for entry in order if entry.kind == LogKind.STATE and entry.node == 0 and entry.b == 3)
    on, off = [entry.at_ns for entry in order if entry.kind == LogKind.OUTPUT and entry.node == 0]
    assert on - claimed == pytest.approx(15 * MS, abs=MS)
    assert 0 < off - S <= 41 * MS
    assert result.violations == []


def test_clocks_run_apart_and_promises_still_hold() -> None:
    world = shape("three", drift_ppm=1000.0, gate_late_ms=5.0)
    result = run(world, Action(S, Verb.POWER, 0, lasts_ns=S), until_ns=30 * S)
    assert result.violations == []
    assert result.drivers == [[1]]


def test_clock_beyond_its_bound_excuses() -> None:
    found = [violation for seed in range(20) for violation in run(
        shape("three"), Action(S, Verb.CLOCK, 0, value=-400_000_000), Action(S + MS, Verb.CUT, 0, peer=ALL),
        seed=seed).excused]
    assert found
    assert {violation.excuse for violation in found} == {Excuse.CLOCK}


def test_frozen_gateway_keeps_its_level_and_a_pulse_falls() -> None:
    held = run(shape("three"), Action(S, Verb.FREEZE, 0, lasts_ns=S))
    assert {violation.excuse for violation in held.excused} == {Excuse.FROZEN}
    assert held.violations == []
    pulse = run(shape("three", hold_ms=3.0), Action(S, Verb.FREEZE, 0, lasts_ns=S))
    assert pulse.excused == pulse.violations == []


def test_welded_contact_excuses_and_is_seen() -> None:
    result = run(shape("three"), Action(S, Verb.STICK, 0, value=1), Action(S + MS, Verb.KILL, 0))
    assert [violation.excuse for violation in result.excused] == [Excuse.CONTACT]


def test_release_longer_than_configured_is_caught() -> None:
    spec = replace(shape("three").spec(), release_us=(60_000,))
    result = Engine(spec).run([START, Action(S, Verb.HANDOVER, 0)], 1, 2 * S)
    assert [violation.rule for violation in result.violations] == [Rule.TWO_DRIVERS]
    assert result.violations[0].length_ns > 10 * MS


def test_gate_later_than_configured_is_caught() -> None:
    spec = replace(shape("three").spec(), gate_late_us=60_000, worst=True)
    result = Engine(spec).run([START, Action(S, Verb.STALL, 0, lasts_ns=S)], 1, 3 * S)
    assert Rule.TWO_DRIVERS in {violation.rule for violation in result.violations}


def test_clog_delivers_late_in_one_burst_and_a_longer_one_wins() -> None:
    result = run(shape("pair", links=("serial",)), Action(S, Verb.CLOG, 0, peer=1, lasts_ns=50 * MS),
                 Action(S + MS, Verb.CLOG, 0, peer=1, lasts_ns=10 * MS), log=True)
    arrivals = {entry.d for entry in result.log if entry.kind == LogKind.SENT and entry.node == 0
                and S + MS < entry.at_ns < S + 40 * MS}
    assert arrivals
    assert all(S + 50 * MS <= arrival < S + 51 * MS for arrival in arrivals)


def test_healing_lets_flow_what_was_held() -> None:
    world = shape("pair", links=("serial",))
    result = run(world, Action(S, Verb.CLOG, lasts_ns=10 * S), Action(S + 20 * MS, Verb.HEAL_ALL), until_ns=3 * S)
    assert result.violations == []
    assert len(result.drivers[0]) == 1


def test_wrong_bits_never_pass_the_codec() -> None:
    result = run(shape("pair"), Action(S, Verb.CORRUPT, value=1024, link=1), until_ns=40 * S, log=True)
    spoiled = sum(entry.kind == LogKind.SENT and entry.b == 3 for entry in result.log)
    assert spoiled > 500
    assert result.violations == []


def test_deaf_node_drops_what_it_cannot_justify_and_comes_back() -> None:
    result = run(shape("pair"), Action(S, Verb.DEAF, 0, lasts_ns=500 * MS), log=True)
    assert result.violations == []
    assert len(result.drivers[0]) == 1


def test_third_voter_decides_a_cut_pair() -> None:
    result = run(shape("voter"), Action(S, Verb.CUT, lasts_ns=S), Action(S, Verb.VOTER_CUT, 0, lasts_ns=S))
    assert result.violations == result.excused == []
    assert [gap.after for gap in result.gaps if gap.before == 0] == [1]
    assert result.gaps[-1].length_ns < 100 * MS


def test_liveness_is_judged_after_healing_only() -> None:
    world = shape("hold")
    lost = run(world, Action(S, Verb.POWER, 0))
    assert lost.violations == []
    assert lost.drivers == [[]]
    engine = Engine(world.spec())
    # A node that no action restarts after the healing.
    broken = engine.run([START, Action(S, Verb.HEAL_ALL), Action(S + MS, Verb.POWER, 0)], 1, S + 2 * engine.bound_ns)
    assert [violation.rule for violation in broken.violations] == [Rule.NO_DRIVER]


def test_worlds_that_cannot_be_are_refused() -> None:
    spec = shape("pair").spec()
    with pytest.raises(SimulatorError, match="needs settings for each node"):
        Engine(replace(spec, settings=spec.settings[:1]))
    with pytest.raises(SimulatorError, match="a run has room for 65536"):
        Engine(spec).run([START] * 65537, 1, S)
    with pytest.raises(TwinbeatError, match='did you mean "three"'):
        shape("tree")
