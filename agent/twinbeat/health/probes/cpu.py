"""Are the processors not too busy?"""
from __future__ import annotations

from pathlib import Path

from twinbeat.config_check import CpuCheck
from twinbeat.health.load import STAT, CpuTimes
from twinbeat.health.probe import Measured, os_reason, unavailable


class CpuProbe:
    """Busy share of all processors between two looks."""

    blocking = False

    def __init__(self, check: CpuCheck, path: Path = STAT) -> None:
        self._max = check.max_percent
        self._times = CpuTimes(path, samples=2)

    def measure(self) -> Measured:
        """Look once; the first look only begins to count."""
        limit = f"at most {self._max:g} %"
        try:
            percent = self._times.sample()
        except OSError as error:
            return unavailable(f"the processors' times cannot be read: {os_reason(error)}")
        except ValueError as error:
            return unavailable(str(error))
        if percent is None:
            return Measured(None, "not measured yet", limit)
        return Measured(percent <= self._max, f"processors {percent:.0f} % busy", limit, figure=percent)

    def close(self) -> None:
        """Nothing is held."""
