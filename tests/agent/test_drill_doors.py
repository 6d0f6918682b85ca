"""The ways of a drill to an agent: who listens on a socket, who may be signalled, and what goes over a broker."""
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from fake_agent import FakeAgent

from twinbeat.commands import remote
from twinbeat.drill.conditions import supervised
from twinbeat.drill.doors import WHO, RemoteDoor, SocketDoor, listener_pid
from twinbeat.errors import AgentNotRunning, ControlError, DeviceError


def test_the_listener_is_known_by_the_kernel(tmp_path: Path) -> None:
    with FakeAgent(tmp_path / "s") as agent:
        assert listener_pid(agent.path) == os.getpid()
        door = SocketDoor(agent.path)
        assert door.here(os.getpid()) and not door.here(os.getppid())
    assert not SocketDoor(tmp_path / "gone").here(os.getpid())


def test_nobody_else_is_signalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forwarded socket names a process of another machine: that number must not be used here."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("twinbeat.drill.doors.os.kill", lambda pid, number: sent.append((pid, number)))
    with FakeAgent(tmp_path / "s") as agent:
        door = SocketDoor(agent.path)
        with pytest.raises(DeviceError, match="is not the agent behind this socket; run the drill on that"):
            door.signal(os.getppid(), signal.SIGKILL)
        assert sent == []
        door.signal(os.getpid(), signal.SIGTERM)
        assert sent == [(os.getpid(), signal.SIGTERM)]


@pytest.mark.parametrize(("error", "expected", "words"), [
    (PermissionError, DeviceError, "may not send it SIGKILL; run the drill as root"),
    (ProcessLookupError, ControlError, "has just ended by itself"),
])
def test_a_signal_that_cannot_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], expected: type[Exception], words: str
) -> None:
    def refuse(_pid: int, _number: int) -> None:
        raise error

    monkeypatch.setattr("twinbeat.drill.doors.os.kill", refuse)
    with FakeAgent(tmp_path / "s") as agent, pytest.raises(expected, match=words):
        SocketDoor(agent.path).signal(os.getpid(), signal.SIGKILL)


def test_commands_say_whose_they_are_and_questions_do_not(tmp_path: Path) -> None:
    with FakeAgent(tmp_path / "s", ping=[{"ok": True}], handover=[{"ok": True}]) as agent:
        door = SocketDoor(agent.path)
        door.ask("ping")
        door.ask("handover", group="pump", node=None)
    assert agent.requests == [{"verb": "ping"}, {"verb": "handover", "by": WHO, "group": "pump"}]
    with pytest.raises(AgentNotRunning):
        SocketDoor(tmp_path / "gone").ask("ping")


def test_over_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = []
    chosen: list[Any] = []

    def by_file(arguments: Any) -> tuple[list[Any], str]:
        chosen.append((arguments.config, arguments.target, arguments.operator, arguments.key, arguments.link))
        return ["a broker"], "alice"

    def ask(places: list[Any], operator: str, limit_s: float, node: str, verb: str, given: dict[str, Any]) -> Any:
        assert (places, operator) == (["a broker"], "alice") and limit_s > 0
        asked.append((node, verb, given))
        return {"ok": True, "pid": 7}

    monkeypatch.setattr(remote, "by_file", by_file)
    monkeypatch.setattr(remote, "ask", ask)
    door = RemoteDoor("gw-b", "f.toml", "alice", "alice.key")
    assert chosen == [("f.toml", "gw-b", "alice", "alice.key", None)]
    assert door.ask("ping")["pid"] == 7
    door.ask("handover", group="pump", node=None)
    assert asked == [("gw-b", "status", {}), ("gw-b", "handover", {"group": "pump"})]
    assert not door.here(7)
    with pytest.raises(DeviceError, match="run the drill there"):
        door.signal(7, signal.SIGTERM)


def test_a_supervisor_is_seen_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"/proc/1/environ": b"PATH=/bin\0INVOCATION_ID=abc\0", "/proc/2/environ": b"PATH=/bin\0"}

    def read(path: Path) -> bytes:
        if str(path) not in told:
            raise PermissionError
        return told[str(path)]

    monkeypatch.setattr(Path, "read_bytes", read)
    assert [supervised(pid) for pid in (1, 2, 3, None)] == [True, False, False, False]
