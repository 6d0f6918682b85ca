"""`twinbeat version`."""
from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from twinbeat.cli_dispatch import print_json
from twinbeat.version import __version__

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """Everything a report of a fault should name; as JSON also what `twinbeat upgrade-check --with` takes."""
    if arguments.json:
        from twinbeat.upgrade.facts import as_data, own_facts

        print_json(as_data(own_facts(arguments.config)))
    else:
        print(f"twinbeat {__version__} (Python {platform.python_version()}, Linux {platform.release()}, "
              f"{platform.machine()})")
    return 0
