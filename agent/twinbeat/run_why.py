"""What the control socket answers to why: this node's verdicts, and those of the others as far as they came."""
from __future__ import annotations

import json
from typing import Any

from twinbeat.control import Reply, RequestError, Verb
from twinbeat.group_names import belongs, compact
from twinbeat.run_node import NodeAgent
from twinbeat.run_verbs import count_of
from twinbeat.verdict import LINE_BYTES_MAX, Record
from twinbeat.verdict_peers import PeerVerdicts

COUNT = 3
SURELY_SMALL = 32
"""So many records of the greatest size are not too much for one answer."""


class WhyVerb:
    """The verb `why`. To be made before the brokers are started: it listens to the peers' verdicts on them."""

    def __init__(self, agent: NodeAgent, pair: str) -> None:
        self._agent = agent
        self.peers = PeerVerdicts(agent.names, pair, agent.parts.loop.call_threadsafe)
        self.peers.listen(agent.parts.brokers)

    def table(self) -> dict[str, Verb]:
        """The verb by name."""
        return {"why": self._why}

    def _why(self, request: dict[str, Any], reply: Reply) -> None:
        groups = self._groups(request.get("group"))
        count = count_of(request, COUNT)
        reply(
            {
                "ok": True,
                "node": self._agent.names.node,
                "verdicts": bounded(self._agent.verdicts.last(count, groups)),
                "peer_verdicts": bounded(self.peers.last(count, groups)),
                "peer_source": self.peers.source(),
            }
        )

    def _groups(self, wanted: object) -> list[str] | None:
        """The group asked for, or every shard of the family; None: all. Raises RequestError."""
        if wanted is None:
            return None
        known = self._agent.names.groups
        found = [name for name in known if isinstance(wanted, str) and belongs(name, wanted)]
        if not found:
            raise RequestError(f'there is no group "{wanted}"; the groups are {compact(list(known))}')
        return found


def bounded(records: list[Record]) -> list[Record]:
    """The newest records that fit into an answer, of which a client reads no more than a few megabytes."""
    if len(records) <= SURELY_SMALL:
        return records
    left = SURELY_SMALL * LINE_BYTES_MAX
    for number, record in enumerate(reversed(records)):
        left -= len(json.dumps(record))
        if left < 0:
            return records[len(records) - number:]
    return records
