"""Run in a copy of the project: campaign runs of every world and profile in turn, until one breaks what is promised.

The runs are those of `twinbeat sim --campaign`, with the same seeds. Prints JSON.
"""
from __future__ import annotations

import json
import sys
import time
from typing import Any

from twinbeat.sim.campaign_runs import Plan, Runner
from twinbeat.sim.chance import BLOCK, PROFILES, WORLD_NAMES
from twinbeat.sim.spec import Rule

SECONDS = 10.0
PORTION = BLOCK * len(WORLD_NAMES)


def hunt(first: int, count: int) -> dict[str, Any]:
    """At most `count` runs; what the first violation was and in which run it came, if one came.

    A run that reached a limit of the simulator (`limits`) proves nothing, neither way.
    """
    began = time.monotonic()
    runners = {profile: Runner(Plan("all", profile, SECONDS)) for profile in sorted(PROFILES, reverse=True)}
    runs = limits = 0
    while runs < count:
        for profile, runner in runners.items():
            for seed in range(first, first + PORTION):
                drawn = runner.draw(seed)
                broken = [one.rule.name for one in drawn.run().violations]
                runs += 1
                if Rule.LIMIT.name in broken:
                    limits += 1
                elif broken:
                    return {
                        "runs": runs,
                        "seconds": round(time.monotonic() - began, 2),
                        "world": drawn.world,
                        "profile": profile,
                        "seed": seed,
                        "rule": broken[0],
                        "limits": limits,
                    }
        first += PORTION
    return {"runs": runs, "seconds": round(time.monotonic() - began, 2), "rule": None, "limits": limits}


if __name__ == "__main__":
    print(json.dumps(hunt(int(sys.argv[1]), int(sys.argv[2]))))
