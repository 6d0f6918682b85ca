"""Pushed lines at the control socket: they come in order, and nobody who does not read makes the agent grow."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_rig import WAIT_S, Caller, Service

from twinbeat.control import PUSH_BYTES_MAX, Reply, Stream, StreamVerb


class Pushing(Service):
    """A server that keeps the streams which its clients open."""

    def __init__(self, folder: Path) -> None:
        self.streams: list[Stream] = []
        self.left = threading.Semaphore(0)
        super().__init__(folder, {"watch": StreamVerb(self._watch)})

    def _watch(self, _request: dict[str, Any], reply: Reply, stream: Stream) -> None:
        reply({"ok": True})
        self.streams.append(stream)
        stream.keep(self.left.release)

    def push(self, **line: Any) -> bool:
        return bool(self.in_loop(lambda: [stream.push(line) for stream in list(self.streams)][-1]))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Pushing]:
    service = Pushing(tmp_path)
    yield service
    service.end()


def watcher(service: Pushing) -> Caller:
    """A connection that watches."""
    caller = Caller(service.path)
    assert caller.ask(verb="watch") == {"ok": True}
    return caller


@pytest.fixture
def caller(service: Pushing) -> Iterator[Caller]:
    caller = watcher(service)
    yield caller
    caller.close()


def test_lines_are_pushed_and_questions_still_answered(service: Pushing, caller: Caller) -> None:
    assert service.push(number=1)
    caller.request(verb="echo", say="hello")
    assert caller.line() == {"number": 1}
    assert caller.line() == {"ok": True, "said": "hello"}
    assert service.push(number=2)
    assert caller.line() == {"number": 2}


def test_a_silent_watcher_is_not_shown_out(service: Pushing, caller: Caller) -> None:
    service.server.idle_limit_s = -1.0
    service.in_loop(service.server.sweep)
    assert service.push(number=1)
    assert caller.line() == {"number": 1}


def test_a_watcher_that_does_not_read_is_shown_out_and_counted(service: Pushing, caller: Caller) -> None:
    other = watcher(service)
    text = "x" * 10_000
    pushes = next(count for count in range(1000) if not service.in_loop(lambda: service.streams[0].push({"t": text})))
    assert pushes < 100
    assert service.left.acquire(timeout=WAIT_S)
    assert (service.server.deaf_clients, len(service.server._clients)) == (1, 1)
    assert service.in_loop(lambda: service.streams[1].push({"number": 1}))
    assert other.line() == {"number": 1}
    assert not service.in_loop(lambda: service.streams[0].push({}))
    other.close()


def test_one_that_stopped_reading_in_the_middle_is_swept_out(service: Pushing, caller: Caller) -> None:
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


def test_a_watcher_that_leaves_is_noticed(service: Pushing) -> None:
    watcher(service).close()
    assert service.left.acquire(timeout=WAIT_S)
    assert service.server.deaf_clients == 0
    assert not service.in_loop(lambda: service.streams[0].push({"number": 1}))
