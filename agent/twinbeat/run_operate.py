"""What an operator does on this node, put together: one turn, the commands, maintenance, prepare hooks."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinbeat.control import Verb
from twinbeat.maintenance import MaintenanceFile
from twinbeat.run_commands import Commands
from twinbeat.run_course import Courses
from twinbeat.run_maintenance import Maintenance
from twinbeat.run_maintenance_verb import MaintenanceVerb
from twinbeat.run_moves import Moves
from twinbeat.run_node import NodeAgent
from twinbeat.run_prepare import Preparation, hooks_of
from twinbeat.run_turn import CommandTurn
from twinbeat.run_units import units_of
from twinbeat.run_view import peers_status

if TYPE_CHECKING:
    from twinbeat.config import Config


class Operation:
    """Of one agent. Make it before the real-time part starts; raises OutputError for a hook that is not there."""

    def __init__(self, cfg: Config, agent: NodeAgent, state_dir: Path) -> None:
        self.turn = CommandTurn()
        courses = Courses(agent)
        moves = Moves(agent, units_of(cfg))
        self.limit_s = moves.limit_s(moves.units.items)
        file = MaintenanceFile(state_dir / f"{cfg.pair.name}-{cfg.node}.maintenance")
        self.maintenance = Maintenance(agent, moves, file)
        self._commands = Commands(agent, moves, courses, self.turn, self.maintenance)
        self._verb = MaintenanceVerb(agent, moves, courses, self.turn, self.maintenance)
        shards = {unit.number: unit.shard for unit in moves.units.items}
        self._preparation = Preparation(agent, hooks_of(cfg), {"TWINBEAT_PAIR": cfg.pair.name}, shards)
        agent.report_hooks.append(self._preparation.reported)
        agent.status_parts["maintenance"] = self.maintenance.describe
        agent.status_parts["peers"] = lambda: self._peers(agent, moves)

    def table(self) -> dict[str, Verb]:
        """The verbs by name."""
        return {**self._commands.table(), **self._verb.table()}

    def _peers(self, agent: NodeAgent, moves: Moves) -> list[dict[str, Any]]:
        """The other nodes as status shows them, with a mark on those that are in maintenance."""
        look = moves.assessor()
        return [
            peer | {"maintenance": {"on": look.in_maintenance(peer["name"])}}
            for peer in agent.loads.marked(peers_status(agent.core_view(), agent.names), "name")
        ]

    def begin(self) -> None:
        """Right after the real-time part has started: maintenance that an earlier start has left goes on."""
        self.maintenance.resume()

    def close(self) -> None:
        """End what runs for it."""
        self._preparation.close()
