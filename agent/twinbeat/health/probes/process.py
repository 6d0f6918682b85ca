"""Does a process live? By its pid file, or by its command name."""
from __future__ import annotations

import os
from pathlib import Path

from twinbeat.config_check import ProcessCheck
from twinbeat.health.probe import Looker, Measured, os_reason, unavailable

PROC = Path("/proc")
NAME_BYTES = 15
"""So much of a command's name the kernel keeps."""
PID_FILE_BYTES_MAX = 64
DEAD = {"Z": "is dead but not reaped", "X": "is dead", "T": "is stopped", "t": "is stopped by a debugger"}
LIMIT = "must live"


class ProcessProbe(Looker):
    """Reads /proc. A process that is stopped, or only waits to be reaped, does not live."""

    def __init__(self, check: ProcessCheck, proc: Path = PROC) -> None:
        self._pid_file = check.pid_file
        self._name = check.command
        self._proc = proc

    def measure(self) -> Measured:
        """Look once."""
        return self._by_name(self._name or "") if self._pid_file is None else self._by_file(Path(self._pid_file))

    def _by_file(self, path: Path) -> Measured:
        try:
            with path.open("rb") as file:
                text = file.read(PID_FILE_BYTES_MAX).split(maxsplit=1)
        except FileNotFoundError:
            return Measured(False, f"{path} is not there", LIMIT)
        except OSError as error:
            return unavailable(f"{path} cannot be read: {os_reason(error)}")
        if not text or not text[0].isdigit() or int(text[0]) == 0:
            return unavailable(f"{path} holds no process number")
        pid = int(text[0])
        found = self._look(pid)
        if found is None:
            return Measured(False, f"process {pid} of {path} is gone", LIMIT)
        name, state = found
        if self._name is not None and name != cut(self._name):
            return Measured(False, f"process {pid} of {path} is {name}", f"must be {self._name}")
        return verdict(name, pid, state)

    def _by_name(self, wanted: str) -> Measured:
        dead: Measured | None = None
        for entry in os.listdir(self._proc):
            found = self._look(int(entry)) if entry.isdigit() else None
            if found is None or found[0] != cut(wanted):
                continue
            measured = verdict(wanted, int(entry), found[1])
            if measured.ok:
                return measured
            dead = measured
        return dead or Measured(False, f"no process {wanted}", LIMIT)

    def _look(self, pid: int) -> tuple[str, str] | None:
        """(name, state letter) of a process; None where there is none."""
        try:
            text = (self._proc / str(pid) / "stat").read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
            return None
        head, _, tail = text.rpartition(")")
        return head.partition("(")[2], tail.split()[0]


def cut(name: str) -> str:
    """A name as the kernel keeps it."""
    return name.encode()[:NAME_BYTES].decode("utf-8", "ignore")


def verdict(name: str, pid: int, state: str) -> Measured:
    """What a process's state letter means."""
    word = DEAD.get(state)
    return Measured(word is None, f"{name} (process {pid}) {word or 'lives'}", LIMIT)
