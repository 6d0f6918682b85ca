"""The runs of a campaign, one after the other in this process or side by side in workers. The seeds alone decide what
comes of them: neither the number of workers nor their pace changes the tally."""
from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import NamedTuple

from twinbeat.errors import TwinbeatError, UsageError
from twinbeat.sim.campaign_tally import Tally
from twinbeat.sim.chance import BLOCK, Ground, Schedule, draw_shape, heal_at, world_of
from twinbeat.sim.engine import Engine
from twinbeat.sim.spec import RunResult
from twinbeat.sim.worlds import Shape

CHUNK = 4 * BLOCK
AHEAD = 3
"""Chunks that wait for each worker: enough that it never idles, few enough that an interrupt is quick."""
Told = Callable[[Tally], None]


class CampaignError(TwinbeatError):
    """A worker ended by itself: a fault of the simulator or of the machine, not of the protocol."""


class Plan(NamedTuple):
    """What all runs of a campaign have in common: world or "all", profile, simulated seconds."""

    world: str
    profile: str
    seconds: float


class Drawn(NamedTuple):
    """One run, ready to be run: everything follows from plan and seed."""

    seed: int
    world: str
    shape: Shape
    schedule: Schedule
    engine: Engine
    until_ns: int

    def run(self, *, log: bool = False) -> RunResult:
        """Run it."""
        return self.engine.run(self.schedule.actions, self.seed, self.until_ns, log=log)


class Runner:
    """Draws runs; the world of the last block is kept."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.block = -1
        self.world = ""
        self.shape: Shape
        self.ground: Ground
        self.engine: Engine
        self.heal_ns = 0
        self.until_ns = 0

    def _enter(self, seed: int) -> None:
        self.world = world_of(self.plan.world, seed)
        self.shape = draw_shape(self.world, seed)
        self.ground = Ground(self.shape, self.plan.profile)
        self.engine = Engine(self.shape.spec())
        # Longer than the bound: what still changes after it is to be seen.
        rest_ns = self.engine.bound_ns + self.engine.bound_ns // 4
        self.heal_ns = heal_at(self.plan.seconds, rest_ns)
        self.until_ns = self.heal_ns + rest_ns
        self.block = seed // BLOCK

    def draw(self, seed: int) -> Drawn:
        """The run of a seed."""
        if seed // BLOCK != self.block:
            self._enter(seed)
        schedule = self.ground.draw(seed, self.heal_ns)
        return Drawn(seed, self.world, self.shape, schedule, self.engine, self.until_ns)

    def tally(self, first: int, count: int) -> Tally:
        """The runs of `count` seeds from `first` on."""
        tally = Tally()
        for seed in range(first, first + count):
            drawn = self.draw(seed)
            tally.add(drawn.world, seed, drawn.schedule, drawn.run())
        return tally


def chunks(first: int, count: int) -> Iterator[tuple[int, int]]:
    """Seeds in portions that end where blocks end: (first, count)."""
    end = first + count
    while first < end:
        stop = min(end, (first // CHUNK + 1) * CHUNK)
        yield first, stop - first
        first = stop


# ---------------------------------------------------------------- workers
_runner: Runner | None = None


def _begin_worker(plan: Plan) -> None:
    """What a worker keeps from chunk to chunk."""
    global _runner
    _runner = Runner(plan)


def _work(first: int, count: int) -> Tally:
    assert _runner is not None
    return _runner.tally(first, count)


@contextmanager
def interrupt_later() -> Iterator[None]:
    """Hold back the terminal's interrupt: a tally is put together whole, and a worker begun meanwhile never gets it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_here(plan: Plan, first: int, count: int, told: Told) -> bool:
    """All runs in this process; False when interrupted."""
    runner = Runner(plan)
    try:
        for start, size in chunks(first, count):
            part = runner.tally(start, size)
            with interrupt_later():
                told(part)
    except KeyboardInterrupt:
        return False
    return True


def run_in_workers(plan: Plan, first: int, count: int, jobs: int, told: Told) -> bool:
    """All runs in `jobs` processes; False when interrupted. CampaignError when one of them died."""
    context = multiprocessing.get_context("spawn")
    try:
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker, initargs=(plan,))
    except OSError as error:
        raise UsageError(f"--jobs {jobs}: no worker can be started ({error.strerror}); use --jobs 1")
    waiting: dict[Future[Tally], tuple[int, int]] = {}
    left = chunks(first, count)
    try:
        while True:
            with interrupt_later():
                for start, size in left:
                    waiting[pool.submit(_work, start, size)] = (start, size)
                    if len(waiting) >= AHEAD * jobs:
                        break
            if not waiting:
                return True
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                part = result_of(done, waiting.pop(done), plan)
                with interrupt_later():
                    told(part)
    except KeyboardInterrupt:
        return False
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def result_of(done: Future[Tally], part: tuple[int, int], plan: Plan) -> Tally:
    """What a worker counted; CampaignError with the way to see its end again."""
    try:
        return done.result()
    except BrokenProcessPool:
        first, count = part
        raise CampaignError(
            f"a worker ended by itself, perhaps in one of the runs from seed {first} on; to see it again: "
            f"twinbeat sim --campaign {count} --seed {first} --world {plan.world} --profile {plan.profile} "
            f"--seconds {plan.seconds:g} --jobs 1"
        )


def run_all(plan: Plan, first: int, count: int, jobs: int, told: Told) -> bool:
    """The runs of `count` seeds from `first` on; `told` gets each portion's tally. False when interrupted."""
    jobs = min(jobs, -(-count // CHUNK))
    if jobs <= 1:
        return run_here(plan, first, count, told)
    return run_in_workers(plan, first, count, jobs, told)
