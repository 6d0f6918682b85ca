"""The steps from the old version to the new one, in order, and what does not survive them."""
from __future__ import annotations

from collections.abc import Sequence

from twinbeat.upgrade.facts import Facts
from twinbeat.upgrade.judge import Point, Seen, fits

OTHER = "the other gateway"
THIS = "this gateway"


def steps(points: Sequence[Point], seen: Seen) -> list[str]:
    """What to do, one line a step. With a pause where the digests differ, nothing where the versions do not fit."""
    if fits(points):
        return rolling(*order(seen))
    refused = {point.about for point in points if point.verdict == "no"}
    if refused == {"configuration"} and not any("cannot read" in point.text for point in points):
        return with_pause(*order(seen))
    return []


def order(seen: Seen) -> tuple[list[str], str]:
    """Who is upgraded first (those that stand by) and who last (the driver); by name where the names are known."""
    peers = [peer.name for peer in seen.peers]
    if seen.node is None or not peers:
        return ["the gateway that stands by"], "the gateway that drives"
    names = [seen.node, *peers]
    driver = next((name for name in names if name in seen.drives), seen.node)
    return [name for name in names if name != driver], driver


def rolling(standby: list[str], driver: str) -> list[str]:
    """Without a gap but those of planned handovers."""
    found = [
        "all gateways: install the new version beside the old one (its own virtual environment), and let "
        "`twinbeat upgrade-check` and `twinbeat check` of the new one end with exit code 0",
        "all gateways: `twinbeat status` shows every link up and no mismatch; if not, mend that first",
    ]
    for name in standby:
        found += [
            f"{name}: `twinbeat out` (hands over what it drives and takes nothing)",
            f"{name}: `systemctl stop twinbeat`, switch to the new version, `systemctl start twinbeat`",
            f"{name}: wait until `twinbeat status` on both shows it as STANDBY with every link up",
        ]
    found += [
        f"{driver}: `twinbeat handover GROUP` for each group; the other one drives with the new version now",
        f"{driver}: look for a while: `twinbeat status`, `twinbeat why` on both; the way back is these steps with the "
        "old version",
        f"{driver}: `systemctl stop twinbeat`, switch to the new version, `systemctl start twinbeat`",
        f"{driver}: wait until `twinbeat status` on both shows it as STANDBY; hand back if it shall drive again",
        "all gateways: only now use what is new in the configuration file, and remove TWINBEAT_PROTOCOL_MAX",
    ]
    return found


def with_pause(standby: list[str], driver: str) -> list[str]:
    """The digests differ: the two versions must not run at the same time."""
    others = ", ".join(standby)
    return [
        "the two must not run at the same time: nobody would begin to drive while they hear each other, and for ten "
        "seconds after. Choose a moment at which the outputs may be off for some seconds",
        "all gateways: install the new version beside the old one; `twinbeat check` of the new one prints the same "
        "number on all",
        f"{others}: `systemctl stop twinbeat`, switch to the new version, do not start it yet",
        f"{driver}: `systemctl stop twinbeat` (the outputs go off), switch to the new version",
        f"{driver} and {others}: `systemctl start twinbeat` on all; one of them drives after LISTEN, or after "
        "lonely_start_ms where it hears nobody",
    ]


def losses(own: Facts, other: Facts | None) -> list[str]:
    """What a restart into another version does not keep."""
    found = [
        "the flight recorder's last minutes in memory: save them before with `{\"verb\": \"record\"}` if they matter",
        "what `twinbeat out` took out of service, and hold-downs that run: the new start begins without them",
        "reading of older recordings: `twinbeat replay` wants the version that wrote them, so keep the old environment "
        "as long as you keep those",
    ]
    if other is not None and other.state_format != own.state_format:
        found.append("the start counter and the reserved epochs of the state file: the start counts as a lost disk")
    return found
