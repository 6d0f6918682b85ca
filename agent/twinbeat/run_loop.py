"""The main thread's loop: descriptors, timers and calls from other threads. It sleeps unless something is due.

A full asyncio would cost 10 MiB of memory and buy nothing here: the loop serves a handful of descriptors
and nothing in it may wait.
"""
from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger("twinbeat")

Callback = Callable[[], object]


def boottime_ns() -> int:
    """Now on the clock of all decisions: monotonic, and it counts suspended time too."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Timer:
    """A call that is due at `at_ns` (CLOCK_BOOTTIME)."""

    __slots__ = ("at_ns", "callback")

    def __init__(self, at_ns: int, callback: Callback) -> None:
        self.at_ns = at_ns
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Never call it."""
        self.callback = None


class Loop:
    """Runs callbacks one after another in the thread that calls `run`. Only `call_threadsafe` may come from others."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._calls: deque[Callback] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._running = False
        self.wakeups = 0
        self.faults = 0
        self._selector.register(self._wake_fd, selectors.EVENT_READ, (None, None))

    def watch(self, fd: int, read: Callback | None, write: Callback | None = None) -> None:
        """Call `read` and `write` while the descriptor is ready for it. Both None: stop watching."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        known = fd in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events, (read, write))
        else:
            self._selector.register(fd, events, (read, write))

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """Call once, `delay_s` seconds from now."""
        timer = Timer(boottime_ns() + int(delay_s * 1e9), callback)
        heapq.heappush(self._timers, (timer.at_ns, next(self._order), timer))
        return timer

    def call_every(self, period_s: float, callback: Callback) -> None:
        """Call again and again. After a stall the missed calls are skipped, not made up for."""

        def due() -> None:
            self.call_later(period_s, due)
            callback()

        self.call_later(period_s, due)

    def call_threadsafe(self, callback: Callback) -> None:
        """Have the loop's thread call it soon; for other threads and for signal handlers."""
        self._calls.append(callback)
        os.eventfd_write(self._wake_fd, 1)

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            self.turn(None)

    def turn(self, limit_s: float | None) -> None:
        """One round: wait for the next thing that is due, at most `limit_s` seconds (None: any time)."""
        wait_s = self._until_timer()
        if limit_s is not None and (wait_s is None or limit_s < wait_s):
            wait_s = limit_s
        ready = self._selector.select(wait_s)
        self.wakeups += 1
        for key, events in ready:
            if key.fd == self._wake_fd:
                self._woken()
                continue
            if events & selectors.EVENT_READ:
                self._serve(key.fd, 0)
            if events & selectors.EVENT_WRITE:
                self._serve(key.fd, 1)
        self._run_timers()

    def _serve(self, fd: int, which: int) -> None:
        """Call the reader (0) or writer (1) of a descriptor, unless an earlier call of this round unwatched it."""
        key = self._selector.get_map().get(fd)
        if key is not None and key.data[which] is not None:
            self._guard(key.data[which])

    def stop(self) -> None:
        """End `run` after the current round."""
        self._running = False

    def close(self) -> None:
        """Release the loop's own descriptors."""
        self._selector.close()
        os.close(self._wake_fd)

    def _woken(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass
        for _ in range(len(self._calls)):
            self._guard(self._calls.popleft())

    def _until_timer(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, (self._timers[0][0] - boottime_ns()) / 1e9)

    def _run_timers(self) -> None:
        now_ns = boottime_ns()
        while self._timers and self._timers[0][0] <= now_ns:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._guard(callback)

    def _guard(self, callback: Callback) -> None:
        """A fault in one service (status, telemetry) must not end the agent that drives an output."""
        try:
            callback()
        except Exception as error:
            self.faults += 1
            if self.faults <= 20:
                log.error("internal error: %s: %s (the agent goes on)", type(error).__name__, error)
                log.debug("where it happened", exc_info=True)


class Signals:
    """Delivers signals to the loop through a descriptor, so that one arriving during a wait ends the wait."""

    def __init__(self, loop: Loop, handlers: dict[int, Callback]) -> None:
        self._loop = loop
        self._handlers = handlers
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_fd = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, lambda *_: None) for number in handlers}
        loop.watch(self._read_fd, self._ready)

    def _ready(self) -> None:
        for number in os.read(self._read_fd, 64):
            handler = self._handlers.get(number)
            if handler is not None:
                handler()

    def close(self) -> None:
        """Put the old handlers back."""
        for number, old in self._old.items():
            signal.signal(number, old)
        signal.set_wakeup_fd(self._old_fd)
        self._loop.watch(self._read_fd, None)
        os.close(self._read_fd)
        os.close(self._write_fd)
