"""The steps of `twinbeat arbiter test --close`: contacts close for whom is promised, and never two at once."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from twinbeat.arbiter.trial import Step, claim, row_of
from twinbeat_bridge.protocol import Contacts, Row, VoteCode

if TYPE_CHECKING:
    from twinbeat.arbiter.lines import OpenLine
    from twinbeat.arbiter.trial import Trial

MOVE_S = 2.0
"""Longest wait for a contact: relays take 2 to 20 ms, contactors up to 100."""
HELD_S = 0.3


def contact_steps(trial: Trial, *, close: bool, groups: list[int]) -> Iterator[Step]:
    """The contacts of each group from each side, and from one side to the other."""
    name = "contacts"
    if not groups:
        yield Step(name, None, "this board has no contacts for these groups: it votes only")
        return
    if not close:
        yield Step(name, None, "not tried: --close switches them, and what hangs on them")
        return
    for group in groups:
        for line in trial.lines:
            yield close_and_open(trial, line, group)
        if len(trial.lines) > 1:
            yield changeover(trial, trial.lines[0], trial.lines[1], group)
    wrong = trial.contact_faults()
    yield Step("stuck contacts", not wrong, "; ".join(wrong) or "none")


def watch(line: OpenLine, group: int, epoch: int, reached: Callable[[Row], bool]) -> tuple[Row, float, bool]:
    """Ask until something is reached: (the last answer, ms, whether both contacts were ever closed at once)."""
    begun_s = time.monotonic()
    both = False
    while True:
        row = row_of(line.serial, group, epoch)
        both |= Contacts.OWN_CLOSED | Contacts.OTHER_CLOSED in row.contacts
        took_s = time.monotonic() - begun_s
        if reached(row) or took_s > MOVE_S:
            return row, took_s * 1000, both


def own_closed(row: Row) -> bool:
    """This side's contact is closed."""
    return bool(row.contacts & Contacts.OWN_CLOSED)


def close_and_open(trial: Trial, line: OpenLine, group: int) -> Step:
    """A promise closes this side's contact alone; giving it back opens it."""
    name = f"contact of group {trial.target.group_name(group)}, {line.line.name}"
    row, epoch = claim(line.serial, group, line.line.side)
    if row.code is not VoteCode.PROMISED:
        return Step(name, False, f"not promised ({row.code.name}): stop both agents first")
    try:
        row, make_ms, both = watch(line, group, epoch, own_closed)
        held, _, both_held = watch(line, group, epoch, after(HELD_S))
    finally:
        line.serial.give_back([(group, epoch)])
    if not own_closed(row) or not own_closed(held):
        return Step(name, False, "it did not close, or did not stay closed: check the relay, its supply, the read-back")
    opened, release_ms, both_open = watch(line, group, 0, lambda row: not own_closed(row))
    if both or both_held or both_open:
        text = "both contacts read closed at once: one is welded, or the read-back wires are exchanged"
        return Step(name, False, text)
    if own_closed(opened):
        return Step(name, False, f"it did not open within {MOVE_S:g} s: it is welded, or held by another wire")
    how = "as commanded, there is no read-back" if row.contacts & Contacts.NO_READBACK else "as read back"
    figures = {"make_ms": round(make_ms, 1), "release_ms": round(release_ms, 1)}
    text = f"closed after {make_ms:.0f} ms, open {release_ms:.0f} ms after the return ({how})"
    return Step(name, True, text, figures)


def after(seconds: float) -> Callable[[Row], bool]:
    """True once so much time has gone by."""
    until_s = time.monotonic() + seconds
    return lambda _row: time.monotonic() >= until_s


def changeover(trial: Trial, giver: OpenLine, taker: OpenLine, group: int) -> Step:
    """From one side to the other: the board itself measures how long neither, and how long both were closed."""
    name = f"changeover of group {trial.target.group_name(group)}"
    row, epoch = claim(giver.serial, group, giver.line.side)
    if row.code is not VoteCode.PROMISED:
        return Step(name, False, f"not promised ({row.code.name}): stop both agents first")
    row, _, _ = watch(giver, group, epoch, own_closed)
    refused, _ = claim(taker.serial, group, taker.line.side)
    giver.serial.give_back([(group, epoch)])
    # The return has been read once the giver's next ask is answered; the taker's line would not wait for it.
    row_of(giver.serial, group, 0)
    taken, taken_epoch = claim(taker.serial, group, taker.line.side)
    try:
        row, took_ms, both = watch(taker, group, taken_epoch, own_closed)
        told = trial.told(taker)
    finally:
        taker.serial.give_back([(group, taken_epoch)])
    watch(taker, group, 0, lambda row: not own_closed(row))
    if refused.code is not VoteCode.REFUSED or taken.code is not VoteCode.PROMISED:
        return Step(name, False, f"refused while held: {refused.code.name}; after the return: {taken.code.name}")
    if not own_closed(row):
        return Step(name, False, f"the taker's contact did not close within {MOVE_S:g} s")
    figures = {"gap_us": told.gap_us, "overlap_us": told.overlap_us, "took_ms": round(took_ms, 1)}
    if both or told.overlap_us:
        return Step(name, False, f"both contacts were closed for {told.overlap_us} us", figures)
    gap = "not measured" if told.gap_us is None else f"{told.gap_us / 1000:.2f} ms"
    return Step(name, True, f"break before make: neither closed for {gap}, never both", figures)
