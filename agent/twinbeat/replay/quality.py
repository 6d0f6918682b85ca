"""Quality of service of a failure detector, after Chen, Toueg and Aguilera (IEEE Trans. Computers 51(5), 2002).

The holder of a promise judges its own authority just as the paper's detector judges a process: it sends at known
times of its own clock, and acts for T_L from the send time of an answered frame. So with heartbeats every eta, a
round trip as the message, q its loss and R its delay, the freshness points lie delta = T_L - eta after each
heartbeat (alpha = delta - E(R) in the form for unsynchronised clocks), and a wrong suspicion is a lapse:

    detection           T_D <= eta + delta = T_L, from the last answered heartbeat
    mistake recurrence  E(T_MR) >= eta / prod_j [q + (1 - q) P(R > T_L - t_j)]
    mistake duration    E(T_M) <= eta / ((1 - q) P(R < T_L))

t_j are the times of the asks after an answered one: j * eta in the paper; twinbeat asks again sooner. As there, the
losses and delays of different frames are taken to be independent.
"""
from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from twinbeat.replay.measure import mean_and_variance

Tail = Callable[[float], float]
FOREVER_MS = 1e18           # thirty million years: no figure above it means anything
ASKS_MOST = 10_000


@dataclass(frozen=True)
class Delay:
    """A delay known from samples: P(D > x) is at most what they say and at most the one-sided Chebyshev bound.

    Within the samples their share counts, one more than was seen. Beyond the largest nothing was seen; there
    V / (V + (x - E)^2) falls on, and where it is worse than one in all samples, that stands.
    """

    ordered: tuple[float, ...]
    base: float = 0.0

    @property
    def moments(self) -> tuple[float, float]:
        """E and V in ms and ms^2."""
        mean, variance = mean_and_variance(self.ordered)
        return self.base + mean, variance

    def tail(self) -> Tail:
        """P(D > x) as a function of x in ms."""
        mean, variance = self.moments
        ordered, base, total = self.ordered, self.base, len(self.ordered)

        def probability(x: float) -> float:
            seen = (total - bisect.bisect_right(ordered, x - base) + 1) / (total + 1)
            return min(1.0, seen, cantelli(mean, variance, x))

        return probability


def cantelli(mean: float, variance: float, x: float) -> float:
    """The one-sided Chebyshev bound of P(D > x) from mean and variance."""
    margin = x - mean
    if margin <= 0:
        return 1.0
    spread = variance + margin * margin
    return variance / spread if spread > 0 else 1.0


def there_and_back(there: Delay, back: Delay) -> Tail:
    """P(sum > x) of two delays: one of them must exceed its half; or the bound from both variances."""
    (mean_there, variance_there), (mean_back, variance_back) = there.moments, back.moments
    tail_there, tail_back = there.tail(), back.tail()

    def probability(x: float) -> float:
        halves = tail_there(there.base + (x - there.base - back.base) / 2)
        halves += tail_back(back.base + (x - there.base - back.base) / 2)
        return min(1.0, halves, cantelli(mean_there + mean_back, variance_there + variance_back, x))

    return probability


def round_trip_loss(there: float, back: float) -> float:
    """q: a round trip fails when either frame is lost."""
    return 1 - (1 - there) * (1 - back)


def beats(eta_ms: float, until_ms: float) -> Iterator[float]:
    """The heartbeats after an answered one, as in the paper."""
    for number in range(1, ASKS_MOST):
        if number * eta_ms >= until_ms:
            return
        yield number * eta_ms


def asks(eta_ms: float, rtt_ms: float, reask_ms: float, until_ms: float) -> Iterator[float]:
    """The same as twinbeat asks: one beat, once its answer is overdue again and again, and no later than each beat."""
    at_ms = eta_ms
    for _number in range(ASKS_MOST):
        if at_ms >= until_ms:
            return
        yield at_ms
        at_ms = min(at_ms + eta_ms, max(eta_ms + rtt_ms, at_ms + reask_ms))


def recurrence_ms(eta_ms: float, times_ms: Iterator[float], lease_ms: float, loss: float, tail: Tail) -> float:
    """E(T_MR) at least, in ms: how long from one lapse to the next."""
    fails = 0.0
    for at_ms in times_ms:
        one = loss + (1 - loss) * tail(lease_ms - at_ms)
        if one <= 0:
            return FOREVER_MS
        fails += math.log(one)
    exponent = math.log(eta_ms) - fails
    return FOREVER_MS if exponent > math.log(FOREVER_MS) else math.exp(exponent)


def duration_ms(eta_ms: float, lease_ms: float, loss: float, tail: Tail) -> float:
    """E(T_M) at most, in ms: how long a lapse lasts until an answer comes again."""
    good = (1 - loss) * (1 - tail(lease_ms))
    return FOREVER_MS if good <= 0 else min(FOREVER_MS, eta_ms / good)


def nfd_alpha_ms(lease_ms: float, eta_ms: float, mean_ms: float) -> float:
    """alpha of NFD-U and NFD-E: the margin above the expected arrival."""
    return lease_ms - eta_ms - mean_ms


def unknown_recurrence_ms(eta_ms: float, bound_ms: float, loss: float, variance: float) -> float:
    """E(T_MR) of NFD-U where only loss and variance are known (section 6.2 of the paper); `bound_ms` is eta + alpha."""
    product = 0.0
    for number in range(1, math.ceil(bound_ms / eta_ms)):
        margin = bound_ms - number * eta_ms
        late = variance + loss * margin**2
        if late <= 0:
            return FOREVER_MS
        product += math.log((variance + margin**2) / late)
    exponent = math.log(eta_ms) + product
    return FOREVER_MS if exponent > math.log(FOREVER_MS) else math.exp(exponent)


def sorted_delay(values: Sequence[float], base_ms: float = 0.0) -> Delay:
    """A Delay from samples in any order."""
    return Delay(tuple(sorted(values)), base_ms)
