"""Which side's contact is closed: one at most, none at the start, break before make.

A contact is closed only after every other reads open; where there is no read-back, or where the other was never seen
to close, after its whole release time (BREAK_MS). Both kinds of stuck contact are found: one that stays closed leaves
the group to its own side alone (`lease.only`); one that does not close is reported and tried once a second.
MicroPython 1.9's subset.
"""

from lease import NOBODY

RETRY_MS = 1000
NONE_YET = 0xFFFFFFFF     # nothing measured yet
NO_SIDE = 14              # `lease.only` where both contacts stay closed: nobody is promised
TICKS_MASK = 0x3FFFFFFF   # ticks_us may wrap there


class Pair:
    """The two contacts of one group. Lists have one entry for each side."""

    def __init__(self, now, break_ms):
        self.on = NOBODY                  # the side commanded closed
        self.closed = [False, False]      # as read back; as commanded where there is no read-back
        self.since = [None, None]         # since when it reads other than commanded, ms
        self.welded = [False, False]      # stays closed
        self.failed = [False, False]      # does not close; reported until it has closed
        self.blind = False                # no read-back
        self.clear_at = now + break_ms + 1    # not closed before: an earlier life's contact may still release
        self.tried = now - RETRY_MS       # when one was last commanded closed
        self.left = NOBODY                # the side last seen to open, and when
        self.left_us = 0
        self.left_ms = 0
        self.both_us = None               # since when both read closed


class Contacts:
    """All gated groups of a board. Call `step` every round; times are ms of the board's clock."""

    def __init__(self, board, now):
        self.board = board
        self.pairs = [Pair(now, board.BREAK_MS) for _ in range(board.GATED)]
        self.gap_us = NONE_YET            # of the last changeover: neither closed; both closed
        self.overlap_us = NONE_YET

    def step(self, now, group, lease, want):
        """Bring this group's contacts towards `want` (a side, or NOBODY) and keep `lease.only`."""
        pair = self.pairs[group]
        self._look(now, group, pair)
        welded = pair.welded
        lease.only = (NO_SIDE if welded[1] else 0) if welded[0] else 1 if welded[1] else NOBODY
        if want > 1 or welded[1 - want]:
            want = NOBODY
        on = pair.on
        if on != NOBODY and (on != want or self._late(now, pair, on)):
            self.board.set_contact(group, on, False)
            pair.on = NOBODY
            pair.clear_at = now if pair.closed[on] and not pair.blind else now + self.board.BREAK_MS + 1
        elif on == NOBODY and want != NOBODY and now >= pair.clear_at and not pair.closed[1 - want]:
            if not pair.failed[want] or now - pair.tried >= RETRY_MS:
                self.board.set_contact(group, want, True)
                pair.on = want
                pair.tried = now

    def _late(self, now, pair, side):
        since = pair.since[side]
        return since is not None and now - since > self.board.BREAK_MS

    def _look(self, now, group, pair):
        us = self.board.ticks_us()
        for side in (0, 1):
            commanded = pair.on == side
            closed = self.board.read_contact(group, side)
            if closed is None:
                pair.blind = True
                closed = commanded
            if closed != pair.closed[side]:
                pair.closed[side] = closed
                self._moved(now, us, pair, side, closed)
            self._judge(now, pair, side, commanded, closed)
        if not (pair.closed[0] and pair.closed[1]):
            pair.both_us = None
        elif pair.both_us is None:
            pair.both_us = us
            self.gap_us = 0
            self.overlap_us = 1
        else:
            self.overlap_us = max(1, (us - pair.both_us) & TICKS_MASK)

    def _judge(self, now, pair, side, commanded, closed):
        if closed == commanded:
            pair.since[side] = None
            if closed:
                pair.failed[side] = False
            else:
                pair.welded[side] = False
        elif pair.since[side] is None:
            pair.since[side] = now
        elif self._late(now, pair, side):
            if closed:
                pair.welded[side] = True
            else:
                pair.failed[side] = True

    def _moved(self, now, us, pair, side, closed):
        if not closed:
            pair.left = side
            pair.left_us = us
            pair.left_ms = now
        elif pair.left == 1 - side:
            gap_ms = now - pair.left_ms
            self.gap_us = (us - pair.left_us) & TICKS_MASK if gap_ms < 1000 else min(gap_ms, 4000000) * 1000
            self.overlap_us = 0

    def byte(self, group, node):
        """The contacts byte of an answer to `node`: gated, own closed, other's, own stuck, other's, no read-back."""
        if group >= len(self.pairs):
            return 0
        pair = self.pairs[group]
        out = 33 if pair.blind else 1
        for side in (0, 1):
            shift = 1 if side == node else 2
            if pair.closed[side]:
                out |= 1 << shift
            if pair.welded[side] or pair.failed[side]:
                out |= 4 << shift
        return out

    def stuck(self):
        """Bit 2 * group + side of each stuck contact."""
        out = 0
        bit = 1
        for pair in self.pairs:
            for side in (0, 1):
                if pair.welded[side] or pair.failed[side]:
                    out |= bit
                bit <<= 1
        return out
