"""Threads for probes that may wait: as many as are busy at once, never more than there are checks."""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], object]


class ProbePool:
    """Runs jobs in threads. One that hangs keeps its thread and nobody else's; the next job gets another one.

    `limit` is how many threads there may be. As no check is begun twice, one for each check is always enough.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    def submit(self, job: Job) -> bool:
        """Run a job soon; never waits. False: closed, or no thread is free and none more may be made."""
        with self._changed:
            if self._closed:
                return False
            if self._idle <= len(self._jobs) and not self._grow():
                return False
            self._jobs.append(job)
            self._changed.notify()
            return True

    def close(self, limit_s: float) -> bool:
        """End the threads; what waits is dropped. False: a job was still running after `limit_s` seconds."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._threads, limit_s)
        return done

    def _grow(self) -> bool:
        if len(self._threads) >= self.limit:
            return False
        thread = threading.Thread(target=self._work, name="twinbeat-check", daemon=True)
        try:
            thread.start()
        except RuntimeError:                 # no memory or no task left: the check counts as failed
            return False
        self._threads.append(thread)
        self._idle += 1                      # it is on its way to the queue
        return True

    def _work(self) -> None:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    break
                job = self._jobs.popleft()
                self._idle -= 1
                self._changed.release()
                try:
                    job()
                finally:
                    self._changed.acquire()
                    self._idle += 1
            self._threads.remove(threading.current_thread())
            self._changed.notify_all()
