"""The third voter in a ZooKeeper ensemble: one znode per group, decided by `zookeeper_rule`.

One thread does everything: it takes asks, what the server says and what became of the connection out of a mailbox that
holds a bounded number of each, tells the rule, and starts what the rule wants. No operation is waited for and at most
one per group is under way, so that a connection on which nothing is answered goes quiet and is given up by kazoo after
two thirds of the session. Renewals of another are seen by a watch, and by a look at least every third of a promise.
"""
from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from typing import Any

from twinbeat_bridge.contract import Code, VoteAnswer, Votes
from twinbeat_bridge.zookeeper_check import Tls, access_problems, host_problems, need_kazoo, require, silence_ms
from twinbeat_bridge.zookeeper_link import NOT_YET, Access, Answer, Link, Outcome, State
from twinbeat_bridge.zookeeper_rule import Action, Create, Read, Rule, Write
from twinbeat_bridge.zookeeper_value import Place, Seal

STOP_LIMIT_S = 2.0
RETURN_LIMIT_S = 0.5          # for promises that were given back at the last moment
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
SAY_AGAIN_S = 300.0           # the same reason
SAY_OTHER_S = 30.0            # another one
KEPT_DEATHS = 16
log = logging.getLogger("twinbeat.zookeeper")


def now_us() -> int:
    """Microseconds of the clock that goes on while the machine is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Mailbox:
    """What waits for the worker. Of asks and returns one per group is kept, the newest."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.asks: dict[int, tuple[int, int]] = {}
        self.returns: dict[int, int] = {}
        self.deaths: deque[tuple[int, int, frozenset[int]]] = deque(maxlen=KEPT_DEATHS)
        self.states: deque[tuple[int, State]] = deque()              # few: one per change of the connection
        self.answers: deque[tuple[int, int, Answer, int]] = deque()  # at most one per group
        self.looks: set[int] = set()
        self.overtaken = 0
        self.stopping = False

    def full(self) -> bool:
        return bool(self.asks or self.returns or self.deaths or self.states or self.answers or self.looks)


class ZookeeperClient:
    """A `VoterClient`. `votes` is called with every answer, from the worker's thread, and must not raise.

    `groups` are the names by number; `path` is the znode under which every pair has one with its name. `grant_ms` is
    how long a promise is asked to last, `drift_ppm` by how much clocks may be wrong. With `user` the znodes are created
    for that user alone. SettingsError for what cannot work whatever the ensemble says.
    """

    def __init__(self, *, hosts: str, path: str, pair: str, groups: list[str], node: int, incarnation: int, key: bytes,
                 grant_ms: int, session_ms: int, drift_ppm: int, votes: Votes, user: str | None = None,
                 password: str | None = None, ca: str | None = None, cert: str | None = None,
                 key_file: str | None = None) -> None:
        need_kazoo()
        tls = Tls(ca, cert, key_file)
        require(host_problems(hosts) + access_problems(user, password, tls))
        self._access = Access(hosts, session_ms, user, password, tls)
        self._folder = f"{path.rstrip('/')}/{pair}"
        self._paths = [f"{self._folder}/{group}" for group in groups]
        self._rules = [Rule(number, Seal(key, pair, group), node, incarnation, grant_ms, drift_ppm)
                       for number, group in enumerate(groups)]
        self._grant_ms = grant_ms
        self._look_every_s = grant_ms / 3000
        self._votes = votes
        self._box = Mailbox()
        self._watches = [partial(self._on_watch, number) for number in range(len(groups))]
        self._link: Link | None = None
        self._life = 0                        # of the link; what an older one reports is ignored
        self._tickets = [0] * len(groups)     # of the operation under way, 0: none
        self._ticket = 0
        self._started_us = [0] * len(groups)
        self._look_at_s = 0.0
        self._open_at_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._connected = False
        self._denied: str | None = None
        self._round_trip_ms: float | None = None
        self._answers = dict.fromkeys(Code, 0)
        self._said: tuple[str, float] = ("", float("-inf"))
        self._thread = threading.Thread(target=self._work, name="zookeeper", daemon=True)

    # called by the agent

    def start(self) -> None:
        self._thread.start()

    def ask(self, group: int, epoch: int, stamp: int) -> None:
        with self._box.changed:
            self._box.overtaken += group in self._box.asks
            self._box.asks[group] = (epoch, stamp)
            self._box.changed.notify()

    def give_back(self, group: int, epoch: int) -> None:
        with self._box.changed:
            self._box.returns[group] = max(epoch, self._box.returns.get(group, 0))
            if self._box.asks.get(group, (epoch + 1, 0))[0] <= epoch:
                del self._box.asks[group]
            self._box.changed.notify()

    def peer_dead(self, node: int, incarnation: int, groups: frozenset[int], notice: bytes) -> None:
        """The core has verified the notice; here it only ends what the znodes promise to that life."""
        with self._box.changed:
            self._box.deaths.append((node, incarnation, groups))
            self._box.changed.notify()

    def stop(self) -> None:
        with self._box.changed:
            self._box.stopping = True
            self._box.changed.notify()
        if self._thread.ident is not None:
            self._thread.join(STOP_LIMIT_S)

    def describe(self) -> dict[str, Any]:
        now, link = now_us(), self._link
        granted_ms = None if link is None else link.notes.granted_ms
        return {
            "type": "zookeeper",
            "connected": self._connected,
            "voter": f"{self._access.hosts}{self._folder}",
            "life": None if link is None else link.session,
            "reason": self._reason(),
            "answers": {code.name.lower(): count for code, count in self._answers.items()},
            "round_trip_ms": self._round_trip_ms,
            "session_ms": {"asked": self._access.session_ms, "granted": granted_ms},
            "overtaken": self._box.overtaken,
            "groups": [self._describe_group(rule, now) for rule in self._rules],
        }

    @staticmethod
    def _describe_group(rule: Rule, now: int) -> dict[str, Any]:
        held, place = rule.held, rule.place
        return {
            "holder": None if held is None or held.holder < 0 or held.released else held.holder,
            "epoch": None if held is None else held.epoch,
            "floor": rule.floor,
            "waits_ms": rule.left_ms(now),
            "version": None if place is None else place.version,
            "strange": place is not None and held is None,
            **rule.counts,
        }

    # called by kazoo's threads

    def _on_state(self, life: int, state: State) -> None:
        with self._box.changed:
            self._box.states.append((life, state))
            self._box.changed.notify()

    def _on_watch(self, group: int, _: Any) -> None:
        with self._box.changed:
            self._box.looks.add(group)
            self._box.changed.notify()

    def _on_answer(self, group: int, ticket: int, answer: Answer) -> None:
        at = now_us()         # after the answer has come, which is what the rule counts from
        with self._box.changed:
            self._box.answers.append((group, ticket, answer, at))
            self._box.changed.notify()

    # the worker

    def _work(self) -> None:
        until_s = float("inf")
        while True:
            now_s = time.monotonic()
            if self._box.stopping:
                until_s = min(until_s, now_s + RETURN_LIMIT_S)
                if now_s >= until_s or not self._owes():
                    break
            elif self._link is None and now_s >= self._open_at_s:
                self._open()
            with self._box.changed:
                if not self._box.full():
                    self._box.changed.wait(max(0.0, min(self._next_s(), until_s) - time.monotonic()))
            self._take_in()
        if self._link is not None:
            self._life += 1
            self._link.close()

    def _owes(self) -> bool:
        return self._connected and (self._box.full() or any(rule.owes() or rule.doing for rule in self._rules))

    def _next_s(self) -> float:
        if self._box.stopping:
            return time.monotonic() + RETURN_LIMIT_S
        return self._look_at_s if self._connected else self._open_at_s if self._link is None else \
            time.monotonic() + LONGEST_PAUSE_S

    def _open(self) -> None:
        self._life += 1
        self._link = Link(self._access, partial(self._on_state, self._life))
        self._link.open()

    def _take_in(self) -> None:
        box = self._box
        while box.states:
            self._take_state(*box.states.popleft())
        while box.answers:
            self._take_answer(*box.answers.popleft())
        while box.deaths:
            node, incarnation, groups = box.deaths.popleft()
            for group in groups & set(range(len(self._rules))):
                self._rules[group].peer_dead(node, incarnation)
        with box.changed:
            looks, box.looks = box.looks, set()
            returns, box.returns = box.returns, {}
            asks, box.asks = box.asks, {}
        for group, epoch in returns.items():
            self._act(group, self._rules[group].give_back(now_us(), epoch))
        for group, (epoch, stamp) in asks.items():
            self._act(group, self._rules[group].ask(now_us(), epoch, stamp))
        if self._connected and time.monotonic() >= self._look_at_s:
            self._look_at_s = time.monotonic() + self._look_every_s
            looks = set(range(len(self._rules)))
        for group in looks if self._connected else ():
            self._act(group, self._rules[group].look(now_us()))
        self._say()

    def _take_state(self, life: int, state: State) -> None:
        if life != self._life:
            return
        self._connected = state == State.CONNECTED
        for group, rule in enumerate(self._rules):
            if state == State.CONNECTED:
                self._act(group, rule.connect(now_us()))
                continue
            self._tickets[group] = 0
            if state == State.NEW_SESSION:
                rule.new_session()
            if rule.connected:
                self._act(group, rule.disconnect())
        if state == State.CONNECTED:
            self._pause_s = FIRST_PAUSE_S
            self._look_at_s = time.monotonic() + self._look_every_s
        elif state == State.ENDED and self._link is not None:
            self._denied = self._link.notes.reason
            self._link.close()
            self._link = None
            self._open_at_s = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _take_answer(self, group: int, ticket: int, answer: Answer, at_us: int) -> None:
        if ticket != self._tickets[group]:
            return
        self._tickets[group] = 0
        self._round_trip_ms = (at_us - self._started_us[group]) / 1000
        rule = self._rules[group]
        self._denied = self._why_denied(rule, answer)
        if answer.outcome == Outcome.DONE and isinstance(rule.doing, Read) and answer.place is not None:
            self._act(group, rule.observed(at_us, answer.value, answer.place))
        elif answer.outcome == Outcome.DONE and (answer.place is not None or isinstance(rule.doing, Create)):
            self._act(group, rule.written(at_us, answer.place or Place(0, 0)))
        elif answer.outcome == Outcome.ABSENT and isinstance(rule.doing, Read):
            self._act(group, rule.absent(at_us))
        elif answer.outcome in (Outcome.ABSENT, Outcome.RACED):
            self._act(group, rule.raced(at_us))
        else:
            self._act(group, rule.unknown())

    def _why_denied(self, rule: Rule, answer: Answer) -> str | None:
        if answer.outcome != Outcome.DENIED:
            return None if answer.outcome != Outcome.UNKNOWN else self._denied
        who = "anybody without a name" if self._access.user is None else f'user "{self._access.user}"'
        what = "read" if isinstance(rule.doing, Read) else "create" if isinstance(rule.doing, Create) else "write"
        return (f"{who} may not {what} {self._paths[rule.group]} ({answer.text}): give that user all rights on"
                f" {self._folder}, or set user and password_file of [third_voter]")

    def _act(self, group: int, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, VoteAnswer):
                self._answers[action.code] += 1
                self._votes(action)
            elif self._link is not None:
                self._begin(group, action, self._link)

    def _begin(self, group: int, action: Read | Create | Write, link: Link) -> None:
        self._ticket += 1
        self._tickets[group] = self._ticket
        self._started_us[group] = now_us()
        done = partial(self._on_answer, group, self._ticket)
        if isinstance(action, Read):
            link.read(self._paths[group], self._watches[group], done)
        elif isinstance(action, Create):
            link.create(self._paths[group], action.value, done)
        else:
            link.write(self._paths[group], action.value, action.version, done)

    # what is said about it

    def _reason(self) -> str | None:
        """Why there is no vote, or what is not as it was asked for; None: all is well."""
        link = self._link
        if self._denied is not None:
            return self._denied
        if link is None or not self._connected:
            return NOT_YET if link is None else link.notes.reason
        granted_ms = link.notes.granted_ms
        if granted_ms is not None and granted_ms != self._access.session_ms:
            late = granted_ms > self._access.session_ms and silence_ms(granted_ms) > self._grant_ms
            more = f"; a silent server is given up after a promise of {self._grant_ms} ms has run out" if late else ""
            return (f"the ensemble grants a session of {granted_ms} ms instead of session_ms ="
                    f" {self._access.session_ms} (2 to 20 of its tickTime){more}")
        strange = [self._paths[rule.group] for rule in self._rules if rule.place is not None and rule.held is None]
        if strange:
            return f"{', '.join(strange)} was not written by a gateway of this pair: it is left for one promise, then" \
                   f" written anew; see who else may write there"
        return None

    def _say(self) -> None:
        """One line in the log when the reason changes, and now and then while there is one."""
        reason, (said, at_s) = self._reason() or "", self._said
        quiet_s = SAY_AGAIN_S if reason == said else SAY_OTHER_S if reason and said else 0.0
        if reason == said == "" or reason == NOT_YET or time.monotonic() - at_s < quiet_s:
            return
        self._said = (reason, time.monotonic())
        if reason:
            log.warning("third voter, ZooKeeper at %s: %s", self._access.hosts, reason)
        elif said:
            log.info("third voter, ZooKeeper at %s: well again", self._access.hosts)
