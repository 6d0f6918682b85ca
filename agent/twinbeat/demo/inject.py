"""Injects faults: writes the cuts and sends the signals of one fault within microseconds of one time stamp.

A process of its own at SCHED_FIFO above everything else of the rig, so that the stamp is not older than the fault.
It also watches over the agents: when the demo itself is killed, it ends what it was told to watch.
"""
from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys

from twinbeat.demo import procs
from twinbeat.demo.helper import Control, Json
from twinbeat.demo.switchboard import Switchboard

FIFO_PRIORITY = 85


class Injector:
    """Holds a pidfd for every watched process: a signal can never reach a stranger with a reused number."""

    def __init__(self, board: Switchboard) -> None:
        self.board = board
        self.watched: dict[int, int] = {}

    def handle(self, request: Json) -> Json:
        """{"watch": [pid..]} | {"forget": [pid..]} | {"flags": {place: 0/1}, "signals": [[pid, number]..]}."""
        for pid in request.get("watch", []):
            if pid not in self.watched:
                self.watched[pid] = os.pidfd_open(pid)
        for pid in request.get("forget", []):
            self._forget(pid)
        flags = [(int(place), bool(on)) for place, on in request.get("flags", {}).items()]
        targets = [(self.watched[pid], signal.Signals(number)) for pid, number in request.get("signals", [])]
        at_ns = procs.now_ns()
        for place, on in flags:
            self.board.set(place, on)
        for handle, number in targets:
            signal.pidfd_send_signal(handle, number)
        return {"at_ns": at_ns, "done_ns": procs.now_ns()}

    def end_all(self) -> None:
        """SIGKILL for everything still watched."""
        for pid in list(self.watched):
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.watched[pid], signal.SIGKILL)
            self._forget(pid)

    def _forget(self, pid: int) -> None:
        handle = self.watched.pop(pid, None)
        if handle is not None:
            os.close(handle)


def main() -> int:
    """`python -m twinbeat.demo.inject --board FILE`."""
    parser = argparse.ArgumentParser(prog="twinbeat.demo.inject")
    parser.add_argument("--board", required=True)
    options = parser.parse_args()
    control = Control()
    injector = Injector(Switchboard(options.board))
    fifo = procs.prepare_helper(FIFO_PRIORITY, outlives_parent=True)
    control.send(ready=True, fifo=fifo)
    while not control.ended:
        select.select([control.fd], [], [])
        for request in control.read():
            control.answer(request, injector.handle)
    injector.end_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
