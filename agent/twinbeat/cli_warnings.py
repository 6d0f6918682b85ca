"""The verb for early warnings: its options."""
from __future__ import annotations

import argparse

from twinbeat.cli_options import Parser, add_control, add_verb


def add_warnings_verb(verbs: argparse._SubParsersAction[Parser]) -> None:
    """warnings."""
    verb = add_verb(verbs, "warnings", "warnings", "what is going to be in trouble; exit code 1 where something is")
    verb.add_argument("--all", action="store_true", help="every figure with its limit, and what is not there")
    trial = verb.add_mutually_exclusive_group()
    trial.add_argument("--trial", action="store_true", help="ask no agent; try the detector on generated traces")
    trial.add_argument("--quick-trial", action="store_true", help="the same on few traces: a look")
    trial.add_argument("--once", action="store_true", help="ask no agent; read this machine's figures once")
    verb.add_argument("--seed", type=int, metavar="N", help="of the trial; the parameters were chosen with the default")
    add_control(verb)
