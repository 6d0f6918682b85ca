"""Every single and double fault on one world, many runs of each, on all processors: what each of them does."""
from __future__ import annotations

import signal
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from msgspec import Struct

from twinbeat.sim.spec import MS, RULE_TEXT, Rule
from twinbeat.sim.verify_faults import paired_faults, single_faults
from twinbeat.sim.verify_promise import EXCUSE_WORDS
from twinbeat.sim.verify_run import Bench, Case, Outcome, Tools
from twinbeat.sim.verify_world import Subject
from twinbeat_core.errors import TwinbeatError

Progress = Callable[[int, int], None]
CHUNKS = 16
"""Pieces of work for each process: few enough to cost nothing, so many that all end at about the same time."""


class VerifyError(TwinbeatError):
    """The runs could not be made."""

    exit_code = 70


class FaultResult(Struct, frozen=True, kw_only=True):
    """What a fault, or two of them, did in all its runs. Times in ms.

    worst_ms, typical_ms  longest time without a driver in any run, and in the run in the middle
    open_runs, open_ms    runs in which nobody drove until everything was healed; how long after that somebody did
    gap_runs              runs in which nobody drove for a while, however short
    through_runs          runs in which nobody drove until the fault had passed by itself
    moves, drop_outs      over all runs: another node drives; the same one fell off and came back
    two_runs, two_ms      runs with two drivers at once, and the longest time of it
    reasons               why that, or another broken rule, is not promised to be excluded
    unsettled             runs that did not settle within the bound after healing
    broken                promised rules that were broken, each with the number of runs
    void                  runs that do not count, because the fault found another node driving than it was meant for
    limited               runs that do not count, because they reached a limit of the simulator
    shown                 number of the gravest run; seed, keys and number make it again
    """

    key: str
    text: str
    runs: int
    worst_ms: float
    typical_ms: float
    open_runs: int
    open_ms: float
    gap_runs: int
    through_runs: int
    moves: int
    drop_outs: int
    two_runs: int
    two_ms: float
    reasons: list[str]
    unsettled: int
    broken: dict[str, int]
    void: int
    limited: int
    shown: int

    @property
    def sound(self) -> bool:
        """No promise broken."""
        return not self.broken

    @property
    def counted(self) -> int:
        """Runs that count."""
        return self.runs - self.void - self.limited


class Work:
    """The bench of this process and what it has to do; a worker process has its own."""

    bench: Bench | None = None
    cases: Sequence[Case] = ()


def cases_of(subject: Subject) -> tuple[list[Case], list[Case]]:
    """The single cases, and each ordered pair of different faults of the shorter list."""
    short = paired_faults(subject)
    doubles = [Case((first, second)) for first in short for second in short if first.key != second.key]
    return [Case((fault,)) for fault in single_faults(subject)], doubles


def verify(subject: Subject, *, seed: int, runs: int, jobs: int = 1, tools: Tools | None = None,
           progress: Progress = lambda done, total: None) -> tuple[list[FaultResult], list[FaultResult]]:
    """All single and all double faults, `runs` runs of each; the same for the same seed whatever `jobs` is."""
    singles, doubles = cases_of(subject)
    total = len(singles) + len(doubles)
    found: list[FaultResult] = []
    for result in results_of(subject, seed, runs, jobs, tools):
        found.append(result)
        progress(len(found), total)
    return found[:len(singles)], found[len(singles):]


def results_of(subject: Subject, seed: int, runs: int, jobs: int, tools: Tools | None) -> Iterator[FaultResult]:
    """The results in the order of the cases."""
    total = sum(map(len, cases_of(subject)))
    if jobs == 1:
        prepare(subject, seed, tools)
        yield from (examine(number, runs) for number in range(total))
        return
    with ProcessPoolExecutor(jobs, initializer=prepare_worker, initargs=(subject, seed, tools)) as pool:
        try:
            yield from pool.map(examine, range(total), [runs] * total, chunksize=max(1, total // (jobs * CHUNKS)))
        except BrokenProcessPool:
            raise VerifyError("a worker process was ended from outside, perhaps for lack of memory; "
                              f"try fewer than --jobs {jobs}") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def prepare_worker(subject: Subject, seed: int, tools: Tools | None) -> None:
    """The same in a process of its own; at an interrupt from the keyboard it ends at once and says nothing."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    prepare(subject, seed, tools)


def prepare(subject: Subject, seed: int, tools: Tools | None) -> None:
    """Make this process ready: engines are made once."""
    Work.bench = Bench(subject, seed, tools)
    singles, doubles = cases_of(subject)
    Work.cases = [*singles, *doubles]


def examine(number: int, runs: int) -> FaultResult:
    """All runs of one case."""
    bench, case = Work.bench, Work.cases[number]
    assert bench is not None
    return summed_up(case, [bench.outcome(bench.plan(case, run)) for run in range(runs)])


def summed_up(case: Case, outcomes: Sequence[Outcome]) -> FaultResult:
    """From the runs of a case to its result."""
    counted = [outcome for outcome in outcomes if not outcome.void and not outcome.limited]
    gaps_ms = [outcome.gap_ns / MS for outcome in counted] or [0.0]
    waits_ms = [outcome.open_ns / MS for outcome in counted if outcome.open_ns >= 0]
    broken = Counter(RULE_TEXT[rule] for outcome in outcomes for rule in outcome.broken)
    return FaultResult(
        key=case.key,
        text=case.text,
        runs=len(outcomes),
        worst_ms=max(gaps_ms),
        typical_ms=statistics.median(gaps_ms),
        open_runs=len(waits_ms),
        open_ms=max(waits_ms, default=0.0),
        gap_runs=sum(outcome.gap_ns > 0 for outcome in counted),
        through_runs=sum(outcome.through for outcome in counted),
        moves=sum(outcome.moves for outcome in counted),
        drop_outs=sum(outcome.drop_outs for outcome in counted),
        two_runs=sum(outcome.two_ns > 0 for outcome in outcomes),
        two_ms=max(outcome.two_ns for outcome in outcomes) / MS,
        reasons=reasons_of(outcomes),
        unsettled=sum(not outcome.settled for outcome in outcomes),
        broken=dict(sorted(broken.items())),
        void=sum(outcome.void and not outcome.limited for outcome in outcomes),
        limited=sum(outcome.limited for outcome in outcomes),
        shown=max(range(len(outcomes)), key=lambda run: outcomes[run].grave),
    )


def reasons_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Each excuse in words, once; those of two drivers first."""
    pairs = sorted({pair for outcome in outcomes for pair in outcome.excused},
                   key=lambda pair: (pair[0] != Rule.TWO_DRIVERS, pair))
    return list(dict.fromkeys(EXCUSE_WORDS[excuse] for _, excuse in pairs))
