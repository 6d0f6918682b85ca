"""What the demo shows of many units: a table over time, one line for each, in it the letter of the node that drives."""
from __future__ import annotations

import shutil
from collections import Counter, deque
from collections.abc import Sequence
from typing import TextIO

from twinbeat.demo.explain import LEAD, OFF, WIDTH, ms
from twinbeat.demo.layout import Layout
from twinbeat.demo.measure import NS_PER_MS, Change, intervals_on
from twinbeat.demo.timeline import Timeline
from twinbeat.demo.trial import DETAILED_TRIALS
from twinbeat.demo.unit_measure import UnitFigures, last_ms
from twinbeat.demo.unit_trial import UnitRecord
from twinbeat.demo.view import DIM, GREEN, PLAIN, RED, LiveView

BLUE, YELLOW = "\x1b[34m", "\x1b[33m"
BOTH = "#"
ROWS = 16                 # more units than that are not drawn one by one
HOME_WIDTH = 30
LABEL = 10


def letter(nodes: frozenset[str] | set[str]) -> str:
    """Who drives: the last letter of the node's name, # for two at once, a dot for nobody."""
    if len(nodes) > 1:
        return BOTH
    return next((node[-1].upper() for node in nodes), OFF)


class UnitView(LiveView):
    """Every unit as a moving line at the bottom of a terminal, everything else above them."""

    def __init__(self, trials: int, timeline: Timeline, layout: Layout, out: TextIO | None = None) -> None:
        self.layout = layout
        self._cells: list[deque[str]] = [deque(maxlen=WIDTH) for _ in layout.units]
        super().__init__(trials, timeline, out)

    def begin(self, number: int, driver: str) -> None:
        self._title = f"trial {number} of {self.trials}, {driver} is struck"

    def _sample(self) -> None:
        for cells, nodes in zip(self._cells, self.timeline.drivers(), strict=True):
            cells.append(letter(nodes))

    def _lines(self) -> list[str]:
        width = shutil.get_terminal_size().columns
        columns = max(1, min(WIDTH, width - LABEL - 4))
        lines = [f"{DIM}  {self._title[:width - 3]}{PLAIN}"]
        both_right = self.layout.mode == "overlap"
        for name, cells in list(zip(self.layout.units, self._cells, strict=True))[:ROWS]:
            shown = "".join(_coloured(cell, both_right) for cell in list(cells)[-columns:])
            lines.append(f"  {name:>{LABEL}} {shown}")
        if len(self._cells) > ROWS:
            count = Counter(cells[-1] for cells in self._cells if cells)
            lines.append("  in all: " + ", ".join(f"{cell} {count[cell]}" for cell in sorted(count))[:width - 10])
        return lines


def _coloured(cell: str, both_right: bool) -> str:
    colours = {OFF: DIM, "A": GREEN, "B": BLUE, "S": YELLOW, BOTH: GREEN if both_right else RED}
    return f"{colours.get(cell, PLAIN)}{cell}{PLAIN}"


def trial_lines(record: UnitRecord, trials: int) -> list[str]:
    """One trial in full for the first few, in one line for the rest."""
    said = sentences(record)
    if record.number > DETAILED_TRIALS:
        return [f"trial {record.number} of {trials}: {record.fault.name} at {record.struck}. {said[1]}"]
    why = [f"  {node} says: {sentence}" for node, found in record.why.items() for sentence in found[:2]]
    return [f"trial {record.number} of {trials}", *table(record), *(f"  {sentence}" for sentence in said), *why, ""]


def table(record: UnitRecord) -> list[str]:
    """Every unit as two lines to scale: the moments around the fault, and all of it until everything was as before."""
    at = record.at
    last = max((change.at_ns for change in record.changes if at.fault_ns <= change.at_ns <= at.observed_ns),
               default=at.fault_ns + 10_000_000)
    after_ns = max(1.4 * (last - at.fault_ns), 0.2 * NS_PER_MS)
    near = (at.fault_ns - LEAD / (1 - LEAD) * after_ns, at.fault_ns + after_ns)
    far = (float(at.fault_ns), float(at.end_ns))
    near_width = WIDTH - HOME_WIDTH
    mine: list[list[Change]] = [[] for _ in record.layout.units]
    for change in record.changes:
        mine[change.unit].append(change)
    lines = [
        f"  {name:>{LABEL}} {bar(found, near, near_width)}  {bar(found, far, HOME_WIDTH)}"
        for name, found in list(zip(record.layout.units, mine, strict=True))[:ROWS]
    ]
    if len(mine) > ROWS:
        lines.append(f"  {'':>{LABEL}} and {len(mine) - ROWS} more")
    mark = round(LEAD * near_width)
    foot = f"{' ' * mark}^ {record.fault.name}, {ms((near[1] - near[0]) / NS_PER_MS)} wide"
    lines.append(f"  {'':>{LABEL}} {foot:<{near_width}}  ^ {ms((far[1] - far[0]) / NS_PER_MS)} wide")
    return lines


def bar(changes: Sequence[Change], window: tuple[float, float], width: int) -> str:
    """Who drove a unit between two moments, by the larger part of each column; any two at once show."""
    nodes = sorted({change.node for change in changes})
    last = max((change.at_ns for change in changes), default=0)
    on = {node: intervals_on(changes, node, max(round(window[1]), last), 0.0) for node in nodes}
    step = (window[1] - window[0]) / width
    cells = []
    for column in range(width):
        left = window[0] + column * step
        covered = {node: sum(max(0.0, min(left + step, end) - max(left, start)) for start, end in on[node]) / step
                   for node in nodes}
        driving = {node for node, share in covered.items() if share > 0.99}
        largest = max(covered.values(), default=0.0)
        cells.append(letter(driving) if driving else letter({node for node in nodes if covered[node] == largest})
                     if largest > 0.5 else OFF)
    return "".join(cells)


def sentences(record: UnitRecord) -> list[str]:
    """What happened, as the boards saw it."""
    other = " and ".join(node for node in record.layout.nodes if node != record.struck)
    overlap = record.layout.mode == "overlap"
    words = record.fault.words.format(driver=record.struck, other=other)
    said = [f"{words if words.startswith(record.struck) else words[:1].upper() + words[1:]}.",
            f"{_both(record.figures) if overlap else _lost(record.figures)}."]
    if not overlap:
        kept = [unit for unit in record.figures if not unit.lost]
        disturbed = sum(unit.disturbed for unit in kept)
        if kept:
            said.append(f"Of {_count(len(kept), 'other')} {disturbed or 'none'} was disturbed.")
        double = max(unit.overlap_ms for unit in record.figures)
        said.append(f"TWO DROVE ONE UNIT for {ms(double)}." if double > 0 else "Never did two drive the same.")
    returned = [unit.returned_ms for unit in record.figures if unit.returned_ms is not None]
    if returned:
        said.append(f"Back as it was after {record.home_s:.1f} s; on the way home undriven "
                    f"for at most {ms(max(returned))} each.")
    return said


def _lost(figures: Sequence[UnitFigures]) -> str:
    lost = [unit for unit in figures if unit.lost]
    if not lost:
        return "Nothing had to move"
    gaps = [unit.undriven_ms for unit in lost if unit.undriven_ms is not None]
    last = last_ms(figures)
    if last is None or len(gaps) < len(lost):
        return f"NOT ALL of {len(lost)} were driven again"
    return (f"{_count(len(lost), 'unit')} had to move, driven again after {ms(last)} at the latest, "
            f"undriven for {ms(min(gaps))} to {ms(max(gaps))} each")


def _both(figures: Sequence[UnitFigures]) -> str:
    gap = max((unit.undriven_ms for unit in figures if unit.undriven_ms is not None), default=None)
    if gap is None:
        return "Nobody drove in the end"
    return f"The two or-ed were off for {ms(gap)}" if gap else "The two or-ed were on without a break"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
