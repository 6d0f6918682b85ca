"""Is enough of a file system free?"""
from __future__ import annotations

import os

from twinbeat.config_check import DiskCheck
from twinbeat.health.probe import Looker, Measured, os_reason, unavailable


class DiskProbe(Looker):
    """The share of the blocks that this user may still write."""

    def __init__(self, check: DiskCheck) -> None:
        self._path = check.path
        self._min = check.min_free_percent

    def measure(self) -> Measured:
        """Look once."""
        try:
            found = os.statvfs(self._path)
        except OSError as error:
            return unavailable(f"{self._path} cannot be looked at: {os_reason(error)}")
        usable = found.f_blocks - found.f_bfree + found.f_bavail
        if usable <= 0:
            return unavailable(f"{self._path} is on a file system without blocks of its own")
        percent = 100 * found.f_bavail / usable
        free_mib = found.f_bavail * found.f_frsize >> 20
        value = f"{percent:.1f} % of {self._path} free ({free_mib} MiB)"
        return Measured(percent >= self._min, value, f"at least {self._min:g} %", figure=percent)
