"""Keeps one core busy at ordinary priority until its parent ends: the load of `--load`."""
from __future__ import annotations

import json
import sys

from twinbeat.demo import procs


def main() -> int:
    """`python -m twinbeat.demo.burn PID_OF_PARENT`; does not return while the parent lives."""
    alive = procs.die_with_parent(int(sys.argv[1]))
    work = {str(number): list(range(10)) for number in range(500)}
    while alive:
        json.loads(json.dumps(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
