"""Which faults a configuration covers, in plain words, and which it does not.

The rows follow from the rules of the protocol and of the outputs; nothing here is measured.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import Struct

from twinbeat_hardware.spec import GpioSpec, MockSpec, SerialRelaySpec

if TYPE_CHECKING:
    from twinbeat.config import Config

Cover = Literal["yes", "partly", "no"]
HOLDS_ON = (
    "the driver drives on, because with lone = hold a promise does not end by time; only a takeover is not possible "
    "until a link is back"
)
HUNG = "kernel hung, power on"
PROGRAMS_HUNG = (
    "the outputs are programs and stand still with the kernel; if it comes back by itself, both run for the moment "
    "until the gate stops this side; a hardware watchdog excludes that"
)


class FaultRow(Struct, frozen=True, kw_only=True):
    """One fault of the driving node or of a link.

    covered    "yes": one node drives, never two; "partly": with the condition in the text; "no": see the text
    outage_ms  the longest time without a driven output where it can be computed
    """

    fault: str
    covered: Cover
    outage_ms: float | None
    text: str


class Facts(NamedTuple):
    """What the rows depend on. With groups of either sort `hold` and `takeover` are both true."""

    hold: bool
    takeover: bool
    crosslinks: int
    links: int
    types: frozenset[str]
    keeps_level: bool
    release_ms: float
    lease_ms: float
    grant_ms: float
    power_ms: float
    frozen_ms: float


def coverage(
    cfg: Config, *, lease_ms: float, grant_ms: float, power_ms: float, frozen_ms: float
) -> list[FaultRow]:
    """One row for each fault: T_L and T_G of the fastest link, the outage at power loss and at a freeze are given.

    Groups with overlap do not count. With several groups the most cautious answer counts: `hold` where any group holds
    and that group would be without a driver, `takeover` where any group takes over and that group would have two.
    """
    groups = [group for group in cfg.groups if not group.overlap]
    outputs = [output for group in groups for output in group.outputs]
    facts = Facts(
        hold=any(group.lone == "hold" for group in groups),
        takeover=any(group.lone == "takeover" for group in groups),
        crosslinks=sum(link.type in ("serial", "udp") for link in cfg.links),
        links=len(cfg.links),
        types=frozenset(link.type for link in cfg.links),
        keeps_level=any(isinstance(output, GpioSpec | SerialRelaySpec) for output in outputs),
        release_ms=max(group.release_ms for group in groups),
        lease_ms=lease_ms,
        grant_ms=grant_ms,
        power_ms=power_ms,
        frozen_ms=frozen_ms,
    )
    if all(isinstance(output, MockSpec) for output in outputs):
        facts = facts._replace(keeps_level=False)
    return [row(facts) for row in ROWS]


def overlap_rows(cfg: Config) -> list[FaultRow]:
    """What holds for groups that every node drives; no row where there is none. The other rows are about the rest."""
    names = ", ".join(family.name for family in cfg.families if family.overlap)
    if not names:
        return []
    return [
        FaultRow(fault="overlap: a node fails", covered="yes", outage_ms=0.0,
                 text=f"{names}: the others drive already, nothing is taken over"),
        FaultRow(fault="overlap: all links cut", covered="yes", outage_ms=0.0,
                 text=f"{names}: every node drives on, as it should"),
    ]


def process_killed(facts: Facts) -> FaultRow:
    """kill -9, out of memory, a crash of the agent."""
    fault = "agent killed or crashed"
    if facts.crosslinks:
        return FaultRow(
            fault=fault,
            covered="yes",
            outage_ms=None,
            text="the gate drops the outputs at once and says so on the crosslink; the peer drives as soon as they "
            f"are off (release {facts.release_ms:.1f} ms)",
        )
    if facts.hold:
        return FaultRow(
            fault=fault,
            covered="no",
            outage_ms=None,
            text="the outputs are dropped at once, but there is no crosslink for the gate's notice and lone = hold "
            "waits for it: nobody drives until the agent is back; add a serial or udp link",
        )
    return FaultRow(
        fault=fault,
        covered="yes",
        outage_ms=facts.power_ms,
        text="the gate drops the outputs at once; without a crosslink for its notice the peer waits for the promise "
        f"to run out ({facts.grant_ms:g} ms)",
    )


def process_frozen(facts: Facts) -> FaultRow:
    """SIGSTOP, a debugger, a deadlock of the decider."""
    fault = "agent frozen"
    if facts.hold:
        return FaultRow(
            fault=fault,
            covered="partly",
            outage_ms=None,
            text=f"the gate drops the outputs within {facts.lease_ms:.0f} ms; with lone = hold the peer drives only "
            "once the frozen agent has been ended (systemd's watchdog does that), because only then its gate says so",
        )
    return FaultRow(
        fault=fault,
        covered="yes",
        outage_ms=facts.frozen_ms,
        text=f"the gate drops the outputs within {facts.lease_ms:.0f} ms; the peer drives at most "
        f"{facts.grant_ms:.0f} ms after the last frame",
    )


def kernel_hung(facts: Facts) -> FaultRow:
    """The whole gateway stands still with its power on: the gate stands still too."""
    if not facts.keeps_level:
        if facts.hold:
            text = "the outputs are programs and stand still with the kernel; with lone = hold nobody drives"
            return FaultRow(fault=HUNG, covered="no", outage_ms=None, text=text)
        return hung_row(False, facts.power_ms, PROGRAMS_HUNG)
    texts = []
    if facts.takeover:
        texts.append(levels_kept("the peer", f"{facts.grant_ms:.0f} ms"))
    if facts.hold:
        texts.append(
            "GPIO lines and relay boards keep their level, and with lone = hold the peer does not drive: the output "
            "stays as it was until the hardware watchdog resets the gateway; set RuntimeWatchdogSec"
        )
    return hung_row(True, facts.power_ms, by_sort(texts))


def hung_row(keeps_level: bool, power_ms: float, text: str) -> FaultRow:
    """A kernel that hangs under outputs that nobody else switches off: those that keep their level, or programs."""
    return FaultRow(fault=HUNG, covered="no" if keeps_level else "partly", outage_ms=None if keeps_level else power_ms,
                    text=text)


def levels_kept(who: str, after: str) -> str:
    """What a takeover beside outputs that keep their level means: who drives, and after what."""
    return (
        f"GPIO lines and relay boards keep their level while {who} drives after {after}: both are on until the "
        "hardware watchdog resets the gateway; set RuntimeWatchdogSec, or wire an interlock"
    )


def power_lost(facts: Facts) -> FaultRow:
    """The gateway is without power: outputs that need it fall off, nobody says anything."""
    fault = "power of the driver lost"
    if facts.hold:
        return FaultRow(
            fault=fault,
            covered="no",
            outage_ms=None,
            text="no notice is sent, and lone = hold takes silence for no proof: nobody drives until the node is back",
        )
    return FaultRow(
        fault=fault,
        covered="yes",
        outage_ms=facts.power_ms,
        text=f"the peer drives when the promise has run out ({facts.grant_ms:g} ms after the last frame); a relay "
        "board with a supply of its own keeps its level, so feed it from its gateway",
    )


def one_link_lost(facts: Facts, kind: str, fault: str) -> FaultRow:
    """The loss of a link of one kind while the others live."""
    if kind not in facts.types:
        return FaultRow(fault=fault, covered="yes", outage_ms=0.0, text="there is no such link")
    if facts.links == 1:
        row = all_links_cut(facts)
        text = "it is the only link: " + row.text
        return FaultRow(fault=fault, covered=row.covered, outage_ms=row.outage_ms, text=text)
    return FaultRow(
        fault=fault,
        covered="yes",
        outage_ms=0.0,
        text="no role moves and no output drops; the promise is lengthened to what the remaining links carry",
    )


def serial_cut(facts: Facts) -> FaultRow:
    """The crosslink cable is out."""
    return one_link_lost(facts, "serial", "serial cable cut")


def broker_lost(facts: Facts) -> FaultRow:
    """The broker, or the network to it, is gone."""
    return one_link_lost(facts, "mqtt", "broker or network lost")


def all_links_cut(facts: Facts) -> FaultRow:
    """Both nodes live and hear nothing of each other."""
    texts = []
    if facts.takeover:
        texts.append(
            "both drive until a link is back, then the lower epoch lets go at once; lone = \"hold\" excludes it at the "
            "price of no takeover in silence, separate routes make it rare"
        )
    if facts.hold:
        texts.append(HOLDS_ON)
    return FaultRow(
        fault="all links cut, both alive",
        covered="no" if facts.takeover else "yes",
        outage_ms=0.0,
        text=by_sort(texts),
    )


def one_way(facts: Facts) -> FaultRow:
    """A link carries frames in one direction only."""
    fault = "one link deaf one way"
    if facts.links > 1:
        return FaultRow(
            fault=fault,
            covered="yes",
            outage_ms=0.0,
            text="the link counts as down on both sides and is reported (RX_DEAD, TX_DEAD); no role moves",
        )
    texts = []
    if facts.takeover:
        texts.append(
            "two may drive until it works both ways again, because one of them hears nothing of the other; lone = "
            "\"hold\" excludes it"
        )
    if facts.hold:
        texts.append(HOLDS_ON)
    return FaultRow(
        fault=fault,
        covered="no" if facts.takeover else "yes",
        outage_ms=None if facts.takeover else 0.0,
        text="it is the only link: " + by_sort(texts),
    )


def by_sort(texts: list[str]) -> str:
    """What happens to groups with lone = takeover and to those with lone = hold, named where there are both."""
    if len(texts) == 1:
        return texts[0]
    return f"groups with lone = takeover: {texts[0]}; groups with lone = hold: {texts[1]}"


def planned(facts: Facts) -> FaultRow:
    """A handover, or the agent's stop."""
    return planned_row(facts.release_ms)


def planned_row(release_ms: float, more: str = "") -> FaultRow:
    """The same for a pair of any sort; `more` is what comes on top."""
    text = f"outputs off here, then on there: the release time of {release_ms:.1f} ms and the way of one frame{more}"
    return FaultRow(fault="planned handover or stop", covered="yes", outage_ms=None, text=text)


ROWS: tuple[Callable[[Facts], FaultRow], ...] = (
    planned,
    process_killed,
    process_frozen,
    kernel_hung,
    power_lost,
    serial_cut,
    broker_lost,
    all_links_cut,
    one_way,
)
