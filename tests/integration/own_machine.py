"""`twinbeat` on a machine of its own: `python own_machine.py FOLDER run ...` reads FOLDER/proc and FOLDER/sys.

Two agents on one computer share its processors and sensors. Here each has its own, so that what else the computer does
decides nothing. Only where the files lie differs; who reads them, and what follows, is the product's.
"""
from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from twinbeat import cli
from twinbeat.health import load
from twinbeat.health import service as health
from twinbeat.warning import service as warning

if __name__ == "__main__":
    root = Path(sys.argv.pop(1))
    meter = partial(load.LoadMeter, root / "proc" / "stat", cpus=1)
    load.LoadMeter = health.LoadMeter = meter  # type: ignore[misc,assignment]
    warning.Machine = partial(warning.Machine, root=root)  # type: ignore[misc,assignment]
    sys.exit(cli.main())
