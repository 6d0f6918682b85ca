"""Outputs that are systemd units: the unit runs where the group is driven."""
from __future__ import annotations

import subprocess

from twinbeat_core.outputs import FastOutput

from .errors import OutputMissingError
from .output import SlowOutput, inherited_environment
from .programs import resolve_program
from .spec import SystemdSpec

ASK_DEADLINE_S = 3.0
"""Longest wait for the service manager to say what it knows of a unit."""
_STARTS_BY_ITSELF = ("enabled", "enabled-runtime")
_STATES = {"active": True, "reloading": True, "inactive": False, "failed": False}


class SystemdOutput(SlowOutput[SystemdSpec]):
    """Starts and stops one unit by `systemctl`; reads back whether it is active."""

    kind = "systemd"
    _systemctl = ""

    @property
    def deadline_ms(self) -> float:
        """Longest wait for a job."""
        return self.spec.deadline_ms

    def start_argv(self) -> tuple[str, ...]:
        """The command that starts the unit."""
        return (self._systemctl, "--no-ask-password", "start", self.spec.unit)

    def stop_argv(self) -> tuple[str, ...]:
        """The command that stops the unit."""
        return (self._systemctl, "--no-ask-password", "stop", self.spec.unit)

    def _open(self) -> FastOutput:
        self._systemctl = self._find_systemctl()
        unit = self.spec.unit
        known = self._properties()
        loaded = known.get("LoadState", "")
        if loaded == "not-found":
            raise self.error(
                f'unit "{unit}" does not exist: install its file and run systemctl daemon-reload', OutputMissingError
            )
        if loaded != "loaded":
            remedy = "unmask" if loaded == "masked" else "status"
            raise self.error(f'unit "{unit}" cannot be started, its state is "{loaded}": systemctl {remedy} {unit}')
        if known.get("UnitFileState") in _STARTS_BY_ITSELF:
            self.warnings.append(
                f'{self.where()}: unit "{unit}" is enabled, so it starts at boot on both nodes whoever drives: '
                f"systemctl disable {unit}"
            )
        return self.fast_output(self.stop_argv())

    def _read_back(self) -> bool | None:
        """True while the unit is active; None while it is on its way or the service manager does not say."""
        return _STATES.get(self._properties().get("ActiveState", ""))

    def _find_systemctl(self) -> str:
        try:
            return resolve_program("systemctl", "systemctl", self.error)
        except OutputMissingError:
            raise self.error(
                "systemctl is not in PATH: this machine does not run systemd; use an output of type hook",
                OutputMissingError,
            ) from None

    def _properties(self) -> dict[str, str]:
        """What the service manager knows of the unit. Raises OutputError when it does not answer."""
        argv = (self._systemctl, "show", "--property=LoadState,ActiveState,UnitFileState", self.spec.unit)
        try:
            asked = subprocess.run(
                argv,
                env=inherited_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=ASK_DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self.error(
                f"systemctl gave no answer within {ASK_DEADLINE_S:g} s: look at systemctl status of this machine"
            ) from None
        except OSError as problem:
            raise self.error(f"{self._systemctl} could not be run: {problem.strerror}") from None
        if asked.returncode != 0:
            said = " | ".join(line.strip() for line in asked.stderr.splitlines() if line.strip())
            raise self.error(
                f"systemctl does not answer for {self.spec.unit}: {said or f'exit status {asked.returncode}'}; "
                "is systemd running here, and may this user ask it?"
            )
        return dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
