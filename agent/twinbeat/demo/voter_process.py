"""What every third voter of the demo has in common, and how its process is started and ended."""
from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from twinbeat.demo.helper import RigError

POLL_S = 0.02
STOP_TIMEOUT_S = 5.0


class ThirdVoter(Protocol):
    """One kind of third voter in the rig. It may be started again after it was killed, and remembers its epochs."""

    kind: str
    grant_ms: float

    @property
    def pid(self) -> int | None:
        """Its process, while it has not been waited for."""

    def describe(self) -> str:
        """What it is, for the report."""

    def config_lines(self) -> list[str]:
        """The table [third_voter]."""

    def ports(self) -> dict[str, dict[str, str]]:
        """Further serial ports by node and name."""

    def start(self) -> None:
        """Starts the process, and returns when it can be asked. RigError with its last words when it does not come."""

    def stop(self) -> None:
        """Ends the process and collects it, however it ended. May be called more than once."""

    def flags(self) -> list[int]:
        """The places of the switchboard that unplug it; none: its process is frozen instead."""


class Process:
    """A process with a log that is started and ended any number of times."""

    def __init__(self, name: str, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def start(self, command: list[str], pass_fds: tuple[int, ...] = (), new_session: bool = True) -> None:
        """Starts it. Not as the leader of a session where it opens ttys: one of them would control it."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=pass_fds,
                start_new_session=new_session, process_group=None if new_session else 0)

    def wait_until(self, ready: Callable[[], bool], limit_s: float) -> None:
        """RigError with its last words when it ends before it is ready, or the time runs out."""
        deadline = time.monotonic() + limit_s
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            if ready():
                return
            time.sleep(POLL_S)
        self.stop()
        raise RigError(f"the demo's {self.name} did not start: {self.last_words()}")

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)    # a frozen one is let go on first
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self) -> str:
        lines = self.log_path.read_text(errors="replace").strip().splitlines() if self.log_path.exists() else []
        return lines[-1] if lines else "it said nothing"
