"""When ZooKeeper's znode is a vote, and for whom: the decision without clock and connection.

ZooKeeper gives no leases here, it only keeps one value per group and changes it by compare-and-set. Every gateway
judges for itself, on its own clock:

- Another's promise lasts, for me, the promised length from the moment I have **read** that version of the znode. That
  is after it was written, which is after its holder sent the stamp that it counts from.
- I write my own promise over the version that I have read. If that write succeeds nobody has written in between, so
  what I have waited for was the newest promise. A write that raced is refused by the version; a write whose outcome
  nobody told me is no promise before I have read it back.
- Because a write needs the version of the one before, a gateway that hears no answers can renew once at most.
- The floor stands in the znode and never sinks. A znode that is absent is created; one that is absent, strange or
  seen for the first time in a session binds everybody who sees it for one whole promise, whatever it says.

Each method is told the time, microseconds of one clock that counts suspended time and never runs backwards; for an
answer of the server it must be taken **after** that answer has come. What to do next comes back as a list.
"""
from __future__ import annotations

from collections import deque
from typing import NamedTuple

from twinbeat_bridge.contract import Code, VoteAnswer
from twinbeat_bridge.zookeeper_value import NOBODY, Held, Place, Seal

MILLION = 1_000_000
TRIES = 3                     # compare-and-set for one ask, before the next ask may try
KEPT_DEATHS = 4
LONGEST_MS = 65000
LAST_VERSION = 0x7FFFFFFE     # beyond it versions turn negative, and -1 would mean "whatever the version"


class Read(NamedTuple):
    """Read the znode; `observed` or `absent` follows."""


class Create(NamedTuple):
    """Create the znode; `written`, `raced` or `unknown` follows."""

    value: bytes


class Write(NamedTuple):
    """Set the value where the version still is this one; `written`, `raced` or `unknown` follows."""

    value: bytes
    version: int


Action = Read | Create | Write | VoteAnswer


class Ask(NamedTuple):
    """One claim waiting for its answer."""

    epoch: int
    stamp: int


class Rule:
    """The znode of one group as one life of one gateway sees it. At most one Read, Create or Write is under way."""

    def __init__(self, group: int, seal: Seal, node: int, incarnation: int, grant_ms: int, drift_ppm: int) -> None:
        self.group = group
        self.node = node
        self.incarnation = incarnation
        self.grant_ms = grant_ms
        self.drift_ppm = drift_ppm
        self.floor = 0                       # highest epoch seen or promised
        self.place: Place | None = None      # of what was read or written last
        self.held: Held | None = None        # what stood there; None: not written by this pair
        self.free_us = 0                     # when another's promise, or the abstention, is over on this clock
        self.first = True                    # nothing was read since this session began
        self.stale = True                    # read before writing
        self.connected = False
        self.doing: Read | Create | Write | None = None
        self.counts = {"raced": 0, "unknown": 0, "strange": 0, "absent": 0, "overtaken": 0}
        self._seal = seal
        self._ask: Ask | None = None
        self._tries = 0
        self._newest = -1                    # stamp of the newest ask
        self._sent: Held | None = None       # what the write under way, or one of unknown outcome, says
        self._mine = 0                       # epoch of the last promise to this life
        self._given = 0                      # epochs up to here were given back
        self._dead: deque[tuple[int, int]] = deque(maxlen=KEPT_DEATHS)

    # what the agent says

    def ask(self, now_us: int, epoch: int, stamp: int) -> list[Action]:
        """Asks for a promise to this epoch; 0: for the floor alone. The newest ask replaces one that waits."""
        if stamp < self._newest:
            self.counts["overtaken"] += 1
            return []
        if not self.connected:
            return [self._gone(Ask(epoch, stamp), 0)]
        self.counts["overtaken"] += self._ask is not None and not isinstance(self.doing, Write)
        self._newest = stamp
        self._ask, self._tries = Ask(epoch, stamp), 0
        if epoch == 0 or not self._own():
            self.stale = True                # a renewal needs no look: the write itself says whether it was seen right
        return self._next(now_us)

    def give_back(self, now_us: int, epoch: int) -> list[Action]:
        """The claim with this epoch is over, and with it all earlier ones."""
        self._given = max(self._given, epoch)
        return self._next(now_us)

    def peer_dead(self, node: int, incarnation: int) -> None:
        """That life is dead and this group's outputs are off: what it was promised is over, also if it lands later."""
        if (node, incarnation) not in self._dead and (node, incarnation) != (self.node, self.incarnation):
            self._dead.append((node, incarnation))

    def look(self, now_us: int) -> list[Action]:
        """The znode may have changed, or it is time to look again."""
        self.stale = True
        return self._next(now_us)

    # what the connection says

    def connect(self, now_us: int) -> list[Action]:
        """A server that takes writes answers."""
        self.connected = True
        return self.look(now_us)

    def disconnect(self) -> list[Action]:
        """The connection is gone; nothing that was under way will be answered."""
        self.connected = False
        self.unknown()
        self._ask = None
        return [] if self._newest < 0 else [self._gone(Ask(0, self._newest), 0)]

    def new_session(self) -> None:
        """The session is gone: what was read in it counts as read for the first time when it is read again."""
        self.first = True
        self.stale = True

    # what the server says

    def observed(self, now_us: int, value: bytes, place: Place) -> list[Action]:
        """The znode was read."""
        self.doing = None
        self.stale = False
        if self.first or place != self.place:
            self._note(now_us, self._seal.read(value, place), place, from_first=self.first)
            self.first = False
        return self._settle() + self._next(now_us)

    def absent(self, now_us: int) -> list[Action]:
        """There is no such znode. Who creates it says that nobody knows what was promised."""
        self.counts["absent"] += 1
        self.place, self.held, self._sent, self.first = None, None, None, True
        self.stale = True
        made = Held(NOBODY, 0, 0, self.floor, 0, self.grant_ms, False)
        self.doing = Create(self._seal.write(made, Place(0, 0)))
        return [self.doing]

    def written(self, now_us: int, place: Place) -> list[Action]:
        """The write under way has succeeded."""
        doing, sent, self.doing = self.doing, self._sent, None
        if isinstance(doing, Create):
            return self.look(now_us)         # as everybody else: bound from the moment it is read
        if not isinstance(doing, Write) or sent is None or self.place is None:
            return self._next(now_us)
        if place != Place(self.place.born, doing.version + 1):
            # Deleted and created anew meanwhile, and the version happened to match: what was read stood elsewhere.
            self.counts["raced"] += 1
            self._sent = None
            return [*self._drop_ask(), *self.look(now_us)]
        self._note(now_us, sent, place, from_first=False)
        return self._settle() + self._next(now_us)

    def raced(self, now_us: int) -> list[Action]:
        """The version was another one, the znode was there already or is there no more."""
        self.doing = None
        self.counts["raced"] += 1
        self._sent = None
        self._tries += 1
        gave_up = self._drop_ask() if self._tries >= TRIES else []
        return gave_up + self.look(now_us)

    def unknown(self) -> list[Action]:
        """Whether the operation under way took place is not known, or the server refused it: no promise."""
        self.counts["unknown"] += isinstance(self.doing, (Write, Create))
        self.doing = None
        self.stale = True
        return self._drop_ask()

    # what is known

    def owes(self) -> bool:
        """As far as is known the znode still shows a promise that was given back."""
        return self._own() and self.held is not None and self.held.epoch <= self._given

    def left_ms(self, now_us: int) -> int:
        """How long this gateway must still wait, in ms; 0: nothing but the epoch is in its way."""
        if self._own() or self._ended():
            return 0
        return min(max(0, -((now_us - self.free_us) // 1000)), LONGEST_MS)

    def _own(self) -> bool:
        held = self.held
        return held is not None and (held.holder, held.incarnation) == (self.node, self.incarnation) \
            and not held.released

    def _ended(self) -> bool:
        """Its holder is dead by its gate's word."""
        return self.held is not None and (self.held.holder, self.held.incarnation) in self._dead

    def _note(self, now_us: int, held: Held | None, place: Place, *, from_first: bool) -> None:
        """Another version than before stands there."""
        self.place, self.held = place, held
        grant_ms = self.grant_ms if held is None else held.grant_ms
        bound = held is None or from_first or not held.released
        grant_ms = max(grant_ms, self.grant_ms) if from_first else grant_ms
        length_us = -(-grant_ms * 1000 * (MILLION + self.drift_ppm) // MILLION) + 1000
        self.free_us = now_us + length_us if bound else now_us
        if held is None:
            self.counts["strange"] += 1
            return
        self.floor = max(self.floor, held.floor, held.epoch)

    def _settle(self) -> list[Action]:
        """What was written stands there, as the answer to the write or by reading back: now it is a promise."""
        sent, self._sent = self._sent, None
        if sent is None or sent != self.held or sent.released:
            return []
        self._mine = sent.epoch
        if self._ask is not None and self._ask.stamp <= sent.stamp:
            self._ask = None
        return [VoteAnswer(self.group, Code.PROMISED, sent.epoch, sent.stamp, sent.grant_ms)]

    # what to do next

    def _next(self, now_us: int) -> list[Action]:
        if self.doing is not None or not self.connected:
            return []
        if self.stale or self.place is None:
            self.doing = Read()
            return [self.doing]
        if self.owes() and self.held is not None:
            return self._write(self.held._replace(released=True))
        if self._ask is None:
            return []
        refusal = self._refusal(now_us, self._ask)
        if refusal is not None:
            self._ask = None
            return [refusal]
        floor = max(self.floor, self._ask.epoch)
        return self._write(Held(self.node, self.incarnation, self._ask.epoch, floor, self._ask.stamp, self.grant_ms,
                                False))

    def _write(self, held: Held) -> list[Action]:
        assert self.place is not None
        if not 0 <= self.place.version < LAST_VERSION:
            return self._drop_ask()
        self._sent = held
        place = Place(self.place.born, self.place.version + 1)
        self.doing = Write(self._seal.write(held, place), self.place.version)
        return [self.doing]

    def _refusal(self, now_us: int, ask: Ask) -> VoteAnswer | None:
        """Why this ask earns no promise; None: it may be written. What is known was read after the ask, or is mine."""
        held, left_ms = self.held, self.left_ms(now_us)
        others = held is not None and held.holder not in (NOBODY, self.node) and not held.released
        if left_ms and not others and (ask.epoch or held is None or held.holder == NOBODY):
            return self._gone(ask, left_ms)
        if ask.epoch == 0 or left_ms:
            return VoteAnswer(self.group, Code.REFUSED, self.floor, ask.stamp, left_ms if others else 0)
        # A promise lost to deletion or scribbling may be given again: nobody was promised a higher epoch.
        enough = self.floor if self._own() or self._mine == self.floor else self.floor + 1
        if ask.epoch < enough or ask.epoch <= self._given:
            return VoteAnswer(self.group, Code.REFUSED, self.floor, ask.stamp, 0)
        return None

    def _gone(self, ask: Ask, left_ms: int) -> VoteAnswer:
        return VoteAnswer(self.group, Code.GONE, self.floor, ask.stamp, left_ms)

    def _drop_ask(self) -> list[Action]:
        ask, self._ask = self._ask, None
        return [] if ask is None else [self._gone(ask, 0)]
