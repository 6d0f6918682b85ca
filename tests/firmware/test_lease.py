"""lease.py: the vectors in both interpreters, and any calls against an oracle that knows intervals alone."""
from __future__ import annotations

import json
from typing import Any

import pytest
from firmware_rig import ARBITER, NO_MICROPYTHON, TESTS, command_of, interpreters, run
from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat_bridge.arbiter import lease

VECTORS = TESTS / "lease_vectors.json"
GRANT_MAX = 2000
LIFE = 7


@pytest.mark.parametrize("interpreter", interpreters())
def test_vectors(interpreter: str) -> None:
    if not command_of(interpreter):
        pytest.skip(NO_MICROPYTHON)
    done = run(interpreter, TESTS / "lease_vectors.py", ARBITER, VECTORS)
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    steps = sum(len(vector["steps"]) for vector in vectors)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(vectors)} vectors, {steps} steps, 0 wrong\n"


def test_every_code_occurs_in_the_vectors() -> None:
    given_by_arbiter = {lease.OTHER_PAIR, lease.WRONG_SIDE}
    seen = {
        step[-1][0]
        for vector in json.loads(VECTORS.read_text(encoding="utf-8"))
        for step in vector["steps"]
        if step[0] == "ask" and step[-1] is not None
    }
    assert seen == set(range(1, 9)) - given_by_arbiter


class Oracle:
    """One group as intervals: who was promised until when, what ended it, and the highest epoch ever promised."""

    def __init__(self, floor: int, ceiling: int) -> None:
        self.promises: list[list[Any]] = []  # [owner, epoch, until]
        self.floor = floor
        self.ceiling = ceiling
        self.stamps: dict[tuple[int, int], int] = {}
        self.last_owner: tuple[int, int] | None = None

    def live(self, now: int) -> list[list[Any]]:
        return [entry for entry in self.promises if now < entry[2]]

    def expected(self, now: int, owner: tuple[int, int], stamp: int, clock: int, grant: int, epoch: int) -> int | None:
        """The code that the rules leave."""
        if owner == self.last_owner and stamp <= self.stamps[owner]:
            return None
        if now <= GRANT_MAX:
            return lease.ABSTAINS
        if epoch == 0:
            return lease.REFUSED
        if not 0 <= now - clock <= min(grant, GRANT_MAX):
            return lease.UNPROVEN
        if any(entry[0] != owner for entry in self.live(now)):
            return lease.REFUSED
        if epoch < self.floor or (epoch == self.floor and owner != self.last_owner):
            return lease.REFUSED
        return lease.WAITS if epoch > self.ceiling else lease.PROMISED

    def promised(self, now: int, owner: tuple[int, int], stamp: int, epoch: int, ms: int) -> None:
        assert all(entry[0] == owner for entry in self.live(now)), "two holders"
        assert epoch >= self.floor
        until = max([now + ms + 1] + [entry[2] for entry in self.live(now)])
        self.promises = [[owner, epoch, until]]
        self.floor = epoch
        self.stamps[owner] = stamp
        self.last_owner = owner

    def ended(self) -> None:
        self.promises = []
        self.last_owner = None


OWNERS = st.tuples(st.integers(0, 1), st.integers(1, 2))
ASKS = st.tuples(
    st.just("ask"), OWNERS, st.integers(0, 40), st.integers(-5, 700), st.sampled_from([0, 1, 50, 200, 2000, 3000]),
    st.one_of(st.integers(0, 30), st.integers(0, 120)),
)
ENDS = st.tuples(st.sampled_from(["return", "dead"]), OWNERS, st.integers(0, 30))
PAUSES = st.sampled_from([0, 1, 30, 199, 200, 201, 900, 2001])
STEPS = st.lists(st.tuples(PAUSES, st.one_of(ASKS, ASKS, ENDS)), max_size=40)


@settings(max_examples=600, deadline=None)
@given(start=st.sampled_from([0, 5000, (1 << 30) - 3000]), floor=st.sampled_from([0, 10]), steps=STEPS)
def test_any_calls_against_the_oracle(start: int, floor: int, steps: list[Any]) -> None:
    leases = lease.Leases(1, GRANT_MAX, LIFE, floor, 100, start)
    oracle = Oracle(floor, 100)
    now = start
    for pause, step in steps:
        now += pause
        if step[0] == "ask":
            _ask(leases, oracle, now, start, *step[1:])
        else:
            _end(leases, oracle, *step)
        assert leases.group[0].floor == oracle.floor
        live = oracle.live(now - start)
        assert leases.holder(now, 0) == (live[0][0][0] if live else lease.NOBODY)


def _ask(leases: Any, oracle: Oracle, now: int, start: int, owner: tuple[int, int], stamp: int, age: int, grant: int,
         epoch: int) -> None:
    node, incarnation = owner
    wanted = oracle.expected(now - start, owner, stamp, now - start - age, grant, epoch)
    clock = (now - age) & lease.CLOCK_MASK
    found = leases.ask(now, node, incarnation, stamp, LIFE, clock, grant, 0, epoch)
    assert (found and found[0]) == wanted
    if found is None:
        return
    code, told, ms = found
    if code == lease.PROMISED:
        assert (told, ms) == (epoch, min(grant, GRANT_MAX))
        oracle.promised(now - start, owner, stamp, epoch, ms)
    else:
        assert told == oracle.floor
    if code == lease.REFUSED:
        others = [entry[2] - (now - start) for entry in oracle.live(now - start) if entry[0][0] != node]
        assert ms == (others[0] if others else 0)


def _end(leases: Any, oracle: Oracle, kind: str, owner: tuple[int, int], epoch: int) -> None:
    node, incarnation = owner
    last = oracle.promises[0] if oracle.promises else None
    meant = last is not None and last[0] == owner and (kind == "dead" or last[1] == epoch)
    if kind == "dead":
        assert leases.dead(node, incarnation, 0) is meant
    else:
        assert leases.give_back(node, incarnation, 0, epoch) is meant
    if meant:
        oracle.ended()
