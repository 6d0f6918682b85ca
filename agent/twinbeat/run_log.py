"""Log lines on standard error, one line each, written by a thread: a reader that stalls must not stall the agent."""
from __future__ import annotations

import logging
import os
import queue
import stat
import sys
import threading
from collections.abc import Mapping

QUEUED_MAX = 1000
JOURNAL_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
LEVEL_NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}


class LineFormatter(logging.Formatter):
    """`node: level: text` on one line; with the journal's priority prefix where the journal reads."""

    def __init__(self, node: str, journal: bool) -> None:
        super().__init__()
        self._node = node
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        text = record.getMessage()
        if record.exc_info:
            text += " | " + self.formatException(record.exc_info)
        text = " | ".join(part for part in text.splitlines() if part.strip())
        if self._journal:
            return f"<{JOURNAL_LEVELS.get(record.levelno, 6)}>{self._node}: {text}"
        return f"twinbeat {self._node}: {LEVEL_NAMES.get(record.levelno, 'info')}: {text}"


class LineHandler(logging.Handler):
    """Puts lines into a bounded queue; a thread writes them. Lines beyond the bound are counted, not waited for."""

    def __init__(self, fd: int, formatter: logging.Formatter) -> None:
        super().__init__()
        self.dropped = 0
        self.setFormatter(formatter)
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(QUEUED_MAX)
        self._thread = threading.Thread(target=self._work, name="twinbeat-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record's line."""
        try:
            self._lines.put_nowait(self.format(record).encode("utf-8", "replace") + b"\n")
        except queue.Full:
            self.dropped += 1

    def finish(self, limit_s: float) -> None:
        """Write what is queued, for at most `limit_s` seconds, and end the thread."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(limit_s)

    def _work(self) -> None:
        while True:
            line = self._lines.get()
            if line is None:
                return
            try:
                os.write(self._fd, line)
            except OSError:
                self.dropped += 1


def start_log(node: str, level: str) -> LineHandler:
    """Send the program's log to standard error from `level` on ("debug", "info", "warning", "error")."""
    fd = sys.stderr.fileno()
    handler = LineHandler(fd, LineFormatter(node, writes_to_journal(fd, os.environ)))
    logger = logging.getLogger("twinbeat")
    logger.setLevel(level.upper())
    logger.propagate = False
    logger.handlers[:] = [handler]
    return handler


def writes_to_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether a descriptor is the journal's stream (JOURNAL_STREAM names its device and inode)."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
