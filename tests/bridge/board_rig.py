"""Lines between a command and an arbiter: pseudo terminals with the firmware, or a voter that is told what to say."""
from __future__ import annotations

import os
import select
import struct
import subprocess
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from twinbeat_bridge.arbiter import frames
from twinbeat_bridge.protocol import VoteCode, Votes
from twinbeat_bridge.session import SerialSession

RUN_UNIX = Path(__file__).parents[2] / "firmware_bridge" / "arbiter" / "boards" / "run_unix.py"
JOIN_S = 20.0


class Pump:
    """Carries bytes between descriptors in a thread, or feeds them to `answer` and writes back what it returns."""

    def __init__(self, fds: dict[int, int], answer: Callable[[bytes], bytes] | None = None) -> None:
        self._fds = fds
        self._answer = answer
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([*self._fds, self._wake], [], [])
            if self._wake in ready:
                return
            for fd in ready:
                data = os.read(fd, 4096)
                out = data if self._answer is None else self._answer(data)
                if out:
                    os.write(self._fds[fd], out)

    def stop(self) -> None:
        os.write(self._waker, b"x")
        self._thread.join(JOIN_S)
        for fd in (self._wake, self._waker):
            os.close(fd)


class Pty:
    """A pseudo terminal in raw mode; `path` is what a program opens, `fd` the other end."""

    def __init__(self) -> None:
        self.fd, self._held = os.openpty()
        tty.setraw(self._held)
        self.path = os.ttyname(self._held)

    def close(self) -> None:
        for fd in (self.fd, self._held):
            os.close(fd)


class UnixBoard:
    """The firmware in a process of its own, with a line to each side; `ports` are the gateways' ends."""

    def __init__(self, command: list[str], state: Path, *options: str) -> None:
        self._near = [Pty(), Pty()]
        self._far = [Pty(), Pty()]
        fds = {}
        for near, far in zip(self._near, self._far, strict=True):
            fds |= {near.fd: far.fd, far.fd: near.fd}
        self._pump = Pump(fds)
        self.ports = [pty.path for pty in self._near]
        state.mkdir(exist_ok=True)
        sides = [word for number, pty in enumerate(self._far) for word in (f"--side{number}", pty.path)]
        self._words = [*command, str(RUN_UNIX), *sides, "--state", str(state), *options]
        self._process = self._start()

    def __enter__(self) -> UnixBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._pump.stop()
        for pty in self._near + self._far:
            pty.close()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._words, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        """As if its supply were cut."""
        self._process.kill()
        self._process.wait(JOIN_S)

    def restart(self) -> None:
        """As if its reset button were pressed."""
        self.kill()
        self._process = self._start()


class FakeVoter:
    """Answers on a pseudo terminal: `made(ask)` gives what comes back for each body that was read, as it is."""

    def __init__(self, made: Callable[[Any], bytes]) -> None:
        self._pty = Pty()
        self.path = self._pty.path
        self._reader = frames.Reader()
        self._made = made
        self.heard: list[Any] = []
        self.closes: list[int] = []
        """Descriptors that are closed at the end."""
        self._pump = Pump({self._pty.fd: self._pty.fd}, self._answer)

    def __enter__(self) -> FakeVoter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pump.stop()
        self._pty.close()
        for fd in self.closes:
            os.close(fd)

    def say(self, data: bytes) -> None:
        """Something unasked."""
        os.write(self._pty.fd, data)

    def _answer(self, data: bytes) -> bytes:
        asks = [ask for ask in map(frames.read_ask, self._reader.feed(data)) if ask is not None]
        self.heard += asks
        return b"".join(self._made(ask) for ask in asks)


def told(ask: Any, *, voter: int = 0xA0B1C2D3, pair: int | None = None, build: int = 0, gap: int = 0xFFFFFFFF,
         overlap: int = 0xFFFFFFFF, stuck: int = 0, board: int = 1, version: tuple[int, int, int] = (1, 0, 0)) -> bytes:
    """A TOLD on the wire, in answer to an ask as frames.read_ask gives it."""
    _, node, asked_pair, incarnation, stamp, _, _, _, _ = ask
    served = asked_pair if pair is None else pair
    body = frames.vote_head(frames.TOLD, 0, node, served, incarnation, stamp, 5, 100, voter, 12)
    tail = struct.pack(frames.TOLD_TAIL, *version, board, build, 10, 9, 1, gap, overlap, 0, 1, 2, 2000, stuck)
    return bytes(frames.wrap(body + tail))


def voted(ask: Any, code: int = 2, contacts: int = 0, epoch: int = 8, ms: int = 0, voter: int = 0xA0B1C2D3) -> bytes:
    """A VOTE on the wire that says the same of every group asked for."""
    _, node, pair, incarnation, stamp, _, _, _, rows = ask
    body = frames.vote_head(frames.VOTE, len(rows), node, pair, incarnation, stamp, 5, 100, voter, 12)
    return bytes(frames.wrap(body + b"".join(frames.vote_row(group, code, contacts, epoch, ms) for group, _ in rows)))


def answers(ask: Any, **over: Any) -> bytes:
    """TOLD to a query, a refusal with the floor to an ask."""
    return told(ask, **over) if ask[0] == frames.QUERY else voted(ask)


def wait_past_abstention(serial: SerialSession) -> None:
    """Ask until the board's first two seconds are over."""
    for _ in range(100_000):
        votes = serial.ask([(0, 0)]).answer
        assert isinstance(votes, Votes)
        if votes.rows[0].code is not VoteCode.ABSTAINS:
            return
    raise AssertionError("the board abstains for ever")
