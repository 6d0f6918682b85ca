"""How long an arbiter takes to answer: its firmware as a process, asked over a pty as the agent asks a board."""
from __future__ import annotations

import os
import pty
import sys
import tempfile
import time
import tty
from pathlib import Path
from typing import Any

from twinbeat.demo import procs
from twinbeat.demo.agents import PairSettings
from twinbeat.demo.helper import RigError
from twinbeat.demo.measure import spread
from twinbeat.demo.voter_arbiter import VOTER_ID, Arbiter
from twinbeat_bridge.protocol import Session, Told, VoteCode, Votes
from twinbeat_bridge.session import ArbiterError, SerialSession

ASKS = (3000, 200)                # full, quick
PERIOD_S = 0.01                   # as with heartbeats of 10 ms
GRANT_MS = 40
EPOCH = 8
START_LIMIT_S = 15.0
FIFO_PRIORITY = 55                # as the agent's thread that reads the ports


def measure(quick: bool) -> dict[str, Any]:
    """Round trips in ms (min, p50, p99, max), and how many of the asks were promised.

    RigError when the arbiter does not come, ArbiterError when it falls silent.
    """
    lines = [pty.openpty() for _ in range(2)]
    for near, far in lines:
        tty.setraw(far)
        os.set_blocking(near, False)
    with tempfile.TemporaryDirectory(prefix="twinbeat-bench-") as directory:
        arbiter = Arbiter(Path(directory), PairSettings(third_voter="arbiter"), lambda _change: None)
        arbiter.far = [Path(os.ttyname(far)) for _, far in lines]
        try:
            arbiter.start()
            return {"runs_in": "MicroPython" if arbiter.micropython else f"CPython {sys.version.split()[0]}",
                    **_ask(lines[0][0], arbiter, ASKS[quick])}
        finally:
            arbiter.stop()
            for near, far in lines:
                os.close(near)
                os.close(far)


def _ask(fd: int, arbiter: Arbiter, count: int) -> dict[str, Any]:
    session = SerialSession(fd, Session(0, arbiter.pair_id, 1, int(VOTER_ID, 16), GRANT_MS), "the arbiter's pty")
    _wait_until_promised(session, arbiter)
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    fifo = procs.set_fifo(FIFO_PRIORITY)
    try:
        times_ms, promised = [], 0
        for _ in range(count):
            found = session.ask([(0, EPOCH)])
            times_ms.append(found.ms)
            promised += is_promised(found.answer)
            time.sleep(PERIOD_S)
    finally:
        # Back to what it was, but for a flag that an ordinary user may not take away.
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, param)
    figures = spread(times_ms)
    assert figures is not None
    return {"asks": count, "promised": promised, "sched_fifo": fifo,
            "round_trip_ms": figures.as_dict()}


def is_promised(answer: Told | Votes) -> bool:
    """Whether the answer is a promise."""
    return isinstance(answer, Votes) and all(row.code is VoteCode.PROMISED for row in answer.rows)


def _wait_until_promised(session: SerialSession, arbiter: Arbiter) -> None:
    """It abstains after its start."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            answer = session.ask([(0, EPOCH)]).answer
        except ArbiterError:
            continue
        if is_promised(answer):
            return
        time.sleep(PERIOD_S)
    raise RigError(f"the arbiter promised nothing within {START_LIMIT_S:g} s: {arbiter.last_words()}")
