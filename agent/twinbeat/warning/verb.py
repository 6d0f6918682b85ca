"""The verb `warnings` of the control socket."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinbeat.control import Reply, Verb

if TYPE_CHECKING:
    from twinbeat.run_node import NodeAgent


def warnings_verb(agent: NodeAgent) -> dict[str, Verb]:
    """What stands, every figure with its limit, and what is not there. `agent.early` is looked at when it is asked."""

    def answer(_request: dict[str, Any], reply: Reply) -> None:
        if agent.early is None:
            reply({"ok": True, "node": agent.names.node, "predict": "off", "warnings": [], "figures": [], "absent": []})
        else:
            reply({"ok": True, "node": agent.names.node, **agent.early.describe()})

    return {"warnings": answer}
