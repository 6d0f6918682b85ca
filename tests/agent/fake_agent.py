"""An agent's control socket for tests: answers from a list, notes what it was asked."""
from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any


class FakeAgent:
    """Listens on a socket. `answers[verb]` is a list of answers in order; bytes are sent as they are, None hangs up."""

    def __init__(self, path: Path, **answers: list[dict[str, Any] | bytes | None]) -> None:
        self.path = path
        self.requests: list[dict[str, Any]] = []
        self._answers = {verb: list(items) for verb, items in answers.items()}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(4)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FakeAgent:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    request = json.loads(line)
                    self.requests.append(request)
                    items = self._answers[request["verb"]]
                    answer = items.pop(0) if items else None
                    if answer is None:
                        break
                    try:
                        connection.sendall(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n")
                    except OSError:
                        break
