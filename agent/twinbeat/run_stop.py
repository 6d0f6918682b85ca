"""The planned stop: hand over first, leave when the outputs are off and another node drives, or after a limit."""
from __future__ import annotations

import logging

from twinbeat.run_loop import boottime_ns
from twinbeat.run_node import NodeAgent
from twinbeat.run_view import OWNING, driver_of, peer_stays
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode

log = logging.getLogger("twinbeat")

STOP_LIMIT_S = 2.0
LOOK_S = 0.02
LEAVES_S = 20.0
"""What the service manager must give beyond the waiting: slow outputs, verdicts and recordings are finished in it."""
LINGER_S = 0.1
"""The taker's first votes still come from here, and taking this process down loads the machine. Longer with a third
voter over a network: until then the taker has no other vote."""


class PlannedStop:
    """Begun by the first SIGTERM or SIGINT; the second one ends the waiting.

    `prepare_s`: how long a taker may prepare before it takes over, which is waited for too.
    """

    def __init__(self, agent: NodeAgent, prepare_s: float = 0.0) -> None:
        self.begun = False
        self.immediate = False
        self._agent = agent
        self._prepare_s = prepare_s
        self._end_ns = 0
        self._driven: list[int] = []

    def signalled(self) -> None:
        """A signal asks for the stop."""
        if self.begun:
            self.immediate = True
            log.warning("second signal: stopping at once")
            self._agent.parts.loop.stop()
            return
        self.begun = True
        agent = self._agent
        view = agent.core_view()
        self._driven = [number for number, group in enumerate(view["groups"]) if group["state"] in OWNING]
        names = ", ".join(agent.names.group_name(group) for group in self._driven)
        log.info("planned stop: %s", f"handing over {names}" if names else "nothing is driven here")
        agent.parts.notifier.stopping("handing over" if names else "stopping")
        limit_s = STOP_LIMIT_S + self._prepare_s
        if self._prepare_s:
            agent.parts.notifier.extend(limit_s + LEAVES_S)
        self._end_ns = boottime_ns() + int(limit_s * 1e9)
        agent.post(Command(boottime_ns(), CommandCode.CMD_STOP))
        agent.watchers.append(self._look)
        agent.parts.loop.call_later(LOOK_S, self._again)

    def _again(self) -> None:
        if not self._look():
            self._agent.parts.loop.call_later(LOOK_S, self._again)

    def _look(self) -> bool:
        """Whether the agent may leave now."""
        agent = self._agent
        view = agent.core_view()
        still = [group for group, item in enumerate(view["groups"]) if item["state"] in OWNING]
        orphans = [group for group in self._driven if driver_of(view, agent.names, group) is None]
        if boottime_ns() >= self._end_ns:
            for group in sorted({*still, *orphans}):
                log.warning("planned stop: %s is driven by nobody", agent.names.group_name(group))
        elif still or (orphans and peer_stays(view)):
            return False
        settle_s = agent.parts.voter.settle_s if agent.parts.voter and self._driven else 0.0
        agent.parts.loop.call_later(LINGER_S + settle_s, agent.parts.loop.stop)
        return True
