"""The faults that `twinbeat verify` tries: each alone, and a shorter list in pairs.

A fault is words, what it may be expected to do, and the actions that make it. Actions are drawn from the run's own
generator, so that the same seed makes the same fault on any machine.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from twinbeat.sim.spec import ALL, MS, Action, Verb

if TYPE_CHECKING:
    from twinbeat.sim.verify_world import Subject

SHORT_MS = (50, 2000)
"""A fault that passes by itself lasts this long."""
RESTART_MS = (50, 1000)
OF_1024 = 1024
CLOCK_WRONG_PPB = 100_000_000
"""A clock beyond any bound: one part in ten."""
WELDED_ON = 1
DISK_LOST = 1
UNFIT = 0


class Chance(Protocol):
    """What of a generator is used here."""

    def below(self, limit: int) -> int:
        """A number from 0 to limit - 1."""

    def between(self, low: int, high: int) -> int:
        """A number from low to high."""


class Kind(StrEnum):
    """What faults have in common as far as promises are concerned."""

    PLANNED = "planned"        # the driver leaves in order: its own frames say so
    KILLED = "killed"          # the agent is dead, its gate is not
    STALLED = "stalled"        # the agent stands still, its gate does not
    FROZEN = "frozen"          # the whole gateway stands still
    SILENT = "silent"          # the gateway is without power
    STANDBY = "standby"        # something happens to a node that does not drive
    LINK = "link"              # one link of several
    LINKS = "links"            # all links between all nodes
    ISOLATED = "isolated"      # all links of the driver, in at least one direction
    LOSS = "loss"              # frames are lost at random on every link
    SLOW = "slow"              # frames take longer than the configuration says
    CONTACT = "contact"        # a contact does not obey
    CLOCK = "clock"            # a clock beyond the bound
    VOTER = "voter"            # the third voter, seen from the standby
    VOTER_DEAD = "voter-dead"
    VOTER_CUT = "voter-cut"    # from the driver
    COLD = "cold"              # everything starts


class Scene(NamedTuple):
    """Where and when a fault begins: who drives, who is next, the moment, chance."""

    driver: int
    standby: int
    at_ns: int
    rng: Chance

    def some_ns(self, low_ms: int, high_ms: int) -> int:
        """A random time between two limits in ms."""
        return self.rng.between(low_ms * MS, high_ms * MS)

    def act(self, verb: Verb, *, after_ns: int = 0, node: int = ALL, peer: int = ALL, link: int = ALL,
            value: int = 0, lasts_ns: int = 0) -> Action:
        """An action at the scene's moment or `after_ns` later; groups are always all of them."""
        return Action(self.at_ns + after_ns, verb, node=node, peer=peer, link=link, value=value, lasts_ns=lasts_ns)


Acts = Callable[[Scene], list[Action]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: `key` in JSON, `text` for people, the actions; `settles` False: the fault is the start itself."""

    key: str
    text: str
    kind: Kind
    acts: Acts
    settles: bool = True


def node_fault(verb: Verb, who: str, *, value: int = 0, passes: tuple[int, int] | None = None) -> Acts:
    """One action on the driver or the standby, for good or for a random time."""

    def acts(scene: Scene) -> list[Action]:
        node = scene.driver if who == "driver" else scene.standby
        lasts_ns = scene.some_ns(*passes) if passes else 0
        return [scene.act(verb, node=node, value=value, lasts_ns=lasts_ns)]

    return acts


def disk_lost(who: str) -> Acts:
    """The agent dies and comes back on an empty disk."""

    def acts(scene: Scene) -> list[Action]:
        node = scene.driver if who == "driver" else scene.standby
        back_ns = scene.some_ns(*RESTART_MS)
        return [scene.act(Verb.POWER, node=node),
                scene.act(Verb.RESTART, after_ns=back_ns, node=node, value=DISK_LOST)]

    return acts


def link_fault(verb: Verb, link: int, *, way: str = "both", value: int = 0,
               passes: tuple[int, int] | None = None) -> Acts:
    """Something on one link (ALL: every one); way "out": only what the driver sends, "in": only what it should hear."""

    def acts(scene: Scene) -> list[Action]:
        node = scene.driver if way == "out" else ALL
        peer = scene.driver if way == "in" else ALL
        lasts_ns = scene.some_ns(*passes) if passes else 0
        return [scene.act(verb, node=node, peer=peer, link=link, value=value, lasts_ns=lasts_ns)]

    return acts


def several(*parts: Acts) -> Acts:
    """All of it at the same moment."""
    return lambda scene: [action for part in parts for action in part(scene)]


def welded_then_handover(scene: Scene) -> list[Action]:
    """The driver's contact welds; later the group is handed over."""
    return [scene.act(Verb.STICK, node=scene.driver, value=WELDED_ON),
            scene.act(Verb.HANDOVER, after_ns=scene.some_ns(50, 200), node=scene.driver)]


def started(order: tuple[int, ...]) -> Acts:
    """The nodes start one after the other; an empty order: all at the same moment, nearly."""

    def acts(scene: Scene) -> list[Action]:
        at_ns, actions = 0, []
        for node in order:
            actions.append(scene.act(Verb.START, after_ns=at_ns, node=node))
            at_ns += scene.some_ns(1, 3000)
        return actions

    return acts


def started_together(nodes: int) -> Acts:
    """All nodes start within a few ms."""
    return lambda scene: [scene.act(Verb.START, after_ns=scene.some_ns(0, 5), node=node) for node in range(nodes)]


def single_faults(subject: Subject) -> tuple[Fault, ...]:
    """Every single fault of the documentation's list that this world can have."""
    return (*driver_faults(), *standby_faults(subject), *link_faults(subject), *links_faults(subject),
            *voter_faults(subject), *cold_starts(subject))


def driver_faults() -> Iterator[Fault]:
    """What happens to the node that drives."""
    short = SHORT_MS
    for key, text, kind, acts in (
        ("handover", "planned handover", Kind.PLANNED, node_fault(Verb.HANDOVER, "driver")),
        ("stop", "planned stop of the driver", Kind.PLANNED, node_fault(Verb.STOP, "driver")),
        ("unfit", "driver reports itself unfit", Kind.PLANNED, node_fault(Verb.HEALTH, "driver", value=UNFIT)),
        ("output", "driver's output reports a fault", Kind.PLANNED, node_fault(Verb.FAIL, "driver")),
        ("drop", "driver's gate drops by itself", Kind.PLANNED, node_fault(Verb.DROP, "driver")),
        ("kill", "driver's agent killed", Kind.KILLED, node_fault(Verb.KILL, "driver")),
        ("crash", "driver's agent killed, restarts", Kind.KILLED,
         node_fault(Verb.KILL, "driver", passes=RESTART_MS)),
        ("stall", "driver's agent frozen", Kind.STALLED, node_fault(Verb.STALL, "driver")),
        ("pause", "driver's agent frozen for a time", Kind.STALLED, node_fault(Verb.STALL, "driver", passes=short)),
        ("hang", "driver's kernel hung", Kind.FROZEN, node_fault(Verb.FREEZE, "driver")),
        ("hiccup", "driver's kernel hung for a time", Kind.FROZEN, node_fault(Verb.FREEZE, "driver", passes=short)),
        ("suspend", "driver's kernel and clock hung for a time", Kind.FROZEN,
         node_fault(Verb.SUSPEND, "driver", passes=short)),
        ("power", "driver without power", Kind.SILENT, node_fault(Verb.POWER, "driver")),
        ("brownout", "driver without power for a time", Kind.SILENT, node_fault(Verb.POWER, "driver", passes=short)),
        ("disk", "driver without power, back on an empty disk", Kind.SILENT, disk_lost("driver")),
        ("welded", "driver's contact welded on", Kind.CONTACT, node_fault(Verb.STICK, "driver", value=WELDED_ON)),
        ("welded-handover", "driver's contact welded on, then handover", Kind.CONTACT, welded_then_handover),
        ("clock-slow", "driver's clock 10 % slow", Kind.CLOCK,
         node_fault(Verb.CLOCK, "driver", value=-CLOCK_WRONG_PPB)),
        ("clock-fast", "driver's clock 10 % fast", Kind.CLOCK, node_fault(Verb.CLOCK, "driver", value=CLOCK_WRONG_PPB)),
    ):
        yield Fault(key=key, text=text, kind=kind, acts=acts)


def standby_faults(subject: Subject) -> Iterator[Fault]:
    """What happens to the node that would drive next."""
    if subject.nodes < 2:
        return
    for key, text, acts in (
        ("kill", "standby's agent killed", node_fault(Verb.KILL, "standby")),
        ("crash", "standby's agent killed, restarts", node_fault(Verb.KILL, "standby", passes=RESTART_MS)),
        ("stop", "planned stop of the standby", node_fault(Verb.STOP, "standby")),
        ("stall", "standby's agent frozen", node_fault(Verb.STALL, "standby")),
        ("pause", "standby's agent frozen for a time", node_fault(Verb.STALL, "standby", passes=SHORT_MS)),
        ("hang", "standby's kernel hung", node_fault(Verb.FREEZE, "standby")),
        ("suspend", "standby's kernel and clock hung for a time",
         node_fault(Verb.SUSPEND, "standby", passes=SHORT_MS)),
        ("power", "standby without power", node_fault(Verb.POWER, "standby")),
        ("brownout", "standby without power for a time", node_fault(Verb.POWER, "standby", passes=SHORT_MS)),
        ("disk", "standby without power, back on an empty disk", disk_lost("standby")),
    ):
        yield Fault(key=f"standby-{key}", text=text, kind=Kind.STANDBY, acts=acts)


def link_faults(subject: Subject) -> Iterator[Fault]:
    """What happens to one link; the only link there is, is all of them."""
    if subject.nodes < 2:
        return
    names = subject.spec.links_named
    one_of_several = len(names) > 1
    for link, name in enumerate(names):
        for key, text, alone, acts in (
            ("cut", f"link {name} cut", Kind.LINKS, link_fault(Verb.CUT, link)),
            ("deaf", f"link {name}: driver hears nothing", Kind.ISOLATED, link_fault(Verb.CUT, link, way="in")),
            ("mute", f"link {name}: driver is not heard", Kind.ISOLATED, link_fault(Verb.CUT, link, way="out")),
            ("clog", f"link {name} holds frames back for a time", Kind.LINKS,
             link_fault(Verb.CLOG, link, passes=SHORT_MS)),
        ):
            yield Fault(key=f"{key}-{name}", text=text, kind=Kind.LINK if one_of_several else alone, acts=acts)


def links_faults(subject: Subject) -> Iterator[Fault]:
    """What happens to all links at once."""
    if subject.nodes < 2:
        return
    beat_ns = round(subject.spec.settings[0].links[subject.fast_link].period_ms * MS)
    yield Fault(key="loss-10", text="10 % of the frames lost on every link", kind=Kind.LOSS,
                acts=link_fault(Verb.LOSS, ALL, value=OF_1024 // 10))
    yield Fault(key="loss-30", text="30 % of the frames lost on every link", kind=Kind.LOSS,
                acts=link_fault(Verb.LOSS, ALL, value=3 * OF_1024 // 10))
    yield Fault(key="delay", text="every frame one fast period late, and up to one more", kind=Kind.SLOW,
                acts=several(link_fault(Verb.DELAY, ALL, value=beat_ns), link_fault(Verb.JITTER, ALL, value=beat_ns)))
    if len(subject.spec.links) > 1:
        yield Fault(key="clog-all", text="all links hold frames back for a time", kind=Kind.LINKS,
                    acts=link_fault(Verb.CLOG, ALL, passes=SHORT_MS))
        yield Fault(key="cut-all", text="all links cut", kind=Kind.LINKS, acts=link_fault(Verb.CUT, ALL))
        yield Fault(key="deaf-all", text="driver hears nothing on any link", kind=Kind.ISOLATED,
                    acts=link_fault(Verb.CUT, ALL, way="in"))
        yield Fault(key="mute-all", text="driver is not heard on any link", kind=Kind.ISOLATED,
                    acts=link_fault(Verb.CUT, ALL, way="out"))
    if subject.nodes > 2:
        yield Fault(key="cut-driver", text="driver cut off from all other nodes", kind=Kind.ISOLATED,
                    acts=several(link_fault(Verb.CUT, ALL, way="in"), link_fault(Verb.CUT, ALL, way="out")))


def voter_faults(subject: Subject) -> Iterator[Fault]:
    """What happens to the third voter, where there is one."""
    if not subject.third_voter:
        return
    yield Fault(key="voter-kill", text="third voter dead", kind=Kind.VOTER_DEAD,
                acts=lambda scene: [scene.act(Verb.VOTER_KILL)])
    yield Fault(key="voter-crash", text="third voter dead for a time", kind=Kind.VOTER_DEAD,
                acts=lambda scene: [scene.act(Verb.VOTER_KILL, lasts_ns=scene.some_ns(*SHORT_MS))])
    yield Fault(key="voter-cut-driver", text="third voter cut off from the driver", kind=Kind.VOTER_CUT,
                acts=node_fault(Verb.VOTER_CUT, "driver"))
    yield Fault(key="voter-cut-standby", text="third voter cut off from the standby", kind=Kind.VOTER,
                acts=node_fault(Verb.VOTER_CUT, "standby"))


def cold_starts(subject: Subject) -> Iterator[Fault]:
    """Everything starts: each order of a pair or of three, else each node first once."""
    names, nodes = subject.spec.nodes_named, range(subject.nodes)
    yield Fault(key="cold-together", text="cold start, all together", kind=Kind.COLD, settles=False,
                acts=started_together(subject.nodes))
    if subject.nodes < 2:
        return
    for order in orders(tuple(nodes)):
        shown = ", ".join(names[node] for node in order)
        yield Fault(key="cold-" + "-".join(names[node] for node in order), text=f"cold start in the order {shown}",
                    kind=Kind.COLD, settles=False, acts=started(order))
    yield Fault(key="cold-alone", text="cold start of the preferred node alone", kind=Kind.COLD, settles=False,
                acts=started((subject.order(subject.groups[0])[0],)))


def orders(nodes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All orders of up to three nodes; of more, those in which the list is turned round."""
    if len(nodes) <= 1:
        return [nodes]
    if len(nodes) > 3:
        return [nodes[first:] + nodes[:first] for first in nodes]
    return [(first, *rest) for first in nodes
            for rest in orders(tuple(node for node in nodes if node != first))]


PAIRED = ("handover", "kill", "crash", "stall", "hang", "power", "brownout", "disk", "welded", "clock-slow",
          "standby-kill", "standby-stall", "standby-power", "standby-brownout", "standby-disk",
          "loss-30", "cut-all", "voter-kill", "voter-cut-driver")
"""The single faults that are tried in pairs, besides those of the fastest link and the cut of each other link."""


def paired_faults(subject: Subject) -> tuple[Fault, ...]:
    """The faults of the double table, in the order of its rows and columns."""
    names, fast = subject.spec.links_named, subject.spec.links_named[subject.fast_link]
    wanted = {*PAIRED, *(f"cut-{name}" for name in names), f"mute-{fast}", f"deaf-{fast}", f"clog-{fast}"}
    return tuple(fault for fault in single_faults(subject) if fault.key in wanted)
