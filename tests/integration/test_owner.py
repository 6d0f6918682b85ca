"""Two real agents share eight shards, an application runs beside each: no key is ever handled by both.

Whether two handled a key at the same time is asserted without any tolerance. How long nobody handled one is held
against the computed bound, a poll's period, and what this machine itself stood still.
"""
from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from keys_rig import PERIOD_MS, KeysRig, kill, longest_gap_ms, overlaps, wait_for

pytestmark = pytest.mark.integration

STALL_MS = 250.0
"""What machines like this one stand still now and then; an application is a program like any other."""
STEADY_S = 1.0
BOTH = {"gw-a", "gw-b"}


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def settled(rig: KeysRig) -> int:
    """Both poll, every device is polled; returns the moment from which that is so."""
    rig.spread()
    begin_ns = now_ns()
    wait_for(lambda: rig.handled(BOTH, begin_ns), "both gateways poll their part")
    begin_ns = now_ns()
    time.sleep(STEADY_S)
    assert rig.handled(BOTH, begin_ns)
    return begin_ns


def judge(rig: KeysRig, begin_ns: int, bound_ms: float, node: str) -> float:
    """Nothing twice; nothing for longer than the bound. Returns the longest time by nobody in ms."""
    items = rig.items()
    assert overlaps(items) == []
    longest_ms = max(longest_gap_ms(items, begin_ns, items[-1].begin_ns).values())
    print(f"{node}: longest time by nobody {longest_ms:.1f} ms, bound {bound_ms:g} ms, period {PERIOD_MS:g} ms")
    assert longest_ms <= bound_ms + PERIOD_MS + STALL_MS
    return longest_ms


def test_an_agent_is_killed_and_comes_back(tmp_path: Path) -> None:
    with KeysRig(tmp_path) as rig:
        begin_ns = settled(rig)
        bound_ms = rig.ask("gw-b", "owner", key="dev-000")["nobody_ms_max"]
        homes = rig.owners("gw-b")
        assert set(homes) == BOTH
        killed_ns = kill(rig.agents["gw-a"].pid, signal.SIGKILL)
        wait_for(lambda: rig.handled({"gw-b"}, killed_ns + int((bound_ms + 500) * 1e6)), "gw-b polls all")
        moved = {f"lines.{shard}" for shard, home in enumerate(homes) if home == "gw-a"}
        kept = {(item.unit, item.epoch) for item in rig.items() if item.begin_ns > begin_ns and item.unit not in moved}
        assert len(kept) == homes.count("gw-b"), "what the survivor had did not move"
        taken_ns = min(item.begin_ns for item in rig.items() if item.node == "gw-b" and item.unit in moved
                       and item.begin_ns > killed_ns)
        assert taken_ns - killed_ns >= rig.ask("gw-b", "watch")["wait_ms"] * 1e6, "leases of gw-a could still last"
        judge(rig, begin_ns, bound_ms, "kill -9 of gw-a")
        rig.agents["gw-a"].wait_ended()
        rig.agents["gw-a"].kill()
        rig.agents["gw-a"].start()
        rig.agents["gw-a"].wait_ready()
        wait_for(lambda: rig.owners("gw-a") == ["gw-b"] * 8, "gw-a sees who has all")
        wait_for(lambda: rig.watched("gw-a"), "gw-a's application is back")
        shard = homes.index("gw-a")
        rig.hand_over(shard, "gw-a")
        handed_ns = now_ns()
        wait_for(lambda: rig.handled(BOTH, handed_ns), "both poll again")
        judge(rig, begin_ns, bound_ms, "and a planned handover back")


def test_an_agent_is_frozen(tmp_path: Path) -> None:
    """The application beside a frozen agent lives, hears nothing, and stops at its deadline."""
    with KeysRig(tmp_path) as rig:
        begin_ns = settled(rig)
        bound_ms = rig.ask("gw-b", "owner", key="dev-000")["nobody_ms_max"]
        stopped_ns = kill(rig.agents["gw-a"].pid, signal.SIGSTOP)
        wait_for(lambda: rig.handled({"gw-b"}, stopped_ns + int((bound_ms + 500) * 1e6)), "gw-b polls all")
        last_ns = max(item.end_ns for item in rig.items() if item.node == "gw-a")
        assert last_ns - stopped_ns < bound_ms * 1e6
        kill(rig.agents["gw-a"].pid, signal.SIGCONT)
        time.sleep(STEADY_S)
        judge(rig, begin_ns, bound_ms, "SIGSTOP of gw-a")


def test_an_application_is_frozen(tmp_path: Path) -> None:
    """It holds its keys, for its agent lives; what it finished after its deadline it does not keep."""
    with KeysRig(tmp_path) as rig:
        settled(rig)
        for _ in range(5):
            kill(rig.pollers["gw-a"].pid, signal.SIGSTOP)
            time.sleep(0.1)
            killed_ns = kill(rig.pollers["gw-a"].pid, signal.SIGCONT)
            wait_for(lambda since_ns=killed_ns: rig.handled(BOTH, since_ns), "both poll again")
        kill(rig.pollers["gw-a"].pid, signal.SIGSTOP)
        killed_ns = kill(rig.agents["gw-a"].pid, signal.SIGKILL)
        wait_for(lambda: rig.handled({"gw-b"}, killed_ns + int(5e8)), "gw-b polls all")
        kill(rig.pollers["gw-a"].pid, signal.SIGCONT)
        time.sleep(STEADY_S)
        assert overlaps(rig.items()) == []
