"""What the core reports, in words: one line for the journal and `twinbeat events`."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from twinbeat_core.frames import WIRE_VERSION
from twinbeat_core.model import Cause, LateCode, ReportCode, State

STATE_NAMES: dict[int, str] = {int(item): str(item.name) for item in State}
CAUSE_NAMES: dict[int, str] = {int(item): str(item.name).removeprefix("CAUSE_") for item in Cause}
CODE_NAMES: dict[int, str] = {int(item): str(item.name).removeprefix("RP_") for item in ReportCode}

LEVELS: dict[int, int] = {
    ReportCode.RP_STATE: logging.INFO,
    ReportCode.RP_LINK_UP: logging.INFO,
    ReportCode.RP_LINK_DOWN: logging.WARNING,
    ReportCode.RP_RX_DEAD: logging.WARNING,
    ReportCode.RP_TX_DEAD: logging.WARNING,
    ReportCode.RP_LINK_OK: logging.INFO,
    ReportCode.RP_PEER_UP: logging.INFO,
    ReportCode.RP_PEER_SILENT: logging.WARNING,
    ReportCode.RP_PEER_DEAD: logging.WARNING,
    ReportCode.RP_CONFIG_MISMATCH: logging.ERROR,
    ReportCode.RP_VERSION_MISMATCH: logging.ERROR,
    ReportCode.RP_SELF_LATE: logging.WARNING,
    ReportCode.RP_HANDOVER_REFUSED: logging.WARNING,
    ReportCode.RP_GRANT: logging.DEBUG,
    ReportCode.RP_EPOCH_CEILING: logging.WARNING,
    ReportCode.RP_OUTPUT_FAULT: logging.ERROR,
    ReportCode.RP_PREPARE: logging.INFO,
    ReportCode.RP_HELD: logging.INFO,
}

CAUSES: dict[int, str] = {
    Cause.CAUSE_NONE: "no cause given",
    Cause.CAUSE_START: "the agent started",
    Cause.CAUSE_LISTEN_OVER: "it has listened long enough after its start",
    Cause.CAUSE_COLD_START: "nobody drove, and this node comes first",
    Cause.CAUSE_SILENCE: "the other node was silent on every link until its promise ran out",
    Cause.CAUSE_RELEASED: "the other node let go",
    Cause.CAUSE_DEATH_NOTICE: "the other node's gate reported that its agent died and its outputs are off",
    Cause.CAUSE_HANDOVER: "planned handover",
    Cause.CAUSE_MAJORITY: "a majority of the voters promised",
    Cause.CAUSE_ALONE: "no other node votes, and lone = takeover",
    Cause.CAUSE_LAPSED: "its authority ran out without answers from a majority",
    Cause.CAUSE_YIELD: "another node drives or claims with right of way",
    Cause.CAUSE_HIGHER_EPOCH: "another node drives at a higher epoch",
    Cause.CAUSE_UNFIT: "this node is not fit to drive",
    Cause.CAUSE_OPERATOR: "operator command",
    Cause.CAUSE_OUTPUT_FAULT: "an output failed or its read-back disagrees",
    Cause.CAUSE_OFF: "its outputs are off",
    Cause.CAUSE_STOP: "planned stop of the agent",
    Cause.CAUSE_THIRD_LOST: "the arbiter that gates its outputs did not hear it any more, but the other",
    Cause.CAUSE_SELF_LATE: "its authority ran out while this node was not running",
    Cause.CAUSE_FAILBACK: "failback: a better ranked node has been ready for failback_after_s",
    Cause.CAUSE_LOAD: "its load was above the other node's for load_hold_s",
    Cause.CAUSE_WARNING: "an early warning proposed the move",
}

REFUSALS: dict[int, str] = {
    1: "this node does not drive it",
    2: "no other node that could take it is heard",
    3: "no node that may drive it is ready: in service, fit and in step",
    4: "the node that was to take it was not prepared in time: its prepare hooks failed or ran too long; "
       "twinbeat events there names the hook",
    5: "moves are held down after changes of driver; a handover by an operator is not",
    6: "every node that may drives it at the same time (overlap): take it out of service instead",
}
"""Why the core refuses a handover (the value of RP_HANDOVER_REFUSED)."""

LATES: dict[int, str] = {
    LateCode.LATE_DECIDER: "the decider woke late",
    LateCode.LATE_RECEIVER: "a receiving thread ran late",
    LateCode.LATE_CANARY: "ordinary threads ran late",
}


class Names(NamedTuple):
    """Names of what the core knows by number."""

    node: str
    nodes: Sequence[str]
    groups: Sequence[str]
    links: Sequence[str]

    def node_name(self, number: int) -> str:
        """A node's name; 8 is the third voter."""
        if number == 8:
            return "the third voter"
        return self.nodes[number] if 0 <= number < len(self.nodes) else f"node {number}"

    def group_name(self, number: int) -> str:
        """A group's name."""
        return self.groups[number] if 0 <= number < len(self.groups) else f"group {number}"

    def link_name(self, number: int) -> str:
        """A link's name."""
        return self.links[number] if 0 <= number < len(self.links) else f"link {number}"


class Reported(NamedTuple):
    """A report of the core: when (CLOCK_BOOTTIME), ReportCode, and what it is about. See model.pxd for the fields."""

    at_ns: int
    code: int
    group: int
    node: int
    link: int
    epoch: int
    value: int
    extra: int


def state_name(state: int) -> str:
    """STANDBY, ACTIVE and so on."""
    return STATE_NAMES.get(state, f"state {state}")


def cause_name(cause: int) -> str:
    """SILENCE, HANDOVER and so on: the cause's code without its prefix."""
    return CAUSE_NAMES.get(cause, f"CAUSE {cause}")


def code_name(code: int) -> str:
    """PEER_SILENT and so on: the report's code without its prefix."""
    return CODE_NAMES.get(code, f"REPORT {code}")


def sentence(report: Reported, names: Names) -> str:
    """A report as one sentence."""
    code = report.code
    if code == ReportCode.RP_STATE:
        return (
            f"{names.group_name(report.group)}: {state_name(report.node)} -> {state_name(report.value)}: "
            f"{CAUSES.get(report.extra, cause_name(report.extra))}"
        )
    about_link = LINK_TEXTS.get(code)
    if about_link is not None:
        return about_link.format(link=names.link_name(report.link), node=names.node_name(report.node))
    if code == ReportCode.RP_SELF_LATE:
        why = LATES.get(report.extra, "a thread ran late")
        return f"{why} by {report.value / 1e6:.1f} ms: silence in that time proves nothing"
    if code == ReportCode.RP_GRANT:
        return (
            f"promises to {names.node_name(report.node)} are {report.value / 1e6:.1f} ms long "
            f"(measured loss {report.extra / 10.24:.1f} %)"
        )
    text = OTHER_TEXTS.get(code, code_name(code))
    return text.format(
        group=names.group_name(report.group),
        node=names.node_name(report.node),
        epoch=report.epoch,
        value=report.value,
        extra=report.extra,
        own=WIRE_VERSION,
        value_s=report.value / 1e9,
        refusal=REFUSALS.get(report.value, "no reason given"),
    )


def about_group(report: Reported, names: Names) -> str | None:
    """The group that a report is about; None where it is about a link or a node."""
    about = report.code == ReportCode.RP_STATE or "{group}" in OTHER_TEXTS.get(report.code, "")
    return names.group_name(report.group) if about else None


LINK_TEXTS: dict[int, str] = {
    ReportCode.RP_LINK_UP: "link {link}: up, {node} is heard and hears us",
    ReportCode.RP_LINK_DOWN: "link {link}: nothing more is heard from {node}",
    ReportCode.RP_RX_DEAD: "link {link}: RX_DEAD, {node} hears us but its frames do not arrive here",
    ReportCode.RP_TX_DEAD: "link {link}: TX_DEAD, {node} is heard but our frames do not arrive there",
    ReportCode.RP_LINK_OK: "link {link}: both directions to {node} work again",
}

OTHER_TEXTS: dict[int, str] = {
    ReportCode.RP_PEER_UP: "{node}: heard, and it hears us",
    ReportCode.RP_PEER_SILENT: "{node}: silent on every link",
    ReportCode.RP_PEER_DEAD: "{node}: its agent died, says its gate",
    ReportCode.RP_CONFIG_MISMATCH: (
        "{node}: runs another configuration ({value:04x}, this node {extra:04x}); neither begins to drive until both "
        "run the same file: compare what twinbeat check prints on both, then restart the agent whose file was wrong"
    ),
    ReportCode.RP_VERSION_MISMATCH: (
        "{node}: speaks protocol version {value}, this node {own}; it is not understood and this node does not begin "
        "to drive: install the same version of twinbeat on both gateways"
    ),
    ReportCode.RP_HANDOVER_REFUSED: "{group}: handover refused: {refusal}",
    ReportCode.RP_PREPARE: "{group}: {node} is about to hand it over (epoch {epoch}): preparing",
    ReportCode.RP_HELD: (
        "{group}: moves are held down for {value_s:.1f} s (changes of driver: {extra}); "
        "faults and operators move it all the same"
    ),
    ReportCode.RP_EPOCH_CEILING: (
        "{group}: a claim waits until the reserved epochs are on disk; usual at a first start, else the disk is slow"
    ),
    ReportCode.RP_OUTPUT_FAULT: "{group}: an output failed; this node will not claim it until twinbeat in {group}",
}
