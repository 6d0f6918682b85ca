"""The search for a short failing run: it keeps the failure, drops what does not matter, and stops."""
from __future__ import annotations

import pytest

from twinbeat.sim import shrink as shrinking
from twinbeat.sim.campaign import case_of
from twinbeat.sim.campaign_runs import Plan, Runner
from twinbeat.sim.campaign_tally import Failure
from twinbeat.sim.shrink import Bench, Case, Judge, shrink
from twinbeat.sim.spec import ALL, MS, Action, Excuse, Rule, Verb, Violation
from twinbeat.sim.worlds import Shape, shape

FAKE = Violation(5 * MS, Rule.TWO_DRIVERS, Excuse.NONE, 0, 0, 1, MS, 8)


def found_at(at_ns: int, rule: Rule = Rule.TWO_DRIVERS) -> Violation:
    return FAKE._replace(at_ns=at_ns, rule=rule)


def needs(*verbs: Verb, rule: Rule = Rule.TWO_DRIVERS, seeds: frozenset[int] | None = None) -> Judge:
    """A run fails when all of these verbs are in it in this order, in the world of any seed, or of some."""
    def judge(case: Case) -> Violation | None:
        left = list(verbs)
        for action in case.actions:
            if left and action.verb == left[0]:
                left.pop(0)
        last = max((action.at_ns for action in case.actions), default=0)
        right = seeds is None or case.seed in seeds
        return found_at(last, rule) if not left and right else None
    return judge


def long_case(seed: int = 7) -> Case:
    """Forty actions of a rich world."""
    verbs = [Verb.LOSS, Verb.DELAY, Verb.STALL, Verb.HANDOVER, Verb.SYNC, Verb.DROP, Verb.HINT, Verb.REPLAY]
    actions = [Action(0, Verb.START, node) for node in range(2)]
    actions += [Action(1_000_123_457 + 10_000_001 * k, verbs[k % 8], k % 2, value=7, lasts_ns=3 * MS + 1)
                for k in range(38)]
    actions[10] = Action(actions[10].at_ns, Verb.KILL, 0, lasts_ns=50 * MS + 333)
    actions[30] = Action(actions[30].at_ns, Verb.CUT, 0, 1, 1, lasts_ns=200 * MS)
    rich = shape("pair", groups=3, release_ms=12.0, make_ms=5.0, drift_ppm=900.0, hold_ms=2.0, worst=True,
                 links=("udp", "mqtt", "serial"), gate_late_ms=0.5, lonely_ms=300.0)
    return Case(rich, tuple(actions), seed, 10_000 * MS)


def test_only_what_matters_is_left() -> None:
    found = shrink(long_case(), needs(Verb.KILL, Verb.CUT))
    assert [action.verb for action in found.case.actions] == [Verb.KILL, Verb.CUT]
    kill, cut = found.case.actions
    assert (kill.at_ns, cut.at_ns, kill.lasts_ns, cut.lasts_ns) == (0, 0, MS, MS)
    assert found.complete and found.runs < 500


def test_the_world_becomes_plain_where_it_may() -> None:
    found = shrink(long_case(), needs(Verb.KILL))
    assert found.case.shape == Shape(links=found.case.shape.links) and len(found.case.shape.links) == 1


def test_the_world_stays_where_the_failure_needs_it() -> None:
    def judge(case: Case) -> Violation | None:
        needed = case.shape.release_ms == 12.0 and "mqtt" in case.shape.links and case.shape.groups >= 2
        return FAKE if needed and any(action.verb == Verb.KILL for action in case.actions) else None

    found = shrink(long_case(), judge)
    assert found.case.shape == Shape(release_ms=12.0, links=("mqtt",), groups=2)


def test_links_that_go_take_their_actions_and_renumber_the_rest() -> None:
    def judge(case: Case) -> Violation | None:
        cuts = [case.shape.links[action.link] for action in case.actions if action.verb == Verb.CUT]
        return FAKE if cuts == ["mqtt"] else None

    found = shrink(long_case(), judge)
    assert found.case.shape.links == ("mqtt",)
    assert [action.link for action in found.case.actions] == [0]


def test_times_are_only_as_long_as_they_must_be() -> None:
    def judge(case: Case) -> Violation | None:
        kills = [action for action in case.actions if action.verb == Verb.KILL]
        return FAKE if kills and kills[0].lasts_ns >= 17 * MS and kills[0].at_ns >= 333_300_000 else None

    found = shrink(long_case(), judge)
    assert [(action.at_ns, action.lasts_ns) for action in found.case.actions] == [(334 * MS, 17 * MS)]


def test_another_seed_may_do() -> None:
    found = shrink(long_case(seed=7), needs(Verb.KILL, seeds=frozenset({7, 3})))
    assert found.case.seed in (7, 3)
    assert [action.verb for action in found.case.actions] == [Verb.KILL]


def test_healing_stays_where_liveness_is_broken() -> None:
    case = long_case()
    case = case._replace(actions=(*case.actions, Action(3000 * MS, Verb.HEAL_ALL)), run_ns=None)
    found = shrink(case, needs(Verb.CUT, Verb.HEAL_ALL, rule=Rule.NO_DRIVER))
    assert [action.verb for action in found.case.actions] == [Verb.CUT, Verb.HEAL_ALL]
    assert found.case.run_ns is None


def test_a_safety_failure_needs_no_healing_and_no_tail() -> None:
    case = long_case()
    case = case._replace(actions=(*case.actions, Action(3000 * MS, Verb.HEAL_ALL)))

    def judge(tried: Case) -> Violation | None:
        kills = [action for action in tried.actions if action.verb == Verb.KILL]
        return found_at(kills[0].at_ns + 2 * MS) if kills else None

    found = shrink(case, judge)
    assert [action.verb for action in found.case.actions] == [Verb.KILL]
    assert found.case.run_ns is not None and found.case.run_ns <= 50 * MS


def test_the_budget_ends_the_search_with_a_failing_run() -> None:
    calls = 0

    def judge(case: Case) -> Violation | None:
        nonlocal calls
        calls += 1
        return needs(Verb.KILL, Verb.CUT)(case)

    found = shrink(long_case(), judge, budget=25)
    assert calls <= 25 + 2 + 1 and not found.complete
    assert judge(found.case) is not None


def test_a_run_that_fails_not_is_refused() -> None:
    with pytest.raises(ValueError, match="breaks nothing"):
        shrink(long_case(), lambda case: None)


def test_every_accepted_case_is_one_that_failed() -> None:
    """The result is judged as it stands, not as a sum of steps that were judged one by one."""
    judge = needs(Verb.STALL, Verb.KILL, Verb.DROP)
    found = shrink(long_case(), judge)
    assert judge(found.case) == found.violation


# ---------------------------------------------------------------- the real engine
def excused_overlap() -> tuple[Case, Judge]:
    """A wild run in which both drive because all links were impaired, taken as a failure."""
    bench = Bench()
    judge = bench.judge(Rule.TWO_DRIVERS, excused=True)
    runner = Runner(Plan("pair", "wild", 5.0))
    for seed in range(200):
        drawn = runner.draw(seed)
        overlaps = [one for one in drawn.run().excused if one.rule == Rule.TWO_DRIVERS and one.excuse == Excuse.L3]
        if overlaps and len(drawn.schedule.actions) > 20:
            return case_of(drawn, Failure(seed, "pair", overlaps[0])), judge
    raise AssertionError("no run with an excused overlap")


def test_a_real_overlap_becomes_a_few_lines() -> None:
    case, judge = excused_overlap()
    found = shrink(case, judge)
    assert len(found.case.actions) <= 6 < 20 < len(case.actions)
    assert judge(found.case) == found.violation and found.violation.rule == Rule.TWO_DRIVERS
    assert found.case.run_ns is not None and found.case.run_ns < 5000 * MS
    assert all(action.at_ns % (MS // 100) == 0 for action in found.case.actions)


def test_the_same_failure_shrinks_to_the_same_run() -> None:
    case, judge = excused_overlap()
    assert shrink(case, judge) == shrink(case, Bench().judge(Rule.TWO_DRIVERS, excused=True))


def test_a_cut_of_all_links_is_found_in_its_simplest_form() -> None:
    """What lone = takeover does not promise, known beforehand: start, cut, and nothing else."""
    noise = [Action((300 + 40 * k) * MS, Verb.HINT, k % 2, link=k % 2) for k in range(20)]
    starts = (Action(0, Verb.START, 0), Action(3 * MS, Verb.START, 1))
    actions = (*starts, *noise, Action(1150 * MS, Verb.CUT, lasts_ns=900 * MS))
    bench = Bench()
    case = Case(shape("pair"), actions, 1, 2500 * MS)
    found = shrink(case, bench.judge(Rule.TWO_DRIVERS, excused=True))
    assert [action.verb for action in found.case.actions] == [Verb.START, Verb.CUT]
    assert found.case.actions[0] == Action(0, Verb.START)
    assert found.case.actions[1].lasts_ns < 900 * MS


def test_a_world_that_contradicts_itself_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plainer field may not fit the others: that candidate does not count."""
    monkeypatch.setitem(shrinking.DEFAULTS, "drift_ppm", 100.0)
    monkeypatch.setitem(shrinking.DEFAULTS, "release_ms", 1e9)
    case = Case(shape("pair"), (Action(0, Verb.START), Action(300 * MS, Verb.CUT, lasts_ns=400 * MS)), 1, 900 * MS)
    found = shrink(case, Bench().judge(Rule.TWO_DRIVERS, excused=True))
    assert found.case.shape.release_ms == 2.0
    assert all(action.node in (ALL, 0, 1) for action in found.case.actions)
