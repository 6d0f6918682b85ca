"""For applications: which keys are this gateway's to handle, and until when. Nothing beyond the standard library.

    with twinbeat.Client(config="/etc/twinbeat/twinbeat.toml") as client:
        for device in devices:
            lease = client.lease(device, need_ms=5)
            if lease is not None:
                poll(device, fencing_token=lease.epoch)

`lease` and `mine` look at a deadline that the agent gave and at this machine's CLOCK_BOOTTIME, and at nothing else: an
agent that is frozen, dead or overloaded makes them say no, never a wrong yes. What is promised and what is not:
docs/applications.md.

All methods may be called from any thread. The client has one thread of its own, which reads; `on_change` is called in
it and must return soon. A client does not survive a fork: make one in each process.
"""
from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from twinbeat.client_find import find_socket
from twinbeat.client_line import Line
from twinbeat.client_retry import Retry
from twinbeat.client_state import NS_PER_MS, Lease, News, Owner, Row, State, boottime_ns, told
from twinbeat.errors import AgentNotRunning, ControlError, RefusedError, UsageError

__all__ = ["Client", "Lease", "Owner"]

log = logging.getLogger("twinbeat.client")

ANSWER_LIMIT_S = 3.0
MINE_LIMIT_S = 0.1
"""The longest that `lease` and `mine` wait for a fresh deadline."""
LOAD_TTL_MIN_S, LOAD_TTL_MAX_S = 0.1, 3600.0


class Client:
    """Knows who owns what on this gateway. It connects by itself, and again whenever the agent comes back.

    socket     the agent's control socket; else it is found by `config`, `node` and `run_dir` as the agent does
    group      the group whose shards the keys belong to; not needed where only one group has shards
    on_change  called with an Owner after each change, in the client's own thread
    limit_s    how long a question waits for an agent that is not there yet

    Raises ConfigError or AgentNotRunning where nothing says which socket it is. An agent that does not run is no error
    here: nothing is then this node's, and `owner` raises AgentNotRunning after `limit_s`.
    """

    def __init__(
        self,
        socket: str | Path | None = None,
        *,
        config: str | Path | None = None,
        node: str | None = None,
        run_dir: str | None = None,
        group: str | None = None,
        on_change: Callable[[Owner], object] | None = None,
        limit_s: float = ANSWER_LIMIT_S,
    ) -> None:
        self.path = Path(socket) if socket is not None else find_socket(config, node, run_dir)
        self.limit_s = limit_s
        self.asked = 0
        self._group = group
        self._on_change = on_change
        self._changed = threading.Condition()
        self._line: Line | None = None
        self._state: State | None = None
        self._problem: Exception | None = None
        self._heard_s: float | None = None
        self._asking = False
        self._answers = 0
        self._load: tuple[float, int] | None = None
        self._news: list[News] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="twinbeat-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the agent and end the thread. `changes` ends; nothing is this node's any more."""
        self._closed.set()
        with self._changed:
            line = self._line
            self._changed.notify_all()
        if line is not None:
            line.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(self.limit_s)
        for news in list(self._news):
            news.put(None)

    # ------------------------------------------------------------ questions

    @property
    def connected(self) -> bool:
        """Whether the agent is heard."""
        return self._line is not None

    @property
    def node(self) -> str:
        """This node's name; empty until the agent was heard for the first time."""
        return self._state.node if self._state is not None else ""

    @property
    def nobody_ms_max(self) -> float | None:
        """The longest time, computed from the configuration, in which nobody handles a key; None: not heard yet."""
        return self._state.nobody_ms_max if self._state is not None else None

    def wait_ready(self, limit_s: float | None = None) -> None:
        """Until the agent is heard. Raises AgentNotRunning, ControlError or RefusedError with the reason."""
        limit_s = self.limit_s if limit_s is None else limit_s
        with self._changed:
            self._changed.wait_for(lambda: self.connected or self._closed.is_set(), limit_s)
            connected, problem = self.connected, self._problem
        if self._closed.is_set():
            raise ControlError(f"{self.path}: this client is closed; make another one")
        if not connected:
            raise problem or AgentNotRunning(f"{self.path}: no agent was heard within {limit_s:g} s; does it run?")

    def owner(self, key: str, group: str | None = None) -> Owner:
        """Who owns a key, as the agent told last. Raises UsageError for an unknown group, else as `wait_ready`."""
        state = self._known()
        return told(state.rows[state.unit(key, group if group is not None else self._group)])

    def epoch(self, key: str, group: str | None = None) -> int:
        """The epoch of the key's owner. For work of this node's own take that of `lease`. Raises as `owner`."""
        return self.owner(key, group).epoch

    def units(self) -> list[Owner]:
        """Every unit with its owner. Raises as `wait_ready`."""
        return [told(row) for row in self._known().rows]

    def mine(self, key: str, group: str | None = None, need_ms: float = 0.0) -> bool:
        """Whether this node may handle the key now and for another `need_ms` milliseconds. See `lease`."""
        return self.lease(key, group, need_ms) is not None

    def lease(self, key: str, group: str | None = None, need_ms: float = 0.0) -> Lease | None:
        """The right to handle a key for more than `need_ms` milliseconds from now; None: not now, or in doubt.

        A look at the clock where the last deadline lies far enough ahead. Else, where the key is this node's, the agent
        is asked for a fresh one and waited for, at most MINE_LIMIT_S. Raises UsageError for a group that is not there.
        """
        state = self._state
        if state is None:
            return None
        number = state.unit(key, group if group is not None else self._group)
        need_ns = int(need_ms * NS_PER_MS)
        lease = state.lease(number, need_ns)
        if lease is None:
            if not self._refresh(state, number):
                return None
            lease = state.lease(number, need_ns)
        elif lease.until_ns - need_ns - boottime_ns() < state.lease_ns // 3:
            self._ask()                      # ahead of time, so that the next look need not wait
        return lease

    def changes(self, limit_s: float | None = None) -> Iterator[Owner]:
        """Every change of owner, epoch or `mine` from now on; a lost agent is a change to nobody for what was mine.

        Ends when the client is closed, and after `limit_s` seconds without any (None: never). Of more than 4096 that
        wait to be read the oldest are lost.
        """
        news = News()
        with self._changed:
            self._news.append(news)
        return self._each(news, limit_s)

    def report_load(self, percent: float, ttl_s: float = 10.0) -> None:
        """Tell the agent how loaded the application is: 0 to 100. Forgotten after `ttl_s` seconds without another.

        Repeated by itself when the agent comes back within that time. Raises UsageError for a figure out of range.
        """
        if not 0 <= percent <= 100 or not LOAD_TTL_MIN_S <= ttl_s <= LOAD_TTL_MAX_S:
            raise UsageError(f"load of {percent:g} % for {ttl_s:g} s: give 0 to 100 %, for {LOAD_TTL_MIN_S:g} to "
                             f"{LOAD_TTL_MAX_S:g} s")
        self._load = (percent, boottime_ns() + int(ttl_s * 1e9))
        self._send_load()

    # ------------------------------------------------------------ fresh deadlines

    def _known(self) -> State:
        self.wait_ready()
        state = self._state
        assert state is not None
        return state

    def _refresh(self, state: State, number: int) -> bool:
        """Fresh deadlines, waited for. False: not asked, because the unit is not ours, or no answer came in time."""
        if not state.rows[number]["mine"] or threading.current_thread() is self._thread:
            return False
        with self._changed:
            before = self._answers
        if not self._ask():
            return False
        with self._changed:
            self._changed.wait_for(lambda: self._answers != before or self._line is None, MINE_LIMIT_S)
            return self._answers != before

    def _ask(self) -> bool:
        """Ask for fresh deadlines unless that was done and is not answered yet. False: there is nobody to ask."""
        with self._changed:
            line = self._line
            if line is None or self._asking:
                return line is not None
            self._asking = True
            self.asked += 1
        if line.ask({"verb": "lease"}, self._renewed):
            return True
        with self._changed:
            self._asking = False             # too much waits for an answer already; the next look asks again
        return False

    def _renewed(self, answer: dict[str, Any]) -> None:
        with self._changed:
            self._asking = False
            self._answers += 1
            if answer.get("ok") and self._state is not None:
                self._state.renew(answer["held"])
            self._changed.notify_all()

    # ------------------------------------------------------------ the client's thread

    def _run(self) -> None:
        retry = Retry()
        while not self._closed.is_set():
            self._heard_s = None
            problem: Exception | None = None
            try:
                self._serve()
            except (ControlError, RefusedError) as error:
                problem = self._problem = error
            except (KeyError, TypeError, ValueError, IndexError) as error:
                problem = error
                self._problem = ControlError(
                    f"{self.path}: the agent's words are not understood ({type(error).__name__}: {error}); install the "
                    "same version of twinbeat for the agent and for this application"
                )
            self._lost()
            heard_s = 0.0 if self._heard_s is None else time.monotonic() - self._heard_s
            self._pause(retry.after(heard_s, problem))

    def _pause(self, delay_s: float) -> None:
        """Before the next attempt; not after `close`."""
        self._closed.wait(delay_s)

    def _serve(self) -> None:
        """One connection, until its end."""
        with Line(self.path, self.limit_s) as line:
            state = State(line.first({"verb": "watch"}))
            self._heard_s = time.monotonic()
            with self._changed:
                again, self._state = self._state is not None, state
                self._line, self._problem, self._asking = line, None, False
                self._changed.notify_all()
            for row in list(state.rows) if again else ():
                self._publish(row)
            self._send_load()
            if self._closed.is_set():
                return
            for row in line.pushed():
                with self._changed:
                    state.take(row)
                    self._changed.notify_all()
                self._publish(row)

    def _lost(self) -> None:
        """Without the agent nothing is ours: its gate lets go of everything too."""
        with self._changed:
            self._line, self._asking = None, False
            gone = self._state.lose() if self._state is not None else []
            self._changed.notify_all()
        for row in gone:
            self._publish({**row, "owner": None, "epoch": 0, "mine": False, "cause": "AGENT_LOST",
                           "at_boottime_ns": boottime_ns()})

    def _publish(self, row: Row) -> None:
        change = told(row)
        for news in list(self._news):
            news.put(change)
        if self._on_change is None:
            return
        try:
            self._on_change(change)
        except Exception as error:  # noqa: BLE001 - the application's fault must not end what it relies on
            log.error("on_change raised %s: %s", type(error).__name__, error)

    def _send_load(self) -> None:
        line, load = self._line, self._load
        if line is None or load is None:
            return
        left_s = (load[1] - boottime_ns()) / 1e9
        if left_s > 0:                       # else the agent would keep what was reported before
            ttl_s = max(left_s, LOAD_TTL_MIN_S)
            line.ask({"verb": "load", "percent": load[0], "ttl_s": ttl_s, "name": f"pid {os.getpid()}"}, ignored)

    def _each(self, news: News, limit_s: float | None) -> Iterator[Owner]:
        try:
            while not self._closed.is_set():
                change = news.get(limit_s)
                if change is None:
                    return
                yield change
        finally:
            with self._changed:
                self._news.remove(news)


def ignored(_answer: dict[str, Any]) -> None:
    """An answer that nobody waits for."""
