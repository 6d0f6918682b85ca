"""What every probe is: something that looks once at one thing and says what it found."""
from __future__ import annotations

from typing import NamedTuple, Protocol


class Measured(NamedTuple):
    """What one look found.

    ok      the verdict; None: nothing can be said yet, which counts neither way
    value   what was measured, in words with its unit; empty where nothing could be
    limit   what it is held against, in words
    error   why nothing could be measured; empty where something was
    figure  the measured figure, in the unit of the check's limit; None where there is none
    """

    ok: bool | None
    value: str
    limit: str = ""
    error: str = ""
    figure: float | None = None

    def text(self) -> str:
        """Value and limit, or the error, for a sentence."""
        if self.error:
            return self.error
        return f"{self.value}, {self.limit}" if self.limit else self.value


class Probe(Protocol):
    """One check's eye. `blocking`: it may wait for a device, a disk, a network or another process."""

    @property
    def blocking(self) -> bool:
        """Whether it needs a thread."""

    def measure(self) -> Measured:
        """Look once. What it raises counts as failed, with the text as the error."""

    def close(self) -> None:
        """Let go what is held between two looks, and end what runs."""


class Looker:
    """What most probes share: they hold nothing, and may have to wait."""

    blocking = True

    def close(self) -> None:
        """Nothing is held."""


def unavailable(reason: str) -> Measured:
    """Nothing could be measured: counts as failed."""
    return Measured(False, "", error=reason)


def os_reason(error: OSError) -> str:
    """Why the system refused, without errno and path."""
    return error.strerror or type(error).__name__
