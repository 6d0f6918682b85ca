"""Pushed lines at the control socket: they come in order, and nobody who does not read makes the agent grow."""
from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twinbeat.control import PUSH_BYTES_MAX, ControlServer, Reply, Stream, StreamVerb
from twinbeat.run_loop import Loop

WAIT_S = 10.0


class Service:
    """A server that keeps the streams which its clients open."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.path = folder / "c.sock"
        self.streams: list[Stream] = []
        self.left = threading.Semaphore(0)
        self.server = ControlServer(self.loop, self.path, {
            "watch": StreamVerb(self._watch),
            "echo": lambda request, reply: reply({"ok": True, "said": request.get("say")}),
        })
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def _watch(self, _request: dict[str, Any], reply: Reply, stream: Stream) -> None:
        reply({"ok": True})
        self.streams.append(stream)
        stream.keep(self.left.release)

    def in_loop(self, call: Any) -> Any:
        done, found = threading.Event(), []
        self.loop.call_threadsafe(lambda: (found.append(call()), done.set()))
        assert done.wait(WAIT_S)
        return found[0]

    def push(self, **line: Any) -> bool:
        return bool(self.in_loop(lambda: [stream.push(line) for stream in list(self.streams)][-1]))

    def end(self) -> None:
        self.in_loop(self.server.close)
        self.loop.call_threadsafe(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.end()


class Caller:
    """A connection that watches."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT_S)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        self.send(verb="watch")
        assert self.line() == {"ok": True}

    def send(self, **request: Any) -> None:
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def line(self) -> dict[str, Any]:
        answer = json.loads(self.file.readline())
        assert isinstance(answer, dict)
        return answer

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
def caller(service: Service) -> Iterator[Caller]:
    caller = Caller(service.path)
    yield caller
    caller.close()


def test_lines_are_pushed_and_questions_still_answered(service: Service, caller: Caller) -> None:
    assert service.push(number=1)
    caller.send(verb="echo", say="hello")
    assert caller.line() == {"number": 1}
    assert caller.line() == {"ok": True, "said": "hello"}
    assert service.push(number=2)
    assert caller.line() == {"number": 2}


def test_a_silent_watcher_is_not_shown_out(service: Service, caller: Caller) -> None:
    service.server.idle_limit_s = -1.0
    service.in_loop(service.server.sweep)
    assert service.push(number=1)
    assert caller.line() == {"number": 1}


def test_a_watcher_that_does_not_read_is_shown_out_and_counted(service: Service, caller: Caller) -> None:
    other = Caller(service.path)
    text = "x" * 10_000
    pushes = next(count for count in range(1000) if not service.in_loop(lambda: service.streams[0].push({"t": text})))
    assert pushes < 100
    assert service.left.acquire(timeout=WAIT_S)
    assert (service.server.deaf_clients, len(service.server._clients)) == (1, 1)
    assert service.in_loop(lambda: service.streams[1].push({"number": 1}))
    assert other.line() == {"number": 1}
    assert not service.in_loop(lambda: service.streams[0].push({}))
    other.close()


def test_one_that_stopped_reading_in_the_middle_is_swept_out(service: Service, caller: Caller) -> None:
    size = PUSH_BYTES_MAX // 2

    def fill() -> bool:
        while not service.server._clients or not next(iter(service.server._clients))._output:
            service.streams[0].push({"t": "x" * size})
        return True

    assert service.in_loop(fill)
    service.server.idle_limit_s = -1.0
    service.in_loop(service.server.sweep)
    assert service.left.acquire(timeout=WAIT_S)
    assert service.server.deaf_clients == 1


def test_a_watcher_that_leaves_is_noticed(service: Service) -> None:
    caller = Caller(service.path)
    caller.close()
    assert service.left.acquire(timeout=WAIT_S)
    assert service.server.deaf_clients == 0
    assert not service.in_loop(lambda: service.streams[0].push({"number": 1}))
