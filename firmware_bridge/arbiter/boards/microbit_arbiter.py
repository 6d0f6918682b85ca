"""The arbiter for the micro:bit: what arbiter.py, contacts.py and the reader of frames.py do, for one group on one bus.

Those do not fit into this board's heap of 9 KB beside what they work on. The promises are lease.py's and the frames are
frames.py's here too; the bundle joins them and this file into one namespace. MicroPython 1.9's subset.
"""

import frames
import lease
from board import (
    BREAK_MS, GATED, GROUPS, KIND, READ_BACK, UNIQUE, U32, build, feed, idle, life, pair_served, read, read_contact,
    save, set_contact, start, ticks_ms, write,
)

try:
    import ustruct as struct
except ImportError:
    import struct

MAJOR = 0             # these three are set by the bundle
MINOR = 0
PATCH = 0
GRANT_MAX = 2000
BLOCK = 8192
SAVE_MS = 1000        # not more often: flash wears
RETRY_MS = 1000       # a contact that does not close is tried again
MAX_NODE = 7
LONGEST = 64          # bytes of an ask on the wire: six groups, of which this board has one
ONLY = b"\x0f\0\1\x0e"    # by welded: nobody, 0, 1; both: a side that does not exist, so nobody is promised

cause, reserved = start()
started = ticks_ms()
leases = lease.Leases(GROUPS, GRANT_MAX, life(), reserved, reserved, started, MAX_NODE + 1)
saved_at = started
left = b""            # the beginning of a frame
asks = 0
promises = 0
refusals = 0
noise = 0

on = lease.NOBODY     # the side commanded closed
closed = [False, False]
agreed = [started, started]     # when each last read as commanded
welded = 0            # bit per side: stays closed; does not close
failed = 0
clear_at = started + BREAK_MS + 1    # nothing is closed before
tried = 0             # when one was last commanded closed
opened = lease.NOBODY     # the side last seen to open, and when
opened_at = 0
both_at = 0           # since when both read closed; 0: they do not
gap = None            # of the last changeover, ms; None: none yet
overlap = None


def look(now):
    """Read both contacts, judge whether they do as they are told, measure a changeover."""
    global welded, failed, opened, opened_at, both_at, gap, overlap
    for side in (0, 1):
        commanded = on == side
        shut = read_contact(0, side) if READ_BACK else commanded
        if shut != closed[side]:
            closed[side] = shut
            if not shut:
                opened = side
                opened_at = now
            elif opened == 1 - side and not closed[opened]:
                gap = now - opened_at
                overlap = 0
        bit = 1 << side
        if shut == commanded:
            agreed[side] = now
            if shut:
                failed &= ~bit
            else:
                welded &= ~bit
        elif now - agreed[side] > BREAK_MS:
            if shut:
                welded |= bit
            else:
                failed |= bit
    if not (closed[0] and closed[1]):
        both_at = 0
    else:
        both_at = both_at or now
        gap = 0
        overlap = now - both_at + 1


def move(now):
    """Bring the contacts towards who holds the promise: all others open, seen to be open, then one is closed."""
    global on, clear_at, tried
    leases.group[0].only = ONLY[welded]
    want = leases.holder(now, 0)
    if want > 1 or welded >> 1 - want & 1:
        want = lease.NOBODY
    if on != lease.NOBODY:
        if on != want or now - agreed[on] > BREAK_MS:
            set_contact(0, on, False)
            clear_at = now
            if not READ_BACK or not closed[on]:
                clear_at = now + BREAK_MS + 1
            on = lease.NOBODY
    elif want != lease.NOBODY and now >= clear_at and not closed[1 - want]:
        if not failed >> want & 1 or now - tried >= RETRY_MS:
            set_contact(0, want, True)
            on = want
            tried = now


def listen():
    """Read what has come, answer each whole frame."""
    global left, noise
    left += read(0)
    heard = ticks_ms()    # after reading: a promise that began before its ask was sent would be too short
    while True:
        end = left.find(b"\0")
        if end < 0:
            break
        body = frames.unwrap(left[:end])
        left = left[end + 1:]
        ask = body and frames.read_ask(body)
        if ask and ask[1] <= MAX_NODE:
            answer(heard, ask)
        elif end:
            noise += 1
    if len(left) > LONGEST:
        left = b""
        noise += 1


def answer(now, ask):
    """Decide and write."""
    global asks, promises, refusals
    kind, node, pair, incarnation, stamp, seen_life, seen_clock, grant, rows = ask
    ours = pair == pair_served
    if ours:
        leases.note_heard(now, node)
    out = b""
    contacts = 1 if READ_BACK else 33
    for side in (0, 1):
        shift = 1 if side == node else 2
        contacts |= closed[side] << shift | ((welded | failed) >> side & 1) << shift + 2
    for group, epoch in rows:
        if kind == frames.ASK:
            row = lease.OTHER_PAIR, 0, 0
            if ours:
                asks += 1
                row = leases.ask(now, node, incarnation, stamp, seen_life, seen_clock, grant, group, epoch)
            if row:
                promises += row[0] == lease.PROMISED
                refusals += row[0] == lease.REFUSED
                out += frames.vote_row(group, row[0], 0 if group or not GATED else contacts, row[1], row[2])
        elif ours and kind == frames.RETURN:
            leases.give_back(node, incarnation, group, epoch)
        elif ours and kind == frames.DEATH:
            leases.dead(node, incarnation, group)
    count = len(out) // frames.VOTE_ROW_BYTES
    kind = frames.VOTE if out else frames.TOLD if kind == frames.QUERY else 0
    if kind == frames.TOLD:
        gap_us = overlap_us = U32
        if gap is not None:
            gap_us = min(gap, 4000000) * 1000
            overlap_us = min(overlap, 4000000) * 1000
        out = struct.pack(frames.TOLD_TAIL, MAJOR, MINOR, PATCH, KIND, build & U32, asks & U32, promises & U32,
                          refusals & U32, gap_us, overlap_us, noise & 0xFFFF, cause, GROUPS, GRANT_MAX, welded | failed)
    if kind:
        ago = leases.heard_ago(now, node)
        head = frames.vote_head(kind, count, node, pair_served, incarnation, stamp, leases.life, leases.clock(now),
                                UNIQUE, ago)
        out = frames.wrap(head + out)
        write(0, out)


def reserve(now):
    """Keep a reservation ahead of what is asked for; nothing before anybody has asked."""
    global saved_at
    epoch = leases.reservation(BLOCK)
    if asks and epoch > leases.ceiling and now - saved_at >= SAVE_MS:
        save(epoch)
        leases.ceiling = epoch
        saved_at = now


def run():
    """Read, decide, write, feed; never returns."""
    global left, noise
    while True:
        try:
            listen()
        except MemoryError:   # by a frame that is none of ours: the heap is small
            left = b""
            noise += 1
        now = ticks_ms()
        if GATED:
            look(now)
            move(now)
        reserve(now)
        feed()
        idle()


run()
