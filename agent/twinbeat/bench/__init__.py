"""`twinbeat bench`: the figures of the README, measured here, beside keepalived where it is installed."""
from __future__ import annotations

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """The command line of the benchmark; returns 0 whenever it ran."""
    from twinbeat.bench.command import main as run

    return run(argv)
