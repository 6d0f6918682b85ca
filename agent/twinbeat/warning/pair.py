"""Figures of the pair: what the real-time part counts, and what the brokers' links do. Read in the loop's thread."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twinbeat.config_warning import WarningConfig
from twinbeat.run_words import Names
from twinbeat.warning import limits
from twinbeat.warning.machine import Sample

THREADS = {"decider": "decider", "canary": "canary (an ordinary thread)"}


class Lateness:
    """The latest wake-up since the last look, from a histogram that only grows."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._max_us = 0.0

    def look_ms(self, histogram: Mapping[str, Any]) -> float:
        """Exact where it is the latest of all; else the lower bound of the highest bucket that grew."""
        counts = {int(bound): int(count) for bound, count in histogram["below_us"].items()}
        grown = [bound for bound, count in counts.items() if count > self._counts.get(bound, 0)]
        max_us, before_us = float(histogram["max_us"]), self._max_us
        self._counts, self._max_us = counts, max_us
        if max_us > before_us:
            return max_us / 1000
        return max(grown) / 2000 if grown else 0.0


class Pair:
    """Reads views. `grant_ms` are the links' promises without lengthening, `late_ms` what the decider may be late."""

    def __init__(self, table: WarningConfig, names: Names, grant_ms: Sequence[float], late_ms: float) -> None:
        self._table = table
        self._names = names
        self._grant_ms = grant_ms
        self._limits_ms = {"decider": late_ms, "canary": table.canary_ms}
        self._late = {who: Lateness() for who in THREADS}
        self._looked = False

    def read(self, view: Mapping[str, Any], losses: Mapping[int, int]) -> Iterator[Sample]:
        """All figures in a view of the real-time part; `losses` are the brokers' lost connections by link."""
        core = view.get("core", view)
        for peer in core["peers"]:
            if peer["known"] and not peer["dead"] and not peer["silent"]:
                for path in peer["paths"]:
                    yield from self._path(self._names.node_name(peer["node"]), path)
        for who in THREADS:
            histogram = view.get(who)
            histogram = histogram.get("late", histogram) if histogram is not None else {}
            if "below_us" in histogram:
                late_ms = self._late[who].look_ms(histogram)
                # The first look counts everything since the start, when all is late.
                if self._looked:
                    yield limits.lateness(who, self._limits_ms[who]), late_ms
        self._looked = True
        for link, count in losses.items():
            yield limits.reconnects(self._table, self._names.link_name(link)), float(count)

    def _path(self, peer: str, path: Mapping[str, Any]) -> Iterator[Sample]:
        if not path["up"] or path["rx_dead"]:
            return
        link = path["link"]
        name = self._names.link_name(link)
        yield limits.loss(self._table, name, peer), float(path["loss_percent"])
        if link < len(self._grant_ms) and path["gap_max_ms"] is not None:
            yield limits.jitter(self._table, name, peer), 100 * path["gap_max_ms"] / self._grant_ms[link]
