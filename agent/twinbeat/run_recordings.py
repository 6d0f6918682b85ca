"""Saving the flight recorder's ring around role changes: in a thread, bounded in number and size."""
from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from pathlib import Path

from twinbeat.run_jobs import Jobs

log = logging.getLogger("twinbeat")

KEPT_FILES = 32
KEPT_BYTES = 256 * 1024 * 1024
SUFFIX = ".tbr"
SETTLE_S = 1.0
"""A recording is saved this long after the role change, so that what followed is in it too."""


class Recordings:
    """Recordings of one node in `<state>/recordings`. All methods belong to the loop's thread.

    `save(path) -> bytes written` writes the ring (`Runtime.save_recording`); `later(seconds, call)` calls back.
    """

    def __init__(
        self,
        state_dir: Path,
        stem: str,
        save: Callable[[str], int],
        jobs: Jobs,
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.directory = state_dir / "recordings"
        self.saved = 0
        self._stem = stem
        self._save = save
        self._jobs = jobs
        self._later = later
        self._due: list[str] = []

    def role_changed(self, group: str, epoch: int) -> None:
        """A role changed: save a recording a little later. Changes close together share one."""
        self._due.append(f"{group}-e{epoch}")
        if len(self._due) == 1:
            self._later(SETTLE_S, self.flush)

    def flush(self) -> None:
        """Save now what is due."""
        if self._due:
            label, self._due = self._due[0], []
            path = self._path(label)
            self._jobs.submit("recording", lambda: self._write(path))

    def save_now(self, done: Callable[[str, int, str], None]) -> None:
        """Save because somebody asked; `done(path, bytes, error)` is called from the job's thread."""
        path = self._path("asked")

        def job() -> None:
            try:
                written = self._write(path)
            except OSError as error:
                done(str(path), 0, f"{path}: {error.strerror or error}")
            else:
                done(str(path), written, "")

        if not self._jobs.submit("recording", job):
            done(str(path), 0, "the disk is too slow: recordings are waiting already")

    def _path(self, label: str) -> Path:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        return self.directory / f"{self._stem}-{stamp}Z-{label}{SUFFIX}"

    def _write(self, path: Path) -> int:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        written = self._save(str(path))
        self.saved += 1
        prune(self.directory, self._stem)
        log.info("recording saved: %s (%d KiB)", path, written // 1024)
        return written


def prune(directory: Path, stem: str, files: int = KEPT_FILES, size_bytes: int = KEPT_BYTES) -> None:
    """Remove the oldest recordings of a node beyond the bounds; the newest always stays. Raises OSError."""
    found = sorted(directory.glob(f"{stem}-*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    total_bytes = 0
    for index, path in enumerate(found):
        total_bytes += path.stat().st_size
        if index and (index >= files or total_bytes > size_bytes):
            path.unlink(missing_ok=True)
