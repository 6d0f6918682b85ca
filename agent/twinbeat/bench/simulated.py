"""What the simulator does: core steps a second in its loop, a campaign's runs, the model check's states."""
from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

from twinbeat.sim.engine import Engine
from twinbeat.sim.spec import Action, Verb
from twinbeat.sim.worlds import shape
from twinbeat_core.errors import TwinbeatError

SECOND_NS = 1_000_000_000
LOOP_SECONDS = (2000, 200)          # simulated; full, quick
RUNS = (10_000, 500)
FEW_RUNS = (1000, 100)              # memory after so many is compared with memory after all
RUN_SECONDS = 10
FAULTS = (2, 1)
JOBS = 2
REPEATS = 3
LIMIT_S = 1200


class SimulatedError(TwinbeatError):
    """A measurement of the simulator that did not come to its end."""


def loop(quick: bool) -> dict[str, Any]:
    """Core steps a second of a pair at 10 ms heartbeats that does nothing but drive: the best of three."""
    engine = Engine(shape("pair").spec())
    until_ns = LOOP_SECONDS[quick] * SECOND_NS
    best = 0.0
    for seed in range(REPEATS):
        begin = time.perf_counter()
        result = engine.run([Action(0, Verb.START)], seed, until_ns)
        best = max(best, result.steps / (time.perf_counter() - begin))
    return {"steps_per_s": best, "simulated_s": LOOP_SECONDS[quick]}


def campaign(quick: bool) -> dict[str, Any]:
    """Runs of ten simulated seconds with faults, in two processes: seconds, steps a second, memory early and late."""
    _ask("sim", *_campaign_words(FEW_RUNS[quick]))
    early_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    begin = time.perf_counter()
    answer = _ask("sim", *_campaign_words(RUNS[quick]))
    seconds = time.perf_counter() - begin
    late_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"runs": RUNS[quick], "seconds": seconds, "jobs": JOBS, "simulated_s": RUN_SECONDS, "answer": answer,
            "early_mib": early_kib / 1024, "late_mib": late_kib / 1024}


def prove(quick: bool) -> dict[str, Any]:
    """The model check of the bare pair."""
    (answer,) = _ask("prove", "--world", "pair", "--faults", str(FAULTS[quick]), "--json")
    last = answer["levels"][-1]
    return {"faults": last["faults"], "states": last["states"], "schedules": last["schedules"],
            "complete": answer["complete"], "seconds": last["seconds"],
            "states_per_s": last["states"] / last["seconds"]}


MEASURES = {"sim": loop, "campaign": campaign, "prove": prove}


def _campaign_words(runs: int) -> list[str]:
    return ["--campaign", str(runs), "--jobs", str(JOBS), "--seed", "1", "--world", "pair", "--profile", "single",
            "--seconds", str(RUN_SECONDS), "--json"]


def _ask(*words: str) -> Any:
    """The JSON answer of a command of ours. SimulatedError when it found something broken or did not end."""
    try:
        done = subprocess.run([sys.executable, "-m", "twinbeat", *words], capture_output=True, text=True,
                              timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise SimulatedError(f"twinbeat {' '.join(words)}: no end within {LIMIT_S} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()[:200]).splitlines()
        raise SimulatedError(f"twinbeat {' '.join(words)}: exit code {done.returncode}: {said[-1] if said else ''}")
    return json.loads(done.stdout)
