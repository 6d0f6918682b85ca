"""`twinbeat watch`: the live screen. Asks the agent, draws, looks for keys; leaves the terminal as it was."""
from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from twinbeat.commands.control import find_socket
from twinbeat.control_client import ControlClient
from twinbeat.errors import TwinbeatError, UsageError
from twinbeat.screen import entries
from twinbeat.screen_paint import paint_for, utc_clock
from twinbeat.screen_watch import Size, Watching, render

LIMIT_S = 1.0
"""An agent that takes longer to answer is shown as silent; the keys must not wait for it."""
WHY_EVERY_S = 3.0
WHY_COUNT = 48
EVENTS_COUNT = 200
ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WATCHED = (*ENDING, signal.SIGWINCH, signal.SIGTSTP)
USUAL = Size(80, 24)


def main(arguments: argparse.Namespace) -> int:
    """Show until q is pressed or a signal comes: exit code 0, or 128 and the signal's number."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise UsageError("watch needs a terminal; for a pipe, a file or a log use: twinbeat events --follow")
    source = Source(find_socket(arguments))
    state = Watching(utc_clock(), paint=paint_for(arguments.color, sys.stdout, os.environ), blocks=unicode_blocks())
    source.ask(state)                       # no agent: said at once, on an untouched terminal
    try:
        with terminal() as signals:
            return Watch(source, state, arguments.every, signals).run()
    finally:
        source.close()


def unicode_blocks() -> bool:
    """Whether the terminal's character set has the blocks of a trace."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


class Source:
    """Asks the agent, with a connection that is made anew after it broke."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._client: ControlClient | None = None
        self._after = 0
        self._why_s = 0.0
        self._verdicts: object = None

    def ask(self, state: Watching) -> None:
        """Bring `state` up to date. Raises TwinbeatError when the agent does not answer."""
        if self._client is None:
            self._client = ControlClient(self._path, LIMIT_S)
        try:
            self._ask(self._client, state)
        except TwinbeatError:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, client: ControlClient, state: Watching) -> None:
        status = client.ask("status")
        if any(status.get(key) != state.status.get(key) for key in ("pid", "session")):
            self._after = 0                 # another agent, whose events are numbered anew
            state.events.clear()
        state.note(status)
        for event in entries(client.ask("events", count=EVENTS_COUNT, after=self._after), "events"):
            state.events.append(event)
            self._after = event["seq"] if isinstance(event.get("seq"), int) else self._after
        counters = status.get("counters")
        verdicts = counters.get("verdicts") if isinstance(counters, dict) else None
        if verdicts != self._verdicts or time.monotonic() - self._why_s > WHY_EVERY_S:
            state.why = client.ask("why", count=WHY_COUNT)
            self._verdicts, self._why_s = verdicts, time.monotonic()


class Watch:
    """The loop. `signals` is readable when one came; each byte of it is its number."""

    def __init__(self, source: Source, state: Watching, every_s: float, signals: int) -> None:
        self._source = source
        self._state = state
        self._every_s = every_s
        self._signals = signals
        self._keys = sys.stdin.fileno()

    def run(self) -> int:
        """Until the end; returns the exit code."""
        next_s = time.monotonic()
        while True:
            self._draw()
            wait_s = max(0.0, next_s - time.monotonic())
            ready, _, _ = select.select([self._signals, self._keys], [], [], wait_s)
            for number in os.read(self._signals, 64) if self._signals in ready else b"":
                if number in ENDING:
                    return 128 + number
                if number == signal.SIGTSTP:
                    suspend()
            if self._keys in ready and not self._take_keys():
                return 0
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + self._every_s
                self._look()

    def _take_keys(self) -> bool:
        """What was typed; False: the end is wished, or nobody is there to type."""
        typed = os.read(self._keys, 64)
        if not typed or (typed[:1] != b"\x1b" and any(key in b"qQ" for key in typed)):
            return False
        if typed[:1] != b"\x1b" and sum(key in b"pP " for key in typed) % 2:
            self._state.paused = not self._state.paused
        return True

    def _look(self) -> None:
        if self._state.paused:
            return
        try:
            self._source.ask(self._state)
            self._state.fault = ""
        except TwinbeatError as error:
            self._state.fault = str(error)
        self._state.now = utc_clock()

    def _draw(self) -> None:
        lines = render(self._state, size_now())
        put("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")


def size_now() -> Size:
    """The terminal's size; the usual one where it does not tell."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return USUAL
    return Size(size.columns, size.lines) if size.columns > 0 and size.lines > 0 else USUAL


def put(text: str) -> None:
    """Write to the terminal in one piece."""
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "ascii", "replace"))
    sys.stdout.flush()


@contextmanager
def terminal() -> Iterator[int]:
    """The other screen, keys without Enter, no cursor; all as before afterwards. Yields where signals can be read."""
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    handlers = {number: signal.signal(number, noted) for number in WATCHED}
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        tty.setcbreak(keys)
        put(ENTER)
        yield reading
    finally:
        # A terminal that is gone cannot be restored; that must not hide why the screen ends.
        with suppress(OSError, termios.error):
            termios.tcsetattr(keys, termios.TCSADRAIN, before)
            put(LEAVE)
        signal.set_wakeup_fd(woken)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def noted(_number: int, _frame: FrameType | None) -> None:
    """The number of the signal is read from the pipe; there is nothing to do here."""


def suspend() -> None:
    """Ctrl-Z: give the terminal back, stop, and take it again when continued."""
    keys = sys.stdin.fileno()
    here = termios.tcgetattr(keys)
    usual = termios.tcgetattr(keys)
    usual[3] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(keys, termios.TCSADRAIN, usual)
    put(LEAVE)
    os.kill(os.getpid(), signal.SIGSTOP)
    termios.tcsetattr(keys, termios.TCSADRAIN, here)
    put(ENTER)
