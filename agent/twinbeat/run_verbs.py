"""The questions that the control socket answers; its commands: `run_commands`."""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twinbeat.control import Reply, RequestError, Verb, failure
from twinbeat.run_loop import boottime_ns
from twinbeat.run_node import NodeAgent
from twinbeat.run_view import groups_status, links_status
from twinbeat.version import __version__

COUNT_MAX = 512
SHOWN_APART = ("core", "arbiter")


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
            "events": self._events,
            "record": self._record,
        }

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
                "protocol": {**self._fixed.get("protocol", {}), "spoken": core.get("version")},
                "fit": core["fit"],
                "score": core["health"],
                "load": agent.loads.own(core),
                "health": agent.health.describe() if agent.health else None,
                "groups": groups_status(core, self._names),
                "links": links,
                "third_voter": agent.parts.voter.describe() if agent.parts.voter else None,
                "outputs": self._outputs(),
                "warnings": self._warnings(core),
                **{key: part() for key, part in agent.status_parts.items()},
                "realtime": {} if raw is core else {key: raw[key] for key in raw if key not in SHOWN_APART},
                "counters": self._counters(),
            }
        )

    def _warnings(self, core: Mapping[str, Any]) -> list[str]:
        """What was doubtful at the start and still is: a node that has listened long enough has its votes back."""
        parts = self._agent.parts
        over = parts.opened.warning if all(group["state"] != "LISTEN" for group in core["groups"]) else ""
        return [warning for warning in parts.warnings if warning != over]

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


def group_name(request: dict[str, Any], known: Sequence[str]) -> str | None:
    """The group that is asked for, None: all. Raises RequestError."""
    group: object = request.get("group")
    if group is None:
        return None
    if not isinstance(group, str) or group not in known:
        raise RequestError(f'there is no group "{group}"; the groups are {", ".join(known)}')
    return group


def count_of(request: dict[str, Any], default: int) -> int:
    """How many items are asked for. Raises RequestError."""
    count = request.get("count", default)
    if type(count) is not int or not 1 <= count <= COUNT_MAX:
        raise RequestError(f"count = {count} is out of range: 1 to {COUNT_MAX}")
    return count
