"""All verbs of the control socket, from the modules that answer them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twinbeat.control import Verb
from twinbeat.run_node import NodeAgent
from twinbeat.run_verbs import Verbs


def verb_table(
    agent: NodeAgent, kinds: Sequence[str], outputs: Callable[[], list[dict[str, object]]], fixed: dict[str, Any]
) -> dict[str, Verb]:
    """The verbs by name. Arguments as of `Verbs`."""
    return {**Verbs(agent, kinds, outputs, fixed).table()}
