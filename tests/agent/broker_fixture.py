"""A mosquitto of a test's own, on a free loopback port; skips loudly where there is none."""
from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")
START_LIMIT_S = 10.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """A broker process. `lines` are added to its configuration."""

    def __init__(self, folder: Path, port: int, lines: str = "allow_anonymous true\n") -> None:
        self.port = port
        self._config = folder / f"mosquitto-{port}.conf"
        # Started by root it would become another user, who may not read a test's folder.
        stay = "user root\n" if os.geteuid() == 0 else ""
        self._config.write_text(f"{stay}listener {port} 127.0.0.1\nset_tcp_nodelay true\nlog_dest stderr\n{lines}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed: nothing is tested against a real broker")
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.PIPE)
        said = b""
        stderr = self._process.stderr
        assert stderr is not None
        while b" running" not in said:
            ready, _, _ = select.select([stderr], [], [], START_LIMIT_S)
            more = stderr.read1(4096) if ready else b""  # type: ignore[attr-defined]
            assert more, f"mosquitto does not start: {said.decode()}"
            said += more
        self._drain()

    def _drain(self) -> None:
        """Keep its pipe empty, or it stops at 64 KiB of log."""
        import threading

        process = self._process
        assert process is not None and process.stderr is not None
        stderr = process.stderr

        def read() -> None:
            with contextlib.suppress(ValueError, OSError):
                while stderr.read1(65536):  # type: ignore[attr-defined]
                    pass

        threading.Thread(target=read, daemon=True).start()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_LIMIT_S)
            self._process = None


@contextlib.contextmanager
def running_broker(folder: Path, lines: str = "allow_anonymous true\n", port: int = 0) -> Iterator[Broker]:
    """A broker for the time of a `with`."""
    broker = Broker(folder, port or free_port(), lines)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
