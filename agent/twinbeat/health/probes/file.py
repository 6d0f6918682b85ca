"""Was a file written not long ago?"""
from __future__ import annotations

import os
import time

from twinbeat.config_check import FileCheck
from twinbeat.health.probe import Looker, Measured, os_reason, unavailable
from twinbeat.run_loop import boottime_ns


class FileProbe(Looker):
    """Ages on the monotonic clock from the moment a change is seen: setting the wall clock makes no file old or new.

    Only the age at the first look comes from the wall clock, because nothing else tells of the time before.
    """

    def __init__(self, check: FileCheck) -> None:
        self._path = check.path
        self._max_s = check.max_age_s
        self._seen: tuple[int, int, int] | None = None
        self._changed_ns = 0

    def measure(self) -> Measured:
        """Look once."""
        limit = f"at most {self._max_s:g} s"
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._seen = None
            return Measured(False, f"{self._path} is not there", limit)
        except OSError as error:
            return unavailable(f"{self._path} cannot be looked at: {os_reason(error)}")
        now_ns = boottime_ns()
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._seen is None:
            self._changed_ns = now_ns - max(0, time.time_ns() - found.st_mtime_ns)
        elif seen != self._seen:
            self._changed_ns = now_ns
        self._seen = seen
        age_s = (now_ns - self._changed_ns) / 1e9
        return Measured(age_s <= self._max_s, f"{self._path} is {age_s:.1f} s old", limit, figure=age_s)
