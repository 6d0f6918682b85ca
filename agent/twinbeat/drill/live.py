"""The drill itself: make the fault, see who drives, put the roles back. Interrupted, it says what it left."""
from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

from twinbeat.drill.conditions import group_of
from twinbeat.drill.doors import Clock, Door
from twinbeat.drill.measure import gap_between, giving, judged, name_of, summary_of, switched_ns, taking
from twinbeat.drill.report import Gap, Report, Step
from twinbeat.errors import ControlError, RefusedError, TwinbeatError
from twinbeat.screen import entries

POLL_S = 0.05
TAKEN_LIMIT_S = 10.0
VERDICT_LIMIT_S = 4.0
SETTLED_LIMIT_S = 10.0
VERDICTS = 16
SIGNALS = {"stop": signal.SIGTERM, "kill": signal.SIGKILL}


class DrillError(TwinbeatError):
    """The pair did not do what the drill expected."""

    exit_code = 1


class Live:
    """One live drill. `door` leads to this node's agent, `other` to the one that takes; None: no way to ask it.

    `dwell_s`: how long the taker drives before the way back; `return_s`: how long to wait for an agent or a driver that
    must come back. `tell` shows the operator what happens.
    """

    def __init__(self, door: Door, other: Door | None, report: Report, clock: Clock, tell: Callable[[str], None], *,
                 dwell_s: float, return_s: float, to: str | None = None) -> None:
        self.door = door
        self.other = other
        self.report = report
        self.moved: dict[str, str] = {}
        self._clock = clock
        self._tell = tell
        self._dwell_s = dwell_s
        self._return_s = return_s
        self._to = to
        self._begun_ns = clock.now_ns()
        self._pid = 0
        self._away = False
        self._touched = False
        self._here: dict[int, bool] = {}

    def run(self) -> None:
        """Everything; the report says how it ended."""
        report = self.report
        try:
            self._forth()
            self._dwell()
            self._back()
            self._judge()
        except KeyboardInterrupt:
            report.interrupted = True
            report.failure = "somebody interrupted it"
            self._note("interrupted: putting the roles back", ok=False)
            self._tidy()
        except TwinbeatError as error:
            report.failure = report.failure or str(error)
            self._note(str(error), ok=False)
            self._tidy()
        finally:
            self._close()

    # ------------------------------------------------------------ the moves

    def _forth(self) -> None:
        status = self.door.ask("status")
        self._pid = int(status.get("pid") or 0)
        self._here = {id(door): door.here(int(door.ask("ping").get("pid") or 0))
                      for door in (self.door, self.other) if door is not None}
        epochs = {name: int(group_of(status, name).get("epoch") or 0) for name in self.report.groups}
        if self.report.fault in SIGNALS:
            self._strike(epochs)
            return
        for name in self.report.groups:
            self._hand_over(self.door, self.other, name, self.report.node, self._to, epochs[name])

    def _hand_over(self, giver: Door, taker: Door | None, name: str, node: str, to: str | None, epoch: int) -> None:
        """One planned handover, asked of the giver, judged by both."""
        asked_ns = self._clock.now_ns()
        if node == self.report.node:
            self.moved[name] = "?"
        try:
            answer = giver.ask("handover", group=name, node=to)
        except RefusedError as error:
            if group_of(self.door.ask("status"), name).get("driver") == self.report.node:
                self.moved.pop(name, None)
            raise DrillError(f"{node} refused to hand over {name}: {error}") from None
        answered_ns = self._clock.now_ns()
        driver = str(answer.get("driver") or "?")
        if node == self.report.node:
            self.moved[name] = driver
        self._touched = True
        self._note(f"{node} handed {name} over to {driver}; the agent says after {answer.get('took_ms', '?')} ms")
        off_ns, gap = self._gap(name, node, driver, epoch, giver, taker, (answered_ns - asked_ns) / 1e6)
        if not gap.exact and off_ns is not None and self._here[id(giver)]:
            gap = gap_between(name, node, driver, off_ns=off_ns, on_ns=None, one_clock=False,
                              bound_ms=(answered_ns - off_ns) / 1e6)
        self.report.gaps.append(judged(gap, self.report.budget_ms))

    def _gap(self, name: str, node: str, driver: str, epoch: int, giver: Door, taker: Door | None,
             bound_ms: float) -> tuple[int | None, Gap]:
        """The giver's stamp of its off, and the gap as far as the verdicts tell."""
        took, gave = self._verdicts(name, node, driver, epoch, giver, taker)
        off_ns, on_ns = switched_ns(gave, "off"), switched_ns(took, "on")
        return off_ns, gap_between(name, node, driver, off_ns=off_ns, on_ns=on_ns, one_clock=self._one_clock(),
                                   bound_ms=bound_ms)

    def _strike(self, epochs: dict[str, int]) -> None:
        """Stop or kill this node's agent, and wait until it is back."""
        number = SIGNALS[self.report.fault]
        struck_ns = self._clock.now_ns()
        self.door.signal(self._pid, number)
        self._away = self._touched = True
        self.moved = dict.fromkeys(self.report.groups, "?")
        self._note(f"{number.name} sent to process {self._pid}, the agent of {self.report.node}")
        seen_ms = None
        if self.other is not None:
            self._await_drivers(self.other)
            seen_ms = (self._clock.now_ns() - struck_ns) / 1e6
        self._await_agent()
        self._await_drivers(self.door)
        for name, epoch in epochs.items():
            driver = self.moved[name]
            took, gave = self._verdicts(name, self.report.node, driver, epoch, self.door, self.other)
            off_ns = switched_ns(gave, "off") if self.report.fault == "stop" else struck_ns
            since = "" if self.report.fault == "stop" else "from the signal to the taker's output, on one clock"
            on_ns = switched_ns(took, "on")
            gap = gap_between(name, self.report.node, driver, off_ns=off_ns, on_ns=on_ns, one_clock=self._one_clock(),
                              bound_ms=seen_ms, since=since)
            self.report.gaps.append(judged(gap, self.report.budget_ms))

    def _await_drivers(self, door: Door) -> None:
        """Until another node drives all groups, as this door's agent says."""
        def taken() -> bool:
            status = door.ask("status")
            for name in self.report.groups:
                driver = group_of(status, name).get("driver")
                if driver is None or driver == self.report.node:
                    return False
                self.moved[name] = str(driver)
            return True

        if not self._until(taken, TAKEN_LIMIT_S):
            open_ = [name for name, driver in self.moved.items() if driver == "?"]
            raise DrillError(f"nobody else drives {', '.join(open_) or 'them'} after {TAKEN_LIMIT_S:g} s")
        told = ", ".join(f"{driver} drives {name}" for name, driver in self.moved.items())
        self._note(told)

    def _await_agent(self) -> None:
        """Until this node's agent runs again, started by its supervisor or by hand."""
        self._tell(f"waiting for the agent of {self.report.node} to come back, at most {self._return_s:g} s")

        def back() -> bool:
            found = int(self.door.ask("ping").get("pid") or 0)
            return found not in (0, self._pid)

        if not self._until(back, self._return_s):
            raise DrillError(
                f"the agent of {self.report.node} has not come back within {self._return_s:g} s: start it with "
                "systemctl start twinbeat, then hand back on the other gateway"
            )
        self._away = False
        self._note(f"the agent of {self.report.node} runs again")

    def _dwell(self) -> None:
        """Let the taker drive for a while, and see that it stays so."""
        end_ns = self._clock.now_ns() + round(self._dwell_s * 1e9)
        while self._clock.now_ns() < end_ns:
            self._clock.wait(min(POLL_S, self._dwell_s))
            status = self.door.ask("status")
            for name, taker in self.moved.items():
                driver = group_of(status, name).get("driver")
                if driver != taker:
                    raise DrillError(f"{taker} did not keep {name}: {driver or 'nobody'} drives it")
        self._note(f"{', '.join(sorted(set(self.moved.values())))} drove for {self._dwell_s:g} s")

    def _back(self) -> None:
        """The roles as they were: asked of the taker, or waited for where it cannot be asked."""
        for name, taker in list(self.moved.items()):
            self._await_standby(name)
            status = self.door.ask("status")
            group = group_of(status, name)
            if group.get("driver") == self.report.node:
                self._came_back(name, "by itself")
            elif self.other is not None:
                self._hand_over(self.other, self.door, name, taker, self.report.node, self._epoch_of(status, name))
                self.moved.pop(name, None)
            else:
                self._await_return(name, taker)

    def _await_standby(self, name: str) -> None:
        """Until this node could take the group, or has it."""
        if not self._until(lambda: group_of(self.door.ask("status"), name).get("state") in ("STANDBY", "ACTIVE"),
                           SETTLED_LIMIT_S):
            state = group_of(self.door.ask("status"), name).get("state")
            raise DrillError(f"{self.report.node} is {state} for {name} and cannot take it back: see twinbeat status")

    def _await_return(self, name: str, taker: str) -> None:
        """Nobody here can ask the taker: an operator there, or the configured failback."""
        self._tell(f"now on {taker}: twinbeat handover {name} --to {self.report.node}   (waiting {self._return_s:g} s)")
        if not self._until(lambda: group_of(self.door.ask("status"), name).get("driver") == self.report.node,
                           self._return_s):
            raise DrillError(
                f"{name} has not come back within {self._return_s:g} s: hand it over on {taker} with "
                f"twinbeat handover {name} --to {self.report.node}"
            )
        self._came_back(name, f"from {taker}")

    def _came_back(self, name: str, how: str) -> None:
        self.moved.pop(name, None)
        self._note(f"{name} came back {how}")

    # ------------------------------------------------------------ when something went wrong

    def _tidy(self) -> None:
        """Put back what has moved, as far as it goes. A second interrupt ends it."""
        try:
            if self._away:
                self._await_agent()
            for name in [name for name, taker in self.moved.items() if taker == "?"]:
                self._find(name)
            if self.moved:
                self._back()
        except KeyboardInterrupt:
            self._note("interrupted again: left as it is", ok=False)
        except TwinbeatError as error:
            self._note(str(error), ok=False)

    def _find(self, name: str) -> None:
        """Who drives a group whose move was not seen to its end."""
        self._until(lambda: group_of(self.door.ask("status"), name).get("driver") is not None, TAKEN_LIMIT_S)
        driver = group_of(self.door.ask("status"), name).get("driver")
        if driver == self.report.node:
            self.moved.pop(name, None)
        else:
            self.moved[name] = str(driver or "?")

    def _close(self) -> None:
        """How the pair was left, by the agents' own words."""
        report = self.report
        try:
            status = self._last_look()
            drivers = {name: group_of(status, name).get("driver") for name in report.groups}
            report.left = ", ".join(f"{driver or 'nobody'} drives {name}" for name, driver in drivers.items())
            away = [name for name, driver in drivers.items() if driver != report.node]
        except TwinbeatError as error:
            report.left = f"not known: {error}"
            away = list(self.moved)
        report.reverted = not away and not self._away if self._touched or self.moved or away else None
        if away and not report.failure:
            report.failure = f"{', '.join(away)} did not come back"
        report.passed = not report.failure and not report.interrupted and report.reverted is True

    def _last_look(self) -> dict[str, Any]:
        """The status at the end; who interrupts here has to wait for it."""
        try:
            return self.door.ask("status")
        except KeyboardInterrupt:
            return self.door.ask("status")

    def _judge(self) -> None:
        """The measured gaps against the budget. Raises DrillError."""
        bad = [gap for gap in self.report.gaps if gap.within is False]
        if bad:
            told = ", ".join(f"{gap.group} from {gap.giver} to {gap.taker} {gap.ms:.2f} ms" for gap in bad)
            raise DrillError(f"not within the budget of {self.report.budget_ms} ms: {told}")

    # ------------------------------------------------------------ what both say

    def _verdicts(self, name: str, giver: str, taker: str, epoch: int, *doors: Door | None,
                  ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """The taker's and the giver's verdict on one move, waited for a little; both go into the report."""
        kept: list[Any] = [None, None]

        def told() -> bool:
            found = [verdict for door in doors if door is not None for verdict in self._told_by(door, name)]
            kept[0] = taking(found, name, taker, epoch)
            kept[1] = giving(found, name, giver, epoch)
            wanted = kept if self.report.fault != "kill" or giver != self.report.node else kept[:1]
            return all(one is not None for one in wanted)

        self._until(told, VERDICT_LIMIT_S if all(door is not None for door in doors) else VERDICT_LIMIT_S / 2)
        known = {verdict["id"] for verdict in self.report.verdicts}
        self.report.verdicts += [summary_of(one) for one in (kept[1], kept[0])
                                 if one is not None and name_of(one) not in known]
        return kept[0], kept[1]

    def _told_by(self, door: Door, name: str) -> Sequence[dict[str, Any]]:
        answer = door.ask("why", group=name, count=VERDICTS)
        return [*entries(answer, "verdicts"), *entries(answer, "peer_verdicts")]

    def _epoch_of(self, status: dict[str, Any], name: str) -> int:
        """The epoch of the present driver, which its verdict will name."""
        door = self.other if self.other is not None else self.door
        return int(group_of(door.ask("status"), name).get("epoch") or group_of(status, name).get("epoch") or 0)

    def _one_clock(self) -> bool:
        """Whether both agents run on this machine, so that their stamps can be compared."""
        return self.other is not None and all(self._here.values())

    def _until(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Poll; an agent that cannot be asked for a moment is asked again."""
        end_ns = self._clock.now_ns() + round(limit_s * 1e9)
        while True:
            try:
                if holds():
                    return True
            except ControlError:
                pass
            if self._clock.now_ns() >= end_ns:
                return False
            self._clock.wait(POLL_S)

    def _note(self, text: str, ok: bool = True) -> None:
        at_ms = round((self._clock.now_ns() - self._begun_ns) / 1e6, 1)
        self.report.steps.append(Step(at_ms=at_ms, text=text, ok=ok))
        self._tell(text)
