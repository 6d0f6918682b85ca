"""How long an application may go on with what is its node's: the arithmetic of docs/applications.md. No clock, no I/O.

An application is not behind the gate: a death notice or a planned handover may pass a group on while a deadline that
the application was told still lies ahead. Therefore no deadline is ever further ahead than `lease_ns` from the state of
the core that it was read from, and a node that begins to drive says "mine" only after `wait_ns`: by then every
deadline that any other node has told has passed, whatever became of that node.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from twinbeat.config import Config

NS_PER_MS = 1_000_000
ROUNDING_NS = 1_000
"""The core's view rounds to microseconds, up or down."""


class LeaseTerms(NamedTuple):
    """What a configuration gives to applications.

    lease_ns       no deadline is further ahead than this
    wait_ns        so long after a node began to drive its keys are handled by nobody
    bound_ms       the longest time in which nobody handles a key, one node having failed, with every link up
    bound_slow_ms  the same when only the slowest link is left
    """

    lease_ns: int
    wait_ns: int
    bound_ms: float
    bound_slow_ms: float


class Hold(NamedTuple):
    """This node's hold on a unit.

    epoch     of its claim, 0 where it has none
    until_ns  deadline (CLOCK_BOOTTIME) up to which an application may handle keys of it; 0: it may not
    from_ns   when it may begin, while the unit is driven here and the wait is not over; 0 otherwise
    """

    epoch: int
    until_ns: int = 0
    from_ns: int = 0


def wait_for(lease_ns: int, drift_ppm: float) -> int:
    """The wait that outlasts a lease counted by the other node's clock, both clocks wrong by `drift_ppm`."""
    drift = drift_ppm / 1e6
    return math.ceil(lease_ns * (1 + drift) / (1 - drift)) + ROUNDING_NS


def lease_terms(cfg: Config) -> LeaseTerms:
    """Both figures and the bounds, from the settings that the core runs with. Raises ConfigError."""
    from twinbeat.check import outage_of
    from twinbeat.check_third import third_report
    from twinbeat.config_core import core_settings

    settings = core_settings(cfg)
    core = settings.compile()
    # The same on every node, whatever each of them permits: one node's wait must outlast the other one's lease.
    same = core_settings(cfg, realtime=False).compile()
    lease_ns = int(min(same.lease_ms(link) for link in range(len(settings.links))) * NS_PER_MS)
    wait_ns = wait_for(lease_ns, settings.drift_ppm)
    outage = outage_of(cfg, settings, core, third_report(cfg, settings, core))
    wait_ms = wait_ns / NS_PER_MS
    return LeaseTerms(lease_ns, wait_ns, round(outage.fast_ms + wait_ms, 1), round(outage.slow_ms + wait_ms, 1))


def hold_of(view: Mapping[str, Any], number: int, terms: LeaseTerms, *, exclusive: bool) -> Hold:
    """This node's hold on a unit, from one view of the core.

    All is counted from the moment of the core's last step, which lies before the view was taken: a view that was read
    late, or passed on late, gives no more than was true.
    """
    group = view["groups"][number]
    if group["state"] != "ACTIVE":
        return Hold(group["epoch"])
    now_ns, left_ms = view["now_ns"], group["authority_ms"]
    since_ns = now_ns - math.floor(group["since_ms"] * NS_PER_MS)
    from_ns = since_ns + terms.wait_ns if exclusive else since_ns
    if now_ns < from_ns:
        return Hold(group["epoch"], 0, from_ns)
    if left_ms is None:
        return Hold(group["epoch"])
    return Hold(group["epoch"], now_ns + min(terms.lease_ns, math.floor(left_ms * NS_PER_MS) - ROUNDING_NS))
