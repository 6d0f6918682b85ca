"""All verbs of the control socket, from the modules that answer them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twinbeat.control import Verb
from twinbeat.run_node import NodeAgent
from twinbeat.run_operate import Operation
from twinbeat.run_verbs import Verbs
from twinbeat.run_why import WhyVerb
from twinbeat.warning.verb import warnings_verb


def verb_table(
    agent: NodeAgent,
    kinds: Sequence[str],
    outputs: Callable[[], list[dict[str, object]]],
    fixed: dict[str, Any],
    operation: Operation,
) -> dict[str, Verb]:
    """The verbs by name. Arguments as of `Verbs`. To be made before the brokers are started."""
    return {
        **Verbs(agent, kinds, outputs, fixed | {"command_limit_s": operation.limit_s}).table(),
        **operation.table(),
        **warnings_verb(agent),
        **WhyVerb(agent, fixed["pair"]).table(),
    }
