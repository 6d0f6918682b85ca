"""Commands of operators over a broker: signed, bound to one start of one agent and to its own clock.

The rules and what each of them is against: docs/remote.md. Where the file names no operator nothing else of this
package is loaded.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.control import Verb
    from twinbeat.remote.keyring import Operator
    from twinbeat.run_node import NodeAgent

PAIR_OPERATOR = "pair"
"""The operator's name of whoever has the pair's own key."""

READ_VERBS = ("status", "why", "events", "warnings")
"""They change nothing."""
REMOTE_VERBS = (*READ_VERBS, "handover", "failback", "drain", "out", "in", "maintenance")
"""What may be asked for over a broker, as far as the agent has it; everything else stays on the control socket."""


def operators_of(cfg: Config) -> dict[str, Operator]:
    """Who may command over a broker, with their keys; nobody where remote commands are off. Raises KeyFileError."""
    if cfg.remote is None:
        return {}
    from twinbeat.remote.keyring import read_operators

    return read_operators(cfg)


def remote_verbs(
    agent: NodeAgent, pair: str, operators: Mapping[str, Operator], verbs: dict[str, Verb]
) -> dict[str, Verb]:
    """Take commands from these operators; returns what the control socket answers about that.

    Before the brokers are started: it puts a mailbox into each. `verbs`: those of the control socket.
    """
    if not operators:
        return {}
    from twinbeat.remote.service import RemoteService

    service = RemoteService(agent, pair, operators, verbs)
    agent.parts.loop.call_threadsafe(service.tell)
    return service.table()
