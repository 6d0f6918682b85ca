"""Outputs that are commands: one to start driving, one to stop."""
from __future__ import annotations

import os
import shutil

from twinbeat_core.outputs import FastOutput

from .output import SlowOutput
from .programs import resolve_program
from .spec import HookSpec

CAUSE_AGENT_DIED = "AGENT_DIED"
"""TWINBEAT_CAUSE of a stop command that the gate runs because the agent is gone."""


class HookOutput(SlowOutput[HookSpec]):
    """Runs `start` and `stop`, told why by the environment; no shell in between."""

    kind = "hook"
    _start: tuple[str, ...] = ()
    _stop: tuple[str, ...] = ()

    @property
    def deadline_ms(self) -> float:
        """Longest run of one command."""
        return self.spec.deadline_ms

    def start_argv(self) -> tuple[str, ...]:
        """The start command with its program's whole path."""
        return self._start

    def stop_argv(self) -> tuple[str, ...]:
        """The stop command with its program's whole path."""
        return self._stop

    def _open(self) -> FastOutput:
        start, stop = (
            (resolve_program(key, argv[0], self.error), *argv[1:])
            for key, argv in (("start", self.spec.start), ("stop", self.spec.stop))
        )
        self._start, self._stop = start, stop
        return self.fast_output(self._told(stop))

    def _told(self, stop: tuple[str, ...]) -> tuple[str, ...]:
        """The stop command as the gate runs it. The gate sets no variables, so `env` does."""
        env = shutil.which("env")
        if env is None or "=" in stop[0]:  # env would take such a program for one more variable
            self.warnings.append(f"{self.where()}: without env, a stop after a crash is told no reason")
            return stop
        told = self.environment(None, CAUSE_AGENT_DIED)
        return (os.path.abspath(env), *(f"{key}={value}" for key, value in told.items()), *stop)
