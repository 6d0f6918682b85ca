"""How busy this machine's processors are, from the kernel's own count."""
from __future__ import annotations

from collections import deque
from pathlib import Path

STAT = Path("/proc/stat")
SAMPLES = 6
"""With one sample a second: the load of the last five seconds."""
IDLE, IOWAIT, GUEST = 3, 4, 8
"""Columns of the cpu line. Guest time is in user time already."""


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
