"""The faults that random schedules are made of: what each does to the world, and in which worlds it is drawn."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from twinbeat.sim.chance_draw import SMALL_LOSS, Draw, Fault
from twinbeat.sim.spec import ALL, MS, Verb
from twinbeat.sim.worlds import Shape
from twinbeat_core.model import LateCode

SHARES = (20, 50, 100, 300, 500, 800, 1024)
DELAYS_MS = (1, 5, 15, 30, 60, 100, 150, 400)
CLOCK_BOUND_PPB = 1_000_000
STOP_TAKES_MS = 2200            # a stopping agent waits up to two seconds for a taker


def on_node(verb: Verb) -> Callable[[Draw, int, int], int]:
    """A fault of one node that lasts."""
    def draw(d: Draw, at: int, lasts: int) -> int:
        return d.lasting(at, lasts, verb, d.node())
    return draw


def restart(d: Draw, at: int, lasts: int) -> int:
    """A node ends and starts again at once."""
    d.add(at, Verb.RESTART, d.node())
    return at


def disk_lost(d: Draw, at: int, lasts: int) -> int:
    """A node comes back from a loss of power with an empty disk."""
    node = d.node()
    d.add(at, Verb.POWER, node)
    d.add(at + lasts, Verb.RESTART, node, value=1, begins=False)
    return at + lasts


def slow_disk(d: Draw, at: int, lasts: int) -> int:
    """Writes take long for a while."""
    node = d.node()
    d.add(at, Verb.DISK, node, value=d.pick(DELAYS_MS) * MS)
    d.add(at + lasts, Verb.DISK, node, begins=False)
    return at + lasts


def late(d: Draw, at: int, lasts: int) -> int:
    """A thread by which silence is judged did not run: it is told afterwards, or the node is deaf meanwhile."""
    if d.rng.below(2):
        return d.lasting(at, lasts, Verb.DEAF, d.node())
    d.add(at, Verb.LATE, d.node(), group=d.pick(LATE_CODES), value=min(lasts, 200 * MS))
    return at


LATE_CODES = tuple(int(code) for code in LateCode)


def drift(d: Draw, at: int, lasts: int) -> int:
    """A clock runs at another rate within the bound."""
    d.add(at, Verb.CLOCK, d.node(), value=d.rng.between(-CLOCK_BOUND_PPB, CLOCK_BOUND_PPB))
    return at


def bad_clock(d: Draw, at: int, lasts: int) -> int:
    """A clock runs at a rate beyond the bound."""
    sign = 1 - 2 * d.rng.below(2)
    d.add(at, Verb.CLOCK, d.node(), value=sign * CLOCK_BOUND_PPB * (2 + d.rng.below(40)))
    return at


def cut(d: Draw, at: int, lasts: int) -> int:
    """One link is cut between two nodes, both ways."""
    node, link = d.node(), d.link()
    peer = d.other(node)
    d.add(at, Verb.CUT, node, peer, link, lasts=lasts)
    d.add(at, Verb.CUT, peer, node, link, lasts=lasts, begins=False)
    return at + lasts


def cut_one_way(d: Draw, at: int, lasts: int) -> int:
    """One link carries nothing from one node to another."""
    node, link = d.node(), d.link()
    peer = d.other(node)
    d.add(at, Verb.CUT, node, peer, link, lasts=0 if not d.exact and d.rng.below(4) == 0 else lasts)
    if d.rows[-1][2].lasts_ns == 0:
        d.add(at + lasts, Verb.HEAL, node, peer, link, begins=False)
    return at + lasts


def cut_off(d: Draw, at: int, lasts: int) -> int:
    """A node is cut off from every other on every link, both ways."""
    node = d.node()
    d.add(at, Verb.CUT, node, lasts=lasts)
    d.add(at, Verb.CUT, ALL, node, lasts=lasts, begins=False)
    return at + lasts


def mute(d: Draw, at: int, lasts: int) -> int:
    """Nobody hears a node any more, while it hears everybody; or the other way round."""
    node = d.node()
    if d.rng.below(2):
        d.add(at, Verb.CUT, node, lasts=lasts)
    else:
        d.add(at, Verb.CUT, ALL, node, lasts=lasts)
    return at + lasts


def flapping(d: Draw, at: int, lasts: int) -> int:
    """A link is cut again and again."""
    node, link = d.node(), d.link()
    peer = d.other(node)
    each = max(MS, lasts // 8)
    for number in range(4):
        for a, b in ((node, peer), (peer, node)):
            d.add(at + 2 * number * each, Verb.CUT, a, b, link, lasts=each, begins=number == 0 and a == node)
    return at + 8 * each


def few_lost(d: Draw, at: int, lasts: int) -> int:
    """Up to ten percent of the frames are lost on every link, both ways."""
    return d.lasting(at, lasts, Verb.LOSS, value=1 + d.rng.below(SMALL_LOSS))


def share(verb: Verb) -> Callable[[Draw, int, int], int]:
    """A share of the frames of one link suffers; in one or in both directions."""
    def draw(d: Draw, at: int, lasts: int) -> int:
        node = d.node()
        both = d.rng.below(2)
        return d.lasting(at, lasts, verb, ALL if both else node, ALL if both else d.other(node), d.link(),
                         value=d.pick(SHARES))
    return draw


def slower(verb: Verb) -> Callable[[Draw, int, int], int]:
    """Frames of one link take longer; in one or in both directions."""
    def draw(d: Draw, at: int, lasts: int) -> int:
        node = d.node()
        both = d.rng.below(2)
        return d.lasting(at, lasts, verb, ALL if both else node, ALL if both else d.other(node), d.link(),
                         value=d.pick(DELAYS_MS) * MS)
    return draw


def everywhere(verb: Verb, values: Sequence[int]) -> Callable[[Draw, int, int], int]:
    """The same on every link at once; from one node, to one node, or between all."""
    def draw(d: Draw, at: int, lasts: int) -> int:
        node = d.node()
        a, b = d.pick(((node, ALL), (ALL, node), (ALL, ALL)))
        return d.lasting(at, lasts, verb, a, b, value=d.pick(values))
    return draw


def clog(d: Draw, at: int, lasts: int) -> int:
    """A link holds its frames and delivers them late in a burst."""
    node = d.node()
    both = d.rng.below(2)
    d.add(at, Verb.CLOG, ALL if both else node, ALL if both else d.other(node), d.link(), lasts=lasts)
    return at + lasts


def clog_over_restart(d: Draw, at: int, lasts: int) -> int:
    """A link holds frames of one life of a node until the next life has begun."""
    node = d.node()
    d.add(at, Verb.CLOG, node, ALL, d.link(), lasts=lasts + d.rng.below(lasts + 1))
    d.add(at + d.rng.below(10 * MS), d.pick((Verb.KILL, Verb.POWER)), node, lasts=lasts, begins=False)
    return at + 2 * lasts + 10 * MS


def replay(d: Draw, at: int, lasts: int) -> int:
    """Recorded frames of a node arrive once more, some of them of a past life."""
    node, link = d.node(), d.link()
    peer = d.other(node)
    for number in range(1 + d.rng.below(6)):
        d.add(at + number * d.rng.below(3 * MS), Verb.REPLAY, node, peer, link, value=d.rng.below(64),
              begins=number == 0)
    return at + 20 * MS


def hint(d: Draw, at: int, lasts: int) -> int:
    """A transport says that its link went down."""
    d.add(at, Verb.HINT, d.node(), link=d.link())
    return at


def stop(d: Draw, at: int, lasts: int) -> int:
    """A planned stop, and a start later. In the ordered profiles only after the stop itself is over."""
    return d.lasting(at, lasts + (STOP_TAKES_MS * MS if d.exact else 0), Verb.STOP, d.node())


def drop(d: Draw, at: int, lasts: int) -> int:
    """A gate drops an output by itself."""
    d.add(at, Verb.DROP, d.node(), group=d.group())
    return at


def stick(d: Draw, at: int, lasts: int) -> int:
    """A contact is welded, does not close, or stays as it is."""
    return d.lasting(at, lasts, Verb.STICK, d.node(), group=d.group(), value=d.rng.below(3))


def fail(d: Draw, at: int, lasts: int) -> int:
    """An output reports that it could not be switched; later the fault is cleared."""
    node, group = d.node(), d.group()
    d.add(at, Verb.FAIL, node, group=group)
    d.add(at + lasts, Verb.CLEAR, node, group=group, begins=False)
    d.add(at + lasts + 5 * MS, Verb.IN, node, group=group, begins=False)
    return at + lasts + 5 * MS


def load(d: Draw, at: int, lasts: int) -> int:
    """A node is busy for a while."""
    return d.lasting(at, lasts + 200 * MS, Verb.LOAD, d.node(), value=d.rng.below(101))


def move(d: Draw, at: int, lasts: int) -> int:
    """A handover is proposed, to a named node or to the best."""
    node = d.node()
    d.add(at, Verb.MOVE, node, ALL if d.rng.below(2) else d.other(node), group=d.group())
    return at + 50 * MS


def unprepared(d: Draw, at: int, lasts: int) -> int:
    """What a node must prepare fails for a while, and its group is handed to it."""
    node = d.node()
    d.add(at, Verb.PREPARE, node, value=0, lasts=lasts)
    d.add(at + d.rng.below(10 * MS), Verb.HANDOVER, d.other(node), node, group=d.group(), begins=False)
    return at + lasts


def toss(d: Draw, at: int, lasts: int) -> int:
    """A handover is asked for, and a proposal to give it back follows at once."""
    node, group = d.node(), d.group()
    d.add(at, Verb.HANDOVER, node, group=group)
    for other in range(d.nodes):
        d.add(at + (1 + d.rng.below(90)) * MS, Verb.MOVE, other, group=group, begins=False)
    return at + 150 * MS


def handover(d: Draw, at: int, lasts: int) -> int:
    """An operator asks for a handover, to a named node or to the best."""
    node = d.node()
    d.add(at, Verb.HANDOVER, node, ALL if d.rng.below(2) else d.other(node), group=d.group())
    return at + 50 * MS


def broken_handover(d: Draw, at: int, lasts: int) -> int:
    """A handover, and in the middle of it one of the two dies."""
    d.add(at, Verb.HANDOVER, ALL if d.rng.below(2) else d.node(), group=d.group())
    d.add(at + d.rng.below(40 * MS), d.pick((Verb.KILL, Verb.POWER, Verb.STALL)), d.node(), lasts=lasts, begins=False)
    return at + lasts + 40 * MS


def out(d: Draw, at: int, lasts: int) -> int:
    """A group leaves service on a node."""
    return d.lasting(at, lasts, Verb.OUT, d.node(), group=d.group())


def unfit(d: Draw, at: int, lasts: int) -> int:
    """A node's health says that it is not fit."""
    d.add(at, Verb.HEALTH, d.node(), value=0, lasts=lasts)
    return at + lasts


def all_unfit(d: Draw, at: int, lasts: int) -> int:
    """What makes one node unfit often makes the others unfit too."""
    for node in range(d.nodes):
        d.add(at + d.rng.below(4 * MS), Verb.HEALTH, node, value=0, lasts=lasts, begins=node == 0)
    return at + lasts + 5 * MS


def behind(d: Draw, at: int, lasts: int) -> int:
    """A node's replication is behind, or reports a position."""
    value = -1 if d.rng.below(3) else d.rng.below(1 << 20)
    d.add(at, Verb.SYNC, d.node(), value=value, lasts=lasts if value < 0 else 0)
    return at + lasts


def voter_kill(d: Draw, at: int, lasts: int) -> int:
    """The third voter dies."""
    return d.lasting(at, lasts, Verb.VOTER_KILL)


def voter_cut(d: Draw, at: int, lasts: int) -> int:
    """The third voter and a node, or all, are cut off from each other, in one or both directions."""
    node = ALL if d.rng.below(3) == 0 else d.node()
    return d.lasting(at, lasts, Verb.VOTER_CUT, node, value=d.rng.below(3))


def voter_delay(d: Draw, at: int, lasts: int) -> int:
    """The way to the third voter takes longer."""
    return d.lasting(at, lasts, Verb.VOTER_DELAY, d.node(), value=d.pick(DELAYS_MS) * MS)


NODE_FAULTS = (
    Fault("kill", on_node(Verb.KILL)), Fault("power", on_node(Verb.POWER)), Fault("restart", restart),
    Fault("stall", on_node(Verb.STALL)), Fault("disk lost", disk_lost), Fault("slow disk", slow_disk),
    Fault("late thread", late), Fault("drop", drop), Fault("failed output", fail), Fault("drift", drift),
)
OPERATOR = (Fault("handover", handover), Fault("out of service", out), Fault("stop", stop),
            Fault("unfit", unfit), Fault("behind", behind))
PLANNED = (Fault("load", load), Fault("load", load), Fault("proposal", move), Fault("unprepared", unprepared),
           Fault("tossed", toss))
ALL_UNFIT = (Fault("all unfit", all_unfit),)
"""Where groups move by themselves."""
WHOLE_LINK = (
    Fault("delay", slower(Verb.DELAY)), Fault("jitter", slower(Verb.JITTER)),
    Fault("duplicates", share(Verb.DUPLICATE)), Fault("reordering", share(Verb.REORDER)),
    Fault("corruption", share(Verb.CORRUPT)), Fault("clog", clog), Fault("loss on one link", share(Verb.LOSS)),
)
LINK_FAULTS = (Fault("cut", cut), Fault("one way", cut_one_way), Fault("flapping", flapping), *WHOLE_LINK)
HARMLESS = (Fault("replay", replay), Fault("hint", hint), Fault("loss", few_lost))
CUT_OFF = (Fault("cut off", cut_off), Fault("mute or deaf", mute))
VOTER_FAULTS = (Fault("voter dead", voter_kill), Fault("voter cut off", voter_cut), Fault("voter slow", voter_delay))
WILD_ONLY = (
    Fault("clog over restart", clog_over_restart), Fault("broken handover", broken_handover),
    Fault("loss everywhere", everywhere(Verb.LOSS, SHARES)),
    Fault("delay everywhere", everywhere(Verb.DELAY, tuple(ms * MS for ms in DELAYS_MS))),
    Fault("jitter everywhere", everywhere(Verb.JITTER, tuple(ms * MS for ms in DELAYS_MS))),
    Fault("clog everywhere", everywhere(Verb.CLOG, (0,))),
    Fault("corruption everywhere", everywhere(Verb.CORRUPT, SHARES)),
)
FALLS = (Fault("freeze", on_node(Verb.FREEZE)),)
EXCUSED = (Fault("freeze", on_node(Verb.FREEZE)), Fault("suspend", on_node(Verb.SUSPEND)),
           Fault("stuck contact", stick), Fault("bad clock", bad_clock))
HOLD_STOPS = frozenset({"power", "stall", "disk lost", "restart", "freeze", "cut off", "mute or deaf"})
"""With lone = hold nobody need drive after these until they are over."""


def faults_of(shape: Shape, profile: str) -> tuple[Fault, ...]:
    """What a profile draws from in such a world."""
    found: tuple[Fault, ...] = NODE_FAULTS + OPERATOR + LINK_FAULTS + HARMLESS
    bare = shape.nodes == 2 and not shape.voter
    takeover = bare and shape.lone == "takeover"
    if shape.voter:
        found += VOTER_FAULTS
    if shape.hold_ms >= 0:
        found += FALLS
    if shape.planned:
        found += PLANNED
    if shape.planned or shape.shared:
        found += ALL_UNFIT
    if profile == "wild":
        # What is excused excuses the rest of its run in part: rare, or most of the runs would prove little.
        return (found + CUT_OFF + WILD_ONLY) * 3 + EXCUSED
    if not takeover:
        found += CUT_OFF
    stops = set(HOLD_STOPS if bare and not takeover else ())
    if len(shape.links) == 1 and not shape.voter:
        stops |= {fault.name for fault in (LINK_FAULTS if bare else WHOLE_LINK)}
    if bare and not takeover and set(shape.links) == {"mqtt"}:
        stops.add("kill")               # a gate's notice goes by a crosslink
    return tuple(fault._replace(unpromised=fault.name in stops) for fault in found)
