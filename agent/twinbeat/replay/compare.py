"""Bit for bit: where a replay differs from its recording, in which fields, and what the reason may be."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from twinbeat.replay.digest import guesses
from twinbeat.replay.walk import ms
from twinbeat.run_words import Names, code_name
from twinbeat.version import __version__
from twinbeat_core.failover import view_state
from twinbeat_core.model import DriveCode, EffectKind
from twinbeat_rt.recording import Difference, Recording, Replay, core_mark

SHOWN = 3               # differences in words; the later ones follow from the first
FIELDS_SHOWN = 12


class Verdict(NamedTuple):
    """Whether a recording replays to the same bytes; `lines` say what differs and why that may be."""

    same: bool
    total: int
    lines: list[str]
    data: list[dict[str, Any]]
    reason: str


def compare(recording: Recording, result: Replay, names: Names, begins_ns: int) -> Verdict:
    """A replay's outcome in words."""
    if not result.total:
        return Verdict(True, 0, [], [], "")
    lines: list[str] = []
    data: list[dict[str, Any]] = []
    for difference in result.differences[:SHOWN]:
        place = where(recording, difference, begins_ns)
        details = list(fields(recording, difference, names))
        lines += [place, *(f"  {line}" for line in details)]
        data.append({"event": difference.number, "at_ms": ms(difference.at_ns - begins_ns), "what": difference.what,
                     "fields": details})
    if result.total > SHOWN:
        lines.append(f"and {result.total - SHOWN} more differences, which may all follow from the first")
    return Verdict(False, result.total, lines, data, reason(recording))


def where(recording: Recording, difference: Difference, begins_ns: int) -> str:
    """Which event, and when."""
    at = f"{ms(difference.at_ns - begins_ns):.3f} ms after the beginning"
    if difference.what == "state":
        return f"the state after {difference.number} events ({at}) is another than the recorded one:"
    kind = recording.events[difference.number].kind.name.removeprefix("EV_")
    return f"event {difference.number} ({kind}, {at}) has other effects than were recorded:"


def fields(recording: Recording, difference: Difference, names: Names) -> Iterator[str]:
    """What differs, field by field, as far as the recording lets it be known."""
    if isinstance(difference.recorded, bytes) and isinstance(difference.got, bytes):
        yield from state_fields(recording, difference.recorded, difference.got)
        return
    found = guesses(int(difference.recorded), difference.effects, difference.deadline_ns)
    yield from found or ["more than one field differs: a recording keeps a digest of the effects, not the effects"]
    said = [effect_text(effect, names, difference.at_ns) for effect in difference.effects]
    yield f"the core of this version: {'; '.join(said) or 'no effects'}"


def state_fields(recording: Recording, recorded: bytes, got: bytes) -> Iterator[str]:
    """Two states by the names that status uses; what it does not show by its place in the snapshot."""
    was = dict(flat(view_state(recording.settings, recorded)))
    now = dict(flat(view_state(recording.settings, got)))
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    for name in names[:FIELDS_SHOWN]:
        yield f"{name} was recorded as {was.get(name, 'nothing')}, is {now.get(name, 'nothing')} now"
    if len(names) > FIELDS_SHOWN:
        yield f"{len(names) - FIELDS_SHOWN} more fields"
    if not names:
        places = [place for place, (old, new) in enumerate(zip(recorded, got, strict=False)) if old != new]
        yield (f"{len(places)} bytes that status does not show, the first at {places[0]} of {len(recorded)}" if places
               else f"its size: {len(recorded)} bytes were recorded, {len(got)} are now")


def flat(data: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested plain data as dotted names with values."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from flat(value, f"{name}[{number}]")
    else:
        yield name, data


def effect_text(effect: tuple[int, ...], names: Names, at_ns: int) -> str:
    """A raw effect in a few words."""
    kind, code, group, _node, _link, epoch, value, _extra, stamp = effect
    if kind == EffectKind.FX_SEND:
        links = [names.link_name(number) for number in range(8) if value >> number & 1]
        return f"sends on {', '.join(links)} (flags {code}, stamp {stamp})"
    if kind == EffectKind.FX_DRIVE:
        word = DriveCode(code).name.removeprefix("DRIVE_").lower() if code <= DriveCode.DRIVE_EXTEND else f"code {code}"
        until = f" until {ms(value - at_ns):+.3f} ms" if value else ""
        return f"drive {names.group_name(group)} {word} at epoch {epoch}{until}"
    if kind == EffectKind.FX_REPORT:
        return f"reports {code_name(code)}"
    word = {EffectKind.FX_ASK: "asks the third voter", EffectKind.FX_RETURN: "gives the third voter's promise back",
            EffectKind.FX_PERSIST: "reserves epochs up to"}.get(EffectKind(kind), f"effect of kind {kind}")
    return f"{word} {epoch}" if kind == EffectKind.FX_PERSIST else f"{word} for {names.group_name(group)} at {epoch}"


def reason(recording: Recording) -> str:
    """Why the two may differ: another build of the core, or none at all."""
    own = core_mark()
    here = f"twinbeat {__version__}, core {own:04x}" if own else f"twinbeat {__version__}"
    if recording.mark and own and recording.mark == own:
        return (f"it was recorded by this very build of the core ({own:04x}), so the file was changed after it was "
                "written, or memory of that machine or this one is faulty, or this is a fault of twinbeat: report it "
                "with the file")
    if recording.mark and own:
        return (f"it was recorded by another build of the core ({recording.mark:04x}) than this one ({here}): replay "
                "it with the version that wrote it. If the versions are the same, it is a fault of twinbeat: report "
                "it with the file")
    return (f"it cannot be told which build of the core recorded it; this is {here}: replay it with the version that "
            "wrote it")
