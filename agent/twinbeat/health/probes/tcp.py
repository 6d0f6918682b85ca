"""Does a port take connections?"""
from __future__ import annotations

import socket

from twinbeat.config_check import TcpCheck
from twinbeat.health.probe import Looker, Measured, os_reason, unavailable
from twinbeat.run_loop import boottime_ns


class TcpProbe(Looker):
    """Connects and hangs up at once; tries every address of the name within the deadline."""

    def __init__(self, check: TcpCheck) -> None:
        self._host, self._port = check.host, check.port
        self._limit_ms = check.answer_ms

    def measure(self) -> Measured:
        """Look once."""
        place, begun_ns = f"{self._host}:{self._port}", boottime_ns()
        limit = f"within {self._limit_ms} ms"
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            return unavailable(f"{self._host} cannot be looked up: {getattr(error, 'strerror', None) or error}")
        why = "no address"
        for family, kind, proto, _, address in found:
            left_s = self._limit_ms / 1000 - (boottime_ns() - begun_ns) / 1e9
            if left_s <= 0:
                why = "no answer"
                break
            with socket.socket(family, kind, proto) as connection:
                connection.settimeout(left_s)
                try:
                    connection.connect(address)
                except TimeoutError:
                    why = "no answer"
                except OSError as error:
                    why = os_reason(error)
                else:
                    took_ms = (boottime_ns() - begun_ns) / 1e6
                    return Measured(True, f"{place} took a connection after {took_ms:.1f} ms", limit, figure=took_ms)
        return Measured(False, f"{place}: {why}", limit)
