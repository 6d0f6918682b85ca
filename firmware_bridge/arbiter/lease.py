"""The third voter's word: one promise per group. The same file serves the arbiter's firmware and the witness.

Pure: no clock, no pins, no network; every call is told the time, `now`, in ms of one clock that never runs backwards
(the part of a millisecond that is cut off is made good wherever it would shorten a promise). Written in the subset of
Python that MicroPython 1.9 reads, in small integers where that is possible. The rules are A1-A13 of docs/protocol.md.
"""

NOBODY = 15

PROMISED = 1      # epoch: the one promised; ms: for how long, from now
REFUSED = 2       # epoch: the floor; ms: how long another's promise still lasts, 0: the epoch alone is in the way
ABSTAINS = 3      # started a moment ago: an earlier life's promise may still last; ms: how long it goes on
UNPROVEN = 4      # the ask echoes no recent answer of this life: its sender may be deaf; ask again
OTHER_PAIR = 5    # this voter serves another pair
WRONG_SIDE = 6    # this port belongs to the other gateway
WAITS = 7         # the epoch is not reserved yet: ask again
NO_GROUP = 8      # more groups than this voter has

CLOCK_MASK = 0x3FFFFFFF
LONGEST_MS = 65000


class Lease:
    """The promise for one group."""

    def __init__(self, floor):
        self.holder = NOBODY
        self.incarnation = 0
        self.epoch = 0
        self.stamp = 0
        self.until = 0
        self.floor = floor        # highest epoch ever promised, or reserved by an earlier life
        self.only = NOBODY        # whose contact cannot be opened: nobody else is promised


class Leases:
    """All groups of one pair.

    `life`: a number of this start, never 0, other at every start. `floor`: the reservation that the last start left on
    disk or in flash, 0 for none. `ceiling`: the reservation that is there now. `grant_max`: longest promise in ms.
    """

    def __init__(self, groups, grant_max, life, floor, ceiling, now, nodes=2):
        self.group = [Lease(floor) for _ in range(groups)]
        self.grant_max = grant_max
        self.life = life
        self.ceiling = ceiling
        self.wanted = 0           # an epoch above the ceiling was asked for
        self.listen_until = now + grant_max + 1
        self.heard_at = [None] * nodes

    def clock(self, now):
        """What answers carry and asks echo: ms, 30 bits."""
        return now & CLOCK_MASK

    def note_heard(self, now, node):
        """Something came from this gateway."""
        if node < len(self.heard_at):
            self.heard_at[node] = now

    def heard_ago(self, now, node):
        """ms since anything came from another gateway than this one; 65535: never, or longer."""
        best = 65535
        for other in range(len(self.heard_at)):
            at = self.heard_at[other]
            if other != node and at is not None and now - at < best:
                best = now - at
        return best

    def proven(self, now, life, clock, grant):
        """The asker has heard an answer of this life no longer ago than the promise it asks for would last."""
        return life == self.life and (now - clock) & CLOCK_MASK <= grant

    def held_for(self, now, lease, node):
        """How long another's promise still lasts, ms."""
        if lease.holder == NOBODY or lease.holder == node or now >= lease.until:
            return 0
        return min(lease.until - now, LONGEST_MS)

    def ask(self, now, node, incarnation, stamp, life, clock, grant, group, epoch):
        """One row of an ask: (code, epoch, ms), or None where the ask was overtaken by a newer one."""
        if group >= len(self.group):
            return NO_GROUP, 0, 0
        lease = self.group[group]
        same = lease.holder == node and lease.incarnation == incarnation
        if same and stamp <= lease.stamp:
            return None
        if now < self.listen_until:
            return ABSTAINS, lease.floor, min(self.listen_until - now, LONGEST_MS)
        if epoch == 0:
            return REFUSED, lease.floor, self.held_for(now, lease, node)
        grant = min(grant, self.grant_max)
        if not self.proven(now, life, clock, grant):
            return UNPROVEN, lease.floor, 0
        if lease.only != NOBODY and lease.only != node:
            return REFUSED, lease.floor, min(self.grant_max, LONGEST_MS)
        if not same:
            held = self.held_for(now, lease, node) if lease.holder != node else max(0, lease.until - now)
            if held:
                return REFUSED, lease.floor, held if lease.holder != node else 0
        if epoch < lease.floor or (not same and epoch <= lease.floor):
            return REFUSED, lease.floor, 0
        if epoch > self.ceiling:
            self.wanted = max(self.wanted, epoch)
            return WAITS, lease.floor, 0
        self._promise(now, lease, node, incarnation, stamp, grant, epoch, same)
        return PROMISED, epoch, grant

    def _promise(self, now, lease, node, incarnation, stamp, grant, epoch, same):
        until = now + grant + 1
        lease.until = max(until, lease.until) if same else until
        lease.holder = node
        lease.incarnation = incarnation
        lease.epoch = epoch
        lease.floor = epoch
        lease.stamp = stamp

    def _end(self, lease):
        lease.holder = NOBODY
        lease.until = 0

    def give_back(self, node, incarnation, group, epoch):
        """That claim is over; a later one's promise is not meant. True: a promise ended."""
        if group >= len(self.group):
            return False
        lease = self.group[group]
        if lease.holder != node or lease.incarnation != incarnation or lease.epoch != epoch:
            return False
        self._end(lease)
        return True

    def dead(self, node, incarnation, group):
        """The gate of that life says that its agent is dead and this group's outputs are off. True: a promise ended."""
        if group >= len(self.group):
            return False
        lease = self.group[group]
        if lease.holder != node or lease.incarnation != incarnation:
            return False
        self._end(lease)
        return True

    def holder(self, now, group):
        """Who holds this group's promise now; NOBODY when it is free or has run out."""
        lease = self.group[group]
        return lease.holder if now < lease.until else NOBODY

    def reservation(self, block):
        """The ceiling to put on disk or into flash now; 0: the one that is there will do.

        Before it is there, nothing above the old one is promised; afterwards the caller sets `ceiling`.
        """
        highest = self.wanted
        for lease in self.group:
            highest = max(highest, lease.floor)
        if self.ceiling - highest >= block // 2:
            return 0
        return min(highest + block, 0xFFFFFFFF)
