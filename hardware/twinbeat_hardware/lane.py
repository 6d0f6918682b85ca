"""The slow outputs of one group, switched in order by a thread of their own.

The newest word counts. A stop calls off the start that is running and drops a start that waits; a running stop is
always let finish, and a waiting stop is never dropped, so that nothing which may have been started stays
unstopped. Starting goes in the configured order, stopping in reverse. A command that fails does not keep the next
one from being run: it is reported, and what follows from it is decided elsewhere.
"""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .command import CallOff, CommandResult, Outcome
from .errors import OutputError
from .output import SlowOutput


class SlowReport(NamedTuple):
    """One command has ended: of which output, for which word."""

    output: str
    on: bool
    epoch: int
    cause: str
    result: CommandResult


class _Job(NamedTuple):
    on: bool
    epoch: int
    cause: str
    call_off: CallOff


class SlowLane:
    """Runs start and stop of a group's slow outputs. `report` is called in the lane's thread and must not block."""

    def __init__(self, outputs: Sequence[SlowOutput[Any]], report: Callable[[SlowReport], None]) -> None:
        self._outputs = tuple(outputs)
        self._report = report
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: _Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="twinbeat-slow", daemon=True)
        self._thread.start()

    def drive(self, on: bool, epoch: int, cause: str) -> None:
        """Orders a start or a stop; returns at once. After `close`: no effect."""
        with self._changed:
            if self._closed:
                return
            self._drop_waiting_starts()
            running = self._running
            if running is not None and running.on:
                running.call_off.set()
            if not on and self._waiting:  # a stop waits already: one is enough, with the newer reason
                self._waiting.pop().call_off.close()
            self._waiting.append(_Job(on, epoch, cause, CallOff()))
            self._changed.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """True once nothing runs or waits."""
        with self._changed:
            return self._changed.wait_for(lambda: self._running is None and not self._waiting, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Ends the lane: waiting starts are dropped, a running start is called off, stops are finished.

        False: a command was still running after `timeout_s`; it is left behind with its own deadline.
        """
        with self._changed:
            self._closed = True
            self._drop_waiting_starts()
            if self._running is not None and self._running.on:
                self._running.call_off.set()
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _drop_waiting_starts(self) -> None:
        for job in [job for job in self._waiting if job.on]:
            self._waiting.remove(job)
            job.call_off.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                job = self._running = self._waiting.popleft()
            for output in self._outputs if job.on else reversed(self._outputs):
                if job.call_off.is_set:
                    break
                self._report(SlowReport(output.name, job.on, job.epoch, job.cause, _switch(output, job)))
            with self._changed:
                self._running = None
                job.call_off.close()
                self._changed.notify_all()


def _switch(output: SlowOutput[Any], job: _Job) -> CommandResult:
    command, argv = (output.start, output.start_argv()) if job.on else (output.stop, output.stop_argv())
    try:
        return command(job.epoch, job.cause, job.call_off)
    except OutputError as problem:  # closed under our hands: the lane must live to stop the others
        return CommandResult(Outcome.FAILED, argv, None, 0.0, (str(problem),))
