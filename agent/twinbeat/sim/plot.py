"""The timeline of a run as a picture: roles, contacts, faults, links and frames. matplotlib is needed here and nowhere
else; without it the commands say so in a sentence."""
from __future__ import annotations

import importlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from twinbeat.errors import TwinbeatError, UsageError
from twinbeat.sim.plot_lanes import DOWN, STILL, Lanes, Span
from twinbeat.sim.spec import ALL, MS, RULE_TEXT, Action, RunResult, Verb, WorldSpec
from twinbeat_core.model import State

SUFFIXES = (".svg", ".png")
WIDTH_INCHES, DPI = 12.0, 100
NODE_HEIGHT, LINK_HEIGHT, FAULT_HEIGHT = 1.0, 0.7, 0.42
INCHES_PER_UNIT = 0.55
MARGIN_INCHES = 1.55
LETTER_SHARE = 0.0060
"""Of the width of the picture, for one letter of a fault's text."""
MOST_FAULT_ROWS = 9
MOST_FRAMES = 700
MOST_GAP_TEXTS = 14
LONG_NS = 5000 * MS

ROLE_COLOURS = {
    State.LISTEN: "#c9c9c9", State.STANDBY: "#8ecae6", State.CLAIMING: "#f4a300", State.ACTIVE: "#2a9d5c",
    State.RELEASING: "#c77dba", State.OUT: "#8d6e4b",
}
CONTACT_COLOUR, OVERLAP_COLOUR, GAP_COLOUR = "#1b1b1b", "#e00000", "#ffe08a"
UP_COLOUR, CUT_COLOUR, IMPAIRED_COLOUR, LOST_COLOUR = "#b7e4c7", "#5c5c5c", "#f3b562", "#b00020"
FAULT_COLOUR, MOMENT_COLOUR, STILL_COLOUR = "#f6c1b4", "#7a2a14", "#00000000"
LINK_COLOURS = ("#1d4e89", "#b5651d", "#5a189a", "#2d6a4f", "#9d0208", "#3a5a40", "#6c584c", "#0077b6")
MISSING = ("drawing needs matplotlib, which is not installed: pip install 'twinbeat[plot]' "
           "(or: apt install python3-matplotlib)")


class PlotError(TwinbeatError):
    """A picture cannot be drawn or written."""

    exit_code = 2


def check(path: str) -> None:
    """UsageError or PlotError where a picture of that name could not be drawn: to be asked before long work."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f'--plot {path}: the name ends in "{suffix}"; give one that ends in {" or ".join(SUFFIXES)}')
    folder = Path(path).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PlotError(f"{path}: the folder {folder} is missing or not writable; create it, or give another name")
    _figure_class()


def draw(spec: WorldSpec, result: RunResult, actions: Sequence[Action], path: str) -> None:
    """Write the picture as .svg or .png. UsageError for another suffix, PlotError where it cannot be written."""
    check(path)
    figure = Picture(Lanes(spec, result, actions), result).figure
    try:
        if Path(path).suffix.lower() == ".svg":
            Path(path).write_text(_svg_of(figure), encoding="utf-8")
        else:
            figure.savefig(path, format="png", dpi=DPI)
    except OSError as error:
        raise PlotError(f"{path}: cannot be written: {error.strerror}; give another name")


def svg_text(spec: WorldSpec, result: RunResult, actions: Sequence[Action]) -> str:
    """The picture as an <svg> element without a document's head, to be put into HTML."""
    text = _svg_of(Picture(Lanes(spec, result, actions), result).figure)
    return text[text.index("<svg"):]


def _figure_class() -> Any:
    """matplotlib's Figure, which needs no screen; PlotError where matplotlib is missing."""
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError:
        raise PlotError(MISSING)


def _svg_of(figure: Any) -> str:
    """Text stays text, and the same run gives the same bytes."""
    buffer = io.StringIO()
    with importlib.import_module("matplotlib").rc_context({"svg.fonttype": "none", "svg.hashsalt": "twinbeat"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "twinbeat"})
    return buffer.getvalue()


def length(length_ns: int) -> str:
    """A time span with two or three digits."""
    ms = length_ns / MS
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 100 else f"{ms:.3g} ms"


def part(*words: str) -> str:
    """The name of a part of the picture, by which a page or a test finds it."""
    return "-".join(words).replace(" ", "-").replace("\u2192", "-")


class Picture:
    """Lanes from top to bottom: faults, for each group its nodes, the third voter, the links."""

    def __init__(self, lanes: Lanes, result: RunResult) -> None:
        self.lanes = lanes
        self.result = result
        self.spec = lanes.spec
        self.unit, self.unit_ns = ("s", 1000 * MS) if lanes.end > LONG_NS else ("ms", MS)
        self.labels: list[tuple[float, str]] = []
        self.fault_rows, rows = self._place_faults()
        self.top = rows * FAULT_HEIGHT + 0.25
        self.bottom = self.top + self._height()
        inches = max(3.0, self.bottom * INCHES_PER_UNIT + MARGIN_INCHES)
        self.figure = _figure_class()(figsize=(WIDTH_INCHES, inches), dpi=DPI)
        self.axes = self.figure.add_axes((0.085, 1.05 / inches, 0.875, 1 - MARGIN_INCHES / inches))
        self._draw()

    def _height(self) -> float:
        nodes, groups = len(self.spec.settings), len(self.spec.groups_named)
        voter = NODE_HEIGHT / 2 if self.spec.settings[0].third_voter else 0
        links = len(self.spec.links) * LINK_HEIGHT * (1 if nodes > 1 else 0)
        return groups * nodes * NODE_HEIGHT + (groups - 1) * 0.2 + voter + links + 0.3

    def _x(self, at_ns: int) -> float:
        return at_ns / self.unit_ns

    def _draw(self) -> None:
        self.axes.set_xlim(0, self._x(self.lanes.end))
        self.axes.set_ylim(self.bottom, 0)
        y = self.top
        node_y: dict[int, float] = {}
        for group, name in enumerate(self.spec.groups_named):
            self._gaps(group, y)
            for node, node_name in enumerate(self.spec.nodes_named):
                label = node_name if len(self.spec.groups_named) == 1 else f"{node_name} {name}"
                self._node_lane(node, group, y, label)
                node_y.setdefault(node, y + NODE_HEIGHT / 2)
                y += NODE_HEIGHT
            self._overlaps(group, y)
            y += 0.2
        if self.spec.settings[0].third_voter:
            self._voter_lane(y)
            y += NODE_HEIGHT / 2
        if len(self.spec.settings) > 1:
            for link in range(len(self.spec.links)):
                self._link_lane(link, y)
                y += LINK_HEIGHT
            self._frames(node_y)
        self._faults()
        self._finish()

    def _bars(self, spans: Iterable[Span], y: float, height: float, colour: str, **more: Any) -> None:
        """Bars as one collection."""
        bars = [(self._x(span.begin), self._x(span.end - span.begin)) for span in spans]
        if bars:
            self.axes.broken_barh(bars, (y, height), facecolors=colour, linewidth=0, **more)

    # ------------------------------------------------------------ nodes
    def _node_lane(self, node: int, group: int, y: float, label: str) -> None:
        """Role above, contact below; a node that stands still is hatched."""
        self.labels.append((y + NODE_HEIGHT / 2, label))
        spans = self.lanes.roles[node, group]
        self.axes.axhline(y + 0.44, color="#dddddd", linewidth=0.5, zorder=0.5)
        for state, colour in ROLE_COLOURS.items():
            self._bars((span for span in spans if span.value == state), y + 0.12, 0.55, colour, zorder=2,
                       gid=part("role", label, state.name))
        still = [Span(fault.begin, fault.end) for fault in self.lanes.faults
                 if fault.verb in STILL and fault.node in (node, ALL)]
        self._bars(still, y + 0.12, 0.55, STILL_COLOUR, hatch="////", edgecolor="#00000088", zorder=2.5)
        self._bars(self.lanes.contacts[node, group], y + 0.70, 0.18, CONTACT_COLOUR, zorder=3,
                   gid=part("contact", label))
        for at, who in self.lanes.restarts:
            if who == node:
                self.axes.plot([self._x(at)], [y + 0.12], marker="^", markersize=5, color="#333333", zorder=4,
                               clip_on=False)
        for span in spans:
            if span.value != DOWN and self._share(span) > 0.06:
                self.axes.text(self._x((span.begin + span.end) // 2), y + 0.41, State(span.value).name, fontsize=7.5,
                               ha="center", va="center", color="white" if span.value == State.ACTIVE else "#222222",
                               zorder=4)

    def _share(self, span: Span) -> float:
        return (span.end - span.begin) / self.lanes.end

    def _overlaps(self, group: int, below: float) -> None:
        """Two contacts closed: red through all lanes of the group, never thinner than a line."""
        above = below - NODE_HEIGHT * len(self.spec.settings)
        for number, span in enumerate(self.lanes.overlaps[group]):
            self.axes.fill_between([self._x(span.begin), self._x(span.end)], above, below, color=OVERLAP_COLOUR,
                                   alpha=0.35, linewidth=1.5, zorder=5,
                                   gid=part("overlap", str(group), str(number)))
            self.axes.text(self._x((span.begin + span.end) // 2), above, f"both {length(span.end - span.begin)}",
                           fontsize=8, ha="center", va="bottom", color=OVERLAP_COLOUR, fontweight="bold", zorder=6)

    def _gaps(self, group: int, y: float) -> None:
        """Time without a driver, shaded, its length beside the longest ones."""
        gaps = [gap for gap in self.result.gaps if gap.group == group]
        longest = sorted(gaps, key=lambda gap: -gap.length_ns)[:MOST_GAP_TEXTS]
        height = NODE_HEIGHT * len(self.spec.settings)
        for number, gap in enumerate(gaps):
            x, end = self._x(gap.at_ns), self._x(gap.at_ns + gap.length_ns)
            self.axes.fill_between([x, end], y, y + height, color=GAP_COLOUR, alpha=0.75, linewidth=0.8, zorder=1,
                                   gid=part("gap", str(group), str(number)))
            if gap in longest:
                self.axes.text((x + end) / 2, y + 0.02, length(gap.length_ns), fontsize=7, ha="center",
                               va="bottom", color="#7a5c00", zorder=6)

    def _voter_lane(self, y: float) -> None:
        self.labels.append((y + 0.25, "third voter"))
        self._bars((span for span in self.lanes.voter if span.value), y + 0.1, 0.3, ROLE_COLOURS[State.STANDBY],
                   zorder=2, gid=part("third voter"))

    # ------------------------------------------------------------ links
    def _link_lane(self, link: int, y: float) -> None:
        """A strip for each direction: up, impaired or cut, and a tick for each frame that was lost there."""
        name = self.spec.links_named[link]
        self.labels.append((y + LINK_HEIGHT / 2, name))
        paths = [path for path in self.lanes.up if path[0] == link]
        height = (LINK_HEIGHT - 0.12) / len(paths)
        for number, path in enumerate(paths):
            at = y + 0.06 + number * height
            label = f"{self.spec.nodes_named[path[1]]}\u2192{self.spec.nodes_named[path[2]]}"
            self._bars(self.lanes.up[path], at, height * 0.9, UP_COLOUR, zorder=2, gid=part("up", name, label))
            self._bars(self.lanes.impaired[path], at, height * 0.9, IMPAIRED_COLOUR, zorder=2.2)
            self._bars(self.lanes.cut[path], at, height * 0.9, CUT_COLOUR, zorder=2.4, gid=part("cut", name, label))
            if len(paths) <= 6:
                self.axes.text(1.003, at + height / 2, label, transform=self.axes.get_yaxis_transform(), fontsize=6,
                               va="center", color="#555555")
            lost = [self._x(frame.sent) for frame in self.lanes.frames
                    if (frame.link, frame.source, frame.target) == path and not frame.arrives]
            self._ticks(lost, at, at + height * 0.9, LOST_COLOUR, part("lost", name, label))

    def _ticks(self, xs: Sequence[float], above: float, below: float, colour: str, gid: str) -> None:
        """Any number of short lines as one line with holes: a picture of a long run stays small."""
        if xs:
            points = [(x, y) for x in xs for y in (above, below, float("nan"))]
            self.axes.plot([x for x, _ in points], [y for _, y in points], color=colour, linewidth=0.8, zorder=3,
                           gid=gid)

    def _frames(self, node_y: dict[int, float]) -> None:
        """Frames from lane to lane, where they are few enough to be told apart."""
        frames = self.lanes.frames
        if len(frames) > MOST_FRAMES:
            return
        for link in range(len(self.spec.links)):
            xs: list[float] = []
            ys: list[float] = []
            for frame in frames:
                if frame.link == link and frame.arrives:
                    xs += [self._x(frame.sent), self._x(frame.arrives), float("nan")]
                    ys += [node_y[frame.source], node_y[frame.target], float("nan")]
            if xs:
                name, colour = self.spec.links_named[link], LINK_COLOURS[link % len(LINK_COLOURS)]
                self.axes.plot(xs, ys, color=colour, linewidth=0.6, alpha=0.7, zorder=3.5, gid=part("frames", name),
                               label=f"frames, {name}")
                self.axes.plot(xs[1::3], ys[1::3], linestyle="none", marker=".", markersize=2.5, zorder=3.6,
                               color=colour)

    # ------------------------------------------------------------ faults
    def _place_faults(self) -> tuple[list[int], int]:
        """For each fault the row in which its text finds room (-1: none), and how many rows there are."""
        free: list[float] = []
        placed = []
        for fault in self.lanes.faults:
            begin = fault.begin / self.lanes.end
            end = max(fault.end / self.lanes.end, begin + LETTER_SHARE * (len(fault.text) + 2))
            row = next((row for row, until in enumerate(free) if until <= begin), len(free))
            if row == MOST_FAULT_ROWS:
                placed.append(-1)
                continue
            if row == len(free):
                free.append(0.0)
            free[row] = end
            placed.append(row)
        return placed, max(1, len(free))

    def _faults(self) -> None:
        if self.lanes.faults:
            self.labels.append((self.top / 2, "faults"))
        for number, (fault, row) in enumerate(zip(self.lanes.faults, self.fault_rows, strict=True)):
            x = self._x(fault.begin)
            self.axes.axvline(x, color=MOMENT_COLOUR, linewidth=0.5, linestyle=":", zorder=1.5)
            if row < 0:
                continue
            y = 0.1 + row * FAULT_HEIGHT
            if fault.end > fault.begin:
                self._bars([Span(fault.begin, fault.end)], y, FAULT_HEIGHT * 0.8, FAULT_COLOUR, zorder=2,
                           gid=part("fault", str(number)))
            self.axes.plot([x, x], [y, y + FAULT_HEIGHT * 0.8], color=MOMENT_COLOUR, linewidth=1.5, zorder=3)
            late = fault.begin > 0.8 * self.lanes.end
            text = f" {fault.text} "
            self.axes.text(x, y + FAULT_HEIGHT * 0.4, text, fontsize=7.5, va="center", ha="right" if late else "left",
                           fontweight="bold" if fault.verb == Verb.HEAL_ALL else "normal", zorder=4)

    # ------------------------------------------------------------ frame and legend
    def _finish(self) -> None:
        for found in self.result.violations:
            self.axes.plot([self._x(found.at_ns)], [0], marker="v", markersize=9, color=OVERLAP_COLOUR, clip_on=False,
                           zorder=7)
        self.axes.set_yticks([y for y, _ in self.labels], [text for _, text in self.labels], fontsize=9)
        self.axes.tick_params(axis="y", length=0)
        self.axes.set_xlabel(f"time, {self.unit}", fontsize=9, labelpad=2)
        self.axes.tick_params(axis="x", labelsize=8)
        for side in ("left", "right", "top"):
            self.axes.spines[side].set_visible(False)
        self.axes.set_title(self._title(), fontsize=10, loc="left", pad=8)
        self._legend()

    def _title(self) -> str:
        names = ", ".join(self.spec.nodes_named)
        told = [f"nodes {names}" if len(self.spec.nodes_named) > 1 else f"node {names}"]
        kinds = dict.fromkeys(found.rule for found in self.result.violations)
        told += [f"violated: {RULE_TEXT[rule]}" for rule in kinds] or ["nothing promised was broken"]
        if self.result.excused:
            told.append(f"{len(self.result.excused)} broken where nothing is promised")
        return "; ".join(told)

    def _legend(self) -> None:
        patch = importlib.import_module("matplotlib.patches").Patch
        shown: list[Any] = [patch(facecolor=colour, label=state.name) for state, colour in ROLE_COLOURS.items()]
        shown += [patch(facecolor=colour, label=label) for colour, label in (
            (CONTACT_COLOUR, "contact on"), (GAP_COLOUR, "nobody drives"), (OVERLAP_COLOUR, "both drive"),
            (FAULT_COLOUR, "fault"), (UP_COLOUR, "link up"), (CUT_COLOUR, "link cut"),
            (IMPAIRED_COLOUR, "link impaired"), (LOST_COLOUR, "frame lost"))]
        shown += self.axes.get_legend_handles_labels()[0]
        self.figure.legend(handles=shown, loc="lower center", ncol=9, fontsize=7.5, frameon=False,
                           bbox_to_anchor=(0.5, 0.0), handlelength=1.4, columnspacing=1.2)
