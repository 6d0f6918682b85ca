"""How busy this machine's processors are, from the kernel's own count."""
from __future__ import annotations

import os
from collections import deque
from pathlib import Path

STAT = Path("/proc/stat")
SAMPLES = 6
"""With one sample a second: the load of the last five seconds."""
IDLE, IOWAIT, GUEST = 3, 4, 8
"""Columns of the cpu line. Guest time is in user time already."""
RUNNING = b"procs_running"
STAT_BYTES_MAX = 1 << 20


class CpuTimes:
    """Processor time between two readings."""

    def __init__(self, path: Path = STAT, samples: int = SAMPLES) -> None:
        self._path = path
        self._seen: deque[tuple[int, int]] = deque(maxlen=samples)

    def sample(self) -> float | None:
        """Busy share in percent from the oldest reading kept to now; None at the first. Raises OSError, ValueError."""
        self._seen.append(self._read())
        (busy, total), (old_busy, old_total) = self._seen[-1], self._seen[0]
        if total <= old_total:
            return None
        return min(100.0, max(0.0, 100.0 * (busy - old_busy) / (total - old_total)))

    def _read(self) -> tuple[int, int]:
        with self._path.open("rb") as file:
            words = file.readline().split()
        if len(words) <= IDLE + 1 or words[0] != b"cpu":
            raise ValueError(f"{self._path} does not begin with the processors' times")
        times = [int(word) for word in words[1 : GUEST + 1]]
        total = sum(times)
        return total - sum(times[IDLE : IOWAIT + 1]), total


class LoadMeter:
    """Load of the machine in percent: the larger of processor time and run queue, both over the last five seconds.

    The run queue is the mean number of tasks that run or want to, this look itself not counted: 100 is one for each
    processor. Processor time alone tells nothing of work that waits for a moment of it.
    """

    def __init__(self, path: Path = STAT, cpus: int | None = None, times: CpuTimes | None = None) -> None:
        self._path = path
        self._cpus = cpus or os.cpu_count() or 1
        self._times = times or CpuTimes(path)
        self._running: deque[int] = deque(maxlen=SAMPLES - 1)

    def sample(self) -> float | None:
        """Percent, 0 to 100; None at the first look. Raises OSError, ValueError."""
        self._running.append(max(0, self._runnable() - 1))
        busy = self._times.sample()
        if busy is None:
            return None
        waiting = 100.0 * sum(self._running) / len(self._running) / self._cpus
        return min(100.0, max(busy, waiting))

    def _runnable(self) -> int:
        with self._path.open("rb") as file:
            for line in file.read(STAT_BYTES_MAX).splitlines():
                if line.startswith(RUNNING):
                    return int(line.split()[1])
        return 0                             # a kernel that does not tell: processor time alone counts
