"""What the control socket answers."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twinbeat.control import Answer, Reply, RequestError, Verb, failure
from twinbeat.run_loop import boottime_ns
from twinbeat.run_node import NodeAgent
from twinbeat.run_view import OWNING, driver_of, group_state, groups_status, links_status, peers_status
from twinbeat.version import __version__
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode

OUTCOME_LIMIT_S = 2.0
LOOK_S = 0.02
COUNT_MAX = 512
NOBODY = 15
SHOWN_APART = ("core", "arbiter")

REFUSALS = {
    1: "this node does not drive it",
    2: "no other node that could take it is heard",
    3: "the node named is not ready to take it: it is not in service, or not fit",
}
"""Why the core refuses a handover."""


class Verbs:
    """The verbs of one agent. `kinds` are the types of the links; `outputs` describe the drivers; `fixed` goes
    into every status as it is."""

    def __init__(
        self,
        agent: NodeAgent,
        kinds: Sequence[str],
        outputs: Callable[[], list[dict[str, object]]],
        fixed: dict[str, Any],
    ) -> None:
        self._agent = agent
        self._names = agent.names
        self._kinds = kinds
        self._outputs = outputs
        self._fixed = fixed

    def table(self) -> dict[str, Verb]:
        """The verbs by name."""
        return {
            "ping": self._ping,
            "status": self._status,
            "why": self._why,
            "events": self._events,
            "handover": self._handover,
            "out": self._out,
            "in": self._in,
            "record": self._record,
        }

    # ------------------------------------------------------------ questions

    def _ping(self, _request: dict[str, Any], reply: Reply) -> None:
        reply({"ok": True, **self._identity()})

    def _identity(self) -> dict[str, Any]:
        agent = self._agent
        return {
            "node": self._names.node,
            "pid": os.getpid(),
            "gate_pid": agent.parts.gate.pid,
            "version": __version__,
            "uptime_s": round((boottime_ns() - agent.started_ns) / 1e9, 1),
            **self._fixed,
        }

    def _status(self, _request: dict[str, Any], reply: Reply) -> None:
        agent = self._agent
        raw = agent.rt.view()
        core = raw.get("core", raw)
        links = links_status(core, self._names, self._kinds)
        for link, broker in agent.parts.brokers.items():
            state = broker.state
            links[link]["broker"] = {
                "address": broker.options.place,
                "connected": state.connected,
                "reason": state.reason,
                "counters": vars(broker.counters),
            }
        for link, port in agent.parts.serials.items():
            links[link]["port"] = {"path": port.path, "plugged": port.plugged, "faults": port.faults}
        reply(
            {
                "ok": True,
                **self._identity(),
                "fit": core["fit"],
                "health": agent.health.describe() if agent.health else None,
                "groups": groups_status(core, self._names),
                "peers": peers_status(core, self._names),
                "links": links,
                "third_voter": agent.parts.voter.describe() if agent.parts.voter else None,
                "outputs": self._outputs(),
                "warnings": agent.parts.warnings,
                "realtime": {} if raw is core else {key: raw[key] for key in raw if key not in SHOWN_APART},
                "counters": self._counters(),
            }
        )

    def _counters(self) -> dict[str, int]:
        parts = self._agent.parts
        return {
            "messages": self._agent.messages,
            "loop_wakeups": parts.loop.wakeups,
            "loop_faults": parts.loop.faults,
            "verdicts": self._agent.verdicts.count,
            "recordings": parts.recordings.saved,
            "events_unlogged": self._agent.events.unlogged,
            "events_held_back": parts.telemetry.events_held_back,
            "jobs_dropped": parts.disk.dropped + parts.files.dropped,
        }

    def _why(self, request: dict[str, Any], reply: Reply) -> None:
        group = self._group_name(request)
        reply({"ok": True, "verdicts": self._agent.verdicts.last(count_of(request, 3), group)})

    def _events(self, request: dict[str, Any], reply: Reply) -> None:
        after = request.get("after", 0)
        if type(after) is not int:
            raise RequestError("after takes the sequence number of the last event seen")
        reply({"ok": True, "events": self._agent.events.last(count_of(request, 20), after)})

    def _record(self, _request: dict[str, Any], reply: Reply) -> None:
        soon = self._agent.parts.loop.call_threadsafe

        def done(path: str, size_bytes: int, error: str) -> None:
            answer = failure(error, 5) if error else {"ok": True, "path": path, "bytes": size_bytes}
            soon(lambda: reply(answer))

        self._agent.parts.recordings.save_now(done)

    # ------------------------------------------------------------ commands

    def _handover(self, request: dict[str, Any], reply: Reply) -> None:
        group = self._one_group(request)
        name = self._names.group_name(group)
        taker = self._taker(request)
        view = self._agent.core_view()
        if group_state(view, group) != "ACTIVE":
            driver = driver_of(view, self._names, group)
            who = f"{driver} does: ask the agent there" if driver else "nobody does"
            reply(failure(f"{self._names.node} does not drive {name}; {who}", 1))
            return
        begun_ns = boottime_ns()
        self._agent.refusals.pop(group, None)
        if not self._agent.post(Command(begun_ns, CommandCode.CMD_HANDOVER, group, taker)):
            reply(failure("the decider takes no commands now; look at twinbeat status", 6))
            return

        def outcome() -> Answer | None:
            refused = self._agent.refusals.pop(group, None)
            if refused is not None:
                return failure(f"handover of {name} refused: {REFUSALS.get(refused.value, 'no reason given')}", 1)
            now = self._agent.core_view()
            driver = driver_of(now, self._names, group)
            if group_state(now, group) in OWNING or driver is None:
                return None
            took_ms = since_ms(begun_ns)
            return {"ok": True, "group": name, "from": self._names.node, "driver": driver, "took_ms": took_ms}

        def late() -> Answer:
            now = self._agent.core_view()
            driver = driver_of(now, self._names, group) or "nobody"
            return failure(
                f"handover of {name}: no outcome within {OUTCOME_LIMIT_S:g} s; {self._names.node} is "
                f"{group_state(now, group)}, {driver} drives; twinbeat why shows what happened",
                1,
            )

        self._await(outcome, late, reply)

    def _out(self, request: dict[str, Any], reply: Reply) -> None:
        self._service(request, reply, (CommandCode.CMD_OUT,), True)

    def _in(self, request: dict[str, Any], reply: Reply) -> None:
        self._service(request, reply, (CommandCode.CMD_CLEAR, CommandCode.CMD_IN), False)

    def _service(self, request: dict[str, Any], reply: Reply, codes: tuple[CommandCode, ...], out: bool) -> None:
        """Take groups out of service here, or back; answer when that is so."""
        groups = self._groups(request)
        begun_ns = boottime_ns()
        for group in groups:
            for code in codes:
                if not self._agent.post(Command(boottime_ns(), code, group)):
                    reply(failure("the decider takes no commands now; look at twinbeat status", 6))
                    return

        def shown() -> list[dict[str, Any]]:
            status = groups_status(self._agent.core_view(), self._names)
            return [{key: status[group][key] for key in ("name", "state", "driver", "barred_by")} for group in groups]

        def outcome() -> Answer | None:
            found = shown()
            if any((item["state"] == "OUT") != out for item in found):
                return None
            return {"ok": True, "node": self._names.node, "groups": found, "took_ms": since_ms(begun_ns)}

        def late() -> Answer:
            states = ", ".join(f"{item['name']} is {item['state']}" for item in shown())
            return failure(f"not done within {OUTCOME_LIMIT_S:g} s: {states}; twinbeat events shows why", 1)

        self._await(outcome, late, reply)

    def _await(self, outcome: Callable[[], Answer | None], late: Callable[[], Answer], reply: Reply) -> None:
        """Answer with `outcome()` as soon as there is one, with `late()` when there is none in time."""
        loop = self._agent.parts.loop
        end_ns = boottime_ns() + int(OUTCOME_LIMIT_S * 1e9)
        done: list[bool] = []

        def watcher() -> bool:
            if not done:
                answer = outcome()
                if answer is None and boottime_ns() >= end_ns:
                    answer = late()
                if answer is not None:
                    done.append(True)
                    reply(answer)
            return bool(done)

        def again() -> None:
            if not watcher():
                loop.call_later(LOOK_S, again)

        self._agent.watchers.append(watcher)
        loop.call_later(LOOK_S, again)

    # ------------------------------------------------------------ arguments

    def _group_name(self, request: dict[str, Any]) -> str | None:
        group = request.get("group")
        if group is not None and group not in self._names.groups:
            known = ", ".join(self._names.groups)
            raise RequestError(f'there is no group "{group}"; the groups are {known}')
        return group

    def _groups(self, request: dict[str, Any]) -> list[int]:
        name = self._group_name(request)
        return list(range(len(self._names.groups))) if name is None else [list(self._names.groups).index(name)]

    def _one_group(self, request: dict[str, Any]) -> int:
        found = self._groups(request)
        if len(found) > 1:
            raise RequestError("name the group: " + ", ".join(self._names.groups))
        return found[0]

    def _taker(self, request: dict[str, Any]) -> int:
        node = request.get("node")
        if node is None:
            return NOBODY
        if node not in self._names.nodes:
            raise RequestError(f'there is no node "{node}"; the nodes are {", ".join(self._names.nodes)}')
        if node == self._names.node:
            raise RequestError(f"{node} is this node: name the one that shall drive")
        return list(self._names.nodes).index(node)


def count_of(request: dict[str, Any], default: int) -> int:
    """How many items are asked for. Raises RequestError."""
    count = request.get("count", default)
    if type(count) is not int or not 1 <= count <= COUNT_MAX:
        raise RequestError(f"count = {count} is out of range: 1 to {COUNT_MAX}")
    return count


def since_ms(begun_ns: int) -> float:
    """Milliseconds since a moment."""
    return round((boottime_ns() - begun_ns) / 1e6, 1)
