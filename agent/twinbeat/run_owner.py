"""Who owns a key, for applications on this gateway: the verbs `owner`, `watch` and `lease` of the control socket.

All three are answered from one view of the core. What they say of this node's own authority carries a deadline that
the application checks by itself, so that an agent that is frozen or dead misleads nobody (`twinbeat.key_lease`).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from twinbeat.control import Answer, Reply, RequestError, Stream, StreamVerb, Verb, failure
from twinbeat.key_lease import NS_PER_MS, Hold, LeaseTerms, hold_of, lease_terms
from twinbeat.run_loop import Loop, Timer, boottime_ns
from twinbeat.run_units import Unit, Units, units_of
from twinbeat.run_view import driver_of, drivers_of
from twinbeat.run_words import Names
from twinbeat.sharding import shard_of
from twinbeat.telemetry import SETTLE_S

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.run_node import NodeAgent

KEY_BYTES_MAX = 1024
WATCHERS_MAX = 8
"""Watching connections; the other places at the control socket stay free for questions."""
VIEW_SHARED_NS = 2 * NS_PER_MS
"""Leases asked for within this time are told from one view."""
VIEW_LIMIT_NS = 500 * NS_PER_MS
"""A view that took longer is none: the decider did not answer."""
FOLLOW_S = 0.02
FOLLOW_NS = 1_000_000_000
"""So long after a change the view is looked at every FOLLOW_S: no message tells that another node drives now."""

Row = dict[str, Any]


class OwnerDesk:
    """Answers for one agent, in the loop's thread. `view` gives the core's view, `cause_of` why a group last changed;
    `watchers` is called with a function that wants to be called after every message of the core until it is True."""

    def __init__(
        self,
        names: Names,
        units: Units,
        terms: LeaseTerms,
        loop: Loop,
        view: Callable[[], Mapping[str, Any]],
        watchers: Callable[[Callable[[], bool]], None],
        cause_of: Callable[[int], str],
        clock_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        self.terms = terms
        self._names = names
        self._units = units
        self._loop = loop
        self._take_view = view
        self._watchers = watchers
        self._cause_of = cause_of
        self._clock_ns = clock_ns
        self._view: Mapping[str, Any] = {}
        self._viewed_ns = 0
        self._streams: list[Stream] = []
        self._hooked = False
        self._rows: list[Row] = []
        self._owned: list[tuple[str | None, int]] = [(None, 0)] * len(units.items)
        self._changed_ns = [0] * len(units.items)
        self._moved_ns = 0
        self._timer: Timer | None = None

    def table(self) -> dict[str, Verb]:
        """The verbs by name."""
        return {"owner": self._owner, "lease": self._lease, "watch": StreamVerb(self._watch)}

    @property
    def watching(self) -> int:
        """How many connections watch."""
        return len(self._streams)

    # ------------------------------------------------------------ questions

    def _owner(self, request: dict[str, Any], reply: Reply) -> None:
        unit = self._asked(request)
        rows = self._look()
        row = rows[unit.number]
        now_ns, until_ns = self._clock_ns(), row["authority_until_boottime_ns"]
        more: Answer = {
            "since_ms": round((now_ns - row["at_boottime_ns"]) / NS_PER_MS, 1),
            "authority_left_ms": round(max(0, until_ns - now_ns) / NS_PER_MS, 3) if until_ns else None,
        }
        if request.get("key") is not None:
            more["key"] = request["key"]
        reply({"ok": True, "node": self._names.node, **row, **more, **self._figures()})

    def _lease(self, _request: dict[str, Any], reply: Reply) -> None:
        """What is this node's, with fresh deadlines: unit number, epoch, deadline."""
        view = self._view
        if not view or self._clock_ns() - self._viewed_ns > VIEW_SHARED_NS:
            view = self._fresh_view()
        held = []
        for unit in self._units.items:
            hold = self._hold(view, unit)
            if hold.until_ns:
                held.append([unit.number, hold.epoch, hold.until_ns])
        reply({"ok": True, "held": held})

    def _watch(self, _request: dict[str, Any], reply: Reply, stream: Stream) -> None:
        """The whole state, then a line for every change, for as long as the connection lives."""
        if stream in self._streams:
            raise RequestError("this connection is watching already")
        if len(self._streams) >= WATCHERS_MAX:
            reply(failure(f"{WATCHERS_MAX} applications are watching already; close one of them", 6))
            return
        rows = self._look()
        reply({
            "ok": True,
            "node": self._names.node,
            **self._figures(),
            "lease_ms": self.terms.lease_ns / NS_PER_MS,
            "wait_ms": round(self.terms.wait_ns / NS_PER_MS, 3),
            "units": rows,
        })
        self._streams.append(stream)
        stream.keep(lambda: self._left(stream))
        if not self._hooked:
            self._hooked = True
            self._watchers(self._look_again)
        self._plan()

    def _figures(self) -> Answer:
        return {"nobody_ms_max": self.terms.bound_ms, "nobody_slow_ms_max": self.terms.bound_slow_ms}

    # ------------------------------------------------------------ changes

    def _look_again(self) -> bool:
        """After every message of the core, and five times a second. True: nobody watches any more."""
        if not self._streams:
            self._hooked = False
            return True
        try:
            self._look()
        except RequestError:
            return False                     # the decider does not answer; the next look will tell
        self._plan()
        return False

    def _look(self) -> list[Row]:
        """The state now; watchers are told what has changed in it."""
        view = self._fresh_view()
        before = self._rows
        self._rows = [self._row(view, unit) for unit in self._units.items]
        for row, old in zip(self._rows, before, strict=False):
            if any(row[key] != old[key] for key in ("owner", "epoch", "mine", "drivers")):
                self._tell(row)
        return self._rows

    def _tell(self, row: Row) -> None:
        self._moved_ns = self._clock_ns()
        for stream in list(self._streams):
            stream.push({"push": "owner", **row})

    def _plan(self) -> None:
        """Look again when a wait is over, and soon while somebody else must have taken over."""
        now_ns = self._clock_ns()
        waits = [row["mine_from_boottime_ns"] for row in self._rows if row["mine_from_boottime_ns"]]
        due = [max(at_ns - now_ns, 0) / 1e9 for at_ns in waits]
        if now_ns - self._moved_ns < FOLLOW_NS:
            due.append(FOLLOW_S)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(min(due), self._due) if due and self._streams else None

    def _due(self) -> None:
        self._timer = None
        if self._streams:
            self._look_again()

    def _left(self, stream: Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)

    # ------------------------------------------------------------ rows

    def _fresh_view(self) -> Mapping[str, Any]:
        begun_ns = self._clock_ns()
        view = self._take_view()
        now_ns = self._clock_ns()
        if now_ns - begun_ns > VIEW_LIMIT_NS:
            self._view = {}
            raise RequestError("the decider does not answer; look at twinbeat status")
        self._view, self._viewed_ns = view, now_ns
        return view

    def _hold(self, view: Mapping[str, Any], unit: Unit) -> Hold:
        return hold_of(view, unit.number, self.terms, exclusive=not unit.overlap)

    def _row(self, view: Mapping[str, Any], unit: Unit) -> Row:
        number, hold = unit.number, self._hold(view, unit)
        owner, epoch = owner_of(view, self._names, number)
        if self._owned[number] != (owner, epoch) or not self._changed_ns[number]:
            self._owned[number] = (owner, epoch)
            self._changed_ns[number] = self._clock_ns()
            if owner == self._names.node:
                since_ms = view["groups"][number]["since_ms"]
                self._changed_ns[number] = view["now_ns"] - int(since_ms * NS_PER_MS)
        return {
            "unit": unit.name,
            "number": number,
            "group": unit.family,
            "shard": unit.shard,
            "overlap": unit.overlap,
            "owner": owner,
            "drivers": sorted(drivers_of(view, self._names, number)),
            "epoch": epoch,
            "mine": bool(hold.until_ns),
            "cause": self._cause_of(number),
            "at_boottime_ns": self._changed_ns[number],
            "authority_until_boottime_ns": hold.until_ns or None,
            "mine_from_boottime_ns": hold.from_ns or None,
        }

    def _asked(self, request: dict[str, Any]) -> Unit:
        """The unit that a request is about. Raises RequestError."""
        key, shard = request.get("key"), request.get("shard")
        units = self._units.named(request.get("group")) if request.get("group") is not None else self._usual()
        if shard is not None:
            if type(shard) is not int or not 0 <= shard < len(units):
                raise RequestError(f'shard {shard} of "{units[0].family}" is out of range: 0 to {len(units) - 1}')
            return units[shard]
        if key is None and len(units) == 1:
            return units[0]
        if not is_key(key):
            raise RequestError(f"name a key, a text of at most {KEY_BYTES_MAX} bytes, or a shard")
        if len(units) == 1 and units[0].shard is not None and len(self._units.named(units[0].family)) > 1:
            raise RequestError(f'{units[0].name} is one shard: for a key name the group, "{units[0].family}"')
        return units[shard_of(key, len(units))]

    def _usual(self) -> list[Unit]:
        """The family that is meant where none is named."""
        sharded = {unit.family for unit in self._units.items if unit.shard is not None}
        families = sharded or {unit.family for unit in self._units.items}
        if len(families) > 1:
            raise RequestError(f"name the group (--group): {self._units.known()}")
        return self._units.named(families.pop())


def is_key(key: Any) -> TypeGuard[str]:
    """Whether something from a request can be a key."""
    try:
        return isinstance(key, str) and len(key.encode()) <= KEY_BYTES_MAX
    except UnicodeEncodeError:
        return False


def owner_of(view: Mapping[str, Any], names: Names, number: int) -> tuple[str | None, int]:
    """Who drives a unit as far as this node knows, and at which epoch; the epoch is 0 where nobody does."""
    owner = driver_of(view, names, number)
    if owner is None:
        return None, 0
    if owner == names.node:
        return owner, int(view["groups"][number]["epoch"])
    rows = {names.node_name(peer["node"]): peer["rows"][number] for peer in view["peers"]}
    return owner, int(rows[owner]["epoch"])


def open_owner_desk(cfg: Config, agent: NodeAgent) -> OwnerDesk:
    """The desk of a running agent; to be made before its real-time part starts. Telemetry learns what a shard is."""
    units = units_of(cfg)
    telemetry = agent.parts.telemetry
    telemetry.shards = shards_of(units.items)
    if telemetry.shards:
        agent.parts.loop.call_every(SETTLE_S, telemetry.settle)

    def hook(look: Callable[[], bool]) -> None:
        agent.watchers.append(look)

    return OwnerDesk(
        agent.names, units, lease_terms(cfg), agent.parts.loop, agent.core_view, hook, agent.cause_of
    )


def shards_of(units: Sequence[Unit]) -> dict[str, tuple[str, int]]:
    """Family and number of every unit that is a shard."""
    return {unit.name: (unit.family, unit.shard) for unit in units if unit.shard is not None}
