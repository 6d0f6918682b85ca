"""A run of `twinbeat verify` in the words of a scenario, so that it can be read, told and made again."""
from __future__ import annotations

from twinbeat.sim.scenario_actions import action_text
from twinbeat.sim.scenario_words import Names, duration
from twinbeat.sim.verify_run import Bench, Case

PPB_PER_PPM = 1000


def again_lines(bench: Bench, case: Case, number: int) -> list[str]:
    """World, seed and every action of run `number` of a case."""
    plan = bench.plan(case, number)
    spec = bench.specs[plan.variant]
    names = Names.of(spec)
    clocks = ", ".join(f"{node} {ppb / PPB_PER_PPM:+g} ppm"
                       for node, ppb in zip(spec.nodes_named, spec.drift_ppb, strict=True))
    longest = "every way, lateness and release the longest possible" if spec.worst else "ways and lateness by chance"
    ordered = sorted(plan.actions, key=lambda action: action.at_ns)
    return [
        f"# {case.text}: run {number}, engine seed {plan.seed}; clocks {clocks}; {longest}",
        *(f"at {duration(action.at_ns)} {action_text(action, names)}" for action in ordered),
        f"run {duration(plan.until_ns)}",
    ]
