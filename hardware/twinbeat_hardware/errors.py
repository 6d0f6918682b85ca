"""What can go wrong with an output; every text names the output, the value and the remedy."""
from __future__ import annotations

from twinbeat_core.errors import TwinbeatError


class OutputError(TwinbeatError):
    """An output cannot be used: device missing, refused, busy, or its command cannot be run."""

    exit_code = 5


class OutputMissingError(OutputError, LookupError):
    """The named device, line, unit, program or Python module is not there; the text lists what is."""


class OutputBusyError(OutputError):
    """Somebody else holds the device; the text says who, where the system tells."""


class OutputPermissionError(OutputError, PermissionError):
    """This user may not open or run it; the text names the group or the mode to change."""


class OutputStateError(OutputError, RuntimeError):
    """The driver was used out of order: opened twice, or used while closed. A fault in the caller."""


class OutputSpecError(OutputError, ValueError):
    """The output's keys in the configuration are wrong: a value out of range, no hex, keys that exclude each other."""

    exit_code = 3
