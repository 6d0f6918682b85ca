"""What the agent offers to applications on its gateway: who owns a key, and a place to report their load."""
from __future__ import annotations

from typing import TYPE_CHECKING

from twinbeat.control import Verb
from twinbeat.load_report import open_load_report
from twinbeat.run_loads import Loads, measuring_nodes
from twinbeat.run_owner import open_owner_desk

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.run_node import NodeAgent


class Applications:
    """Both services of one agent. To be made before its real-time part starts, which must not wait for imports."""

    def __init__(self, cfg: Config, agent: NodeAgent) -> None:
        self._agent = agent
        self._measuring = measuring_nodes(cfg)
        self._owners = open_owner_desk(cfg, agent)
        self._load = open_load_report(cfg, agent)
        agent.status_parts["watchers"] = lambda: self._owners.watching

    def table(self) -> dict[str, Verb]:
        """The verbs by name."""
        return {**self._owners.table(), **self._load.table()}

    def start(self) -> None:
        """Once the health checks run, or none are configured: see that the core hears of load."""
        health = self._agent.health
        if health is not None:
            health.said = self._load.said
        else:
            self._load.start()
        self._agent.loads = Loads(self._load.load if health is None else health.load, self._measuring)
