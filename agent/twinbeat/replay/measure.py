"""What arrival times say of a link: loss, delay above the fastest frame, distances between arrivals."""
from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from twinbeat.replay.arrivals import Arrival

SEQUENCE_NUMBERS = 256
LOST_MOST = 127             # as the core counts: a larger step says nothing
LIFE_LEAST = 8              # frames of two lives below which nothing is computed
CONFIDENCE_Z = 1.645        # 95 %, one-sided
LOSS_WINDOW = 64            # as the core measures loss: renewed after so many frames,
LOSS_LEAST = 16             # looked at from so many on
WINDOWS = 0.999             # a promise is counted as long as the core makes it in all but so many of its windows


@dataclass
class Measured:
    """One direction of one link over all its lives. Times in ms.

    got, lost     frames that came and that are missing between them
    burst         most frames lost in a row
    losses        times when one or more were lost in a row
    window_loss   the highest loss that the core itself would have measured, 0..1
    jitter        delay above the fastest frame of the same lives, sorted
    gaps          distances between arrivals, losses included, sorted
    steady_gap    the longest distance without a loss in it
    held          the longest that a frame came later after the one before than it was sent
    late          arrivals left out because the receiving node itself was late
    outages       silences longer than the longest promise, left out: (from, to) on the receiver's clock, in ns
    held_up       frames delayed by more than the longest promise, as by an outage; left out of jitter
    """

    got: int = 0
    lost: int = 0
    burst: int = 0
    losses: int = 0
    reordered: int = 0
    window_loss: float = 0.0
    jitter: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    steady_gap: float = 0.0
    held: float = 0.0
    late: int = 0
    outages: list[tuple[int, int]] = field(default_factory=list)
    held_up: int = 0
    lives: int = 0

    @property
    def outage_ms(self) -> float:
        """All outages together."""
        return sum(end - begin for begin, end in self.outages) / 1e6

    @property
    def loss(self) -> float:
        """Share of frames lost, 0..1."""
        return self.lost / (self.got + self.lost) if self.got else 0.0

    @property
    def worst_window(self) -> float:
        """The loss that the core measures in a bad window: the worst recorded, or what chance makes of this loss."""
        chance = binomial_quantile(LOSS_LEAST, self.loss, WINDOWS) / LOSS_LEAST if self.lost else 0.0
        return max(self.window_loss, chance)

    @property
    def loss_upper(self) -> float:
        """What the loss is at most, with 95 % confidence (Wilson): no loss seen is not no loss."""
        return wilson_upper(self.lost, self.got + self.lost)


def wilson_upper(hits: int, total: int) -> float:
    """Upper end of the one-sided 95 % interval of a share."""
    if total == 0:
        return 1.0
    z2 = CONFIDENCE_Z**2
    share = hits / total
    spread = CONFIDENCE_Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return min(1.0, (share + z2 / (2 * total) + spread) / (1 + z2 / total))


def measure(lives: Iterable[Iterable[Arrival]], late_ns: Iterable[tuple[int, int]], outage_ns: int) -> Measured:
    """One direction; `late_ns` are the times when the receiver was late, `outage_ns` the longest promise."""
    found = Measured()
    spans = merged(late_ns)
    for arrivals in lives:
        ordered = sorted(arrivals)
        if len(ordered) >= LIFE_LEAST:
            found.lives += 1
            _one_life(found, ordered, spans, outage_ns)
    found.jitter.sort()
    found.gaps.sort()
    return found


def binomial_quantile(total: int, share: float, confidence: float) -> int:
    """The count of hits among `total` that is exceeded with a chance of at most 1 - confidence."""
    cumulated = 0.0
    for hits in range(total + 1):
        cumulated += math.comb(total, hits) * share**hits * (1 - share) ** (total - hits)
        if cumulated >= confidence:
            return hits
    return total


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, overlaps joined."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def touches(spans: Sequence[tuple[int, int]], begin: int, end: int) -> bool:
    """Whether one of the joined spans overlaps [begin, end]."""
    index = bisect.bisect_right(spans, (end, math.inf)) - 1
    return index >= 0 and spans[index][1] >= begin


def _one_life(found: Measured, ordered: list[Arrival], late: list[tuple[int, int]], outage_ns: int) -> None:
    """One life of sender and receiver: what the receiver's own lateness or an outage held up is left out."""
    kept: list[tuple[Arrival, float]] = []
    before: Arrival | None = None
    window = [0, 0]
    for arrival, delay_ms in zip(ordered, above_fastest(ordered), strict=True):
        # Held up on its way while the receiver stood still, or on the way there from the last arrival.
        due_ns = arrival.rx_ns - int(delay_ms * 1e6)
        if touches(late, min(due_ns, before.rx_ns if before is not None else due_ns), arrival.rx_ns):
            found.late += 1
            before = arrival
            continue
        found.got += 1
        if delay_ms * 1e6 > outage_ns:
            found.held_up += 1
        else:
            kept.append((arrival, delay_ms))
        if before is None or _between(found, before, arrival, outage_ns, window):
            before = arrival
    found.jitter += [delay_ms for _arrival, delay_ms in kept]


def _between(found: Measured, before: Arrival, arrival: Arrival, outage_ns: int, window: list[int]) -> bool:
    """What two arrivals in a row tell; `window` is the core's own count of got and lost frames.

    False: the second is an older frame that was overtaken, and the first stays the newest.
    """
    gap_ns = arrival.rx_ns - before.rx_ns
    distance = (arrival.link_seq - before.link_seq) % SEQUENCE_NUMBERS
    if gap_ns > outage_ns:
        found.outages.append((before.rx_ns, arrival.rx_ns))
        window[:] = [0, 0]
        return True
    if not 0 < distance <= LOST_MOST:
        found.reordered += 1
        if distance and found.lost:
            found.lost -= 1         # it was counted as lost when a later one came first
        return False
    found.gaps.append(gap_ns / 1e6)
    if distance == 1:
        found.steady_gap = max(found.steady_gap, gap_ns / 1e6)
        found.held = max(found.held, min(gap_ns / 1e6, gap_ns / 1e6 - (arrival.stamp_us - before.stamp_us) / 1e3))
    else:
        found.losses += 1
        found.lost += distance - 1
        found.burst = max(found.burst, distance - 1)
    window[0] += 1
    window[1] += distance - 1
    if sum(window) >= LOSS_LEAST:
        found.window_loss = max(found.window_loss, window[1] / sum(window))
    if sum(window) >= LOSS_WINDOW:
        window[:] = [0, 0]
    return True


def above_fastest(arrivals: Sequence[Arrival]) -> list[float]:
    """Delay of each frame above the fastest, in ms, with the drift of the two clocks taken out.

    The clocks differ by an unknown amount that grows evenly, and no frame is faster than the way allows: so all points
    (sent, received - sent) lie above one line, and the edge of their lower hull under the middle is that line.
    """
    first = min(arrival.stamp_us for arrival in arrivals)
    points = [((arrival.stamp_us - first) / 1e3, arrival.rx_ns / 1e6 - arrival.stamp_us / 1e3) for arrival in arrivals]
    slope = slope_below(sorted(points))
    level = [delay - slope * sent for sent, delay in points]
    fastest = min(level)
    return [value - fastest for value in level]


def slope_below(points: Sequence[tuple[float, float]]) -> float:
    """Slope of the edge of the lower convex hull under the middle of the (sorted) points."""
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) >= 2 and _turns_right(hull[-2], hull[-1], point):
            hull.pop()
        if hull and hull[-1][0] == point[0]:
            continue                 # sorted: the lower one is there already
        hull.append(point)
    middle = (points[0][0] + points[-1][0]) / 2
    for (left, low), (right, high) in itertools.pairwise(hull):
        if left <= middle <= right:
            return (high - low) / (right - left)
    return 0.0


def _turns_right(one: tuple[float, float], two: tuple[float, float], three: tuple[float, float]) -> bool:
    """Whether the middle point lies on or above the line through the other two."""
    return (two[0] - one[0]) * (three[1] - one[1]) <= (two[1] - one[1]) * (three[0] - one[0])


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that a share of the sorted values does not exceed; 0.0 of nothing."""
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def mean_and_variance(values: Sequence[float]) -> tuple[float, float]:
    """Mean and variance; 0.0 of nothing."""
    if not values:
        return 0.0, 0.0
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
