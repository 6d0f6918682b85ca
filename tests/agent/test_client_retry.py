"""How soon a client is back: at once where its agent is only away, later where it was told no."""
from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from owner_rig import SocketRig
from run_fakes import WAIT_S

from twinbeat import client_line
from twinbeat.client import Client
from twinbeat.client_retry import REFUSED_MAX_S, RETRY_MAX_S, RETRY_MIN_S, STABLE_S, Retry
from twinbeat.errors import AccessRefused, AgentNotRunning, ControlError, RefusedError
from twinbeat.run_owner import WATCHERS_MAX

AWAY = [0.02, 0.04, 0.08, 0.1, 0.1]
"""In seconds, of an agent that is not there."""


class Stepped(Client):
    """Tells how long it would wait before each attempt, and waits for the test instead."""

    def __init__(self, *words: Any, **more: Any) -> None:
        self.delays: queue.Queue[float] = queue.Queue()
        self.steps = threading.Semaphore(0)
        super().__init__(*words, **more)

    def _pause(self, delay_s: float) -> None:
        self.delays.put(delay_s)
        assert self.steps.acquire(timeout=WAIT_S)

    def told(self, count: int) -> list[float]:
        """The next delays, each waited for and then cut short."""
        found = []
        for _ in range(count):
            found.append(self.delays.get(timeout=WAIT_S))
            self.steps.release()
        return found

    def close(self) -> None:
        self._closed.set()
        self.steps.release(2)
        super().close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[SocketRig]:
    rig = SocketRig(tmp_path)
    yield rig
    rig.stop()


def test_an_agent_that_is_away_is_looked_for_ten_times_a_second(rig: SocketRig) -> None:
    with Stepped(rig.path, limit_s=WAIT_S) as client:
        client.wait_ready()
        rig.stop()
        assert client.told(5) == AWAY
        client.delays.get(timeout=WAIT_S)
        rig.start()
        client.steps.release()
        client.wait_ready()


def test_who_was_told_no_asks_less_often(rig: SocketRig) -> None:
    watching = [Client(rig.path) for _ in range(WATCHERS_MAX)]
    for one in watching:
        one.wait_ready(WAIT_S)
    with Stepped(rig.path, limit_s=WAIT_S) as client:
        assert client.told(9) == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.0, 2.0]
        client.delays.get(timeout=WAIT_S)
        with pytest.raises(RefusedError, match="8 applications are watching already"):
            client.wait_ready(0)
        for one in watching:
            one.close()
        rig.in_loop(lambda: None)
        client.steps.release()
        client.wait_ready()


def test_a_user_without_permission_is_told_no_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path, _limit_s: float) -> Any:
        raise AccessRefused(f"{path}: this user may not ask the agent")

    monkeypatch.setattr(client_line, "connect", closed)
    with Stepped(tmp_path / "s") as client:
        assert client.told(9)[-1] == REFUSED_MAX_S
        with pytest.raises(ControlError, match="may not ask"):
            client.wait_ready(0)


def test_the_distances() -> None:
    away, no = AgentNotRunning("no agent"), RefusedError("too many")
    retry = Retry()
    assert [retry.after(0.0, away) for _ in range(5)] == AWAY
    assert retry.after(STABLE_S / 2, ControlError("closed")) == RETRY_MAX_S, "it answers and goes, again and again"
    assert retry.after(STABLE_S, ControlError("closed")) == RETRY_MIN_S, "it was a good connection"
    assert max(retry.after(0.0, no) for _ in range(20)) == REFUSED_MAX_S
    assert retry.after(0.0, away) == RETRY_MAX_S, "what was refused is away now"
    assert [retry.after(0.0, KeyError("units")) for _ in range(9)][-1] == REFUSED_MAX_S, "another version's words"
