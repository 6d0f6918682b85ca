"""One fault of the demo as a process of its own; at the end both agents are asked for their recordings.

`python recorded_demo.py FAULT[/THIRD_VOTER] DIRECTORY` prints {"driver", "fault_ns", "end_ns"}. A node that did not
change its role saves no recording by itself, and what it saw of a cut or a restarted broker would be lost.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

from twinbeat.demo.agents import PairSettings
from twinbeat.demo.faults import FAULTS
from twinbeat.demo.rig import Rig
from twinbeat.demo.trial import Trials

SEED = 1
LOSS_PERCENT = 10.0
SECONDS = {"cut-serial": 1.0, "cut-mqtt": 1.0, "cut-all": 1.0, "broker-restart": 1.5, "loss": 3.0, "none": 0.5,
           "voter-kill": 1.0, "voter-restart": 3.0, "voter-unplug": 1.0, "cut-voter": 1.0}
USE_SAMPLE_S = 0.1


def main(what: str, directory: Path) -> None:
    """Run one trial in `directory`, which keeps configuration, logs, verdicts and recordings."""
    fault, _, third_voter = what.partition("/")
    directory.mkdir(parents=True)
    loss_percent = LOSS_PERCENT if fault == "loss" else 0.0
    with Rig(directory, PairSettings(third_voter=third_voter or None), SEED) as rig:
        trials = Trials(rig, FAULTS[fault], 1, SECONDS.get(fault, 0.0), loss_percent, SEED, use_sample_s=USE_SAMPLE_S)
        (record,) = trials.records()
        for node, agent in rig.agents.items():
            answer = agent.control("record")
            assert answer.get("ok"), f"{node}: {answer}"
    print(json.dumps({"driver": record.driver, "fault_ns": record.fault_ns, "end_ns": record.end_ns}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
