"""Is the wall clock synchronised? No decision looks at it, but logs, records and certificates do."""
from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from twinbeat.config_check import ClockCheck
from twinbeat.health.probe import Measured, unavailable

UNSYNCHRONISED = 0x40
ERROR_STATE = 5
SPARE_BYTES = 256


class Timex(ctypes.Structure):
    """The beginning of the kernel's struct, and more room than it needs."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("spare", ctypes.c_char * SPARE_BYTES),
    ]


def ask_kernel() -> tuple[int, int, int]:
    """(state, status bits, largest error in microseconds). Sets nothing. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    found = Timex()
    state = library.adjtimex(ctypes.byref(found))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(state), int(found.status), int(found.maxerror)


class ClockProbe:
    """Asks the kernel, which every time service keeps informed."""

    blocking = False

    def __init__(self, check: ClockCheck, ask: Callable[[], tuple[int, int, int]] = ask_kernel) -> None:
        self._max_ms = check.max_error_ms
        self._ask = ask

    def measure(self) -> Measured:
        """Look once."""
        try:
            state, status, error_us = self._ask()
        except (OSError, AttributeError) as error:
            return unavailable(f"the kernel does not tell of its clock: {error}")
        limit = "must be synchronised" if self._max_ms is None else f"error at most {self._max_ms:g} ms"
        error_ms = error_us / 1000
        if state == ERROR_STATE or status & UNSYNCHRONISED:
            return Measured(False, "clock not synchronised", limit, figure=error_ms)
        good = self._max_ms is None or error_ms <= self._max_ms
        return Measured(good, f"clock synchronised, error below {error_ms:.1f} ms", limit, figure=error_ms)

    def close(self) -> None:
        """Nothing is held."""
