"""Plain words for what the system did not permit."""
from __future__ import annotations

import os
import resource

CAP_IPC_LOCK = 14


def memory_may_be_locked() -> bool:
    """Locking all memory under a limit makes later allocations fail: only without one, or with CAP_IPC_LOCK."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            caps = next(line for line in status if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return False
    return bool(int(caps.split()[1], 16) >> CAP_IPC_LOCK & 1)


def scheduling_warnings(
    *, decider: int, receivers: int, gate: int, own_table: int, memory: int, gate_memory: int, fifo: bool
) -> list[str]:
    """One sentence for each errno that is not 0, with the consequence and the remedy."""
    found = []
    if not fifo:
        found.append("real-time scheduling is switched off: set check_ms to 15 or more")
    for errno, who in ((gate, "the gate"), (decider, "the deciding thread"), (receivers, "a receiving thread")):
        if errno:
            found.append(
                f"{who} runs without SCHED_FIFO ({os.strerror(errno)}): under load it may be late by 15 ms and more;"
                " give the service CAP_SYS_NICE or LimitRTPRIO=60"
            )
    for errno, who in ((memory, "the agent"), (gate_memory, "the gate")):
        if errno:
            found.append(
                f"the memory of {who} is not locked: it may wait for the disk when memory is short;"
                " give the service CAP_IPC_LOCK or LimitMEMLOCK=infinity"
            )
    if own_table:
        found.append(
            f"the deciding thread has no descriptor table of its own ({os.strerror(own_table)}): the gate learns of"
            " the agent's death later, 0.1 ms for each MiB of its memory"
        )
    return found
