"""From results to the judgement: budget, promises, coverage, contradictions with `twinbeat check`, and its words."""
from __future__ import annotations

import json

import pytest

from twinbeat.check_coverage import FaultRow
from twinbeat.sim.spec import MS, Excuse, Rule
from twinbeat.sim.verify import FaultResult, cases_of, summed_up
from twinbeat.sim.verify_faults import Fault, single_faults
from twinbeat.sim.verify_html import Chapter, notable
from twinbeat.sim.verify_html import page as html_page
from twinbeat.sim.verify_markdown import page as markdown_page
from twinbeat.sim.verify_promise import Promise, promise_of
from twinbeat.sim.verify_report import Report, as_data, build_report, cover
from twinbeat.sim.verify_run import Bench, Outcome, Plan
from twinbeat.sim.verify_text import report_text
from twinbeat.sim.verify_world import Subject, named_subject
from twinbeat_core.errors import TwinbeatError

NOTHING = Outcome(gap_ns=0, open_ns=-1, through=False, moves=0, drop_outs=0, two_ns=0, excused=(), broken=(),
                  settled=True, void=False, limited=False)
TWO = NOTHING._replace(two_ns=70 * MS, excused=((Rule.TWO_DRIVERS, Excuse.L3),))
BROKEN = NOTHING._replace(two_ns=9 * MS, broken=(Rule.TWO_DRIVERS,))
UNDRIVEN = NOTHING._replace(open_ns=90 * MS, drop_outs=1)


def gap(ms: float) -> Outcome:
    return NOTHING._replace(gap_ns=round(ms * MS), moves=1)


def report(special: dict[str, list[Outcome]], *, world: str = "pair", budget_ms: float | None = None,
           checked: tuple[FaultRow, ...] = ()) -> Report:
    """A report in which nothing happened but what is said."""
    subject = named_subject(world, budget_ms)
    singles, doubles = ([summed_up(case, special.get(case.key, [NOTHING, NOTHING])) for case in cases]
                        for cases in cases_of(subject))
    return build_report(subject, singles, doubles, seed=1, runs=2, checked=checked,
                        again=lambda key, run: [f"# {key} run {run}", "at 0ms start a"])


def line(found: Report, key: str) -> tuple[str, str, str]:
    one = next(line for line in found.singles if line.result.key == key)
    return one.covered, one.why, one.remedy


def fault(subject: Subject, key: str) -> Fault:
    return next(fault for fault in single_faults(subject) if fault.key == key)


# ---------------------------------------------------------------- budget


def test_a_fault_over_the_budget_is_named_with_by_how_much() -> None:
    found = report({"power": [gap(41.5), gap(30)]}, budget_ms=40)
    assert found.problems == [
        "driver without power: nobody drives for up to 41.5 ms, 1.5 ms over the budget of 40 ms; lower period_ms or "
        "missed of the fastest link, use outputs with a shorter release_ms, or raise the budget"]
    assert not found.ok and report_text(found).endswith("FAILED")
    assert report({"power": [gap(41.5)]}, budget_ms=41.5).ok
    assert report({"power": [gap(41.5)]}).ok, "without a budget nothing is judged"


def test_a_planned_fault_over_the_budget_has_another_remedy() -> None:
    (problem,) = report({"handover": [gap(12)]}, budget_ms=10).problems
    assert problem.startswith("planned handover: nobody drives for up to 12.0 ms, 2.0 ms over the budget of 10 ms; use")
    assert "period_ms" not in problem


@pytest.mark.parametrize("key", ["cut-all", "clock-slow", "welded", "cold-a-b", "delay", "hang"])
def test_what_nobody_promises_does_not_count_for_the_budget(key: str) -> None:
    found = report({key: [gap(5000)]}, budget_ms=10)
    assert found.ok
    assert not next(line for line in found.singles if line.result.key == key).counts


def test_a_promised_driver_that_does_not_come_is_a_problem_without_a_budget_too() -> None:
    (problem,) = report({"power": [UNDRIVEN, gap(40)]}).problems
    assert "a driver is promised, but in 1 of 2 runs nobody drives until everything is repaired" in problem
    assert report({"power": [UNDRIVEN]}, world="hold").ok, "lone = hold does not promise it"


# ---------------------------------------------------------------- promises broken


def test_a_broken_promise_fails_alone_or_in_pairs_and_is_told_again() -> None:
    found = report({"stall+cut-mqtt": [NOTHING, BROKEN]})
    (problem,) = found.problems
    assert problem.startswith("driver's agent frozen, then link mqtt cut: in 1 of 2 runs a promise was broken "
                              "(Authority: one driver); the gravest is run 1;")
    assert found.again == [["# stall+cut-mqtt run 1", "at 0ms start a"]]
    assert "at 0ms start a" in report_text(found)
    assert not report({"kill": [BROKEN]}).ok


def test_excused_drivers_are_told_and_do_not_fail() -> None:
    found = report({"cut-all": [TWO, TWO], "kill+cut-all": [TWO, NOTHING]})
    assert found.ok
    covered, why, remedy = line(found, "cut-all")
    assert covered == "no" and "two drive at once in every run for up to 70 ms: lone = takeover, and every" in why
    assert 'lone = "hold" excludes it' in remedy


def test_runs_that_found_another_world_are_reported() -> None:
    (problem,) = report({"kill": [NOTHING._replace(void=True)] * 2}).problems
    assert "found another node driving than the fault was meant for" in problem


def test_a_limit_of_the_simulator_proves_nothing_and_breaks_nothing() -> None:
    limited = gap(500)._replace(limited=True, void=True)
    found = report({"power": [limited, gap(30)]}, budget_ms=40)
    assert found.ok and found.notes == [
        "driver without power: 1 of 2 runs reached a limit of the simulator and proves nothing"]
    power = next(line.result for line in found.singles if line.result.key == "power")
    assert (power.worst_ms, power.void, power.limited, power.counted) == (30, 0, 1, 1)


# ---------------------------------------------------------------- coverage


@pytest.mark.parametrize(
    ("outcomes", "promise", "covered", "start"),
    [
        ([gap(5)], Promise(True, "why"), "yes", "why"),
        ([NOTHING], Promise(False, "why", "help"), "partly", "no run went wrong, but it is not promised: why"),
        ([UNDRIVEN], Promise(False, "why", "help"), "no", "nobody drives until it is repaired: why"),
        ([UNDRIVEN, gap(5)], Promise(False, "why", "help"), "partly", "nobody drives until it is repaired in 1 of 2"),
        ([gap(5)._replace(through=True)], Promise(False, "why", "help"), "no", "nobody drives until it has passed"),
        ([gap(5)._replace(through=True)], Promise(True, "why"), "yes", "why"),
        ([TWO, NOTHING], Promise(True, "why", "help"), "no", "two drive at once in 1 of 2 runs for up to 70 ms"),
        ([BROKEN], Promise(True, "why"), "no", "a promise was broken: Authority: one driver"),
        ([NOTHING], Promise(True, "why", "help", "limit"), "partly", "why; limit"),
        ([NOTHING], Promise(False, "why", "help", stuck=True), "no", "why"),
        ([gap(5), NOTHING], Promise(True, "why", quiet=True), "partly", "why, but in 1 of 2 runs nobody drives for"),
        ([NOTHING], Promise(True, "why", quiet=True), "yes", "why"),
    ],
)
def test_coverage(outcomes: list[Outcome], promise: Promise, covered: str, start: str) -> None:
    case = cases_of(named_subject("pair"))[0][0]
    found = cover(summed_up(case, outcomes), promise)
    assert (found[0], found[1][: len(start)]) == (covered, start)
    assert bool(found[2]) == (covered != "yes" and not promise.quiet)


@pytest.mark.parametrize(
    ("world", "promised"),
    [("pair", "handover kill stall power loss-30 standby-power"), ("hold", "handover kill cut-all standby-power delay"),
     ("three", "handover kill stall power mute-all cut-driver"), ("voter", "handover kill power cut-all voter-kill"),
     ("gated", "hang power welded cut-all voter-cut-driver"), ("witness", "kill power cut-all voter-cut-driver")],
)
def test_promised(world: str, promised: str) -> None:
    subject = named_subject(world)
    for key in promised.split():
        assert promise_of(fault(subject, key), subject).driver, key


@pytest.mark.parametrize(
    ("world", "refused"),
    [("pair", "hang cut-all deaf-all welded clock-fast delay"), ("hold", "stall power brownout hang cold-alone"),
     ("three", "cut-all cold-alone hang"), ("voter", "hang welded"), ("gated", "voter-kill"), ("witness", "hang")],
)
def test_not_promised_and_why(world: str, refused: str) -> None:
    subject = named_subject(world)
    for key in refused.split():
        promise = promise_of(fault(subject, key), subject)
        assert not promise.driver and promise.why and promise.remedy, key


# ---------------------------------------------------------------- contradictions


def row(name: str, covered: str = "yes", outage_ms: float | None = None) -> FaultRow:
    return FaultRow(fault=name, covered=covered, outage_ms=outage_ms, text="")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "key", "outcome", "piece"),
    [
        (row("power of the driver lost", outage_ms=40.0), "power", gap(40.2), "for up to 40.2 ms, not 40.0 ms"),
        (row("agent killed or crashed"), "crash", TWO, "two drive at once in every run"),
        (row("agent frozen"), "stall", UNDRIVEN, "nobody drives until it is repaired in every run"),
        (row("serial cable cut", outage_ms=0.0), "cut-serial", gap(1), "for up to 1.0 ms, not 0.0 ms"),
        (row("broker or network lost", outage_ms=0.0), "cut-mqtt", gap(1), "for up to 1.0 ms, not 0.0 ms"),
        (row("one link deaf one way", outage_ms=0.0), "mute-mqtt", gap(1), "for up to 1.0 ms, not 0.0 ms"),
        (row("all links cut, both alive"), "cut-all", TWO, "two drive at once in every run"),
        (row("third voter lost", outage_ms=0.0), "voter-crash", gap(2), "for up to 2.0 ms, not 0.0 ms"),
        (row("driver cut off from it"), "voter-cut-driver", UNDRIVEN, "nobody drives until it is repaired"),
    ],
)
def test_a_yes_that_the_simulator_breaks_is_a_contradiction(
    said: FaultRow, key: str, outcome: Outcome, piece: str
) -> None:
    world = "voter" if key.startswith("voter-") else "pair"
    found = report({key: [outcome]}, world=world, checked=(said,))
    (contradiction,) = found.contradictions
    assert contradiction.startswith(f'check says yes to "{said.fault}", but ') and piece in contradiction
    assert not found.ok and "CONTRADICTIONS" in report_text(found)
    assert report({key: [outcome]}, world=world, checked=(row(said.fault, "no"),)).contradictions == []
    assert report({}, checked=(said,)).contradictions == []


def test_check_that_claims_less_than_is_seen_is_a_note() -> None:
    found = report({}, world="hold", checked=(row("all links cut, both alive", "partly"),))
    assert found.ok and found.notes == [
        'check says partly to "all links cut, both alive", but here one node drove in every run']
    assert report({}, checked=(row("power of the driver lost"),)).notes == []


# ---------------------------------------------------------------- words


def test_text_has_every_fault_every_legend_and_the_sums() -> None:
    found = report({"power": [gap(41.5), gap(30)], "cut-all": [TWO], "stall+kill": [UNDRIVEN]}, budget_ms=100)
    text = report_text(found)
    for one in found.singles:
        assert one.result.text in text
    assert "41.5        35.8        never" in text
    assert "a single fault after which a driver is promised: 41.5 ms (driver without power); the" in text
    assert "after 1 nobody may drive until repair" in " ".join(text.split())
    assert text.endswith("PASSED") and max(map(len, text.splitlines())) <= 150
    assert "in some run nobody drives until everything is" in text


def test_json_is_complete() -> None:
    found = report({"power": [gap(41.5)]}, budget_ms=40)
    data = json.loads(json.dumps(as_data(found)))
    assert data["ok"] is False and data["budget_ms"] == 40
    assert set(data) == {"ok", *found.__struct_fields__}
    power = next(one for one in data["singles"] if one["result"]["key"] == "power")
    assert power["over_ms"] == 1.5 and power["counts"] and power["result"]["worst_ms"] == 41.5


def test_markdown_names_worlds_and_keeps_its_tables_whole() -> None:
    found = report({"cut-all": [TWO], "stall+cut-mqtt": [BROKEN]}, budget_ms=40)
    text = markdown_page([found], "twinbeat verify --world pair")
    assert text.startswith("# Faults") and '## Bare pair, lone = "takeover"' in text
    assert "`twinbeat verify --world pair` makes this page" in text and "Judgement: failed." in text
    tables = [entry for entry in text.splitlines() if entry.startswith("|")]
    size = len(found.paired)
    assert {entry.count("|") for entry in tables} == {10, size + 3}


# ---------------------------------------------------------------- HTML


class NoBench(Bench):
    """A bench that runs nothing: pictures come from the test's own painter."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def plan(self, case: object, number: int) -> Plan:
        return Plan([], number, 0, 0, 1, 1, 1, 1)


def chapter(found: Report) -> Chapter:
    return Chapter(found, NoBench(named_subject("pair")))


def test_html_is_one_page_without_anything_from_outside() -> None:
    found = report({"power": [gap(41.5)], "cut-all": [TWO], "stall+kill": [BROKEN]}, budget_ms=40)
    text = html_page([chapter(found)], lambda bench, plan: "<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert text.startswith("<!DOCTYPE html>") and text.count("<figure>") == len(notable(found))
    for needle in ("<script", "<link", "@import", "url(", 'src="http', "href="):
        assert needle not in text
    for one in found.singles:
        assert one.result.text.replace("'", "&#x27;") in text


def test_html_escapes_everything() -> None:
    evil = '<b onload="x">&'
    base = report({"cut-all": [TWO]})
    found = Report(title=evil, seed=1, runs=2, facts=[evil], budget_ms=None, singles=base.singles, paired=base.paired,
                   doubles=base.doubles, problems=[evil], again=[[evil]], contradictions=[evil], notes=[evil])
    text = html_page([chapter(found)], lambda bench, plan: evil)
    assert evil not in text and text.count("&lt;b onload=&quot;x&quot;&gt;&amp;") == 7


def test_html_has_a_sentence_where_pictures_cannot_be_drawn() -> None:
    def paint(bench: Bench, plan: Plan) -> str:
        raise TwinbeatError("matplotlib is <not> installed")

    text = html_page([chapter(report({"cut-all": [TWO]}))], paint)
    assert "<p>There are no pictures: matplotlib is &lt;not&gt; installed</p>" in text and "<figure>" not in text


def test_notable_are_broken_promises_first_then_the_longest_outages() -> None:
    found = report({"power": [gap(41)], "kill": [gap(2)], "crash": [gap(3)], "stall": [gap(1)], "cut-all": [TWO],
                    "hang": [UNDRIVEN], "stall+kill": [BROKEN], "delay": [NOTHING._replace(settled=False)]})
    assert [result.key for result, _ in notable(found)] == [
        "stall+kill", "power", "crash", "kill", "hang", "delay", "cut-all"]
    assert notable(report({})) == []


def test_a_fault_result_without_a_counted_run_has_no_figures() -> None:
    result: FaultResult = summed_up(cases_of(named_subject("pair"))[0][0], [NOTHING._replace(void=True)])
    assert (result.worst_ms, result.typical_ms, result.open_runs) == (0, 0, 0)
