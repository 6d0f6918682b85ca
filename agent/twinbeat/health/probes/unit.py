"""Is a systemd unit active?"""
from __future__ import annotations

import subprocess

from twinbeat.config_check import UnitCheck
from twinbeat.health.probe import Looker, Measured, os_reason, unavailable
from twinbeat_hardware.output import inherited_environment

PROGRAM = "systemctl"
GOOD = ("active", "reloading")
LIMIT = "must be active"


class UnitProbe(Looker):
    """Asks the service manager by `systemctl show`."""

    def __init__(self, check: UnitCheck) -> None:
        self._unit = check.unit
        self._limit_s = check.answer_ms / 1000

    def measure(self) -> Measured:
        """Look once."""
        argv = (PROGRAM, "show", "--property=LoadState,ActiveState,SubState", "--", self._unit)
        try:
            asked = subprocess.run(
                argv, env=inherited_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", timeout=self._limit_s, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            return unavailable(f"{PROGRAM} is not in PATH: this machine does not run systemd; use another check")
        except subprocess.TimeoutExpired:
            return unavailable(f"{PROGRAM} gave no answer within {self._limit_s:g} s")
        except OSError as error:
            return unavailable(f"{PROGRAM} cannot be run: {os_reason(error)}")
        known = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
        if asked.returncode != 0 or "ActiveState" not in known:
            said = " | ".join(line.strip() for line in asked.stderr.splitlines() if line.strip())
            return unavailable(f"{PROGRAM} does not answer for {self._unit}: {said or f'exit {asked.returncode}'}")
        if known.get("LoadState") == "not-found":
            return unavailable(f'unit "{self._unit}" does not exist here')
        state = known["ActiveState"]
        return Measured(state in GOOD, f"{self._unit} is {state} ({known.get('SubState', '?')})", LIMIT)
