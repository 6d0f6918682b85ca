"""`twinbeat keygen`: a new key, for a pair or an operator."""
from __future__ import annotations

from typing import TYPE_CHECKING

from twinbeat.keys import write_key

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """Write the key and say what to do with it; the key itself is not shown."""
    write_key(arguments.path, force=arguments.force)
    print(
        f"{arguments.path}: a new key, mode 0600; every gateway of the pair needs a copy, over a channel you trust, "
        "that its agent's user can read"
    )
    return 0
