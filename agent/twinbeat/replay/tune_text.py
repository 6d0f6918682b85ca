"""The advice on timing for people and for scripts."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twinbeat.replay.arrivals import Collected
from twinbeat.replay.load import KINDS, Naming
from twinbeat.replay.measure import Measured, percentile
from twinbeat.replay.quality import FOREVER_MS, nfd_alpha_ms
from twinbeat.replay.tune import TRIPS_LEAST, Answer, Link, Outcome, Tuner, Wish
from twinbeat_core.settings import Settings

ASSUMED = (
    "losses and delays of different frames are taken to be independent of each other; a stall or a burst is not",
    "nothing is known of delays beyond the longest recorded one: there the one-sided Chebyshev bound of the measured "
    "variance is used, or one in all samples where that is less",
    "loss is counted at the upper end of its 95 % interval: no loss seen is not no loss",
    "each link is judged as if it were alone; a second one that works makes mistakes rarer",
    "mistakes are lapses of a healthy driver; twinbeat's repeated asks are counted, in brackets heartbeats alone",
)
SPANS = ((1e3, "ms"), (6e4, "s"), (3.6e6, "min"), (8.64e7, "hours"), (6.048e8 * 2, "days"), (3.15576e10 * 2, "weeks"))
DIVISORS = {"ms": 1.0, "s": 1e3, "min": 6e4, "hours": 3.6e6, "days": 8.64e7, "weeks": 6.048e8}
YEAR_MS = 3.15576e10
MANY_YEARS = 1000.0


@dataclass(frozen=True)
class Advice:
    """One link's answer with what it rests on."""

    link: Link
    tuner: Tuner
    wish: Wish
    answer: Answer
    collected: Collected

    @property
    def shows_ms(self) -> float:
        """What a record of this length shows: what was not seen in it comes less often than once in a third of it."""
        longest = max(self.collected.length_ns(node) for node in self.collected.spans_ns)
        return longest / 1e6 / 3


def span(length_ms: float) -> str:
    """A length of time in its own unit."""
    for limit, unit in SPANS:
        if length_ms < limit:
            return f"{length_ms / DIVISORS[unit]:.3g} {unit}"
    years = length_ms / YEAR_MS
    return f"{years:.3g} years" if years < MANY_YEARS else "more than 1000 years"


# ---------------------------------------------------------------- words
def as_text(files: list[str], settings: Settings, named: Naming, advices: list[Advice]) -> Iterator[str]:
    """The lines for people."""
    names = named.names
    recorded = ", ".join(
        f"{names.node_name(node)} {advices[0].collected.length_ns(node) / 1e9:.1f} s"
        for node in sorted(advices[0].collected.spans_ns)
    )
    yield f"{len(files)} recording{'' if len(files) == 1 else 's'} of pair {settings.pair_id:04x}: {recorded}"
    if named.warning:
        yield f"note: {named.warning}"
    for advice in advices:
        yield ""
        kind = KINDS.get(int(settings.links[advice.link.number].kind), "unknown")
        name = names.link_name(advice.link.number)
        between = "" if settings.node_count == 2 else f" of {' and '.join(map(names.node_name, advice.link.nodes))}"
        yield f"Link {name}" + ("" if f"({kind})" in name else f" ({kind})") + between
        yield from _measured(advice, settings)
        yield from _advice(advice)
    yield ""
    yield "Assumed:"
    for line in ASSUMED:
        yield f"  - {line}"


def _measured(advice: Advice, settings: Settings) -> Iterator[str]:
    link = advice.link
    for number, way in enumerate(link.ways):
        yield f"  {'recorded' if number == 0 else 'and back'}    {_frames(way)}"
        yield f"    loss      {_loss(way)}"
        yield (f"    jitter    p50 {percentile(way.jitter, 0.5):.2f}, p99 {percentile(way.jitter, 0.99):.2f}, max "
               f"{percentile(way.jitter, 1.0):.2f} ms above the fastest frame")
        yield (f"    arrivals  p50 {percentile(way.gaps, 0.5):.1f}, p99 {percentile(way.gaps, 0.99):.1f}, longest gap "
               f"{percentile(way.gaps, 1.0):.1f} ms")
    if len(link.ways) == 1:
        yield "    the other direction is taken to be like this one: a recording of the other node would tell"
    rtt_ms = settings.links[link.number].rtt_ms
    trips = sorted(link.trips)
    if len(trips) >= TRIPS_LEAST:
        left_out = f", {link.trips_left_out} left out" if link.trips_left_out else ""
        p50, p99 = percentile(trips, 0.5), percentile(trips, 0.99)
        yield (f"    round trip  p50 {p50:.2f}, p99 {p99:.2f}, max {trips[-1]:.2f} ms "
               f"({len(trips)} asks{left_out}); the timing counts with {rtt_ms:.2f} ms")
        if percentile(trips, 0.99) > rtt_ms:
            yield "    note: more than one round trip in a hundred takes longer than the timing counts with"
    else:
        yield (f"    round trip  {len(trips)} measured, too few: {rtt_ms:.2f} ms, as the timing counts, and the jitter "
               "are used")


def _frames(way: Measured) -> str:
    said = f"{way.got} frames of {way.lives} {'life' if way.lives == 1 else 'lives'}"
    if way.late:
        said += f"; {way.late} left out because the own node was late"
    if way.outages:
        plural = "" if len(way.outages) == 1 else "s"
        said += f"; {len(way.outages)} silence{plural} of {span(way.outage_ms)} in all left out"
    if way.held_up:
        said += f"; {way.held_up} that an outage held up count as heard, not as late"
    if way.reordered:
        said += f"; {way.reordered} repeated or out of order"
    return said


def _loss(way: Measured) -> str:
    said = f"{way.lost} of {way.got + way.lost} frames ({100 * way.loss:.2f} %)"
    said += f", below {100 * way.loss_upper:.2f} % with 95 % confidence"
    if way.burst > 1:
        said += f"; up to {way.burst} in a row"
        if bursty(way):
            said += ", which chance alone does not explain: losses come in bursts, and the figures below are too good"
    return said


def bursty(way: Measured) -> bool:
    """Whether so long a run of losses has a chance of less than one in a hundred where losses are independent."""
    return way.burst > 1 and way.got * way.loss**way.burst < 0.01


def _advice(advice: Advice) -> Iterator[str]:
    answer, wish, key = advice.answer, advice.wish, advice.tuner.key
    yield from _outcome("now", answer.now, key)
    yield f"{'':12}(a record of this length shows nothing that is rarer than one in {span(advice.shows_ms)})"
    rate = (f"10^-{wish.exponent} a heartbeat" if wish.recurrence_ms is None
            else f"one in {span(wish.recurrence_ms)}")
    met = "met by the present settings" if answer.now.meets(wish) else "not met by the present settings"
    yield f"  wish      detection within {wish.detect_ms:.1f} ms, mistakes at most {rate}: {met}"
    if answer.advised is not None:
        same = (answer.advised.beat_ms, answer.advised.missed, answer.advised.exponent) == (
            answer.now.beat_ms, answer.now.missed, answer.now.exponent)
        word = "leave it: " if same else "the longest period that meets it: " if answer.now.meets(wish) else "set "
        yield from _outcome("advice", answer.advised, key, word)
        if answer.advised.exponent != answer.now.exponent:
            yield f"            with [timing] mistake_exp = {answer.advised.exponent} (now {answer.now.exponent})"
        return
    yield "  advice    THE WISH CANNOT BE MET on this link"
    if answer.steadiest is None:
        least = f"{answer.least_detect_ms:.1f} ms is the least"
        yield f"            nothing detects within {wish.detect_ms:.1f} ms; {least}"
    else:
        yield from _outcome("", answer.steadiest, key, "fewest mistakes within that time: ")
    if answer.quickest is None:
        yield "            no period has so few mistakes at the measured loss and delay"
    else:
        yield from _outcome("", answer.quickest, key, "quickest with so few mistakes: ")


def _outcome(label: str, outcome: Outcome, key: str, word: str = "") -> Iterator[str]:
    """Settings and what they give."""
    longer = f", up to {outcome.longest_ms:.0f} when lossy or late" if outcome.longest_ms > outcome.grant_ms else ""
    yield (f"  {label:<10}{word}{key} = {outcome.beat_ms:g}, missed = {outcome.missed} (T_L {outcome.lease_ms:.1f}, "
           f"T_G {outcome.grant_ms:.0f} ms{longer})")
    yield (f"{'':12}detects within {outcome.detect_ms:.1f} ms; one mistake in {span(outcome.recurrence_ms)}, "
           f"{span(outcome.duration_ms)} long (heartbeats alone: one in {span(outcome.plain_ms)})")


# ---------------------------------------------------------------- data
def as_data(files: list[str], settings: Settings, named: Naming, advices: list[Advice]) -> dict[str, Any]:
    """The same for scripts."""
    data: dict[str, Any] = {
        "files": files,
        "pair_id": f"{settings.pair_id:04x}",
        "recorded_ms": {named.names.node_name(node): round(advices[0].collected.length_ns(node) / 1e6, 3)
                        for node in sorted(advices[0].collected.spans_ns)},
        "links": [link_data(advice, settings, named) for advice in advices],
        "assumed": list(ASSUMED),
    }
    if named.warning:
        data["warning"] = named.warning
    return data


def link_data(advice: Advice, settings: Settings, named: Naming) -> dict[str, Any]:
    """One link."""
    link, answer, wish = advice.link, advice.answer, advice.wish
    mean_ms, variance = link.trip_moments(settings.links[link.number].rtt_ms)
    trips = sorted(link.trips)
    return {
        "link": link.number,
        "name": named.names.link_name(link.number),
        "nodes": [named.names.node_name(node) for node in link.nodes],
        "key": advice.tuner.key,
        "directions": [way_data(way) for way in link.ways],
        "round_trip": {
            "asks": len(trips), "left_out": link.trips_left_out, "measured": len(trips) >= TRIPS_LEAST,
            "mean_ms": round(mean_ms, 4), "variance_ms2": round(variance, 6),
            "p50_ms": percentile(trips, 0.5), "p99_ms": percentile(trips, 0.99),
            "max_ms": percentile(trips, 1.0), "counted_ms": settings.links[link.number].rtt_ms,
            "loss_upper": round(link.trip_loss_upper, 6),
        },
        "wish": {"detect_ms": wish.detect_ms, "recurrence_ms": wish.recurrence_ms, "mistake_exp": wish.exponent},
        "met_now": answer.now.meets(wish),
        "can_be_met": answer.advised is not None,
        "record_shows_ms": round(advice.shows_ms, 3),
        "now": outcome_data(answer.now, mean_ms),
        "advised": outcome_data(answer.advised, mean_ms),
        "best_detection": outcome_data(answer.quickest, mean_ms),
        "fewest_mistakes": outcome_data(answer.steadiest, mean_ms),
        "least_detect_ms": round(answer.least_detect_ms, 3),
    }


def way_data(way: Measured) -> dict[str, Any]:
    """One direction."""
    return {
        "frames": way.got, "lives": way.lives, "lost": way.lost, "loss": round(way.loss, 6),
        "loss_upper": round(way.loss_upper, 6), "lost_in_a_row": way.burst, "bursty": bursty(way),
        "repeated": way.reordered, "left_out_late": way.late, "held_up": way.held_up, "outages": len(way.outages),
        "outage_ms": round(way.outage_ms, 3),
        "jitter_ms": {name: round(percentile(way.jitter, share), 4)
                      for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
        "arrivals_ms": {name: round(percentile(way.gaps, share), 4)
                        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
    }


def outcome_data(outcome: Outcome | None, mean_ms: float) -> dict[str, Any] | None:
    """Settings and what they give; recurrences above thirty million years are null."""
    if outcome is None:
        return None

    def capped(value: float) -> float | None:
        return None if value >= FOREVER_MS else round(value, 3)

    return {
        "period_ms": outcome.beat_ms, "missed": outcome.missed, "mistake_exp": outcome.exponent,
        "lease_ms": round(outcome.lease_ms, 4), "grant_ms": outcome.grant_ms, "longest_grant_ms": outcome.longest_ms,
        "alpha_ms": round(nfd_alpha_ms(outcome.lease_ms, outcome.beat_ms, mean_ms), 4),
        "detect_ms": round(outcome.detect_ms, 3), "mistake_recurrence_ms": capped(outcome.recurrence_ms),
        "mistake_recurrence_heartbeats_only_ms": capped(outcome.plain_ms),
        "mistake_recurrence_unknown_distribution_ms": capped(outcome.unknown_ms),
        "mistake_duration_ms": capped(outcome.duration_ms),
    }
