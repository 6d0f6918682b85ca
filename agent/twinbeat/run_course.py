"""Commands that take several steps: written one after the other, run by the loop, which waits for nothing.

A course is a generator. It yields an `Until` and gets back whether that came true in time; what it returns is the
answer. It may raise TwinbeatError, whose text is then the answer.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import NamedTuple

from twinbeat.control import Answer, Reply, failure
from twinbeat.errors import TwinbeatError
from twinbeat.run_loop import boottime_ns
from twinbeat.run_node import NodeAgent

log = logging.getLogger("twinbeat")

LOOK_S = 0.02
REST = 4
"""A look at many groups takes milliseconds, and many messages come while they move: looking has at most a fifth of
the time of this thread, which sends heartbeats too."""


class Until(NamedTuple):
    """Wait until `true()`, at most `limit_s` seconds."""

    true: Callable[[], bool]
    limit_s: float


Course = Generator[Until, bool, Answer]


class Courses:
    """Runs the courses of one agent. Conditions are looked at after every message of the core and every LOOK_S."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent

    def start(self, course: Course, reply: Reply, ended: Callable[[], None] = lambda: None) -> None:
        """Begin; `reply` gets the answer, `ended` is called before it, whatever became of the course."""

        def go_on(step: Callable[[], Until]) -> None:
            try:
                until = step()
            except StopIteration as end:
                finish(end.value)
            except TwinbeatError as error:
                finish(failure(str(error), error.exit_code))
            except Exception as error:  # noqa: BLE001 - the client waits for an answer, and the turn must be given back
                log.error("internal error in a command: %s: %s", type(error).__name__, error)
                finish(failure(f"internal error: {type(error).__name__}: {error}", 70))
            else:
                self._wait(until, course, go_on)

        def finish(answer: Answer) -> None:
            ended()
            reply(answer)

        go_on(lambda: next(course))

    def _wait(self, until: Until, course: Course, go_on: Callable[[Callable[[], Until]], None]) -> None:
        loop = self._agent.parts.loop
        end_ns = boottime_ns() + int(until.limit_s * 1e9)
        done: list[bool] = []
        rest_until_ns = 0

        def next_step() -> Callable[[], Until] | None:
            try:
                true = until.true()
            except Exception as error:  # noqa: BLE001 - the course is told, or it would wait for ever
                fault = error
                return lambda: course.throw(fault)
            return (lambda: course.send(true)) if true or boottime_ns() >= end_ns else None

        def looked() -> bool:
            nonlocal rest_until_ns
            begun_ns = boottime_ns()
            if done or begun_ns < rest_until_ns:
                return bool(done)
            step = next_step()
            rest_until_ns = boottime_ns() + REST * (boottime_ns() - begun_ns)
            if step is not None:
                done.append(True)
                # Not from here: the agent goes through its list of watchers now, and a next step adds to it.
                loop.call_later(0.0, lambda: go_on(step))
            return bool(done)

        def again() -> None:
            if not looked():
                loop.call_later(LOOK_S, again)

        if not looked():
            self._agent.watchers.append(looked)
            loop.call_later(LOOK_S, again)
