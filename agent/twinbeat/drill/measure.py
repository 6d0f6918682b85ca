"""From both nodes' verdicts to the gap at a move. Pure."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from twinbeat.drill.report import Gap

Verdict = Mapping[str, Any]
NS_PER_MS = 1e6


def name_of(verdict: Verdict) -> str:
    """What a verdict is called in reports: node, group, epoch, new state."""
    return "/".join(str(verdict.get(key, "?")) for key in ("node", "group", "epoch", "to"))


def summary_of(verdict: Verdict) -> dict[str, Any]:
    """What the report keeps of a verdict."""
    keys = ("node", "group", "epoch", "from", "to", "cause", "by", "time", "boottime_ns", "measured", "sentence")
    return {"id": name_of(verdict), **{key: verdict[key] for key in keys if key in verdict}}


def taking(verdicts: Iterable[Verdict], group: str, taker: str, epoch: int) -> Verdict | None:
    """The verdict by which `taker` began to drive, above `epoch`."""
    return next((one for one in verdicts if one.get("node") == taker and one.get("group") == group
                 and one.get("to") == "ACTIVE" and epoch_of(one) > epoch), None)


def giving(verdicts: Iterable[Verdict], group: str, giver: str, epoch: int) -> Verdict | None:
    """The verdict by which `giver` let go of its term."""
    return next((one for one in verdicts if one.get("node") == giver and one.get("group") == group
                 and one.get("from") == "ACTIVE" and epoch_of(one) == epoch), None)


def epoch_of(verdict: Verdict) -> int:
    """Its epoch; -1 where it has none."""
    epoch = verdict.get("epoch")
    return epoch if type(epoch) is int else -1


def switched_ns(verdict: Verdict | None, way: Literal["on", "off"]) -> int | None:
    """When the gate had written the last output (CLOCK_BOOTTIME of that node); None where it did not say."""
    measured = verdict.get("measured") if verdict is not None else None
    if verdict is None or not isinstance(measured, dict):
        return None
    if f"decided_to_{way}_ms" in measured:
        ms = measured[f"decided_to_{way}_ms"]
    elif f"ordered_to_{way}_ms" in measured:
        ms = measured.get("decided_to_ordered_ms", 0.0) + measured[f"ordered_to_{way}_ms"]
    else:
        return None
    return int(verdict["boottime_ns"]) + round(float(ms) * NS_PER_MS)


def gap_between(group: str, giver: str, taker: str, *, off_ns: int | None, on_ns: int | None, one_clock: bool,
                bound_ms: float | None, since: str = "") -> Gap:
    """The gap from the giver's off to the taker's on.

    Exact only where both stamps come from one machine; else at most `bound_ms`, what the giver saw by its own clock.
    """
    if one_clock and off_ns is not None and on_ns is not None:
        ms = (on_ns - off_ns) / NS_PER_MS
        how = "BOTH DROVE AT ONCE" if ms < 0 else since or "both gates' own stamps, on one clock"
        return Gap(group=group, giver=giver, taker=taker, ms=ms, exact=True, how=how)
    if bound_ms is not None:
        return Gap(group=group, giver=giver, taker=taker, ms=max(0.0, bound_ms), exact=False,
                   how="by this gateway's clock, until the taker was seen to drive")
    return Gap(group=group, giver=giver, taker=taker, ms=None, exact=False, how="no way to the taker's own stamps")


def judged(gap: Gap, budget_ms: float | None) -> Gap:
    """With a word on the budget: a bound that is over it says nothing; below 0 both drove, which is never right."""
    within: bool | None = None
    if budget_ms is not None and gap.ms is not None:
        within = True if gap.ms <= budget_ms else False if gap.exact else None
    if gap.ms is not None and gap.ms < 0:
        within = False
    return msgspec.structs.replace(gap, within=within)
