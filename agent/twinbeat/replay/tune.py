"""From what was measured to the period and the promise lengths that meet a wish, or to the best there is."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from twinbeat.config_core import REASKS_PER_PERIOD, SERIAL_HOPS_MS
from twinbeat.replay.measure import Measured
from twinbeat.replay.quality import (
    Delay,
    Tail,
    asks,
    beats,
    duration_ms,
    recurrence_ms,
    round_trip_loss,
    sorted_delay,
    there_and_back,
    unknown_recurrence_ms,
)
from twinbeat.wire_load import FRAME_SHARE_MAX
from twinbeat_core.errors import SettingsError
from twinbeat_core.model import LinkKind
from twinbeat_core.settings import CoreSettings, LinkSettings, Settings
from twinbeat_core.timing import grant_from_lease_ms, lease_for_loss_ms, lease_from_grant_ms

BEATS_MS = (
    1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 120, 150,
    200, 250, 300, 400, 500, 600, 800, 1000, 1500, 2000, 3000, 4000, 5000, 8000, 10000, 15000, 20000,
)
"""Periods that are tried beside the present one: what a person would write."""
MISSED = range(2, 21)
EXPONENTS = range(3, 12)
MQTT_LEAST_MS = 5.0
FAST_MOST_MS = 1000.0
TRIPS_LEAST = 100           # measured round trips from which they count instead of twice the one-way delay
GAP_MARGIN = 1.5            # the core lengthens a promise to so many times the longest gap
ALONE_BEATS = 2.5           # of two voters the survivor drives when nothing was proven for so long (rule L1)


@dataclass(frozen=True)
class Wish:
    """Detection within `detect_ms`; at most one lapse in `recurrence_ms` on average, or 10^-`exponent` a heartbeat."""

    detect_ms: float
    recurrence_ms: float | None
    exponent: int | None = None

    def least_ms(self, beat_ms: float) -> float:
        """The wished mistake recurrence at a period."""
        return self.recurrence_ms if self.recurrence_ms is not None else beat_ms * 10.0 ** (self.exponent or 9)


@dataclass(frozen=True)
class Link:
    """One link between two nodes: `ways` are the directions recorded (one or two), `trips` round trips in ms.

    `trips_left_out` are those in which the asking node was late, or that took longer than the longest promise.
    """

    number: int
    nodes: tuple[int, int]
    ways: tuple[Measured, ...]
    trips: tuple[float, ...]
    trips_left_out: int = 0

    @cached_property
    def loss(self) -> float:
        """The higher loss of the directions, as measured."""
        return max(way.loss for way in self.ways)

    @cached_property
    def trip_loss_upper(self) -> float:
        """q at most, with 95 % confidence for each direction; one that was not recorded is taken like the other."""
        return round_trip_loss(self.ways[0].loss_upper, self.ways[-1].loss_upper)

    @cached_property
    def window_loss(self) -> float:
        """The loss that the core would measure in a bad window."""
        return max(way.worst_window for way in self.ways)

    @cached_property
    def latest_ms(self) -> float:
        """The largest delay above the fastest frame."""
        return max((way.jitter[-1] for way in self.ways if way.jitter), default=0.0)

    def trip_tail(self, rtt_ms: float) -> Tail:
        """P(R > x) of the round trip."""
        if len(self.trips) >= TRIPS_LEAST:
            return self.trip_delay.tail()
        there, back = (sorted_delay(way.jitter, rtt_ms / 2) for way in (self.ways[0], self.ways[-1]))
        return there_and_back(there, back)

    @cached_property
    def trip_delay(self) -> Delay:
        """The measured round trips."""
        return sorted_delay(self.trips)

    def trip_moments(self, rtt_ms: float) -> tuple[float, float]:
        """E(R) and V(R)."""
        if len(self.trips) >= TRIPS_LEAST:
            return self.trip_delay.moments
        moments = [sorted_delay(way.jitter, rtt_ms / 2).moments for way in (self.ways[0], self.ways[-1])]
        return sum(mean for mean, _variance in moments), sum(variance for _mean, variance in moments)


@dataclass(frozen=True)
class Outcome:
    """What a period gives. Times in ms.

    beat          the link's period when it is the one that counts (a slower link's fast period)
    lease, grant  T_L and T_G without any lengthening
    longest       T_G as the core lengthens it in the lossiest window and for the longest gap that were recorded
    detect        T_D: the last frame's way, the longest promise or the time until one is alone, the decider's lateness
    recurrence    E(T_MR) at least, with asks repeated as twinbeat does
    plain         the same with heartbeats alone, as in the paper
    unknown       the same from loss and variance alone (NFD-U)
    duration      E(T_M) at most
    """

    beat_ms: float
    missed: int
    exponent: int
    lease_ms: float
    grant_ms: float
    longest_ms: float
    detect_ms: float
    recurrence_ms: float
    plain_ms: float
    unknown_ms: float
    duration_ms: float

    def meets(self, wish: Wish) -> bool:
        """Both parts of the wish."""
        return self.detect_ms <= wish.detect_ms and self.recurrence_ms >= wish.least_ms(self.beat_ms)


@dataclass(frozen=True)
class Answer:
    """What to do about one link.

    now       what the present settings give
    advised   the settings with the longest period that meet the wish; None: there are none
    quickest  the shortest detection at the wished mistake rate; steadiest: the fewest mistakes within the wished time
    """

    now: Outcome
    advised: Outcome | None
    quickest: Outcome | None
    steadiest: Outcome | None
    least_detect_ms: float


class Tuner:
    """Tries periods on one link of one pair."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self._settings = settings
        self._link = link
        self._present = settings.links[link.number]
        self._tail = link.trip_tail(self._present.rtt_ms)
        self._mean, self._variance = link.trip_moments(self._present.rtt_ms)
        fastest = min(other.period_ms for other in settings.links)
        self.is_fastest = self._present.period_ms == fastest
        fast = self._present.fast_period_ms or self._present.period_ms
        self.beat_ms = self._present.period_ms if self.is_fastest else fast
        self._alone_counts = len(settings.voters) == 2 and not settings.third_voter
        self._others = [other for number, other in enumerate(settings.links) if number != link.number]

    @property
    def key(self) -> str:
        """The key of the configuration that holds the beat."""
        mqtt = self._present.kind == LinkKind.LINK_MQTT
        return "fast_period_ms" if mqtt and not self.is_fastest else "period_ms"

    def now(self) -> Outcome:
        """What the present settings give."""
        return self._outcome(self._settings)

    def answer(self, wish: Wish) -> Answer:
        """The advice for a wish."""
        tried = list(self._tries(wish))
        fitting = [outcome for outcome in tried if outcome.meets(wish)]
        quick_enough = [outcome for outcome in tried if outcome.detect_ms <= wish.detect_ms]
        steady_enough = [outcome for outcome in tried if outcome.recurrence_ms >= wish.least_ms(outcome.beat_ms)]
        return Answer(
            now=self.now(),
            advised=max(fitting, key=self._preferred, default=None),
            quickest=min(steady_enough, key=lambda one: (one.detect_ms, -one.beat_ms, one.exponent), default=None),
            steadiest=max(quick_enough, key=lambda one: (one.recurrence_ms, one.beat_ms), default=None),
            least_detect_ms=min(outcome.detect_ms for outcome in [*tried, self.now()]),
        )

    def _preferred(self, outcome: Outcome) -> tuple[float, int, bool]:
        """The longest period; of those the longest promise, so that all of the wished time is used, as in the paper."""
        return outcome.beat_ms, outcome.missed, outcome.exponent == self._settings.mistake_exp

    # ------------------------------------------------------------ trying
    def _tries(self, wish: Wish) -> Iterator[Outcome]:
        low, high = self._bounds()
        candidates = sorted({float(beat) for beat in BEATS_MS if low <= beat <= high} | {self.beat_ms})
        for beat in candidates:
            for missed in MISSED:
                # The core lengthens promises by its own figure: it must be as strict as the wish, and no stricter.
                for exponent in self._exponents(wish, beat):
                    outcome = self._try(beat, missed, exponent)
                    if outcome is not None:
                        yield outcome

    def _exponents(self, wish: Wish, beat_ms: float) -> list[int]:
        wanted = next((one for one in EXPONENTS if beat_ms * 10.0**one >= wish.least_ms(beat_ms)), EXPONENTS[-1])
        return sorted({wanted, self._settings.mistake_exp})

    def _bounds(self) -> tuple[float, float]:
        """Shortest and longest beat that the configuration and the wire allow."""
        link = self._present
        low = MQTT_LEAST_MS if link.kind == LinkKind.LINK_MQTT else 1.0
        if link.kind == LinkKind.LINK_SERIAL:
            low = max(low, (link.rtt_ms - SERIAL_HOPS_MS) / 2 / FRAME_SHARE_MAX)
        high = 20_000.0 if link.kind == LinkKind.LINK_MQTT else FAST_MOST_MS
        if self.is_fastest and self._others:
            high = min(high, *(other.period_ms for other in self._others))
        elif not self.is_fastest:
            low = max(low, 1.0 if self.key == "fast_period_ms" else min(other.period_ms for other in self._others))
            high = min(high, link.period_ms) if self.key == "fast_period_ms" else high
        return low, high

    def _try(self, beat_ms: float, missed: int, exponent: int) -> Outcome | None:
        links = list(self._settings.links)
        links[self._link.number] = self._with_beat(beat_ms, missed)
        tried = replace(self._settings, links=tuple(links), mistake_exp=exponent, lost_asks=1)
        try:
            return self._outcome(tried)
        except SettingsError:
            return None      # the core refuses these figures

    def _with_beat(self, beat_ms: float, missed: int) -> LinkSettings:
        """The link with another beat; the distance of asks follows as the configuration makes it."""
        link = self._present
        if link.kind == LinkKind.LINK_SERIAL:
            reask_ms = max(link.rtt_ms - SERIAL_HOPS_MS, beat_ms / REASKS_PER_PERIOD)
        else:
            reask_ms = min(beat_ms, max(link.rtt_ms, beat_ms / REASKS_PER_PERIOD))
        if self.key == "fast_period_ms":
            return replace(link, fast_period_ms=beat_ms, missed=missed, reask_ms=reask_ms)
        fast = min(beat_ms, link.fast_period_ms or beat_ms) if link.kind == LinkKind.LINK_MQTT else beat_ms
        return replace(link, period_ms=beat_ms, fast_period_ms=fast, missed=missed, reask_ms=min(reask_ms, beat_ms))

    def _outcome(self, settings: Settings) -> Outcome:
        core = settings.compile()
        number, link, measured = self._link.number, settings.links[self._link.number], self._link
        beat_ms = link.fast_period_ms if self.key == "fast_period_ms" and link.fast_period_ms else link.period_ms
        held_ms = lengthened_ms(core, number, measured.loss)
        lease_ms = max(core.lease_ms(number), min(held_ms, lease_from_grant_ms(core, core.grant_max_ms)))
        longest_ms = self._longest_ms(core, beat_ms)
        silent_ms = max(longest_ms, ALONE_BEATS * beat_ms) if self._alone_counts else longest_ms
        loss = measured.trip_loss_upper
        until = lease_ms - settings.late_ms
        return Outcome(
            beat_ms=beat_ms,
            missed=link.missed,
            exponent=settings.mistake_exp,
            lease_ms=core.lease_ms(number),
            grant_ms=core.grant_ms(number),
            longest_ms=longest_ms,
            detect_ms=link.rtt_ms / 2 + measured.latest_ms + silent_ms + settings.late_ms,
            recurrence_ms=recurrence_ms(beat_ms, asks(beat_ms, link.rtt_ms, link.reask_ms, until), until, loss,
                                        self._tail),
            plain_ms=recurrence_ms(beat_ms, beats(beat_ms, until), until, loss, self._tail),
            unknown_ms=unknown_recurrence_ms(beat_ms, max(until - self._mean, beat_ms), loss, self._variance),
            duration_ms=duration_ms(beat_ms, until, loss, self._tail),
        )

    def _longest_ms(self, core: CoreSettings, beat_ms: float) -> float:
        """T_G after what the core does about loss and gaps (docs/protocol.md, "Lengths"), with the worst recorded."""
        number = self._link.number
        need_ms = max(core.lease_ms(number), lengthened_ms(core, number, self._link.window_loss))
        for way in self._link.ways:
            gap_ms = max(beat_ms + way.held, way.steady_gap - self.beat_ms + beat_ms if self.is_fastest else 0.0)
            need_ms = max(need_ms, GAP_MARGIN * gap_ms)
        return min(core.grant_max_ms, max(core.grant_ms(number), grant_from_lease_ms(core, need_ms)))


def lengthened_ms(core: CoreSettings, link: int, loss: float) -> float:
    """T_L to which the core lengthens a promise at a measured loss; 0.0 without loss."""
    return lease_for_loss_ms(core, link, loss) if loss > 0 else 0.0
