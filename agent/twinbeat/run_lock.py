"""One agent per node and machine: a lock file that the gate holds too."""
from __future__ import annotations

import fcntl
import os
from pathlib import Path

from twinbeat.errors import AlreadyRunning, DeviceError


class RunDirError(DeviceError):
    """The run directory cannot be used."""


class NodeLock:
    """An flock on `<run>/<pair>-<node>.lock` with the holder's pid inside.

    The lock belongs to the open file, so every process that holds `fd` holds it: handed to the gate, it
    outlives the agent for as long as the old gate may still hold an output.
    """

    def __init__(self, run_dir: Path, pair: str, node: str) -> None:
        self.path = run_dir / f"{pair}-{node}.lock"
        self.fd = -1

    def acquire(self) -> None:
        """Take the lock. Raises AlreadyRunning with the holder's pid, RunDirError when the file cannot be made."""
        try:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RunDirError(
                f"run directory {self.path.parent}: {error.strerror}; "
                "create it for this user or choose another with --run-dir"
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = read_pid(fd)
            os.close(fd)
            raise AlreadyRunning(self._held(holder)) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self.fd = fd

    def _held(self, holder: int) -> str:
        if holder and not os.path.exists(f"/proc/{holder}"):
            return (
                f"{self.path}: the agent with pid {holder} has died and its gate is still dropping the outputs; "
                "try again in a moment"
            )
        who = f"pid {holder}" if holder else "another process"
        return f"{self.path}: an agent for this node is already running ({who}); stop it first"

    def release(self) -> None:
        """Close this process's copy. The file stays: removing it would let two agents lock two files."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def read_pid(fd: int) -> int:
    """The pid written in the lock file, 0 when there is none."""
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0
