"""`twinbeat sim --campaign`: many random runs, a summary, and each kind of failure shortened to a scenario file."""
from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from twinbeat.cli_dispatch import EXIT_INTERRUPTED, EXIT_OK, print_json
from twinbeat.cli_options import Parser
from twinbeat.errors import UsageError
from twinbeat.sim import plot
from twinbeat.sim.campaign_report import DEFAULT_SECONDS, Outcome, Saved, again, as_json, report
from twinbeat.sim.campaign_runs import Drawn, Plan, Runner, run_all
from twinbeat.sim.campaign_tally import Failure, Tally
from twinbeat.sim.chance import PROFILES, WORLD_NAMES
from twinbeat.sim.scenario import parse, to_text
from twinbeat.sim.shrink import Bench, Case, shrink
from twinbeat.sim.spec import RULE_TEXT, Rule

EXIT_VIOLATED = 1
MOST_RUNS = 1_000_000_000
MOST_SEED = (1 << 63) - 1
MOST_JOBS = 512
MOST_SECONDS = 3600.0
MOST_SAVED = 16
SAVE_DIR = "twinbeat-failures"
BAR_WIDTH = 30
BAR_EVERY_S = 0.2


# ---------------------------------------------------------------- command line
def main_campaign(words: list[str]) -> int:
    """The command line of a campaign; 1 when something promised was broken, 130 when interrupted before."""
    parser = Parser(prog="twinbeat sim", description="Run random faults in random worlds, in virtual time.",
                    epilog="exit codes: 0 no violation; 1 violations; 2 command line; 130 interrupted, none so far")
    add_options(parser)
    return run_campaign(parser.parse_args(words))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a campaign."""
    parser.add_argument("--campaign", type=whole(1, MOST_RUNS, "count of runs"), metavar="N", required=True,
                        help="how many runs")
    parser.add_argument("--seed", type=whole(0, MOST_SEED, "seed"), default=1, metavar="S",
                        help="seed of the first run; run number i has seed S + i (default 1)")
    parser.add_argument("--jobs", type=whole(1, MOST_JOBS, "count of workers"), default=usable_cpus(), metavar="J",
                        help="runs side by side (default: as many as there are processors)")
    parser.add_argument("--world", choices=[*WORLD_NAMES, "all"], default="all",
                        help="pair: lone = takeover; hold: lone = hold; three nodes; pair with a third voter; or all")
    parser.add_argument("--profile", choices=list(PROFILES), default="wild",
                        help="; ".join(f"{name}: {text}" for name, text in PROFILES.items()))
    parser.add_argument("--seconds", type=simulated_seconds, default=DEFAULT_SECONDS, metavar="T",
                        help=f"simulated length of a run, the healing included (default {DEFAULT_SECONDS:g})")
    parser.add_argument("--save", metavar="DIR", default=SAVE_DIR,
                        help=f"where shortened failing runs are written (default {SAVE_DIR})")
    parser.add_argument("--plot", metavar="FILE", help="draw the first failing run, else the one with the longest gap, "
                                                       "as .svg or .png")
    parser.add_argument("--json", action="store_true", help="print JSON")


def whole(low: int, high: int, what: str) -> Callable[[str], int]:
    """A reader of whole numbers in a range."""
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 20 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f'"{text}" is no {what}; give a whole number from {low} to {high}')
        return int(text)
    return read


def simulated_seconds(text: str) -> float:
    """The length of a run."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f'"{text}" is no length of a run; give seconds from 1 to {MOST_SECONDS:g}')
    return seconds


def usable_cpus() -> int:
    """Processors that this process may use."""
    return min(MOST_JOBS, len(os.sched_getaffinity(0)))


# ---------------------------------------------------------------- the campaign
def run_campaign(given: argparse.Namespace) -> int:
    """All of it: runs, shortened failures, picture, summary."""
    if given.seed + given.campaign - 1 > MOST_SEED:
        raise UsageError(f"--seed {given.seed}: the last of {given.campaign} runs would have a seed above {MOST_SEED}; "
                         "give a smaller one")
    if given.plot is not None:
        plot.check(given.plot)
    plan = Plan(given.world, given.profile, given.seconds)
    outcome = measure(plan, given.seed, given.campaign, given.jobs)
    try:
        save_failures(outcome, Path(given.save))
        if given.plot is not None:
            outcome.drawn = draw(outcome, given.plot)
    except KeyboardInterrupt:
        outcome.complete = False
    if given.json:
        print_json(as_json(outcome))
    else:
        print("\n".join(report(outcome)))
    if outcome.tally.failing:
        return EXIT_VIOLATED
    return EXIT_OK if outcome.complete else EXIT_INTERRUPTED


def measure(plan: Plan, first: int, count: int, jobs: int) -> Outcome:
    """The runs, with a bar on standard error where that is a terminal."""
    tally = Tally()
    bar = Bar(count) if sys.stderr.isatty() else None
    began = time.monotonic()

    def told(part: Tally) -> None:
        tally.merge(part)
        if bar is not None:
            bar.show(tally)

    try:
        complete = run_all(plan, first, count, jobs, told)
    finally:
        if bar is not None:
            bar.clear()
    return Outcome(plan=plan, first=first, asked=count, jobs=jobs, seconds=time.monotonic() - began, tally=tally,
                   complete=complete)


class Bar:
    """Progress on standard error, on one line."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.began = time.monotonic()
        self.shown = 0.0

    def show(self, tally: Tally) -> None:
        """Draw it anew, a few times a second at most."""
        now = time.monotonic()
        if now - self.shown < BAR_EVERY_S:
            return
        self.shown = now
        runs = tally.runs
        rate = runs / max(now - self.began, 1e-9)
        full = BAR_WIDTH * runs // self.count
        found = f", {tally.failing} violations" if tally.failing else ""
        sys.stderr.write(f"\r[{'#' * full}{'.' * (BAR_WIDTH - full)}] {runs} of {self.count} runs, {rate:.0f} runs/s, "
                         f"{(self.count - runs) / rate:.0f} s left{found}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave an empty line."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


# ---------------------------------------------------------------- failures
def save_failures(outcome: Outcome, folder: Path) -> None:
    """The first failing run of each rule and world, shortened and written, a few at most."""
    firsts = sorted({(failures[0].violation.rule, failures[0].world): failures[0]
                     for failures in outcome.tally.first.values()}.values())
    for failure in firsts[:MOST_SAVED]:
        if sys.stderr.isatty():
            sys.stderr.write(f"\rshortening the run of seed {failure.seed}\x1b[K")
            sys.stderr.flush()
        outcome.saved.append(save_failure(outcome.plan, failure, folder))
    if firsts and sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")


def case_of(drawn: Drawn, failure: Failure) -> Case:
    """A failing run for the search. Whether one drives is judged when it has settled after HEAL_ALL."""
    run_ns = None if failure.violation.rule in (Rule.NO_DRIVER, Rule.TWO_AT_END) else drawn.until_ns
    return Case(drawn.shape, tuple(drawn.schedule.actions), drawn.seed, run_ns)


def save_failure(plan: Plan, failure: Failure, folder: Path) -> Saved:
    """Shorten, write, and read again what was written: only the file counts."""
    bench = Bench()
    rule = failure.violation.rule
    drawn = Runner(plan._replace(world=failure.world)).draw(failure.seed)
    found = shrink(case_of(drawn, failure), bench.judge(rule))
    text = scenario_text(plan, failure, found.case)
    path = folder / f"{failure.world}-{plan.profile}-{failure.seed}-{rule.name.lower().replace('_', '-')}.scenario"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}; choose another folder with --save DIR")
    read = parse(text, str(path))[0]
    case = Case(read.shape, read.actions, read.seed, read.run_ns)
    return Saved(failure=failure, path=str(path), case=case, runs=found.runs,
                 reproduces=bench.judge(rule)(case) is not None)


def scenario_text(plan: Plan, failure: Failure, case: Case) -> str:
    """The scenario file of a shortened run."""
    title = f"found by {again(plan, failure.seed, failure.world)}"
    return to_text(case.shape, case.actions, case.seed, title, RULE_TEXT[failure.violation.rule], case.run_ns)


# ---------------------------------------------------------------- picture
def draw(outcome: Outcome, path: str) -> str:
    """The picture of the run that is most worth a look; what was drawn, in words."""
    if outcome.saved:
        saved = outcome.saved[0]
        bench = Bench()
        engine, until_ns = bench.engine(saved.case.shape), bench.until_ns(saved.case)
        result = engine.run(saved.case.actions, saved.case.seed, until_ns, log=True)
        plot.draw(engine.spec, result, saved.case.actions, path)
        return f"{path}: {saved.path}"
    longest = outcome.tally.longest() if outcome.asked > 1 else None
    seed, world = longest or (outcome.first, outcome.plan.world)
    drawn = Runner(outcome.plan._replace(world=world)).draw(seed)
    plot.draw(drawn.engine.spec, drawn.run(log=True), drawn.schedule.actions, path)
    return f"{path}: seed {seed} in world {drawn.world}" + (", the longest gap" if longest else "")
