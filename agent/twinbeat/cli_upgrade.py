"""The verb that judges an upgrade: its options."""
from __future__ import annotations

import argparse

from twinbeat.cli_options import Parser, add_control, add_verb


def add_upgrade_verbs(verbs: argparse._SubParsersAction[Parser]) -> None:
    """upgrade-check."""
    check = add_verb(verbs, "upgrade-check", "upgrade", "do the version here and the other gateway's work together?")
    other = check.add_mutually_exclusive_group()
    other.add_argument("--peer-version", metavar="V", help="the release that runs on the other gateway")
    other.add_argument("--with", dest="other", metavar="FILE", help="what twinbeat version --json said there")
    add_control(check)
