"""`twinbeat version`."""
from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from twinbeat.cli_dispatch import print_json
from twinbeat.version import __version__

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """Everything a report of a fault should name."""
    facts = {
        "twinbeat": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
    if arguments.json:
        print_json(facts)
    else:
        print(f"twinbeat {__version__} (Python {facts['python']}, Linux {facts['kernel']}, {facts['machine']})")
    return 0
