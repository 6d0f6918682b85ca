"""boards/unix.py as a process on two ptys, and both gateways beside it."""
from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
import tty
from pathlib import Path
from types import TracebackType

from firmware_rig import ARBITER, Answer, command_of, make_ask, read_answer

from twinbeat_bridge.arbiter import frames

LAUNCHER = ARBITER / "boards" / "run_unix.py"
LIMIT_S = 20.0


class Side:
    """One gateway's end of a serial line that outlives the arbiter's processes."""

    def __init__(self) -> None:
        self.line, self.far_end = pty.openpty()
        tty.setraw(self.far_end)
        self.path = os.ttyname(self.far_end)
        self.reader = frames.Reader()
        self.waiting: list[Answer] = []

    def send(self, data: bytes) -> None:
        os.write(self.line, data)

    def answer(self, limit_s: float = LIMIT_S) -> Answer | None:
        """The next answer, or None after so long."""
        until_s = time.monotonic() + limit_s
        while not self.waiting:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not select.select([self.line], [], [], left_s)[0]:
                return None
            self.waiting += [read_answer(body) for body in self.reader.feed(os.read(self.line, 4096))]
        return self.waiting.pop(0)

    def close(self) -> None:
        os.close(self.line)
        os.close(self.far_end)


class UnixArbiter:
    """The process, its state folder and its contact log. `start` and `kill` as often as wanted."""

    def __init__(self, interpreter: str, folder: Path, *options: str) -> None:
        self.interpreter = interpreter
        self.folder = folder
        self.options = options
        self.log = folder / "contacts"
        self.control = folder / "control"
        self.sides = [Side(), Side()]
        self.process: subprocess.Popen[bytes] | None = None
        self.life = self.clock = 0
        self.stamp = 0

    def __enter__(self) -> UnixArbiter:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        for side in self.sides:
            side.close()

    def command(self) -> list[str]:
        sides = [word for number, side in enumerate(self.sides) for word in (f"--side{number}", side.path)]
        files = ["--state", str(self.folder), "--log", str(self.log), "--control", str(self.control)]
        return [*command_of(self.interpreter), str(LAUNCHER), *sides, *files, "--id", "a5b17e50", "--pair", "7",
                *self.options]

    def start(self) -> None:
        """Returns when it answers."""
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL)
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}"
            self.sides[0].send(frames.wrap(make_ask(frames.QUERY, 0, [], 1)))
            answer = self.sides[0].answer(0.3)
            if answer is not None:
                self._note(answer)
                self._quiet()
                return
        raise AssertionError("no answer")

    def _quiet(self) -> None:
        while self.sides[0].answer(0.1) is not None:
            pass

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=LIMIT_S)

    def _note(self, answer: Answer) -> None:
        self.life, self.clock = answer.life, answer.clock

    def query(self, node: int = 0) -> Answer:
        self.stamp += 1
        return self._exchange(node, make_ask(frames.QUERY, node, [], self.stamp))

    def ask(self, node: int, epoch: int, group: int = 0, grant: int = 200, **fields: int) -> Answer:
        """With the newest echo."""
        self.stamp += 1
        fields.setdefault("life", self.life)
        fields.setdefault("clock", self.clock)
        return self._exchange(node, make_ask(frames.ASK, node, [(group, epoch)], self.stamp, grant=grant, **fields))

    def give_back(self, node: int, epoch: int) -> None:
        self.sides[node].send(frames.wrap(make_ask(frames.RETURN, node, [(0, epoch)], self.stamp)))

    def promised(self, node: int, epoch: int, limit_s: float = LIMIT_S, **fields: int) -> Answer:
        """Asks until it is promised."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            answer = self.ask(node, epoch, **fields)
            if answer.rows[0].code == 1:
                return answer
            self.sides[node].answer(0.01)
        raise AssertionError(f"not promised: {answer}")

    def _exchange(self, node: int, body: bytes) -> Answer:
        self.sides[node].send(frames.wrap(body))
        while True:
            answer = self.sides[node].answer()
            assert answer is not None, "no answer"
            self._note(answer)
            if answer.stamp == self.stamp:
                return answer

    def moves(self) -> list[tuple[int, int, int, int]]:
        """Whole lines of the contact log: (us, group, side, closed)."""
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        found = []
        for line in text.split("\n")[:-1]:
            at_us, group, side, closed = map(int, line.split())
            found.append((at_us, group, side, closed))
        return found
