"""A core of many groups for tests of commands: it does at once what it is told, and the other node follows."""
from __future__ import annotations

from typing import Any

from run_fakes import FakeRuntime, core_view, peer_view, state_report
from run_rig import MOCK, Rig

from twinbeat.run_loop import boottime_ns
from twinbeat_core.events import Command
from twinbeat_core.model import Cause, CommandCode, ReportCode, State
from twinbeat_rt.messages import Reported

SHARDS = f"""
{MOCK}
[[group]]
name = "poll"
mode = "hot-hot"
shards = 4
{MOCK}
"""
BOTH = f"""
{MOCK}
[[group]]
name = "alarm"
mode = "hot-hot"
overlap = true
{MOCK}
"""


class Core:
    """States of the groups here and there; `refuse[group]` is the reason with which a handover is refused."""

    def __init__(self, rig: Rig, here: list[str], there: list[str] | None = None, **peer: Any) -> None:
        self.rig = rig
        self.here = list(here)
        self.there = list(there) if there else ["STANDBY" if state == "ACTIVE" else "ACTIVE" for state in here]
        self.peer = peer
        self.bars = [1 if state == "OUT" else 0 for state in here]
        self.refuse: dict[int, int] = {}
        self.deaf: set[int] = set()
        self.commands: list[tuple[CommandCode, int, int]] = []
        self.rt.act = self.act
        self.show()

    @property
    def rt(self) -> FakeRuntime:
        return self.rig.rt

    def show(self) -> None:
        """Put the states into the view."""
        rows = [{"state": state, "vote": 15, "epoch": 20 if state == "ACTIVE" else 8} for state in self.there]
        view = core_view(peers=[peer_view(1, rows=rows, **self.peer)])
        groups = [core_view(state)["groups"][0] for state in self.here]
        for number, group in enumerate(groups):
            group |= {"group": number, "bars": self.bars[number]}
        self.rt.core = view | {"groups": groups}

    def change(self, group: int, here: str | None = None, there: str | None = None) -> None:
        """Something changes by itself."""
        self.here[group], self.there[group] = here or self.here[group], there or self.there[group]
        self.show()
        self.rt.push(state_report(State.STANDBY, State.OUT, Cause.CAUSE_OPERATOR, group=group))

    def act(self, event: Any) -> None:
        if not isinstance(event, Command) or event.code == CommandCode.CMD_LAST_DRIVER:
            return
        if event.code == CommandCode.CMD_STOP:
            self.here, self.there = len(self.here) * ["OUT"], len(self.here) * ["ACTIVE"]
            self.show()
            return
        group = event.group
        self.commands.append((CommandCode(event.code), group, event.node))
        if event.code == CommandCode.CMD_HANDOVER:
            if group in self.refuse:
                self.rt.push(Reported(boottime_ns(), ReportCode.RP_HANDOVER_REFUSED, group, event.node, 0, 9,
                                      self.refuse[group], 0))
            elif group not in self.deaf:
                self.change(group, "STANDBY", "ACTIVE")
        elif event.code == CommandCode.CMD_OUT:
            self.bars[group] |= 1
            taken = self.here[group] == "ACTIVE" and self.there[group] == "STANDBY"
            self.change(group, "OUT", "ACTIVE" if taken else None)
        elif event.code == CommandCode.CMD_CLEAR:
            self.bars[group] &= ~2
        elif event.code == CommandCode.CMD_IN:
            self.bars[group] &= ~1
            if not self.bars[group]:
                self.change(group, "STANDBY")

    def told(self, code: CommandCode) -> list[int]:
        """The groups for which a command was given, in order."""
        return [group for given, group, _ in self.commands if given == code]
