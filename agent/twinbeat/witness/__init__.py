"""`twinbeat witness`: the third vote of many pairs, over a broker."""
from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(words: Sequence[str]) -> int:
    """The command line after `twinbeat witness`; returns the exit code."""
    from twinbeat.witness.command import main as run

    return run(words)
