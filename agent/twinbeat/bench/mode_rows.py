"""The redundancy modes in the benchmark: their runs, and the rows made from them."""
from __future__ import annotations

from typing import Any

from twinbeat.bench.runs import Results, Row, Run, at_most, doubles, figure, no_doubles, shown

HOT_SPARE = ["--mode", "hot-spare"]
MODE_RUNS = [
    Run("hot-hot", ["--mode", "hot-hot", "--fault", "kill"], (60, 4)),
    Run("hot-spare", [*HOT_SPARE, "--fault", "kill"], (60, 4)),
    Run("partition", [*HOT_SPARE, "--fault", "partition"], (20, 3), (1, 1)),
    Run("handover-64", ["--groups", "64", "--fault", "handover"], (50, 4)),
]
MODE_MEASURES = ["many-groups", "upgrade", "shards"]
MODE_NAMES = [*(run.name for run in MODE_RUNS), *MODE_MEASURES]


def disturbed(result: dict[str, Any]) -> str:
    """"0 of 240": units that nothing had to move, and how often one was switched off all the same."""
    kept = result["units"] * result["trials"] - result["lost_units"]
    return f"{result['disturbed_units']} of {kept}"


def taken_over(result: dict[str, Any], *places: str) -> str:
    """From the kill until a unit is driven again, and for how much of that its board was off."""
    return f"{shown(figure(result, 'takeover_ms', *places))}, {shown(figure(result, 'gap_ms', 'p50'))}"


def added(results: Results) -> str:
    """How much longer a pair with 64 shards takes, with both figures."""
    found = results["many-groups"]
    few, many = (figure(found[name], "last_ms", "p50")[0] for name in ("few", "many"))
    one = figure(found["many"], "unit_ms", "p50")[0]
    return (f"{shown([found['added_last_ms']])} (all lost ones {shown([many])}, a single one in the middle "
            f"{shown([one])}, of one group {shown([few])})")


MODE_ROWS = [
    Row("hot-hot, 8 shards, kill -9: a lost shard driven again p50 / p99, undriven p50; shards of the survivor "
        "disturbed", ["hot-hot"], "5 / 15 ms, –; 0",
        lambda r: f"{taken_over(r['hot-hot'], 'p50', 'p99')}; {disturbed(r['hot-hot'])}",
        lambda r: at_most(figure(r["hot-hot"], "takeover_ms", "p50", "p99"), [5, 15]) and no_doubles(r, "hot-hot")
        and r["hot-hot"]["disturbed_units"] == r["hot-hot"]["no_driver_trials"] == 0),
    Row("hot-hot with 64 shards, kill -9 in turn with 1: added until all lost ones are driven again, p50",
        ["many-groups"], "1 ms", added,
        lambda r: at_most([r["many-groups"]["added_last_ms"]], [1]) and no_doubles(r, "many-groups")),
    Row("hot-spare, three agents, kill -9 of a driver: driven again p50, undriven p50; others disturbed", ["hot-spare"],
        "–, 5 ms; 0",
        lambda r: f"{taken_over(r['hot-spare'], 'p50')}; {disturbed(r['hot-spare'])}",
        lambda r: at_most(figure(r["hot-spare"], "gap_ms", "p50"), [5]) and no_doubles(r, "hot-spare")
        and r["hot-spare"]["disturbed_units"] == r["hot-spare"]["no_driver_trials"] == 0),
    Row("hot-spare, every link of one node cut, of each in turn: double-driver trials; nobody in the end",
        ["partition"], "0; 0", lambda r: f"{doubles(r['partition'])}; {r['partition']['no_driver_trials']}",
        lambda r: no_doubles(r, "partition") and r["partition"]["no_driver_trials"] == 0),
    Row("planned handover of 1 and of 64 groups: undriven p50 of each", ["handover", "handover-64"], "2 ms; 4 ms",
        lambda r: "; ".join(shown(figure(r[name], "gap_ms", "p50")) for name in ("handover", "handover-64")),
        lambda r: at_most(figure(r["handover"], "gap_ms", "p50") + figure(r["handover-64"], "gap_ms", "p50"), [2, 4])
        and no_doubles(r, "handover", "handover-64")),
    Row("rolling upgrade of a pair under traffic: unplanned gaps; undriven p50 of the planned handovers", ["upgrade"],
        "0; –",
        lambda r: f"{r['upgrade']['unplanned_gaps']} in {r['upgrade']['upgrades']} upgrades; "
        f"{shown(figure(r['upgrade'], 'gap_ms', 'p50'))}",
        lambda r: r["upgrade"]["unplanned_gaps"] == r["upgrade"]["unplanned_causes"] == 0
        and no_doubles(r, "upgrade")),
    Row("shards with equal weights: two nodes differ by at most; keys moved when one leaves, by the least possible",
        ["shards"], "1 shard; 1.0 x",
        lambda r: f"{r['shards']['uneven']} shard; {r['shards']['moved']:.2f} x",
        lambda r: r["shards"]["uneven"] <= 1 and r["shards"]["moved"] <= 1.0),
]
