"""The errors of the program, each with the exit code it leaves behind. docs/configuration.md lists the codes."""
from __future__ import annotations

from twinbeat_core.errors import TwinbeatError

__all__ = [
    "AccessRefused",
    "AgentNotRunning",
    "AlreadyRunning",
    "ConfigError",
    "ControlError",
    "DeviceError",
    "KeyFileError",
    "LinkError",
    "RefusedError",
    "TwinbeatError",
    "UsageError",
]


class UsageError(TwinbeatError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class ConfigError(TwinbeatError):
    """The configuration file cannot be used; `problems` holds one sentence for each fault found in it."""

    exit_code = 3

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class KeyFileError(TwinbeatError):
    """The pair's key, or another secret file, is missing, open to others, or malformed."""

    exit_code = 4


class DeviceError(TwinbeatError):
    """A port, a GPIO line or another device cannot be used."""

    exit_code = 5


class LinkError(DeviceError):
    """A link cannot be brought up at start: broker, address or port."""


class ControlError(TwinbeatError):
    """The running agent could not be asked, or its answer could not be read."""

    exit_code = 6


class AgentNotRunning(ControlError):
    """No agent listens on the control socket."""


class AccessRefused(ControlError):
    """This user may not use the control socket."""


class RefusedError(TwinbeatError):
    """The agent answered, and the answer is no. `exit_code` is what the agent said, 1 if it said nothing."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class AlreadyRunning(TwinbeatError):
    """Another agent of the same node runs on this machine."""

    exit_code = 7
