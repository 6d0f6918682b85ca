"""Every event in a line, with what the core answered: for `--all`."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twinbeat.replay.compare import effect_text
from twinbeat.replay.frames import said
from twinbeat.replay.story import Window
from twinbeat.replay.walk import Step, ms, walk
from twinbeat.run_words import Names
from twinbeat_core.events import Ask, Drive, Effect, Heard, Persist, Report, Return, Send
from twinbeat_core.model import EffectKind, FrameFlag, FrameKind
from twinbeat_rt.recording import Recording


def every_step(recording: Recording, names: Names, part: Window) -> Iterator[dict[str, Any]]:
    """Each event of the window as plain data: when, kind, text, effects as sentences."""
    for step in walk(recording):
        if part.from_ns <= step.at_ns <= part.to_ns:
            yield {
                "event": step.number,
                "at_ms": ms(step.at_ns - part.zero_ns),
                "kind": step.kind.name.removeprefix("EV_"),
                "text": event_text(step, names),
                "effects": [effect_text(raw(effect), names, step.at_ns) for effect in step.effects],
            }


def event_text(step: Step, names: Names) -> str:
    """An event's own figures."""
    event = step.event
    if isinstance(event, Heard):
        frame = event.frame
        flags = "+".join(flag.name.removeprefix("FLAG_") for flag in FrameFlag if frame.flags & flag) or "no flags"
        kind = "heartbeat" if frame.kind == FrameKind.FRAME_HEARTBEAT else "death notice"
        echoes = ", ".join(
            f"hears {names.node_name(echo.node)} (links {echo.hears:b}, stamp {echo.stamp}, {echo.grant_ms} ms)"
            for echo in frame.echoes
        )
        late = ms(step.at_ns - event.rx_at_ns) if event.rx_at_ns else 0.0
        return (
            f"{kind} of {names.node_name(frame.source)} on {names.link_name(event.link)}, number {frame.link_seq}, "
            f"stamp {frame.stamp}, {flags}, arrived {late:.3f} ms before; {said(frame, names)}; "
            f"{echoes or 'hears nobody'}"
        )
    parts = (f"{name} {getattr(event, name)}" for name in event.__slots__ if name != "now_ns")
    return ", ".join(parts)


def raw(effect: Effect) -> tuple[int, ...]:
    """A typed effect with the fields in the order in which the core has them."""
    if isinstance(effect, Send):
        mask = sum(1 << link for link in effect.links)
        return (EffectKind.FX_SEND, effect.frame.flags, 0, 0, 0, 0, mask, 0, effect.frame.stamp)
    if isinstance(effect, Drive):
        return (EffectKind.FX_DRIVE, effect.code, effect.group, 0, 0, effect.epoch, effect.deadline_ns, 0, 0)
    if isinstance(effect, Report):
        return (EffectKind.FX_REPORT, effect.code, effect.group, effect.node, effect.link, effect.epoch, effect.value,
                effect.extra, 0)
    if isinstance(effect, Ask):
        return (EffectKind.FX_ASK, 0, effect.group, 0, 0, effect.epoch, 0, 0, effect.stamp)
    if isinstance(effect, Persist):
        return (EffectKind.FX_PERSIST, 0, 0, 0, 0, effect.ceiling, 0, 0, 0)
    assert isinstance(effect, Return)
    return (EffectKind.FX_RETURN, 0, effect.group, 0, 0, effect.epoch, 0, 0, 0)
