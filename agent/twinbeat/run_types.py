"""The real-time part as the agent sees it, so that the agent can be tested without a gate and real threads."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twinbeat.links.mqtt_note import Note
from twinbeat_core.outputs import FastOutput


class GateLike(Protocol):
    """The process that holds the outputs (`twinbeat_rt.gate.Gate`)."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def alive(self) -> bool:
        """Whether it lives."""

    def hold_fd(self, fd: int) -> None:
        """Let it keep a descriptor open until it ends."""

    def end(self, timeout_ms: int = 2000) -> bool:
        """Planned end; outputs go to their exit level."""


class RuntimeLike(Protocol):
    """The real-time threads (`twinbeat_rt.runtime.Runtime`). Every method returns at once."""

    @property
    def notify_fd(self) -> int:
        """Readable when `poll` has something."""

    def set_outputs(self, outputs: list[FastOutput]) -> None:
        """Hand the outputs to the gate, which writes their safe level first."""

    def set_serial(self, link: int, fd: int) -> None:
        """Give a serial link its port; -1: unplugged."""

    def set_arbiter(self, fd: int, voter: int, grant_ms: int) -> None:
        """Give the arbiter its port; -1: unplugged."""

    def death_notices(self, node: int) -> list[bytes]:
        """That gate's newest death notice of each link, signed."""

    def set_udp(self, link: int, fd: int, peers: list[tuple[str, int]]) -> None:
        """Give a UDP link its socket and the other nodes' addresses."""

    def start(self, incarnation: int, ceiling: int, disk_lost: bool) -> list[str]:
        """Start the threads; returns warnings."""

    def poll(self) -> Sequence[Any]:
        """The messages that wait."""

    def post(self, event: Any) -> bool:
        """Send an event to the core; False: the ring is full."""

    def post_frame(self, link: int, data: bytes, rx_at_ns: int) -> bool:
        """A frame that arrived over MQTT; False: the ring is full."""

    def heartbeat(self) -> None:
        """Python is alive."""

    def view(self) -> dict[str, Any]:
        """State of core, threads and gate."""

    def save_recording(self, path: str) -> int:
        """Write the flight recorder's ring; returns bytes."""

    def stop(self, planned: bool = True) -> None:
        """End the threads, then the gate; not planned: it drops every output and tells the peer."""


class MqttLike(Protocol):
    """A broker's link as the agent uses it (`twinbeat.links.mqtt.MqttLink`)."""

    watch: Any
    mail: Any

    @property
    def state(self) -> Any:
        """Connected or not, and why."""

    @property
    def counters(self) -> Any:
        """What happened on it."""

    @property
    def options(self) -> Any:
        """Where it goes."""

    def start(self) -> None:
        """Begin to connect."""

    def send_beat(self, data: bytes, at_ns: int) -> None:
        """Publish a heartbeat."""

    def send_note(self, note: Note) -> None:
        """Publish telemetry."""

    def forget(self, topic: str) -> None:
        """Stop repeating a retained value."""

    def stop(self, farewell: Note | None, limit_s: float) -> None:
        """Leave in order."""


class EarlyLike(Protocol):
    """Early warning (`twinbeat.warning.service.WarningService`)."""

    def describe(self) -> dict[str, Any]:
        """What stands, every figure, and what is not there."""


class HealthLike(Protocol):
    """The checks of a node (`twinbeat.health.service.HealthService`)."""

    said: Callable[[], int | None]

    def reasons(self) -> list[str]:
        """What makes this node unfit, in words."""

    def load(self) -> int | None:
        """Percent; None where it is neither measured nor reported."""

    def describe(self) -> dict[str, Any]:
        """What status shows."""

    def close(self) -> None:
        """End the threads and what runs in them."""
