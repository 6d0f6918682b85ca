"""Generated traces to try early warning on: faults that creep, and healthy days that must stay silent. Seeded.

A trace is a list of (second, value) with the second at which the fault's limit is truly reached, before any noise
(None: healthy). Loss passes through the same window of frames as in the core, as the core shows no other.
"""
from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from twinbeat.config_warning import WarningConfig
from twinbeat.warning import limits
from twinbeat.warning.figures import Figure

DAY_S = 86400.0
FRAMES = 64
"""Frames of the core's loss window."""
BEAT_S = 0.01
TABLE = WarningConfig()
EVERY_S = TABLE.every_s


class Trace(NamedTuple):
    """Samples, and when the limit is reached (None: never). `begun_s`: when the fault set in."""

    samples: list[tuple[float, float]]
    limit_s: float | None
    begun_s: float = 0.0


Maker = Callable[[random.Random, float], Trace]


class Case(NamedTuple):
    """A kind of trace: its name, what is watched, how one is made from a seeded source and a length in seconds."""

    name: str
    figure: Figure
    make: Maker
    hours: float
    """Length of one trace; of a fault the longest it may take."""


def ticks(length_s: float) -> Iterator[float]:
    """The times of samples."""
    for number in range(1, int(length_s / EVERY_S) + 1):
        yield number * EVERY_S


def ramp(chance: random.Random, length_s: float, low: float, high: float) -> tuple[float, float, float]:
    """(begin, slope a second, end) of a fault that drives a figure from `low` to `high` within the trace."""
    begun_s = chance.uniform(0.3, 0.5) * length_s
    lasts_s = chance.uniform(0.35, 0.5) * length_s
    return begun_s, (high - low) / lasts_s, begun_s + lasts_s


# ---------------------------------------------------------------- temperature


def day_of(chance: random.Random) -> Callable[[float], float]:
    """A cabinet's day: mean, swing, steps of load that settle within minutes, noise, the sensor's half degrees."""
    mean, swing, phase = chance.uniform(45, 54), chance.uniform(4, 9), chance.uniform(0, DAY_S)
    tau_s = chance.uniform(150, 500)
    state = {"heat": 0.0, "want": 0.0, "until": 0.0}

    def at(second: float) -> float:
        if second >= state["until"]:
            state["want"] = chance.choice((0.0, 0.0, 0.0, chance.uniform(3, 12)))
            state["until"] = second + chance.expovariate(1 / 1800)
        state["heat"] += (state["want"] - state["heat"]) * min(1.0, EVERY_S / tau_s)
        base = mean + swing * math.sin(2 * math.pi * (second + phase) / DAY_S) + state["heat"]
        return base

    return at


def sensor(chance: random.Random, true: float) -> float:
    """What a thermal zone reads."""
    return round(2 * (true + chance.gauss(0, 0.5))) / 2


def healthy_temperature(chance: random.Random, length_s: float) -> Trace:
    """Days without a fault."""
    day = day_of(chance)
    return Trace([(at, sensor(chance, day(at))) for at in ticks(length_s)], None)


def slow_fan(chance: random.Random, length_s: float) -> Trace:
    """A fan that slows down over one to two hours: the heat that stays in the cabinet grows beyond the limit."""
    day, samples, limit_s = day_of(chance), [], None
    begun_s = chance.uniform(0.3, 0.5) * length_s
    lasts_s = chance.uniform(4200, 8400)
    rise = chance.uniform(46, 56)
    for at in ticks(length_s):
        true = day(at) + rise * min(1.0, max(0.0, (at - begun_s) / lasts_s))
        if limit_s is None and true >= TABLE.temperature_celsius:
            limit_s = at
        samples.append((at, sensor(chance, true)))
        if limit_s is not None:
            break
    return Trace(samples, limit_s, begun_s)


# ---------------------------------------------------------------- links


class LossWindow:
    """The core's figure: the worst window of 64 frames, falling by a quarter a window."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._shown = 0.0

    def window(self, share: float) -> None:
        """One window at a true loss of `share`."""
        lost = 0
        if share > 0.02:
            lost = sum(self._chance.random() < share for _ in range(FRAMES))
        elif share > 0:
            at = self._chance.expovariate(1.0) / share      # distances between rare losses
            while at < FRAMES:
                lost += 1
                at += self._chance.expovariate(1.0) / share
        loss = lost / FRAMES
        self._shown = loss if loss >= self._shown else max(loss, 0.75 * self._shown)

    def percent(self) -> float:
        """As the core's view has it."""
        return round(100 * int(self._shown * 1024) / 1024, 1)


def lossy(chance: random.Random, length_s: float, share_at: Callable[[float], float]) -> list[tuple[float, float]]:
    """Samples of the core's figure over a true loss."""
    seen, samples = LossWindow(chance), []
    count = round(EVERY_S / (FRAMES * BEAT_S))
    for at in ticks(length_s):
        for number in range(count):
            seen.window(share_at(at - EVERY_S * (1 - number / count)))
        samples.append((at, seen.percent()))
    return samples


def creeping_loss(chance: random.Random, length_s: float) -> Trace:
    """From 0.1 to the limit of 20 % and on, growing by the same factor a minute, within about an hour."""
    begun_s, _slope, end_s = ramp(chance, length_s, 0, 1)
    factor = math.log(TABLE.loss_percent / 0.1) / (end_s - begun_s)

    def share(at: float) -> float:
        return 0.001 * math.exp(factor * max(0.0, at - begun_s))

    return Trace(lossy(chance, end_s, share), end_s, begun_s)


def bursts(
    chance: random.Random, mean_gap_s: float, mean_s: float, share: float, base: float
) -> Callable[[float], float]:
    """A link of two states (Gilbert 1960): good, and bad for a moment."""
    state = {"until": chance.expovariate(1 / mean_gap_s), "bad": 0.0}

    def at(second: float) -> float:
        while second >= state["until"]:
            state["bad"] = 1.0 - state["bad"]
            state["until"] += chance.expovariate(1 / (mean_s if state["bad"] else mean_gap_s))
        return share if state["bad"] else base

    return at


def bursty_link(chance: random.Random, length_s: float) -> Trace:
    """Healthy radio: bursts of heavy loss for seconds, some an hour."""
    true = bursts(chance, chance.uniform(120, 900), chance.uniform(0.5, 4), chance.uniform(0.1, 0.6), 0.001)
    return Trace(lossy(chance, length_s, true), None)


def gap_of(chance: random.Random, scale: float) -> float:
    """The longest gap in percent of the promise: a floor of one beat, and a tail."""
    return min(200.0, 24 + scale * chance.gammavariate(2.0, 1.0))


def stalls(chance: random.Random, length_s: float) -> Trace:
    """Healthy: a gap of 30 ms now and then (of a promise of 45 ms), seen for 5 to 10 s by the core's window."""
    samples, until_s = [], 0.0
    next_s = chance.expovariate(1 / 300)
    for at in ticks(length_s):
        value = gap_of(chance, 1.5)
        while next_s <= at:
            until_s = next_s + chance.uniform(5, 10)
            next_s += chance.expovariate(1 / 300)
        if at <= until_s:
            value = max(value, 100 * 30 / 45 + chance.uniform(-3, 10))
        samples.append((at, value))
    return Trace(samples, None)


def busy_hours(chance: random.Random, length_s: float) -> Trace:
    """Healthy: a link that others use by day, with longer gaps from morning to evening."""
    most, phase = chance.uniform(2.5, 6), chance.uniform(0, DAY_S)
    samples = []
    for at in ticks(length_s):
        day = max(0.0, math.sin(2 * math.pi * (at + phase) / DAY_S))
        samples.append((at, gap_of(chance, 1.5 + (most - 1.5) * math.sqrt(day))))
    return Trace(samples, None)


def growing_jitter(chance: random.Random, length_s: float) -> Trace:
    """The tail of the gaps grows until its middle is at the limit."""
    begun_s, slope, end_s = ramp(chance, length_s, 1.5, (TABLE.jitter_percent - 24) / 1.678)
    samples = [(at, gap_of(chance, 1.5 + slope * max(0.0, at - begun_s))) for at in ticks(end_s)]
    return Trace(samples, end_s, begun_s)


# ---------------------------------------------------------------- disk, memory, power


def filling_disk(chance: random.Random, length_s: float) -> Trace:
    """A log that grows until 5 % are free, over hours."""
    start = chance.uniform(8, 30)
    begun_s, slope, end_s = ramp(chance, length_s, start, TABLE.disk_free_percent)
    samples = [(at, start + slope * max(0.0, at - begun_s) + chance.gauss(0, 0.01)) for at in ticks(end_s)]
    return Trace(samples, end_s, begun_s)


def healthy_disk(chance: random.Random, length_s: float) -> Trace:
    """Logs grow and are rotated; an update takes a piece and gives it back."""
    free, samples, update_s = chance.uniform(15, 60), [], chance.uniform(0, DAY_S)
    for at in ticks(length_s):
        rotated = 2.0 * ((at % 43200) / 43200)
        update = 4.0 if 0 <= at - update_s < 1200 else 0.0
        samples.append((at, free - rotated - update + chance.gauss(0, 0.01)))
    return Trace(samples, None)


def leaking_memory(chance: random.Random, length_s: float) -> Trace:
    """A program that leaks until 5 % are available, beside others that come and go."""
    start = chance.uniform(30, 70)
    begun_s, slope, end_s = ramp(chance, length_s, start, TABLE.memory_free_percent)
    samples = [(at, start + slope * max(0.0, at - begun_s) + chance.gauss(0, 0.4)) for at in ticks(end_s)]
    return Trace(samples, end_s, begun_s)


def healthy_memory(chance: random.Random, length_s: float) -> Trace:
    """A job that takes a fifth of the memory for minutes, some times a day."""
    start, samples, taken, want = chance.uniform(35, 70), [], 0.0, 0.0
    next_s = chance.expovariate(1 / 14400)
    for at in ticks(length_s):
        if at >= next_s:
            want = 0.0 if want else chance.uniform(5, 20)
            next_s = at + chance.expovariate(1 / (600 if want else 14400))
        taken += max(-2.0, min(1.0, want - taken))
        samples.append((at, start - taken + chance.gauss(0, 0.4)))
    return Trace(samples, None)


def brown_outs(chance: random.Random, length_s: float) -> Trace:
    """A supply that fades: undervoltage ever more often, until it fails at the end."""
    begun_s, _slope, end_s = ramp(chance, length_s, 0, 1)
    samples = []
    for at in ticks(end_s):
        share = max(0.0, (at - begun_s) / (end_s - begun_s))
        samples.append((at, float(chance.random() < EVERY_S / 30 * share**3)))
    return Trace(samples, end_s, begun_s)


def quiet_power(_chance: random.Random, length_s: float) -> Trace:
    """A supply that is enough."""
    return Trace([(at, 0.0) for at in ticks(length_s)], None)


def quiet_lateness(chance: random.Random, length_s: float) -> Trace:
    """Wake-ups of an ordinary thread: under a millisecond, tens of milliseconds some times an hour."""
    return Trace([(at, 32.8 if chance.random() < 0.01 else chance.choice((0.1, 0.3, 0.5, 1.0, 2.0)))
                  for at in ticks(length_s)], None)


HOT = limits.temperature(TABLE, "cpu-thermal")
LOSS = limits.loss(TABLE, "wan", "gw-b")
JITTER = limits.jitter(TABLE, "wan", "gw-b")
DISK = limits.disk(TABLE, "/")
MEMORY = limits.memory(TABLE)
POWER = limits.power(TABLE, "undervoltage")

FAULTS = (
    Case("fan slows down", HOT, slow_fan, 6),
    Case("loss creeps from 0.1 to 20 %", LOSS, creeping_loss, 2.5),
    Case("jitter grows", JITTER, growing_jitter, 3),
    Case("brown-outs", POWER, brown_outs, 3),
    Case("disk fills", DISK, filling_disk, 12),
    Case("memory leaks", MEMORY, leaking_memory, 12),
)
HEALTHY = (
    Case("day and night, steps of load", HOT, healthy_temperature, 24),
    Case("bursty link", LOSS, bursty_link, 24),
    Case("stalls of 30 ms now and then", JITTER, stalls, 24),
    Case("link that is busy by day", JITTER, busy_hours, 24),
    Case("log rotation, updates", DISK, healthy_disk, 24),
    Case("jobs that take memory", MEMORY, healthy_memory, 24),
    Case("late ordinary wake-ups", limits.lateness("canary", TABLE.canary_ms), quiet_lateness, 24),
    Case("good supply", POWER, quiet_power, 24),
)
