"""The outputs that are switched by commands: after the fast ones, in order, beside the decisions."""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twinbeat_core.model import OutputCode
from twinbeat_hardware.command import Outcome
from twinbeat_hardware.lane import SlowLane, SlowReport
from twinbeat_hardware.output import SlowOutput

log = logging.getLogger("twinbeat.output")

FIRST_STOP_CAUSE = "START"


class SlowOutputs:
    """The slow outputs of all groups, one lane (thread) for each group that has some.

    `failed(group, epoch, code)` is called from a lane's thread when a command did not do its work; it is
    what bars this node from claiming. `names` are the groups' names.
    """

    def __init__(
        self,
        outputs: Mapping[int, Sequence[SlowOutput[Any]]],
        names: Sequence[str],
        failed: Callable[[int, int, int], None],
    ) -> None:
        self._names = names
        self._failed = failed
        self._lanes = {group: self._lane(group, items) for group, items in outputs.items() if items}

    def _lane(self, group: int, outputs: Sequence[SlowOutput[Any]]) -> SlowLane:
        return SlowLane(outputs, lambda report: self._reported(group, report))

    def stop_leftovers(self) -> None:
        """Run every stop command once: what an earlier agent started may still be running."""
        for lane in self._lanes.values():
            lane.drive(False, 0, FIRST_STOP_CAUSE)

    def drive(self, group: int, on: bool, epoch: int, cause: str) -> None:
        """Order a group's slow outputs on or off; returns at once."""
        lane = self._lanes.get(group)
        if lane is not None:
            lane.drive(on, epoch, cause)

    def close(self, limit_s: float) -> bool:
        """Finish what must be finished. False: a command was still running after `limit_s` seconds."""
        done = [lane.close(limit_s) for lane in self._lanes.values()]
        return all(done)

    def _reported(self, group: int, report: SlowReport) -> None:
        result, place = report.result, f"group {self._names[group]}, output {report.output}"
        word = "start" if report.on else "stop"
        if result.outcome is Outcome.OK:
            log.info("%s: %s: %s", place, word, result)
        elif result.outcome is Outcome.CANCELLED:
            log.info("%s: %s called off: %s", place, word, result)
        elif report.cause == FIRST_STOP_CAUSE and not report.on:
            log.warning("%s: stopping what an earlier agent may have left: %s; %s", place, result, remedy(report))
        else:
            why = f"epoch {report.epoch}, {report.cause}"
            log.error("%s: %s failed (%s): %s; %s", place, word, why, result, remedy(report))
            # A stop that failed bars this node like a contact that disagrees. It must not hold up the release
            # of the fast outputs, which OUTPUT_FAILED would do while they are going off.
            self._failed(group, report.epoch, OutputCode.OUTPUT_FAILED if report.on else OutputCode.OUTPUT_MISMATCH)


def remedy(report: SlowReport) -> str:
    """What to do about a command that did not do its work."""
    if report.result.outcome is Outcome.TIMED_OUT:
        return "mend the command, or give it a longer deadline_ms"
    return f"run {report.result.argv[0]} by hand as the agent's user to see why"
