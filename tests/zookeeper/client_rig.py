"""A gateway of a test: the client, what it was told, and asking until something is told."""
from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twinbeat_bridge.contract import Code, VoteAnswer
from twinbeat_bridge.zookeeper import ZookeeperClient, now_us

KEY = bytes(range(16))
GRANT_MS = 800
SESSION_MS = 1200
LIMIT_S = 20.0
AGAIN_S = 0.02
_pairs = itertools.count(1)


def eventually(what: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """The first true value; fails when there is none for so long."""
    never, until_s = threading.Event(), time.monotonic() + limit_s
    while not (value := what()):
        assert time.monotonic() < until_s, "it did not come about"
        never.wait(AGAIN_S)
    return value


def pair_name() -> str:
    """A pair that no other test has."""
    return f"pump-{next(_pairs)}"


class Node:
    """One gateway. Stamps are times of its clock, as the agent's are."""

    def __init__(self, port: int, pair: str, node: int = 0, incarnation: int = 1, start: bool = True,
                 **options: Any) -> None:
        self.votes: list[VoteAnswer] = []
        self.told_us: dict[VoteAnswer, int] = {}      # when; a promise begins no earlier than it is told
        self.changed = threading.Condition()
        self.pair = pair
        settings: dict[str, Any] = {
            "hosts": f"127.0.0.1:{port}", "path": "/twinbeat", "groups": ["main"], "key": KEY, "grant_ms": GRANT_MS,
            "session_ms": SESSION_MS, "drift_ppm": 1000, **options,
        }
        self.client = ZookeeperClient(pair=pair, node=node, incarnation=incarnation, votes=self._vote, **settings)
        if start:
            self.client.start()

    def _vote(self, answer: VoteAnswer) -> None:
        with self.changed:
            self.votes.append(answer)
            self.told_us[answer] = now_us()
            self.changed.notify_all()

    def ask(self, epoch: int, group: int = 0) -> int:
        stamp = now_us()
        self.client.ask(group, epoch, stamp)
        return stamp

    def answer_to(self, stamp: int, code: Code | None = None) -> VoteAnswer:
        """What was said to that ask."""
        with self.changed:
            found = self.changed.wait_for(lambda: [vote for vote in self.votes if vote.stamp == stamp
                                                   and code in (None, vote.code)], LIMIT_S)
        assert found, "no answer"
        return found[0]

    def asked(self, epoch: int) -> VoteAnswer:
        """One ask and its answer."""
        return self.answer_to(self.ask(epoch))

    def gets(self, epoch: int, code: Code = Code.PROMISED) -> VoteAnswer:
        """Asks again and again until this is the answer."""
        answers: list[VoteAnswer] = []

        def again() -> bool:
            answers.append(self.asked(epoch))
            return answers[-1].code == code

        eventually(again)
        return answers[-1]

    def keeps(self, epoch: int) -> threading.Event:
        """Renews in the background, ten times as often as needed, until the event is set."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(GRANT_MS / 10000):
                self.ask(epoch)

        threading.Thread(target=renew, daemon=True).start()
        return done

    def says(self, key: str) -> Any:
        return self.client.describe()[key]

    def group(self, key: str) -> Any:
        return self.client.describe()["groups"][0][key]


@contextmanager
def node(port: int, pair: str, **options: Any) -> Iterator[Node]:
    """A gateway for the time of a `with`."""
    one = Node(port, pair, **options)
    try:
        yield one
    finally:
        one.client.stop()
