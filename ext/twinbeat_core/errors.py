"""The errors of twinbeat. Everything an operator can act on derives from TwinbeatError."""
from __future__ import annotations


class TwinbeatError(Exception):
    """Base of all errors raised on purpose. Its text names the place, the value and the remedy."""

    exit_code = 70


class SettingsError(TwinbeatError, ValueError):
    """Settings that contradict each other; `problems` holds one sentence for each relation broken."""

    exit_code = 3

    def __init__(self, problems: list[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class FrameError(TwinbeatError, ValueError):
    """Bytes that are no valid frame of this pair; `code` is the WireCode."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


class SnapshotError(TwinbeatError, ValueError):
    """Bytes that are no snapshot of a core with these settings."""
