"""Which faults a pair with a spare node covers, in plain words, and which it does not.

Three nodes vote, so any one may fail: two that hear each other are a majority, one alone is none. `lone` has no
effect. Nobody but the nodes that may drive a group takes it over; the third only votes.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from twinbeat.check_coverage import PROGRAMS_HUNG, FaultRow, hung_row, levels_kept, planned_row
from twinbeat.config_schema import SerialLink, UdpLink
from twinbeat_hardware.spec import GpioSpec, SerialRelaySpec

if TYPE_CHECKING:
    from twinbeat.config import Config


class SpareFacts(NamedTuple):
    """What the rows depend on; only groups that one node drives count.

    told     the gate can tell every other node of its agent's death: a UDP link reaches them
    common   types of the links that reach all nodes
    cables   how many serial cables there are
    """

    spare: str
    told: bool
    common: tuple[str, ...]
    cables: int
    keeps_level: bool
    release_ms: float
    lease_ms: float
    grant_ms: float
    power_ms: float
    frozen_ms: float


def spare_coverage(cfg: Config, *, lease_ms: float, grant_ms: float, power_ms: float,
                   frozen_ms: float) -> list[FaultRow]:
    """One row for each fault: T_L and T_G of the fastest link, the outage at power loss and at a freeze are given."""
    assert cfg.spare is not None
    groups = [group for group in cfg.groups if not group.overlap]
    facts = SpareFacts(
        spare=cfg.spare,
        told=any(isinstance(link, UdpLink) for link in cfg.links),
        common=tuple(link.type for link in cfg.links if not isinstance(link, SerialLink)),
        cables=sum(isinstance(link, SerialLink) for link in cfg.links),
        keeps_level=any(isinstance(output, GpioSpec | SerialRelaySpec) for group in groups for output in group.outputs),
        release_ms=max(group.release_ms for group in groups),
        lease_ms=lease_ms,
        grant_ms=grant_ms,
        power_ms=power_ms,
        frozen_ms=frozen_ms,
    )
    return [row(facts) for row in ROWS]


def planned(facts: SpareFacts) -> FaultRow:
    """A handover, or the agent's stop."""
    return planned_row(facts.release_ms)


def process_killed(facts: SpareFacts) -> FaultRow:
    """kill -9, out of memory, a crash of the agent."""
    if facts.told:
        text = ("the gate drops the outputs at once and tells the other nodes; the next in the group's order drives as "
                f"soon as they are off (release {facts.release_ms:.1f} ms)")
        return FaultRow(fault="agent killed or crashed", covered="yes", outage_ms=None, text=text)
    text = (f"the gate drops the outputs at once; no udp link carries its notice to all, so the next in the group's "
            f"order may have to wait for the promise to run out ({facts.grant_ms:g} ms)")
    return FaultRow(fault="agent killed or crashed", covered="yes", outage_ms=facts.power_ms, text=text)


def process_frozen(facts: SpareFacts) -> FaultRow:
    """SIGSTOP, a debugger, a deadlock of the decider."""
    text = (f"the gate drops the outputs within {facts.lease_ms:.0f} ms; the next in the group's order drives when the "
            f"promises have run out, at most {facts.grant_ms:.0f} ms after the last frame, with the third node's vote")
    return FaultRow(fault="agent frozen", covered="yes", outage_ms=facts.frozen_ms, text=text)


def kernel_hung(facts: SpareFacts) -> FaultRow:
    """The whole gateway stands still with its power on: the gate stands still too."""
    text = levels_kept("the next node", f"{facts.grant_ms:.0f} ms") if facts.keeps_level else PROGRAMS_HUNG
    return hung_row(facts.keeps_level, facts.power_ms, text)


def power_lost(facts: SpareFacts) -> FaultRow:
    """The gateway is without power: outputs that need it fall off, nobody says anything."""
    text = (f"the next in the group's order drives when the promises have run out ({facts.grant_ms:g} ms after the "
            "last frame), with the third node's vote; a relay board with a supply of its own keeps its level, so feed "
            "it from its gateway")
    return FaultRow(fault="power of the driver lost", covered="yes", outage_ms=facts.power_ms, text=text)


def serial_cut(facts: SpareFacts) -> FaultRow:
    """A cable between two of the nodes is out."""
    text = "there is no such link"
    if facts.cables:
        text = "no role moves and no output drops; the links that reach all nodes carry the promises"
    return FaultRow(fault="serial cable cut", covered="yes", outage_ms=0.0, text=text)


def broker_lost(facts: SpareFacts) -> FaultRow:
    """The broker, or the network to it, is gone."""
    fault = "broker or network lost"
    if "mqtt" not in facts.common:
        return FaultRow(fault=fault, covered="yes", outage_ms=0.0, text="there is no such link")
    if len(facts.common) == 1:
        text = (f"it is the only link that reaches {facts.spare}: who is left without a second node that hears it "
                "drops its outputs; two that a cable joins drive on; add a udp link")
        return FaultRow(fault=fault, covered="partly" if facts.cables else "no", outage_ms=None, text=text)
    text = "no role moves and no output drops; the promise is lengthened to what the remaining links carry"
    return FaultRow(fault=fault, covered="yes", outage_ms=0.0, text=text)


def all_cut(facts: SpareFacts) -> FaultRow:
    """Nobody hears anybody."""
    text = (f"nobody has a majority: every node drops its outputs within {facts.lease_ms:.0f} ms and nobody drives "
            "until two hear each other again; never two drivers; separate routes make it rare")
    return FaultRow(fault="all links cut, all alive", covered="no", outage_ms=None, text=text)


def node_cut_off(facts: SpareFacts) -> FaultRow:
    """One node hears nobody and is heard by nobody; the two others hear each other."""
    text = (f"the two others are a majority: a driver that is cut off drops its outputs within {facts.lease_ms:.0f} "
            "ms, and the next in the group's order drives when the promise to it has run out; never two drivers")
    return FaultRow(fault="driver cut off from all", covered="yes", outage_ms=facts.frozen_ms, text=text)


def one_way(facts: SpareFacts) -> FaultRow:
    """A link carries frames in one direction only."""
    fault = "one link deaf one way"
    if len(facts.common) > 1:
        text = "the link counts as down on both sides and is reported (RX_DEAD, TX_DEAD); no role moves"
        return FaultRow(fault=fault, covered="yes", outage_ms=0.0, text=text)
    text = "it is the only link that reaches all: a driver that hears nobody drops, and the next in the order drives"
    return FaultRow(fault=fault, covered="partly", outage_ms=None, text=text)


def third_lost(facts: SpareFacts) -> FaultRow:
    """A node that does not drive is dead or cut off."""
    text = ("no role moves: the other two agree with each other; a second fault then leaves nobody to drive, because "
            "one of three is no majority")
    return FaultRow(fault="a node lost that drives not", covered="yes", outage_ms=0.0, text=text)


def two_lost(facts: SpareFacts) -> FaultRow:
    """Two of three at once."""
    text = "the one that is left is no majority and does not drive until another is back; never two drivers"
    return FaultRow(fault="two of three nodes lost", covered="no", outage_ms=None, text=text)


ROWS: tuple[Callable[[SpareFacts], FaultRow], ...] = (
    planned,
    process_killed,
    process_frozen,
    kernel_hung,
    power_lost,
    serial_cut,
    broker_lost,
    all_cut,
    node_cut_off,
    one_way,
    third_lost,
    two_lost,
)
