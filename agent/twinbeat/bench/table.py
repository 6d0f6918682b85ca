"""All runs and rows of the benchmark together, and the sets of them that can be asked for."""
from __future__ import annotations

from twinbeat.bench import runs
from twinbeat.bench.mode_rows import MODE_NAMES, MODE_ROWS, MODE_RUNS

RUNS = [*runs.RUNS, *MODE_RUNS]
ROWS = [*runs.ROWS, *MODE_ROWS]
NAMES = [*runs.NAMES, *MODE_NAMES]
SETS: dict[str, list[str]] = {
    "pair": [*(run.name for run in runs.RUNS if "arbiter" not in run.name and "gated" not in run.name), "keepalived"],
    "core": ["core", "sim", "campaign", "prove"],
    "third-voter": [*(run.name for run in runs.RUNS if "arbiter" in run.name or "gated" in run.name), "arbiter-trip",
                    "witness"],
    "modes": ["handover", *MODE_NAMES],
}
