"""Work that may wait for a disk, done in order by a thread of its own."""
from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger("twinbeat")

Job = Callable[[], object]


class Jobs:
    """A bounded queue and its thread. `submit` never waits; a job that fails is logged and the next one runs."""

    def __init__(self, name: str, limit: int = 64) -> None:
        self.dropped = 0
        self.failed = 0
        self._limit = limit
        self._name = name
        self._jobs: deque[tuple[str, Job]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"twinbeat-{name}", daemon=True)
        self._thread.start()

    def submit(self, what: str, job: Job) -> bool:
        """Queue a job; `what` names it in messages. False: the queue is full or closed, counted."""
        with self._changed:
            if self._closed or len(self._jobs) >= self._limit:
                self.dropped += 1
                return False
            self._jobs.append((what, job))
            self._changed.notify_all()
            return True

    def wait_idle(self, limit_s: float) -> bool:
        """Whether everything queued was done within `limit_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, limit_s)

    def close(self, limit_s: float) -> bool:
        """Finish what is queued and end the thread. False: a job was still running after `limit_s` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                what, job = self._jobs.popleft()
                self._busy = True
            try:
                job()
            except Exception as error:  # noqa: BLE001
                self.failed += 1
                log.error("%s: %s", what, error)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
