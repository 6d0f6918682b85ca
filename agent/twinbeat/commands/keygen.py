"""`twinbeat keygen`: a new key for a pair."""
from __future__ import annotations

from typing import TYPE_CHECKING

from twinbeat.keys import write_key

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """Write the key and say what to do with it; the key itself is not shown."""
    write_key(arguments.path, force=arguments.force)
    print(f"{arguments.path}: a new key, mode 0600; copy it to the other gateway over a channel you trust")
    return 0
