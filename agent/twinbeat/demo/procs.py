"""What the rig asks of Linux: clock, priorities, what a process uses, and that no helper outlives the demo."""
from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MCL_CURRENT_FUTURE_ONFAULT = 1 | 2 | 4
RT_BUDGET_US = 500_000    # real-time work without one sleep before the kernel ends the helper: a guard against a spin

_libc = ctypes.CDLL(None, use_errno=True)


def now_ns() -> int:
    """CLOCK_BOOTTIME, the one clock of all stamps of the rig and of the agents."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def set_fifo(priority: int) -> bool:
    """SCHED_FIFO for the calling thread; False where that is not permitted."""
    with contextlib.suppress(OSError, ValueError):
        _soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        resource.setrlimit(resource.RLIMIT_RTTIME, (RT_BUDGET_US, hard))
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError:
        return False
    return True


def give_fifo(pid: int, priority: int) -> bool:
    """SCHED_FIFO for a child that stands for a machine of its own; False where that is not permitted."""
    try:
        _soft, hard = resource.prlimit(pid, resource.RLIMIT_RTTIME)
        resource.prlimit(pid, resource.RLIMIT_RTTIME, (RT_BUDGET_US, hard))
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(priority))
    except (OSError, ValueError):
        return False
    return True


def fifo_permitted() -> bool:
    """Whether processes of this user may use SCHED_FIFO; asked of a child, this process keeps its scheduling."""
    child = os.fork()
    if child == 0:
        os._exit(0 if set_fifo(1) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def die_with_parent(parent: int | None = None) -> bool:
    """Asks the kernel to kill this process when its parent ends, however that ends; False: `parent` is gone already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return parent is None or os.getppid() == parent


def set_subreaper(on: bool) -> None:
    """Orphans of our children (a gate whose worker was killed) become our children, so that we see them end."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def prepare_helper(priority: int, outlives_parent: bool = False) -> bool:
    """Called first by every helper process: dies with its parent, ignores Ctrl-C, SCHED_FIFO, no collector pauses."""
    if not outlives_parent:
        die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    _libc.mlockall(MCL_CURRENT_FUTURE_ONFAULT)
    return set_fifo(priority)


def is_alive(pid: int) -> bool:
    """False too for a process that has ended and was not yet waited for."""
    try:
        return _stat_fields(pid)[0] not in ("Z", "X")
    except OSError:
        return False


def is_stopped(pid: int) -> bool:
    """Whether the process stands still after SIGSTOP."""
    try:
        return _stat_fields(pid)[0] in ("T", "t")
    except OSError:
        return False


def reap(pid: int) -> None:
    """Collects an ended child (or adopted orphan) if there is one; never waits."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def cpu_ns(pid: int) -> int:
    """CPU time used so far by all threads of the process, in nanoseconds; 0 when it is gone."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _cpu_ticks_ns(pid)
    return total


def rss_mib(pid: int) -> float | None:
    """Resident memory in MiB, None when it cannot be read."""
    return _memory_mib(f"/proc/{pid}/status", "VmRSS:")


def pss_mib(pid: int) -> float | None:
    """Proportional share of memory in MiB, None when it cannot be read (another user's process)."""
    return _memory_mib(f"/proc/{pid}/smaps_rollup", "Pss:")


def machine_busy_ns() -> tuple[int, int]:
    """(busy, total) CPU time of all cores since boot, in nanoseconds."""
    with open("/proc/stat", encoding="ascii") as stat:
        values = [int(value) for value in stat.readline().split()[1:9]]
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return (sum(values) - values[3] - values[4]) * tick_ns, sum(values) * tick_ns


def _stat_fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def _cpu_ticks_ns(pid: int) -> int:
    try:
        fields = _stat_fields(pid)
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def _memory_mib(path: str, label: str) -> float | None:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(label):
                return int(line.split()[1]) / 1024
    except OSError:
        return None
    return None


def cpu_count() -> int:
    """Cores of the machine."""
    return os.cpu_count() or 1


def cpu_model() -> str:
    """What kind of machine: the board's name on a Raspberry Pi, else the processor's."""
    with contextlib.suppress(OSError):
        return Path("/proc/device-tree/model").read_text().strip("\0\n")
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"
