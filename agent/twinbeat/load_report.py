"""How loaded this node is: what the machine shows and what applications say, told to the core, which compares.

Load moves shards by planned handover and nothing else; it never makes a node unfit.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twinbeat.control import Reply, RequestError, Verb
from twinbeat.run_loop import boottime_ns
from twinbeat_core.events import Health

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.run_node import NodeAgent

BEAT_S = 1.0
REPEAT_NS = 3 * 10**9
"""The core is told again after so long: an event that was lost must not last."""
LOAD_STEP = 5
TTL_DEFAULT_S = 10.0
TTL_MIN_S, TTL_MAX_S = 0.1, 3600.0
APPLICATIONS_MAX = 32
NAME_MAX = 64


class Meter(Protocol):
    """What measures load."""

    def sample(self) -> float | None:
        """Percent, or None where nothing can be said yet."""


class LoopLike(Protocol):
    """What is needed of the agent's loop."""

    def call_every(self, period_s: float, callback: Callable[[], object]) -> None:
        """Call again and again."""


class LoadReport:
    """Merges what applications report with what is measured, the larger counts, and tells the core.

    `post(event)` sends an event to the core. Where health checks run they tell it, and ask `said` for the applications'
    figure; `start` is then not called. Without a meter nothing is told before an application reports; where nothing is
    known any more the core is told 0.
    """

    def __init__(
        self,
        post: Callable[[Health], bool],
        loop: LoopLike,
        meter: Meter | None,
        clock_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        self._post = post
        self._loop = loop
        self._meter = meter
        self._clock_ns = clock_ns
        self._said: dict[str, tuple[int, int]] = {}
        self._posted: Health | None = None
        self._measured: int | None = None
        self._alone = False
        self._beating = False

    def table(self) -> dict[str, Verb]:
        """The verbs by name."""
        return {"load": self._load}

    def said(self) -> int | None:
        """The largest figure that an application reported and that has not expired; None without any."""
        now_ns = self._clock_ns()
        self._said = {name: entry for name, entry in self._said.items() if entry[1] > now_ns}
        return max((percent for percent, _until_ns in self._said.values()), default=None)

    def load(self) -> int | None:
        """The larger of what was measured last and what is reported, in percent; None: neither is there."""
        return max((figure for figure in (self._measured, self.said()) if figure is not None), default=None)

    def start(self) -> None:
        """Nobody else tells the core: do it."""
        self._alone = True
        if self._meter is not None:
            self._begin()

    def _begin(self) -> None:
        if not self._beating:
            self._beating = True
            self._loop.call_every(BEAT_S, self._beat)
            self._measure()
        self._tell()

    def _beat(self) -> None:
        self._measure()
        self._tell()

    def _tell(self) -> None:
        """Tell the core what has changed, and the same again now and then."""
        now_ns, last = self._clock_ns(), self._posted
        event = Health(now_ns, True, 100, self.load() or 0)
        if last is not None and abs(last.load - event.load) < LOAD_STEP and now_ns - last.now_ns < REPEAT_NS:
            return
        if self._post(event):
            self._posted = event

    def _measure(self) -> None:
        try:
            percent = self._meter.sample() if self._meter is not None else None
        except (OSError, ValueError):
            percent = None
        self._measured = None if percent is None else round(percent)

    def _load(self, request: dict[str, Any], reply: Reply) -> None:
        percent = number_of(request, "percent", None, 0, 100)
        ttl_s = number_of(request, "ttl_s", TTL_DEFAULT_S, TTL_MIN_S, TTL_MAX_S)
        name = request.get("name", "")
        if not isinstance(name, str) or len(name) > NAME_MAX:
            raise RequestError(f"name takes a text of at most {NAME_MAX} characters")
        self.said()
        if name not in self._said and len(self._said) >= APPLICATIONS_MAX:
            raise RequestError(f"{APPLICATIONS_MAX} applications report their load already")
        self._said[name] = (round(percent), self._clock_ns() + int(ttl_s * 1e9))
        if self._alone:
            self._begin()
        reply({"ok": True, "load": self.said()})


def number_of(request: dict[str, Any], key: str, usual: float | None, low: float, high: float) -> float:
    """A number of a request. Raises RequestError where it is missing, of another type, or out of range."""
    value = request.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RequestError(f"{key} = {value} is out of range: {low:g} to {high:g}")
    return float(value)


def open_load_report(cfg: Config, agent: NodeAgent) -> LoadReport:
    """Takes the reports of applications; with [balance] and no health checks it measures too."""
    meter = None
    if getattr(cfg, "balance", None) is not None:
        from twinbeat.health.load import LoadMeter

        meter = LoadMeter()
    return LoadReport(agent.post, agent.parts.loop, meter)
