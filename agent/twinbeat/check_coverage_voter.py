"""Which faults a pair with a third voter covers, in plain words, and which it does not.

Its `lone` has no effect: whoever is cut off asks the third voter instead of choosing.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from twinbeat.check_coverage import HUNG, PROGRAMS_HUNG, FaultRow, hung_row, levels_kept, planned_row
from twinbeat.check_third import contact_of
from twinbeat.config_rules import split_broker
from twinbeat.config_schema import MqttLink, WitnessVoter
from twinbeat_hardware.spec import GpioSpec, SerialRelaySpec

if TYPE_CHECKING:
    from twinbeat.config import Config

NAMES = {"arbiter": "arbiter", "witness": "witness", "zookeeper": "ensemble"}


class VoterFacts(NamedTuple):
    """What the rows depend on. With groups of either sort `gated` and `bare` are both true.

    bare_keeps     a group that is not gated has outputs that keep their level
    bare_falls     and one has outputs that fall with the kernel
    power_ms, frozen_ms, killed_ms, cut_ms   outages: silent death, frozen agent, death notice, driver cut off from it
    """

    voter: str
    crosslinks: int
    types: tuple[str, ...]
    gated: bool
    bare: bool
    bare_keeps: bool
    bare_falls: bool
    broker_shared: bool
    release_ms: float
    contacts_ms: float
    lease_ms: float
    grant_ms: float
    power_ms: float
    frozen_ms: float
    killed_ms: float | None
    cut_ms: float


def voter_facts(cfg: Config, *, contacts_ms: float, lease_ms: float, grant_ms: float, power_ms: float,
                frozen_ms: float, killed_ms: float | None, cut_ms: float) -> VoterFacts:
    """From the file, with the figures that follow from its timing sums. Groups with overlap do not count."""
    assert cfg.third_voter is not None
    groups = [group for group in cfg.groups if not group.overlap]
    bare = [group for group in groups if contact_of(group) is None]
    keeping = [any(isinstance(output, GpioSpec | SerialRelaySpec) for output in group.outputs) for group in bare]
    return VoterFacts(
        voter=NAMES[cfg.third_voter.type],
        crosslinks=sum(link.type in ("serial", "udp") for link in cfg.links),
        types=tuple(link.type for link in cfg.links),
        gated=len(bare) < len(groups),
        bare=bool(bare),
        bare_keeps=any(keeping),
        bare_falls=not all(keeping),
        broker_shared=broker_shared(cfg),
        release_ms=max(group.release_ms for group in groups),
        contacts_ms=contacts_ms,
        lease_ms=lease_ms,
        grant_ms=grant_ms,
        power_ms=power_ms,
        frozen_ms=frozen_ms,
        killed_ms=killed_ms,
        cut_ms=cut_ms,
    )


def broker_shared(cfg: Config) -> bool:
    """Every link goes through the broker by which the witness is reached."""
    voter = cfg.third_voter
    if not isinstance(voter, WitnessVoter):
        return False
    host = split_broker(voter.broker)[0]
    return all(isinstance(link, MqttLink) and split_broker(link.broker)[0] == host for link in cfg.links)


def voter_coverage(facts: VoterFacts) -> list[FaultRow]:
    """One row for each fault."""
    return [row(facts) for row in ROWS]


def by_gate(facts: VoterFacts, gated: str, bare: str) -> str:
    """What happens to groups whose outputs the arbiter gates and to the others, named where there are both."""
    if facts.gated and facts.bare:
        return f"groups that the arbiter gates: {gated}; other groups: {bare}"
    return gated if facts.gated else bare


def moved(facts: VoterFacts) -> str:
    """What the contacts add to a change of roles."""
    if not facts.gated:
        return ""
    return f"; the arbiter's contacts move then, {facts.contacts_ms:g} ms and a round trip"


def planned(facts: VoterFacts) -> FaultRow:
    """A handover, or the agent's stop."""
    return planned_row(facts.release_ms, moved(facts))


def process_killed(facts: VoterFacts) -> FaultRow:
    """kill -9, out of memory, a crash of the agent."""
    if facts.killed_ms is None:
        text = ("the gate drops the outputs at once; without a crosslink for its notice the peer waits for the "
                "promises to run out")
        return FaultRow(fault="agent killed or crashed", covered="yes", outage_ms=facts.power_ms, text=text)
    how = ("says so on the crosslink and to the arbiter" if facts.voter == "arbiter" else
           f"says so on the crosslink; the peer passes that signed word on to the {facts.voter}, which frees its "
           "promise")
    text = (f"the gate drops the outputs at once and {how}; the peer drives as soon as they are off (release "
            f"{facts.release_ms:.1f} ms) and the {facts.voter} has answered{moved(facts)}")
    return FaultRow(fault="agent killed or crashed", covered="yes", outage_ms=facts.killed_ms, text=text)


def process_frozen(facts: VoterFacts) -> FaultRow:
    """SIGSTOP, a debugger, a deadlock of the decider."""
    text = (f"the gate drops the outputs within {facts.lease_ms:.0f} ms; the peer drives when its own promise and the "
            f"{facts.voter}'s have run out")
    return FaultRow(fault="agent frozen", covered="yes", outage_ms=facts.frozen_ms, text=text)


def kernel_hung(facts: VoterFacts) -> FaultRow:
    """The whole gateway stands still with its power on: the gate stands still too."""
    gated = f"the arbiter opens its contact {facts.grant_ms:.0f} ms after the last ask and closes the peer's"
    if not facts.bare:
        return FaultRow(fault=HUNG, covered="yes", outage_ms=facts.power_ms, text=gated)
    bare = PROGRAMS_HUNG
    if facts.bare_keeps:
        remedy = "" if facts.voter != "arbiter" else ', or let the arbiter gate the outputs (type = "arbiter")'
        bare = levels_kept("the peer", "the promises have run out") + remedy
    return hung_row(facts.bare_keeps, facts.power_ms, by_gate(facts, gated, bare))


def power_lost(facts: VoterFacts) -> FaultRow:
    """The gateway is without power: outputs that need it fall off, nobody says anything."""
    text = (f"the peer drives when its own promise and the {facts.voter}'s ({facts.grant_ms:g} ms) have run out and "
            f"the {facts.voter} has answered; a relay board with a supply of its own keeps its level, so feed it from "
            "its gateway")
    return FaultRow(fault="power of the driver lost", covered="yes", outage_ms=facts.power_ms, text=text)


def goes_on(facts: VoterFacts) -> str:
    """Without any link the driver has its own vote and the third voter's."""
    beyond = {"arbiter": "", "witness": ", while it reaches it", "ensemble": ", while it reaches a majority of servers"}
    return (f"the driver drives on with its own vote and the {facts.voter}'s{beyond[facts.voter]}; the other gets "
            "neither, so never two")


def one_link_lost(facts: VoterFacts, kind: str, fault: str) -> FaultRow:
    """The loss of a link of one kind while the others live."""
    if kind not in facts.types:
        return FaultRow(fault=fault, covered="yes", outage_ms=0.0, text="there is no such link")
    if kind == "mqtt" and facts.broker_shared:
        text = ("every link and the witness need this broker: nobody hears anybody and nobody drives until it is back; "
                "add a link that does not need it")
        return FaultRow(fault=fault, covered="no", outage_ms=None, text=text)
    if len(facts.types) == 1:
        return FaultRow(fault=fault, covered="yes", outage_ms=0.0, text="it is the only link: " + goes_on(facts))
    text = "no role moves and no output drops; the promise is lengthened to what the remaining links carry"
    return FaultRow(fault=fault, covered="yes", outage_ms=0.0, text=text)


def serial_cut(facts: VoterFacts) -> FaultRow:
    """The crosslink cable is out."""
    return one_link_lost(facts, "serial", "serial cable cut")


def broker_lost(facts: VoterFacts) -> FaultRow:
    """The broker, or the network to it, is gone."""
    return one_link_lost(facts, "mqtt", "broker or network lost")


def all_links_cut(facts: VoterFacts) -> FaultRow:
    """Both nodes live and hear nothing of each other."""
    return FaultRow(fault="all links cut, both alive", covered="yes", outage_ms=0.0, text=goes_on(facts))


def one_way(facts: VoterFacts) -> FaultRow:
    """A link carries frames in one direction only."""
    text = "the link counts as down on both sides and is reported (RX_DEAD, TX_DEAD); no role moves"
    if len(facts.types) == 1:
        text = "it is the only link: " + goes_on(facts)
    return FaultRow(fault="one link deaf one way", covered="yes", outage_ms=0.0, text=text)


def voter_lost(facts: VoterFacts) -> FaultRow:
    """The third voter is dead, or without supply."""
    gated = ("the arbiter's contacts open and nobody drives until it is back, and then for as long as its longest "
             "promise")
    bare = "no role moves: the two gateways agree with each other; a second fault then leaves nobody to drive"
    return FaultRow(fault="third voter lost", covered="no" if facts.gated else "yes",
                    outage_ms=None if facts.gated else 0.0, text=by_gate(facts, gated, bare))


def voter_cut(facts: VoterFacts) -> FaultRow:
    """The driver no longer reaches the third voter; the other does."""
    gated = "its contact opens, and the driver hands over to the node that still reaches the arbiter"
    bare = f"no role moves: the peer's vote is enough; VOTER_SILENT tells that the {facts.voter} is out of reach"
    return FaultRow(fault="driver cut off from it", covered="yes", outage_ms=facts.cut_ms if facts.gated else 0.0,
                    text=by_gate(facts, gated, bare))


ROWS: tuple[Callable[[VoterFacts], FaultRow], ...] = (
    planned,
    process_killed,
    process_frozen,
    kernel_hung,
    power_lost,
    serial_cut,
    broker_lost,
    all_links_cut,
    one_way,
    voter_lost,
    voter_cut,
)
