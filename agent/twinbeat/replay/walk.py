"""A recording step by step: each event, what the core answered, and its state before and after."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from twinbeat.run_words import Reported
from twinbeat_core.events import Effect, Event, Report
from twinbeat_core.failover import Failover
from twinbeat_core.model import EventKind
from twinbeat_rt.recording import RecordedEvent, Recording, RecordingError

View = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One event at `at_ns`; `before` and `after` are what `Failover.view` gives."""

    number: int
    at_ns: int
    kind: EventKind
    event: Event
    effects: list[Effect]
    before: View
    after: View

    def reports(self) -> Iterator[Reported]:
        """What the core reported in this step."""
        for effect in self.effects:
            if isinstance(effect, Report):
                yield Reported(self.at_ns, effect.code, effect.group, effect.node, effect.link, effect.epoch,
                               effect.value, effect.extra)


class Entry(NamedTuple):
    """Something worth telling: when it happened, its kind for scripts, a sentence, and figures."""

    at_ns: int
    kind: str
    text: str
    data: dict[str, Any] = {}


def again(core: Failover, recorded: RecordedEvent, number: int) -> tuple[Event, list[Effect]]:
    """Let the core take a recorded event once more. RecordingError for one that no agent can have recorded."""
    try:
        event = recorded.typed()
        return event, core.step(event)
    except ValueError as error:
        raise RecordingError(f"event {number} holds what no agent records ({error}): the file is damaged") from None


def walk(recording: Recording) -> Iterator[Step]:
    """Every step of a recording, by running the core again."""
    core = Failover(recording.settings)
    core.restore(recording.snapshot)
    before = core.view()
    for number, recorded in enumerate(recording.events):
        event, effects = again(core, recorded, number)
        after = core.view()
        yield Step(number, recorded.now_ns, recorded.kind, event, effects, before, after)
        before = after


def first_view(recording: Recording) -> View:
    """The state that a recording begins with."""
    core = Failover(recording.settings)
    core.restore(recording.snapshot)
    return core.view()


def ms(ns: float) -> float:
    """Nanoseconds as milliseconds with microseconds kept."""
    return round(ns / 1e6, 3)
