"""Helper processes of the rig and how they are spoken to: one JSON object a line, in on stdin, out on stdout.

A request carries an `id`, its answer the same id as `re`. A line without `re` is an event. The first line of a helper
is its ready message. A helper ends when its stdin ends.
"""
from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twinbeat_core.errors import TwinbeatError

Json = dict[str, Any]
READY_TIMEOUT_S = 15.0
REQUEST_TIMEOUT_S = 5.0


class RigError(TwinbeatError):
    """The demo could not be set up, or a part of it broke."""

    exit_code = 5


class Helper:
    """The parent's side of one helper process."""

    def __init__(self, name: str, module: str, args: list[str], log_path: Path,
                 on_event: Callable[[Json], None] | None = None) -> None:
        self.name = name
        self.log_path = log_path
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.Queue[Json]] = {}
        self._ready: queue.Queue[Json] = queue.Queue()
        self._write_lock = threading.Lock()
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *args],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        self._reader = threading.Thread(target=self._read, name=f"{name}-reader", daemon=True)
        self._reader.start()

    def wait_ready(self) -> Json:
        """The helper's first message; RigError with the end of its log when it does not come."""
        try:
            ready = self._ready.get(timeout=READY_TIMEOUT_S)
        except queue.Empty:
            ready = {}
        if not ready.get("ready"):
            raise RigError(f"the demo's {self.name} process did not start: {self._last_words()}")
        return ready

    def request(self, **message: Any) -> Json:
        """Sends a request and waits for its answer; RigError when the helper is gone, silent, or refuses."""
        number = next(self._ids)
        answers: queue.Queue[Json] = queue.Queue()
        self._answers[number] = answers
        try:
            with self._write_lock:
                assert self.process.stdin is not None
                self.process.stdin.write(json.dumps({"id": number, **message}).encode() + b"\n")
                self.process.stdin.flush()
            answer = answers.get(timeout=REQUEST_TIMEOUT_S)
        except (OSError, ValueError, queue.Empty) as error:
            raise RigError(f"the demo's {self.name} process does not answer: {self._last_words()}") from error
        finally:
            del self._answers[number]
        if "error" in answer:
            raise RigError(f"the demo's {self.name} process refused {message}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends the helper: end of its stdin, then SIGKILL. May be called more than once."""
        with contextlib.suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(2.0)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                message: Json = json.loads(line)
            except ValueError:
                continue
            if "re" in message:
                waiting = self._answers.get(message["re"])
                if waiting is not None:
                    waiting.put(message)
            elif "ready" in message:
                self._ready.put(message)
            elif self._on_event is not None:
                self._on_event(message)
        self._ready.put({})
        for waiting in list(self._answers.values()):
            waiting.put({"error": "it ended"})

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1]
        return "it ended without a word" if self.process.poll() is not None else "no answer in time"


class Control:
    """The helper's side: its stdin as requests, its stdout as answers and events."""

    def __init__(self, read_fd: int = 0, write_fd: int = 1) -> None:
        self.fd = read_fd
        self._write_fd = write_fd
        self._partial = b""
        self.ended = False

    def read(self) -> list[Json]:
        """Requests that have come (call when `fd` is readable); sets `ended` when there will be no more."""
        data = os.read(self.fd, 65536)
        if not data:
            self.ended = True
            return []
        *lines, self._partial = (self._partial + data).split(b"\n")
        return [json.loads(line) for line in lines if line]

    def send(self, **message: Any) -> None:
        """One message out, in one write."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._write_fd, json.dumps(message).encode() + b"\n")

    def answer(self, request: Json, handle: Callable[[Json], Json]) -> None:
        """Handles one request; what it raises becomes the error of the answer."""
        try:
            self.send(re=request["id"], **handle(request))
        except (ValueError, TypeError, LookupError, OSError) as error:  # the request is at fault, not the helper
            self.send(re=request.get("id"), error=f"{type(error).__name__}: {error}")
