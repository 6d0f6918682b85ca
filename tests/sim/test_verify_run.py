"""Runs of verify with a stand-in for the engine: how a run is planned, and what is read out of its result."""
from __future__ import annotations

from collections.abc import Sequence

import pytest

from twinbeat.sim.spec import MS, Action, Excuse, Gap, Rule, RunResult, Verb, Violation, WorldSpec
from twinbeat.sim.verify import cases_of, prepare, results_of, summed_up, verify
from twinbeat.sim.verify_faults import Chance, orders, paired_faults, single_faults
from twinbeat.sim.verify_run import Bench, Case, Outcome, Plan, Tools, judge, run_seed
from twinbeat.sim.verify_world import named_subject

PAIR = named_subject("pair")
FAULT_NS, OVER_NS, HEAL_NS = 1000 * MS, 1500 * MS, 3000 * MS
PLAN = Plan([], 1, 0, 0, FAULT_NS, OVER_NS, HEAL_NS, 5000 * MS)
START_GAP = Gap(0, 200 * MS, 0, -1, -1, 0)


class Counting:
    """A generator that counts."""

    def __init__(self, seed: int) -> None:
        self.value = seed

    def below(self, limit: int) -> int:
        self.value += 1
        return self.value % limit if limit > 0 else 0

    def between(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)


class StandIn:
    """An engine in which node 0 drives and each fault takes the driver away for 25 ms."""

    bound_ns = 700 * MS

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec
        self.runs: list[Sequence[Action]] = []

    def run(self, actions: Sequence[Action], seed: int, until_ns: int, *, log: bool = False) -> RunResult:
        self.runs.append(actions)
        faults = [a for a in actions if a.verb not in (Verb.START, Verb.HEAL_ALL, Verb.HANDOVER)]
        gaps = [START_GAP, *(Gap(a.at_ns, 25 * MS, 0, 2, 0, 1) for a in faults)]
        return RunResult(10, until_ns, -1, 0, [], [], gaps, [[0]], [8])


def rng(seed: int) -> Chance:
    return Counting(seed)


TOOLS = Tools(engine=StandIn, rng=rng)


def result(*gaps: Gap, violations: Sequence[Violation] = (), excused: Sequence[Violation] = ()) -> RunResult:
    return RunResult(1, 5000 * MS, HEAL_NS, 0, list(violations), list(excused), [START_GAP, *gaps], [[1]], [8])


def case(*keys: str) -> Case:
    known = {fault.key: fault for fault in single_faults(PAIR)}
    return Case(tuple(known[key] for key in keys))


# ---------------------------------------------------------------- reading a result


def test_a_closed_gap_is_the_outage_and_a_move() -> None:
    outcome = judge(PAIR, PLAN, result(Gap(FAULT_NS, 40 * MS, 0, 2, 0, 1)))
    assert (outcome.gap_ns, outcome.open_ns, outcome.moves, outcome.drop_outs) == (40 * MS, -1, 1, 0)
    assert outcome.settled and not outcome.void and not outcome.broken and not outcome.through


def test_what_came_before_the_fault_does_not_count() -> None:
    outcome = judge(PAIR, PLAN, result(Gap(FAULT_NS - 5 * MS, 3 * MS, 0, 2, 0, 0)))
    assert (outcome.gap_ns, outcome.moves, outcome.drop_outs) == (0, 0, 0)


def test_a_gap_until_healing_is_told_apart() -> None:
    outcome = judge(PAIR, PLAN, result(Gap(FAULT_NS, HEAL_NS - FAULT_NS + 90 * MS, 0, 2, 0, 0)))
    assert (outcome.gap_ns, outcome.open_ns, outcome.drop_outs) == (0, 90 * MS, 1)


def test_a_gap_that_only_happens_to_lie_there_at_healing_is_an_outage() -> None:
    outcome = judge(PAIR, PLAN, result(Gap(HEAL_NS - 5 * MS, 30 * MS, 0, 2, 0, 0)))
    assert (outcome.gap_ns, outcome.open_ns) == (30 * MS, -1)


def test_a_gap_until_the_fault_has_passed_is_noted() -> None:
    assert judge(PAIR, PLAN, result(Gap(FAULT_NS, 600 * MS, 0, 2, 0, 0))).through
    assert not judge(PAIR, PLAN, result(Gap(FAULT_NS, 400 * MS, 0, 2, 0, 0))).through
    short = PLAN._replace(over_ns=FAULT_NS + 20 * MS)
    assert not judge(PAIR, short, result(Gap(FAULT_NS, 30 * MS, 0, 2, 0, 0))).through, "shorter than T_G"


def test_two_drivers_where_nothing_is_promised_and_where_it_is() -> None:
    told = Violation(FAULT_NS + 50 * MS, Rule.TWO_DRIVERS, Excuse.L3, 0, 0, 1, 70 * MS, 17)
    outcome = judge(PAIR, PLAN, result(excused=[told]))
    assert (outcome.two_ns, outcome.excused, outcome.broken) == (70 * MS, ((Rule.TWO_DRIVERS, Excuse.L3),), ())
    outcome = judge(PAIR, PLAN, result(violations=[told._replace(excuse=Excuse.NONE)]))
    assert (outcome.two_ns, outcome.broken, outcome.settled) == (70 * MS, (Rule.TWO_DRIVERS,), True)


@pytest.mark.parametrize("rule", [Rule.NO_DRIVER, Rule.TWO_AT_END, Rule.NOT_SETTLED])
def test_liveness_after_healing(rule: Rule) -> None:
    told = Violation(5000 * MS, rule, Excuse.NONE, -1, -1, -1, 1, 0)
    outcome = judge(PAIR, PLAN, result(violations=[told]))
    assert not outcome.settled and outcome.broken == (rule,)


def test_a_limit_is_no_broken_promise() -> None:
    told = Violation(5000 * MS, Rule.LIMIT, Excuse.NONE, -1, -1, -1, 0, 0)
    outcome = judge(PAIR, PLAN, result(violations=[told]))
    assert outcome.limited and not outcome.broken and not judge(PAIR, PLAN, result()).limited


def test_a_fault_that_found_another_driver_is_void() -> None:
    assert judge(PAIR, PLAN._replace(driver=1), result()).void
    assert judge(PAIR, PLAN, result(Gap(FAULT_NS - 5 * MS, 9 * MS, 0, 2, 0, 0))).void, "nobody drove when it came"
    assert not judge(PAIR, PLAN._replace(fault_ns=0, driver=1), result()).void, "a cold start is the fault itself"


def test_other_groups_are_not_judged() -> None:
    fan = Violation(FAULT_NS, Rule.TWO_DRIVERS, Excuse.NONE, 1, 0, 1, 5, 9)
    outcome = judge(PAIR, PLAN, result(Gap(FAULT_NS, 40 * MS, 1, 2, 0, 1), violations=[fan]))
    assert (outcome.gap_ns, outcome.broken, outcome.two_ns) == (0, (), 0)


# ---------------------------------------------------------------- planning a run


def test_a_plan_prepares_makes_the_fault_heals_and_waits() -> None:
    bench = Bench(PAIR, 1, TOOLS)
    plans = [bench.plan(case("power"), number) for number in range(8)]
    for plan in plans:
        verbs = [action.verb for action in plan.actions]
        assert verbs[:2] == [Verb.START, Verb.START] and verbs[-2:] == [Verb.POWER, Verb.HEAL_ALL]
        assert (Verb.HANDOVER in verbs) == (plan.driver != 0)
        fault = plan.actions[-2]
        assert fault.node == plan.driver and fault.at_ns == plan.fault_ns >= bench.settle_ns
        assert plan.heal_ns - plan.over_ns >= 3 * PAIR.listen_ns
        assert plan.until_ns - plan.heal_ns >= StandIn.bound_ns
    assert {plan.driver for plan in plans} == {0, 1}
    assert {plan.variant & 1 for plan in plans} == {0, 1}
    assert len({plan.fault_ns for plan in plans}) > 1


def test_healing_waits_until_a_passing_fault_has_passed() -> None:
    plan = Bench(PAIR, 1, TOOLS).plan(case("brownout"), 0)
    fault = next(action for action in plan.actions if action.verb == Verb.POWER)
    assert 50 * MS <= fault.lasts_ns <= 2000 * MS
    assert plan.over_ns == fault.at_ns + fault.lasts_ns < plan.heal_ns


def test_the_second_fault_comes_at_various_moments() -> None:
    bench = Bench(PAIR, 1, TOOLS)
    pauses = []
    for number in range(40):
        actions = bench.plan(case("stall", "cut-mqtt"), number).actions
        first, second = (next(a.at_ns for a in actions if a.verb == verb) for verb in (Verb.STALL, Verb.CUT))
        pauses.append(second - first)
    assert min(pauses) >= 0 and max(pauses) <= 3 * PAIR.listen_ns
    assert min(pauses) < 10 * MS and max(pauses) > PAIR.grant_ns


def test_cold_starts_start_in_their_order() -> None:
    bench = Bench(PAIR, 1, TOOLS)
    plan = bench.plan(case("cold-b-a"), 0)
    starts = [action for action in plan.actions if action.verb == Verb.START]
    assert [action.node for action in starts] == [1, 0] and starts[0].at_ns == 0 < starts[1].at_ns
    assert plan.fault_ns == 0 and plan.heal_ns > starts[1].at_ns + PAIR.listen_ns
    assert [a.node for a in bench.plan(case("cold-alone"), 0).actions if a.verb == Verb.START] == [0]


def test_seeds_differ_by_run_fault_and_seed_and_nothing_else() -> None:
    seeds = {run_seed(seed, case(key), number) for seed in (1, 2) for key in ("kill", "power") for number in range(50)}
    assert len(seeds) == 200 and max(seeds) < 1 << 64
    first, second = Bench(PAIR, 5, TOOLS), Bench(PAIR, 5, TOOLS)
    first.plan(case("kill"), 0)
    assert first.plan(case("power"), 3) == second.plan(case("power"), 3)


# ---------------------------------------------------------------- the lists of faults


@pytest.mark.parametrize("name", ["pair", "hold", "three", "voter", "solo"])
def test_faults_have_names_of_their_own_and_make_actions(name: str) -> None:
    subject = named_subject(name)
    faults = single_faults(subject)
    assert len({fault.key for fault in faults}) == len({fault.text for fault in faults}) == len(faults)
    bench = Bench(subject, 1, TOOLS)
    for fault in faults:
        plan = bench.plan(Case((fault,)), 0)
        assert any(action.at_ns >= plan.fault_ns for action in plan.actions if action.verb != Verb.HEAL_ALL)
    assert {fault.key for fault in paired_faults(subject)} <= {fault.key for fault in faults}


def test_every_direction_and_link_is_there() -> None:
    actions = {key: Bench(PAIR, 1, TOOLS).plan(case(key), 0) for key in ("deaf-mqtt", "mute-mqtt", "cut-mqtt")}
    cuts = {key: next(a for a in plan.actions if a.verb == Verb.CUT) for key, plan in actions.items()}
    driver = actions["deaf-mqtt"].driver
    assert (cuts["deaf-mqtt"].node, cuts["deaf-mqtt"].peer, cuts["deaf-mqtt"].link) == (-1, driver, 1)
    driver = actions["mute-mqtt"].driver
    assert (cuts["mute-mqtt"].node, cuts["mute-mqtt"].peer) == (driver, -1)
    assert (cuts["cut-mqtt"].node, cuts["cut-mqtt"].peer) == (-1, -1)


def test_third_voter_and_third_node_have_faults_of_their_own() -> None:
    keys = {name: {fault.key for fault in single_faults(named_subject(name))} for name in ("pair", "voter", "three")}
    assert {key for key in keys["voter"] if key.startswith("voter-")} and not any("voter-" in k for k in keys["pair"])
    assert "cut-driver" in keys["three"] and len([k for k in keys["three"] if k.startswith("cold-")]) == 8


def test_orders() -> None:
    assert orders((0, 1)) == [(0, 1), (1, 0)]
    assert len(orders((0, 1, 2))) == 6
    assert orders((0, 1, 2, 3))[1] == (1, 2, 3, 0)


# ---------------------------------------------------------------- summing up


def outcome(gap_ms: float = 0, **more: object) -> Outcome:
    base = Outcome(gap_ns=round(gap_ms * MS), open_ns=-1, through=False, moves=0, drop_outs=0, two_ns=0, excused=(),
                   broken=(), settled=True, void=False, limited=False)
    return base._replace(**more)  # type: ignore[arg-type]


def test_worst_and_middle_and_the_gravest_run() -> None:
    runs = [outcome(3), outcome(41, moves=1), outcome(20, drop_outs=2), outcome(99, void=True)]
    told = summed_up(case("power"), runs)
    assert (told.worst_ms, told.typical_ms, told.moves, told.drop_outs) == (41, 20, 1, 2)
    assert (told.runs, told.void, told.gap_runs, told.shown) == (4, 1, 3, 3)
    told = summed_up(case("power"), [outcome(50), outcome(1, two_ns=5 * MS), outcome(2, broken=(Rule.FORGED,))])
    assert told.shown == 2 and told.broken == {"Frame: authenticated": 1} and not told.sound
    assert (told.two_runs, told.two_ms) == (1, 5)


def test_reasons_in_words_once_and_two_drivers_first() -> None:
    told = summed_up(case("power"), [
        outcome(excused=((Rule.EPOCH_NOT_RISING, Excuse.DISK), (Rule.TWO_DRIVERS, Excuse.FROZEN))),
        outcome(excused=((Rule.TWO_DRIVERS, Excuse.FROZEN),))])
    assert [text.split()[0] for text in told.reasons] == ["a", "all"] and len(told.reasons) == 2


def test_void_runs_do_not_hide_broken_promises() -> None:
    told = summed_up(case("power"), [outcome(70, void=True, broken=(Rule.TWO_DRIVERS,), two_ns=1)])
    assert told.worst_ms == 0 and told.broken and told.two_runs == 1


def test_all_cases_are_run_in_order_with_a_stand_in() -> None:
    seen: list[tuple[int, int]] = []
    singles, doubles = verify(PAIR, seed=1, runs=2, tools=TOOLS, progress=lambda *counts: seen.append(counts))
    known_singles, known_doubles = cases_of(PAIR)
    assert [found.key for found in singles] == [known.key for known in known_singles]
    assert [found.key for found in doubles] == [known.key for known in known_doubles]
    assert seen[-1] == (len(singles) + len(doubles),) * 2
    assert all(first.key != second.key for first, second in (known.faults for known in known_doubles))
    power = next(found for found in singles if found.key == "power")
    assert (power.worst_ms, power.runs) == (25, 2)


def test_several_processes_give_the_same_as_one() -> None:
    alone = list(results_of(PAIR, 3, 2, 1, None))
    together = list(results_of(PAIR, 3, 2, 2, None))
    assert alone == together


def test_a_bench_can_be_prepared_again() -> None:
    prepare(PAIR, 1, TOOLS)
    prepare(named_subject("three"), 1, TOOLS)
    from twinbeat.sim.verify import Work

    assert Work.bench is not None and Work.bench.subject.nodes == 3
