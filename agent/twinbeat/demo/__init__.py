"""`twinbeat demo`: two real agents on one machine, a fault, and what two relay boards saw of it.

Every figure is taken from the bytes that the relay boards received, never from what the agents say.
"""
from __future__ import annotations

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """The command line of the demo; returns the exit code (0 fine, 1 a promise was broken, 5 not set up)."""
    from twinbeat.demo.command import run

    return run(argv)
