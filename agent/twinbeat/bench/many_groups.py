"""What 64 shards cost a takeover: killed in turn with a pair that has one, so that both meet the same machine."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twinbeat.demo.measure import spread
from twinbeat_core.errors import TwinbeatError

SHARDS = (1, 64)
BLOCKS = (10, 1)             # runs of each, in turn; full, quick
TRIALS = (5, 3)              # of each run
Demo = Callable[[list[str], int, float], "dict[str, Any] | str"]


class TooFewError(TwinbeatError):
    """A run failed."""


def measure(quick: bool, demo: Demo, say: Callable[[str], None]) -> dict[str, Any]:
    """`demo` runs one demo from its words, trials and seconds. Raises TooFewError with the reason of a run that failed.

    Of both: from the kill until one unit is driven again (`unit_ms`), and until all of them are (`last_ms`).
    """
    samples: dict[int, list[dict[str, Any]]] = {shards: [] for shards in SHARDS}
    busy: list[float] = []
    disturbed = doubles = 0
    for block in range(BLOCKS[quick]):
        for shards in SHARDS:
            words = ["--mode", "hot-hot", "--shards", str(shards), "--fault", "kill", "--trials", str(TRIALS[quick])]
            say(f"  {block + 1} of {BLOCKS[quick]}: twinbeat demo {' '.join(words)}")
            answer = demo(words, TRIALS[quick], 0)
            if isinstance(answer, str):
                raise TooFewError(answer)
            samples[shards] += answer["samples"]
            busy.append(answer["machine"]["busy_percent"])
            disturbed += answer["disturbed_units"]
            doubles += answer["double_driver_trials"]
    return {"trials": BLOCKS[quick] * TRIALS[quick], **figures(samples), "disturbed_units": disturbed,
            "double_driver_trials": doubles, "machine": {"busy_percent": round(sum(busy) / len(busy), 1)}}


def figures(samples: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """The spreads of both, and by how much the medians differ."""
    few, many = (_spreads(samples[shards]) for shards in SHARDS)
    added = {f"added_{name}": round(many[name]["p50"] - few[name]["p50"], 3) if many[name] and few[name] else None
             for name in few}
    return {"few": few, "many": many, **added}


def _spreads(trials: list[dict[str, Any]]) -> dict[str, Any]:
    found = {"unit_ms": spread(value for trial in trials for value in trial["takeover_ms"]),
             "last_ms": spread(trial["last_ms"] for trial in trials),
             "gap_ms": spread(value for trial in trials for value in trial["gap_ms"])}
    return {name: figures.as_dict() if figures else None for name, figures in found.items()}
