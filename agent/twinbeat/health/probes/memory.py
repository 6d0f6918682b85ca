"""Is enough memory available?"""
from __future__ import annotations

from pathlib import Path

from twinbeat.config_check import MemoryCheck
from twinbeat.health.probe import Measured, os_reason, unavailable

MEMINFO = Path("/proc/meminfo")


class MemoryProbe:
    """What the kernel could give without swapping, as a share of all."""

    blocking = False

    def __init__(self, check: MemoryCheck, path: Path = MEMINFO) -> None:
        self._min = check.min_free_percent
        self._path = path

    def measure(self) -> Measured:
        """Look once."""
        try:
            lines = self._path.read_text().splitlines()
        except OSError as error:
            return unavailable(f"{self._path} cannot be read: {os_reason(error)}")
        known = {words[0]: words[1] for words in (line.split() for line in lines) if len(words) > 1}
        try:
            total, free = int(known["MemTotal:"]), int(known["MemAvailable:"])
            percent = 100 * free / total
        except (KeyError, ValueError, ZeroDivisionError):
            return unavailable(f"{self._path} does not say how much memory is available")
        value = f"{percent:.1f} % of the memory available ({free // 1024} MiB)"
        return Measured(percent >= self._min, value, f"at least {self._min:g} %", figure=percent)

    def close(self) -> None:
        """Nothing is held."""
