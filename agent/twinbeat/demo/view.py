"""What the demo shows while it runs: live bars in a terminal, plain lines elsewhere, nothing for --json."""
from __future__ import annotations

import shutil
import sys
import threading
from collections import deque
from itertools import groupby
from typing import TextIO

from twinbeat.demo import explain
from twinbeat.demo.timeline import Timeline
from twinbeat.demo.trial import DETAILED_TRIALS, TrialRecord

TICK_S = 0.1
COLUMNS = 60
MARGIN = 12               # of a terminal line, for the node's name
GREEN, RED, DIM, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


class View:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """A line about the run as a whole."""

    def begin(self, number: int, driver: str) -> None:
        """A trial is about to start."""

    def record(self, lines: list[str]) -> None:
        """A trial is over; what there is to say of it."""

    def close(self) -> None:
        """No more output."""


class LineView(View):
    """Plain lines, for files and pipes."""

    def __init__(self, trials: int, out: TextIO | None = None) -> None:
        self.trials = trials
        self.out = out or sys.stdout

    def say(self, text: str) -> None:
        print(text, file=self.out, flush=True)

    def record(self, lines: list[str]) -> None:
        for line in lines:
            self.say(line)


class LiveView(LineView):
    """Both boards as moving bars at the bottom of a terminal, everything else above them."""

    def __init__(self, trials: int, timeline: Timeline, out: TextIO | None = None) -> None:
        super().__init__(trials, out)
        self.timeline = timeline
        self._title = "starting two agents"
        self._history: dict[str, deque[bool]] = {node: deque(maxlen=COLUMNS) for node in timeline.nodes}
        self._shown = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="view", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        with self._lock:
            self._erase()
            super().say(text)
            self._draw()

    def begin(self, number: int, driver: str) -> None:
        self._title = f"trial {number} of {self.trials}, {driver} drove at its start"

    def close(self) -> None:
        self._ended.set()
        self._thread.join(1.0)
        with self._lock:
            self._erase()

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S):
            self._sample()
            with self._lock:
                self._erase()
                self._draw()

    def _sample(self) -> None:
        for node, level in self.timeline.levels().items():
            self._history[node].append(level)

    def _erase(self) -> None:
        if self._shown:
            self.out.write(f"\x1b[{self._shown}F\x1b[J")
            self.out.flush()
        self._shown = 0

    def _draw(self) -> None:
        if self._ended.is_set():
            return
        lines = self._lines()
        self.out.write("\n".join(lines) + "\n")
        self.out.flush()
        self._shown = len(lines)

    def _lines(self) -> list[str]:
        width = shutil.get_terminal_size().columns
        rows = list(zip(*self._history.values(), strict=False))[-max(1, min(COLUMNS, width - MARGIN)):]
        lines = [f"{DIM}  {self._title[:width - 3]}{PLAIN}"]
        for place, node in enumerate(self._history):
            runs = groupby(rows, lambda row: (row[place], sum(row) > 1))    # noqa: B023 - used up in this round
            lines.append(f"  {node:>8} " + "".join(self._run(*kind, len(list(same))) for kind, same in runs))
        return lines

    @staticmethod
    def _run(on: bool, both: bool, length: int) -> str:
        if not on:
            return DIM + explain.OFF * length + PLAIN
        return (RED if both else GREEN) + explain.ON * length + PLAIN


def trial_lines(record: TrialRecord, trials: int) -> list[str]:
    """One trial in full for the first few, in one line for the rest."""
    figures = record.figures
    if record.number > DETAILED_TRIALS:
        taken = "no takeover" if figures.takeover_ms is None else f"takeover {explain.ms(figures.takeover_ms)}"
        gap = "still undriven" if figures.gap_ms is None else f"undriven {explain.ms(figures.gap_ms)}"
        both = f", BOTH ON for {explain.ms(figures.overlap_ms)}" if figures.overlap_ms > 0 else ""
        return [f"trial {record.number} of {trials}: {record.fault.name} at {record.driver}: {taken}, {gap}{both}"]
    return [f"trial {record.number} of {trials}", *explain.picture(record),
            *(f"  {sentence}" for sentence in explain.sentences(record)), *explain.agents_say(record), ""]
