"""The verb that asks who owns a key: its options."""
from __future__ import annotations

import argparse

from twinbeat.cli_options import Parser, add_control, add_verb


def add_owner_verb(verbs: argparse._SubParsersAction[Parser]) -> None:
    """owner."""
    owner = add_verb(verbs, "owner", "owner", "which node owns a key; exit code 1 where nobody does")
    owner.add_argument("key", metavar="KEY", nargs="?", help="an application's key (default: every shard and group)")
    owner.add_argument("--group", metavar="GROUP", help="the group of the key; not needed where one alone has shards")
    owner.add_argument("--watch", action="store_true", help="go on printing changes until interrupted")
    add_control(owner)
