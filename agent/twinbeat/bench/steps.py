"""What one step of the core costs, without the interpreter and from it."""
from __future__ import annotations

import time
from collections.abc import Callable

from twinbeat_core.bench import run_pair
from twinbeat_core.events import Start, Wake
from twinbeat_core.failover import Failover
from twinbeat_core.model import LinkKind, Lone
from twinbeat_core.settings import GroupSettings, LinkSettings, Settings

STEPS = 1_000_000
CALLS = 200_000
REPEATS = 5
BEGIN_NS = 1_000_000_000


def pair_settings(node: int) -> Settings:
    """A pair with a serial and an MQTT link and one group, as in the demo."""
    return Settings(
        node_count=2, self_node=node, pair_id=7, config_digest=1, voters=(0, 1),
        links=(
            LinkSettings(kind=LinkKind.LINK_SERIAL, period_ms=10, rtt_ms=1.8, reask_ms=1.3),
            LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=100, fast_period_ms=20, rtt_ms=8, reask_ms=5),
        ),
        groups=(GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0, 1)),),
    )


def step_ns() -> tuple[float, float]:
    """Nanoseconds per step: of two cores exchanging heartbeats in compiled code, and of a Wake from Python.

    Each is the best of five, as other work on the machine can only make it worse. The first contains all kinds of
    steps of a driving pair in their natural proportion, each frame copied once.
    """
    settings = pair_settings(0), pair_settings(1)
    compiled = min(_timed(lambda: run_pair(*settings, STEPS)) for _ in range(REPEATS)) / STEPS
    core = Failover(settings[0])
    core.step(Start(BEGIN_NS, 5))
    wake = Wake(BEGIN_NS + 1)

    def calls() -> None:
        for _ in range(CALLS):
            core.step(wake)

    return compiled, min(_timed(calls) for _ in range(REPEATS)) / CALLS


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    work()
    return float(time.perf_counter_ns() - begin)
