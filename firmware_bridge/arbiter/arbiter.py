"""The arbiter: reads asks, promises by lease.py, answers, and moves the contacts. Knows no pins: the board does.

A board is a module (boards/*.py) with these names:
  KIND               1 rp2, 2 microbit, 3 unix
  GROUPS, GATED      groups served; how many of them, from 0 on, have contacts here
  SHARED_BUS         True: one line for all gateways; False: port number = node number = side
  BREAK_MS           longest time in which a contact opens or closes and its read-back follows
  UNIQUE, PORTS      number of this board (32 bits); number of serial ports
  start()            contacts off first, then the ports; -> (reset cause, reserved epoch)
  life()             a number that is not 0 and that no other start has had
  ticks_ms()         ms, never backwards; ticks_us(): microseconds that may wrap at 2^30
  read(port)         what has come, at most some 256 bytes, b"" for nothing; never waits
  write(port, data)
  set_contact(group, side, on); read_contact(group, side): True closed, False open, None no read-back
  save(epoch)        keeps the reservation over a power cut
  feed()             the watchdog; led(state): bit 0/1 promised to side 0/1, 4 a contact is stuck
  idle()             waits for input, or about 1 ms
  reset(error)       contacts off and a new start; does not return
MicroPython 1.9's subset.
"""

try:
    import ustruct as struct
except ImportError:
    import struct

import frames
import lease
from contacts import Contacts

FIRMWARE = (1, 0, 0)
GRANT_MAX = 2000
BLOCK = 8192              # epochs reserved at a time
SAVE_MS = 1000            # not more often: flash wears
MAX_NODE = 7              # an epoch names its node in three bits
U32 = 0xFFFFFFFF


class Arbiter:
    """`pair`: the pair served, 0 for any. `build`: what TOLD says the files are. Call `step` for ever."""

    def __init__(self, board, pair=0, build=0):
        self.board = board
        self.pair = pair
        self.build = build
        self.cause, ceiling = board.start()
        now = board.ticks_ms()
        nodes = MAX_NODE + 1 if board.SHARED_BUS else 2
        self.leases = lease.Leases(board.GROUPS, GRANT_MAX, board.life(), ceiling, ceiling, now, nodes)
        self.contacts = Contacts(board, now)
        longest = frames.ASK_HEAD_BYTES + frames.MAX_ROWS * frames.ASK_ROW_BYTES + 6
        self.readers = [frames.Reader(longest) for _ in range(board.PORTS)]
        self.saved_at = now - SAVE_MS
        self.asks = 0
        self.promises = 0
        self.refusals = 0
        self.noise = 0            # whole frames that made no sense

    def step(self):
        """One round: read, decide, write, move the contacts."""
        board = self.board
        quiet = True
        for port in range(board.PORTS):
            data = board.read(port)
            if data:
                quiet = False
                for body in self.readers[port].feed(data):
                    self._hear(board.ticks_ms(), port, body)
        now = board.ticks_ms()
        state = 0
        groups = self.leases.group
        for group in range(len(groups)):
            holder = self.leases.holder(now, group)
            if group < board.GATED:
                self.contacts.step(now, group, groups[group], holder)
            if holder < 2:
                state |= 1 << holder
        board.led(4 if self.contacts.stuck() else state)
        self._reserve(now, quiet)

    def _reserve(self, now, quiet):
        """Reserve epochs ahead, but not before anybody asked. A write may take 50 ms in which nothing is answered:
        it is done where an ask waits for it, else in a quiet round once three quarters are used up."""
        leases = self.leases
        if not self.asks or now - self.saved_at < SAVE_MS:
            return
        epoch = leases.reservation(BLOCK)
        if epoch > leases.ceiling and (leases.wanted > leases.ceiling or (quiet and leases.reservation(BLOCK // 2))):
            self.board.save(epoch)
            leases.ceiling = epoch
            self.saved_at = now

    def _hear(self, now, port, body):
        ask = frames.read_ask(body)
        if ask is None or ask[1] > MAX_NODE:
            self.noise += 1
            return
        kind, node, pair, incarnation, stamp, life, clock, grant, rows = ask
        leases = self.leases
        code = 0
        if self.pair and pair != self.pair:
            code = lease.OTHER_PAIR
            pair = self.pair
        elif not self.board.SHARED_BUS and node != port:
            code = lease.WRONG_SIDE
        else:
            leases.note_heard(now, node)
        out = []
        if kind == frames.ASK:
            for group, epoch in rows:
                row = (code, 0, 0) if code else self._ask(
                    now, node, incarnation, stamp, life, clock, grant, group, epoch)
                if row:
                    out.append(frames.vote_row(group, row[0], self.contacts.byte(group, node), row[1], row[2]))
            if not out:
                return
        elif kind != frames.QUERY:
            if not code:
                for group, epoch in rows:
                    if kind == frames.RETURN:
                        leases.give_back(node, incarnation, group, epoch)
                    else:
                        leases.dead(node, incarnation, group)
            return
        head = frames.vote_head(frames.VOTE if out else frames.TOLD, len(out), node, pair, incarnation, stamp,
                                leases.life, leases.clock(now), self.board.UNIQUE, leases.heard_ago(now, node))
        self.board.write(port, frames.wrap(head + (b"".join(out) if out else self._tail())))

    def _ask(self, now, node, incarnation, stamp, life, clock, grant, group, epoch):
        self.asks = (self.asks + 1) & U32 or 1
        row = self.leases.ask(now, node, incarnation, stamp, life, clock, grant, group, epoch)
        if row and row[0] == lease.PROMISED:
            self.promises = (self.promises + 1) & U32
        elif row and row[0] == lease.REFUSED:
            self.refusals = (self.refusals + 1) & U32
        return row

    def _tail(self):
        """What TOLD adds to the head: version, counters, what was measured at the contacts."""
        noise = self.noise
        for reader in self.readers:
            noise += reader.noise
        return struct.pack(frames.TOLD_TAIL, FIRMWARE[0], FIRMWARE[1], FIRMWARE[2], self.board.KIND, self.build,
                           self.asks, self.promises, self.refusals, self.contacts.gap_us, self.contacts.overlap_us,
                           noise & 0xFFFF, self.cause, len(self.leases.group), GRANT_MAX, self.contacts.stuck())
