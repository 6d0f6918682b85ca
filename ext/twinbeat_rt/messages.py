"""What the real-time part tells Python: `Runtime.poll` returns these. All `at_ns` are CLOCK_BOOTTIME nanoseconds."""
from __future__ import annotations

from typing import NamedTuple

from twinbeat_core.model import OutputCode, ReportCode


class SendFrame(NamedTuple):
    """Publish `data` (a signed frame) on an MQTT link now; it is worth nothing after one period."""

    link: int
    data: bytes
    at_ns: int


class Reported(NamedTuple):
    """A report of the core; what `value` and `extra` mean is said at the ReportCode."""

    at_ns: int
    code: ReportCode
    group: int
    node: int
    link: int
    epoch: int
    value: int
    extra: int


class PersistCeiling(NamedTuple):
    """Write this epoch to disk (fsync), then post `Persisted`."""

    epoch: int


class DriveChanged(NamedTuple):
    """The core ordered the gate to switch a group: slow outputs follow this."""

    group: int
    epoch: int
    on: bool
    at_ns: int


class OutputChanged(NamedTuple):
    """The gate's confirmation; `at_ns` is the gate's own stamp after the last output was written.

    `error` is an errno, 10000 for a read-back that disagrees, 0 for none.
    """

    group: int
    epoch: int
    code: OutputCode
    at_ns: int
    error: int = 0


class SerialFault(NamedTuple):
    """A serial port was unplugged or hung up; its descriptor is closed. Plug in again with `set_serial`."""

    link: int
    errno: int


class AskVoter(NamedTuple):
    """Ask the third voter for a promise to (group, epoch); its answer comes back as `Vote` with the same stamp."""

    group: int
    epoch: int
    stamp: int
    at_ns: int


class ReturnPromise(NamedTuple):
    """Give the third voter's promise for this group back."""

    group: int
    epoch: int
    at_ns: int


class Warned(NamedTuple):
    """Something an operator should know, in plain words."""

    text: str


class RecordingDue(NamedTuple):
    """A group's role changed: save the recording soon."""

    group: int
    epoch: int
    at_ns: int


Message = (
    SendFrame | Reported | PersistCeiling | DriveChanged | OutputChanged | SerialFault | AskVoter | ReturnPromise
    | Warned | RecordingDue
)
