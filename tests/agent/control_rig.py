"""A control socket in a loop and thread of its own, and a client that writes raw bytes to it and reads lines."""
from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinbeat.control import ControlServer, Verb
from twinbeat.run_loop import Loop

WAIT_S = 10.0


class Service:
    """A server that answers `verbs`, and `echo`."""

    def __init__(self, folder: Path, verbs: Mapping[str, Verb]) -> None:
        self.loop = Loop()
        self.path = folder / "c.sock"
        self.server = ControlServer(self.loop, self.path, {
            "echo": lambda request, reply: reply({"ok": True, "said": request.get("say")}),
            **verbs,
        })
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def in_loop(self, call: Any) -> Any:
        """Run something in the loop's thread and return its result."""
        done, found = threading.Event(), []
        self.loop.call_threadsafe(lambda: (found.append(call()), done.set()))
        assert done.wait(WAIT_S)
        return found[0]

    def end(self) -> None:
        self.in_loop(self.server.close)
        self.loop.call_threadsafe(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()


class Caller:
    """A client that writes raw bytes and reads lines."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT_S)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, **request: Any) -> None:
        """Ask and leave the answer unread."""
        self.send(json.dumps(request).encode() + b"\n")

    def line(self) -> dict[str, Any]:
        answer = json.loads(self.file.readline())
        assert isinstance(answer, dict)
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        self.request(**request)
        return self.line()

    def close(self) -> None:
        self.file.close()
        self.socket.close()
