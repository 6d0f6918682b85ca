"""What is promised after a fault, why, and what would change it: from the rules of docs/protocol.md alone.

The simulator is judged against this. A fault after which a driver is promised counts for the outage budget.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from twinbeat.sim.spec import Excuse
from twinbeat.sim.verify_faults import Fault, Kind

if TYPE_CHECKING:
    from twinbeat.sim.verify_world import Subject


class Promise(NamedTuple):
    """`driver`: somebody drives soon after the fault; `why` in words; `remedy` where it is not so.

    `limit` is what is not promised all the same, because the simulator does not know it; `stuck`: the output is on,
    but nobody controls it; `quiet`: the driver has no part in it and goes on.
    """

    driver: bool
    why: str
    remedy: str = ""
    limit: str = ""
    stuck: bool = False
    quiet: bool = False


EXCUSE_WORDS = {
    Excuse.NONE: "promised to be excluded",
    Excuse.L3: "lone = takeover, and every link is impaired in at least one direction",
    Excuse.FROZEN: "a gateway stands still as a whole and its output keeps its level",
    Excuse.CONTACT: "a contact does not obey",
    Excuse.CLOCK: "a clock runs beyond the bound",
    Excuse.DISK: "all who knew the epoch lost their disks",
    Excuse.ALONE: "who drives alone had not heard of the epoch",
}
EXCUSE_REMEDY = {
    Excuse.NONE: "report it with the seed",
    Excuse.L3: 'separate routes for the links make it rare; lone = "hold" excludes it',
    Excuse.FROZEN: "a hardware watchdog (RuntimeWatchdogSec) ends it, an interlock of the contacts excludes it",
    Excuse.CONTACT: "interlock the contacts; readback tells it",
    Excuse.CLOCK: "raise drift_ppm to what the clocks really do",
    Excuse.DISK: "do not lose every disk at once",
    Excuse.ALONE: "use a third voter",
}


def promise_of(fault: Fault, subject: Subject) -> Promise:
    """What may be expected of this world after this fault."""
    if subject.nodes < 2:
        return Promise(fault.kind in (Kind.COLD, Kind.VOTER), "there is no other node")
    if fault.key == "cold-alone":
        return cold_alone(subject)
    if subject.all_drive:
        return of_all(fault)
    return ANSWERS[fault.kind](subject)


def of_all(fault: Fault) -> Promise:
    """A group that every node drives by its own word (O1): one node's fault takes nothing from the others."""
    if fault.kind is Kind.FROZEN:
        return Promise(True, "the other node drives too", EXCUSE_REMEDY[Excuse.FROZEN],
                       "the output that stands still keeps its level: it cannot be switched off meanwhile")
    if fault.kind is Kind.CONTACT:
        return Promise(True, "the other node drives too", EXCUSE_REMEDY[Excuse.CONTACT],
                       "a contact that is welded on cannot be switched off")
    if fault.kind is Kind.COLD:
        return always("after LISTEN every node drives")
    return goes_on("every node drives it by its own word")


def always(why: str) -> Promise:
    """A driver, whatever the world is."""
    return Promise(True, why)


def goes_on(why: str) -> Promise:
    """The driver has no part in it."""
    return Promise(True, why, quiet=True)


def killed(subject: Subject) -> Promise:
    """The gate is alive and says that the agent is dead."""
    if subject.has_crosslink:
        return Promise(True, "the gate drops the outputs and says so on the crosslink")
    if subject.holds:
        return Promise(False, "there is no crosslink for the gate's notice, and lone = hold waits for it",
                       "add a serial or udp link")
    return Promise(True, "the gate drops the outputs; without a crosslink the promise has to run out")


def stalled(subject: Subject) -> Promise:
    """The gate drops at the deadline, but the agent is not dead."""
    if subject.holds:
        return Promise(False, "the gate drops the outputs at the deadline; with lone = hold the other drives only once "
                              "the frozen agent was ended", "let systemd's watchdog end a frozen agent")
    return Promise(True, "the gate drops the outputs at the deadline, and the promise runs out")


def frozen(subject: Subject) -> Promise:
    """Nobody drops and nobody says anything."""
    if subject.gated:
        return Promise(True, "the arbiter opens its contact when its promise has run out")
    if subject.holds and subject.keeps_level:
        return Promise(False, "the output stays as it was and nobody controls it: lone = hold takes silence for no "
                              "proof", "a hardware watchdog (RuntimeWatchdogSec) resets the gateway", stuck=True)
    if subject.holds:
        return Promise(False, "the outputs fall with the kernel, and lone = hold takes silence for no proof",
                       "a hardware watchdog (RuntimeWatchdogSec) resets the gateway")
    if subject.keeps_level:
        return Promise(False, "the gate stands still too and the output keeps its level while the promise runs out",
                       EXCUSE_REMEDY[Excuse.FROZEN])
    return Promise(True, "the outputs are programs and stand still with the kernel, and the promise runs out",
                   "a hardware watchdog (RuntimeWatchdogSec) resets the gateway",
                   "when the kernel comes back by itself, its programs run for the moment until the gate stops them")


def silent(subject: Subject) -> Promise:
    """Without power the outputs are off, and nobody says anything."""
    if subject.holds:
        return Promise(False, "no notice is sent, and lone = hold takes silence for no proof",
                       'lone = "takeover" lets the other node drive once the promise has run out')
    return Promise(True, "the output falls off, and the promise runs out")


def links(subject: Subject) -> Promise:
    """The nodes live and do not hear each other."""
    if subject.third_voter:
        return goes_on("the third voter goes on promising to the driver")
    if subject.holds:
        return goes_on("the driver goes on: with lone = hold a promise does not end by time")
    if not subject.alone_decides:
        return Promise(False, "nobody has a majority of the votes", "separate routes for the links")
    return Promise(False, "each takes the other's silence for its death", EXCUSE_REMEDY[Excuse.L3])


def isolated(subject: Subject) -> Promise:
    """The driver lives, and every link of it is impaired in at least one direction."""
    if subject.nodes > 2:
        return Promise(True, "the other nodes are a majority")
    return links(subject)


def slow(subject: Subject) -> Promise:
    """Round trips longer than those the timing counts with."""
    if subject.holds:
        return links(subject)
    return Promise(False, "frames take longer than the rtt_ms that the timing counts with",
                   "set rtt_ms to what the links really need")


def welded(subject: Subject) -> Promise:
    """A gateway's own contact does not obey."""
    if subject.gated:
        return goes_on("the arbiter's contact lies in series with it")
    return Promise(False, "the contact does not obey", EXCUSE_REMEDY[Excuse.CONTACT])


def voter_dead(subject: Subject) -> Promise:
    """No third vote, and no contact of it is closed."""
    if subject.gated:
        return Promise(False, "its contacts open with it", "feed the arbiter from both gateways, or do not let it gate "
                                                          "the outputs")
    return goes_on("the nodes' own promises are a majority")


def voter_cut(subject: Subject) -> Promise:
    """The driver does not reach the third voter."""
    if subject.gated:
        return Promise(True, "its contact opens, and the driver hands over to the node that still reaches the arbiter")
    return goes_on("the nodes' own promises are a majority")


def cold_alone(subject: Subject) -> Promise:
    """A node that never heard another."""
    if subject.all_drive:
        return always("it drives after LISTEN, by its own word")
    if subject.holds:
        return Promise(False, "with lone = hold a node that never heard the other does not drive",
                       "start the other node as well")
    if not subject.alone_decides and not subject.third_voter:
        return Promise(False, "one node is no majority", "start another node as well")
    return always("alone it drives after LISTEN and lonely_start_ms")


ANSWERS: dict[Kind, Callable[[Subject], Promise]] = {
    Kind.PLANNED: lambda subject: always("the driver's own frames say that its outputs are off"),
    Kind.KILLED: killed,
    Kind.STALLED: stalled,
    Kind.FROZEN: frozen,
    Kind.SILENT: silent,
    Kind.STANDBY: lambda subject: goes_on("the driver goes on"),
    Kind.LINK: lambda subject: goes_on("the other links carry the promise"),
    Kind.LINKS: links,
    Kind.ISOLATED: isolated,
    Kind.LOSS: lambda subject: goes_on("lost frames are asked for again and the promise is lengthened"),
    Kind.SLOW: slow,
    Kind.CONTACT: welded,
    Kind.CLOCK: lambda subject: Promise(False, "the clock is beyond drift_ppm", EXCUSE_REMEDY[Excuse.CLOCK]),
    Kind.VOTER_DEAD: voter_dead,
    Kind.VOTER_CUT: voter_cut,
    Kind.VOTER: lambda subject: goes_on("the nodes' own promises are a majority"),
    Kind.COLD: lambda subject: always("after LISTEN the first in the order claims"),
}
"""The answer for each kind of fault."""
