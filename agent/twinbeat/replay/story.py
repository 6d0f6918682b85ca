"""The whole of a recording in one pass: its header, its role changes, and every notable step."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from twinbeat.replay.changes import Change, Changes, anchor, episodes
from twinbeat.replay.frames import Run, Runs
from twinbeat.replay.tell import Teller
from twinbeat.replay.walk import Entry, View, first_view, ms, walk
from twinbeat.run_words import Names
from twinbeat_core.model import EventKind
from twinbeat_core.settings import Settings
from twinbeat_rt.recording import Recording

REPEATS = 6             # more entries of one kind in a window are shortened
KEPT_OF_REPEATS = 2     # at either end
NEVER_SHORTENED = ("state", "drive", "output", "command", "start", "death notice", "offer")
AROUND_MS = 1000.0
AROUND_PROMISES = 3     # at least so many longest promises round a role change


@dataclass
class Story:
    """What a recording tells. `entries` are in the order of time."""

    begins_ns: int
    ends_ns: int
    kinds: Counter[str]
    first: View
    last: View
    changes: list[Change]
    entries: list[Entry]

    @property
    def episodes(self) -> list[list[Change]]:
        """Role changes that belong together."""
        return episodes(self.changes)


def read_story(recording: Recording, settings: Settings, names: Names) -> Story:
    """Run the recording through the core once and note everything."""
    first = first_view(recording)
    teller, runs, changes = Teller(settings, names, first), Runs(settings, names), Changes(recording.settings, names)
    entries: list[Entry] = []
    kinds: Counter[str] = Counter()
    last = first
    for step in walk(recording):
        kinds[step.kind.name.removeprefix("EV_")] += 1
        runs.take(step)
        changes.take(step)
        entries += teller.entries(step)
        last = step.after
    ends_ns = last["now_ns"]
    entries += run_entries(runs, runs.close(), settings, ends_ns)
    entries.sort(key=lambda entry: entry.at_ns)
    begins_ns = recording.events[0].now_ns if recording.events else first["now_ns"]
    return Story(begins_ns, ends_ns, kinds, first, last, changes.found, entries)


def run_entries(runs: Runs, done: list[Run], settings: Settings, ends_ns: int) -> Iterator[Entry]:
    """Frames summed up, and the silence after a series, as long as it lasted."""
    following: dict[tuple[int, int], Run] = {}
    for run in reversed(done):
        entry = runs.entry(run)
        limit_ns = int(settings.links[run.link].missed * settings.links[run.link].period_ms * 1e6)
        after = following.get((run.node, run.link))
        until_ns = after.first_ns if after is not None else ends_ns
        silent_ms = ms(until_ns - run.last_ns)
        if until_ns - run.last_ns > limit_ns:
            rest = f"silent for {silent_ms:.1f} ms" if after is not None else f"silent to the end, {silent_ms:.1f} ms"
            entry = entry._replace(text=f"{entry.text}; then {rest}", data=entry.data | {"then_silent_ms": silent_ms})
        following[(run.node, run.link)] = run
        yield entry


@dataclass(frozen=True)
class Window:
    """The part of a recording to tell, and the moment from which its times are counted."""

    zero_ns: int
    from_ns: int
    to_ns: int


def window(story: Story, settings: Settings, number: int | None, around_ms: float | None) -> Window:
    """Round role change `number` (an index of the episodes, None: the last); everything where there is none."""
    if not story.changes:
        begin_ns = story.begins_ns if around_ms is None else int(story.ends_ns - around_ms * 1e6)
        return Window(story.ends_ns, begin_ns, story.ends_ns)
    episode = story.episodes[-1 if number is None else number]
    if around_ms is None:
        around_ms = max(AROUND_MS, AROUND_PROMISES * settings.compile().grant_max_ms)
    around_ns = int(around_ms * 1e6)
    return Window(anchor(episode).at_ns, episode[0].at_ns - around_ns, episode[-1].at_ns + around_ns)


def shortened(entries: list[Entry]) -> list[Entry]:
    """Entries without the middle of what repeats itself; a line says how many were left out."""
    total = Counter(entry.kind for entry in entries)
    seen: Counter[str] = Counter()
    kept: list[Entry] = []
    for entry in entries:
        seen[entry.kind] += 1
        many, number = total[entry.kind], seen[entry.kind]
        if entry.kind in NEVER_SHORTENED or many <= REPEATS:
            kept.append(entry)
        elif number <= KEPT_OF_REPEATS or number > many - KEPT_OF_REPEATS:
            kept.append(entry)
        elif number == KEPT_OF_REPEATS + 1:
            left_out = many - 2 * KEPT_OF_REPEATS
            kept.append(entry._replace(text=f"{left_out} more of this kind ({entry.kind}) from here on"))
    return kept


def within(story: Story, part: Window) -> list[Entry]:
    """The entries of a window; a series of frames that outlasts it stands at its end."""
    found = []
    for entry in story.entries:
        if part.from_ns <= entry.at_ns <= part.to_ns:
            found.append(entry)
        elif entry.kind == "frames" and entry.at_ns - entry.data["over_ms"] * 1e6 <= part.to_ns < entry.at_ns:
            text = f"{entry.text} (the series goes on for {ms(entry.at_ns - part.to_ns):.0f} ms)"
            found.append(entry._replace(at_ns=part.to_ns, text=text))
    return sorted(found, key=lambda entry: entry.at_ns)


def kinds_in_order(kinds: Counter[str]) -> list[tuple[str, int]]:
    """Event kinds with their counts, in the order of EventKind."""
    names = [kind.name.removeprefix("EV_") for kind in EventKind]
    return [(name, kinds[name]) for name in names if kinds[name]]
