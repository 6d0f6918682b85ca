"""Which figures of load say something: in the core and in frames 0 stands for a load that nobody measures, too."""
from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinbeat.config import Config


class Loads:
    """`here` gives this node's load, None where it is neither measured nor reported; `measuring` names the nodes that
    measure theirs. Of another node a figure above 0 is always told: an application there reported it."""

    def __init__(self, here: Callable[[], int | None] = lambda: None, measuring: Container[str] = ()) -> None:
        self._here = here
        self._measuring = measuring

    def own(self, view: Mapping[str, Any]) -> int | None:
        """This node's load in percent as its frames tell it."""
        return None if self._here() is None else int(view["load"])

    def of(self, node: str, percent: int, heard: bool) -> int | None:
        """Another node's, as its frames tell it; None before the first of them, too."""
        return percent if heard and (percent or node in self._measuring) else None

    def marked(self, rows: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
        """Rows about other nodes, named by `key`, with None for a load that says nothing."""
        return [
            row | {"load": self.of(row[key], row["load"], row["heard_ms_ago"] is not None)} for row in rows
        ]


def measuring_nodes(cfg: Config) -> frozenset[str]:
    """The nodes that measure their load by this file: with [balance], and where checks run."""
    return frozenset(node for node in cfg.node_names if cfg.balance is not None or cfg.checks_of(node))
