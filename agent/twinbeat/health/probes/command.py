"""Does a command end with exit status 0?"""
from __future__ import annotations

from twinbeat.config_check import CommandCheck
from twinbeat.health.probe import Measured, unavailable
from twinbeat_hardware.command import CallOff, Outcome, run_command
from twinbeat_hardware.output import inherited_environment

LIMIT = "must end with 0"


class CommandProbe:
    """Runs it without a shell; past its deadline it is ended with everything it started."""

    blocking = True

    def __init__(self, check: CommandCheck, pair: str, node: str) -> None:
        self._check = check
        self._more = {"TWINBEAT_PAIR": pair, "TWINBEAT_NODE": node, "TWINBEAT_CHECK": check.name}
        self._call_off = CallOff()

    def measure(self) -> Measured:
        """Run it once."""
        environment = inherited_environment() | self._more
        result = run_command(self._check.argv, environment, self._check.answer_ms, self._call_off)
        if result.outcome is Outcome.FAILED and result.returncode is None:
            return unavailable(str(result))
        status = None if result.returncode is None else float(result.returncode)
        return Measured(result.ok, str(result), LIMIT, figure=status)

    def close(self) -> None:
        """End it if it runs, and let no other begin."""
        self._call_off.set()
