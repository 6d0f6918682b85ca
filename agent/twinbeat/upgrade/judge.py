"""Whether two versions work together in one pair, point by point. Pure: facts in, points out."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from twinbeat.upgrade.facts import Facts

Verdict = Literal["yes", "no", "unknown", "note"]


class Seen(Struct, frozen=True, kw_only=True):
    """What the running agent of this gateway says; None: no agent, or it does not say.

    digest   what the pair's frames carry now
    peers    for each other node heard: name, layout of its last frame, newest layout it speaks, whether its
             configuration or protocol is another one
    drives   the nodes that drive something
    """

    node: str | None = None
    version: str | None = None
    digest: int | None = None
    peers: tuple[PeerSeen, ...] = ()
    drives: tuple[str, ...] = ()


class PeerSeen(Struct, frozen=True, kw_only=True):
    """One other node as the running agent sees it."""

    name: str
    alive: bool = False
    version: int | None = None
    version_max: int | None = None
    config_mismatch: bool = False
    version_mismatch: bool = False


class Point(Struct, frozen=True, kw_only=True):
    """One thing that must fit: "no" keeps the versions apart, "unknown" may, a "note" does not."""

    about: str
    verdict: Verdict
    text: str


def judge(own: Facts, other: Facts | None, seen: Seen) -> list[Point]:
    """Every point. `other` is what runs on the other gateway; None: only what the running agent sees of it."""
    points = [protocol(own, other, seen), configuration(own, other, seen)]
    if other is not None:
        points += [state(own, other), *voter(own, other), *environment(own, other)]
    elif own.libraries:
        points += missing_libraries(own)
    return points


def fits(points: Sequence[Point]) -> bool:
    """Whether the versions work together."""
    return all(point.verdict in ("yes", "note") for point in points)


def protocol(own: Facts, other: Facts | None, seen: Seen) -> Point:
    """The layouts of frames: there must be one that both read, and the newer node begins with the older layout."""
    about = "protocol"
    here = spoken(own.protocol_oldest, own.protocol_newest, own.protocol_pinned)
    if other is not None:
        there = spoken(other.protocol_oldest, other.protocol_newest, other.protocol_pinned)
        low, high = max(own.protocol_oldest, other.protocol_oldest), min(own.newest_spoken, other.newest_spoken)
        if low <= high:
            text = f"here {here}, there {there}: they speak layout {high} with each other, planned handover included"
            return Point(about=about, verdict="yes", text=text)
        newer = "here" if own.protocol_oldest > other.newest_spoken else "on the other gateway"
        return Point(about=about, verdict="no", text=(
            f"here {here}, there {there}: no layout is common; the program {newer} is more than one step ahead: "
            f"install a version between them on both gateways first{pin_hint(own, other)}"
        ))
    heard = [peer for peer in seen.peers if peer.version_max is not None]
    if not heard:
        return Point(about=about, verdict="unknown", text=(
            f"here {here}; nothing is known of the other gateway: give its version with --peer-version V, or what it "
            "says of itself with --with FILE.json, or start the agent here and ask again"
        ))
    far = [peer for peer in heard if (peer.version_max or 0) < own.protocol_oldest
           or (peer.version or 0) > own.protocol_newest]
    told = ", ".join(f"{peer.name} speaks up to {peer.version_max}" for peer in heard)
    if far:
        return Point(about=about, verdict="no", text=(
            f"here {here}; {told}: no layout is common; install a version between them on both gateways first"))
    return Point(about=about, verdict="yes", text=f"here {here}; as the running agent hears it {told}")


def spoken(oldest: int, newest: int, pinned: int | None) -> str:
    """The layouts in words."""
    text = f"layout {oldest}" if oldest == newest else f"layouts {oldest} to {newest}"
    return text if pinned is None or pinned == newest else f"{text}, held to {pinned} by TWINBEAT_PROTOCOL_MAX"


def pin_hint(own: Facts, other: Facts) -> str:
    """Where only the pin is in the way."""
    low, high = max(own.protocol_oldest, other.protocol_oldest), min(own.protocol_newest, other.protocol_newest)
    return ", or remove TWINBEAT_PROTOCOL_MAX where it is set" if low <= high else ""


def configuration(own: Facts, other: Facts | None, seen: Seen) -> Point:
    """The digest of the file: frames with another one prove nothing, and keep both from beginning to drive."""
    about = "configuration"
    if own.config_problem is not None:
        return Point(about=about, verdict="no", text=f"the program here cannot read the file: {own.config_problem}")
    strangers = [peer.name for peer in seen.peers if peer.alive and peer.config_mismatch]
    if strangers:
        return Point(about=about, verdict="no", text=(
            f"{', '.join(strangers)} runs with another configuration even now; make the files equal first "
            "(twinbeat check prints the number of each)"
        ))
    told = [(place, digest) for place, digest in (
        ("the running agent here", seen.digest), ("the program there", other.config_digest if other else None),
    ) if digest is not None]
    if own.config_digest is not None and told:
        others = [(place, digest) for place, digest in told if digest != own.config_digest]
        if not others:
            names = " and ".join(place for place, _digest in told)
            return Point(about=about, verdict="yes", text=(
                f"the program here reads {own.config_file} to the digest {own.config_digest:04x}, as {names} does"))
        place, digest = others[0]
        why = (f"the rules of the digest differ ({own.digest_rules} here, {other.digest_rules} there)"
               if other is not None and other.digest_rules != own.digest_rules else
               "the files differ, or the file was changed after the agent had started")
        return Point(about=about, verdict="no", text=(
            f"the program here reads {own.config_file} to the digest {own.config_digest:04x}, {place} to {digest:04x}: "
            f"{why}; while both run, neither begins to drive"
        ))
    if other is not None and other.digest_rules != own.digest_rules:
        return Point(about=about, verdict="unknown", text=(
            f"the rules of the digest differ ({own.digest_rules} here, {other.digest_rules} there) and there are "
            "no two digests to compare: give --config here, and let the other one write its answer with --config too"
        ))
    if other is None and own.config_digest is None:
        return Point(about=about, verdict="note", text="no file was read: give it with --config to compare digests")
    return Point(about=about, verdict="yes", text=(
        f"both make the digest by rules {own.digest_rules}: the same file gives the same"))


def state(own: Facts, other: Facts) -> Point:
    """The state file: one that cannot be read is a lost disk, and the node abstains until it has heard the others."""
    about = "state file"
    if own.state_format == other.state_format:
        return Point(about=about, verdict="yes", text=f"both write format {own.state_format}")
    return Point(about=about, verdict="note", text=(
        f"format {own.state_format} here, {other.state_format} there: the first start with the other format counts as "
        "a lost disk; the node abstains until it has heard every other voter, so the other gateway must run then"
    ))


def voter(own: Facts, other: Facts) -> list[Point]:
    """What is said to the third voter, where the pair has one; ZooKeeper's values are not part of it."""
    kind = own.third_voter or other.third_voter
    about = "third voter"
    if kind not in ("arbiter", "witness"):
        return []
    if own.voter_protocol == other.voter_protocol:
        return [Point(about=about, verdict="yes", text=f"both speak protocol {own.voter_protocol:02x} to the {kind}")]
    remedy = "flash the arbiter" if kind == "arbiter" else "update the witness"
    return [Point(about=about, verdict="no", text=(
        f"protocol {own.voter_protocol:02x} here, {other.voter_protocol:02x} there: the {kind} answers one of them "
        f"only; {remedy} between the two gateways' turns, and let nothing else fail meanwhile"
    ))]


def environment(own: Facts, other: Facts) -> list[Point]:
    """Python and libraries: they need not be equal; what is missing must be installed."""
    points = missing_libraries(own)
    differ = []
    if other.python and own.python and other.python != own.python:
        differ.append(f"Python {own.python} here, {other.python} there")
    for name, have in sorted((own.libraries or {}).items()):
        there = (other.libraries or {}).get(name)
        if there is not None and there != have:
            differ.append(f"{name} {have} here, {there} there")
    if differ:
        points.append(Point(about="libraries", verdict="note", text="; ".join(differ) + ": they need not be equal"))
    return points


def missing_libraries(own: Facts) -> list[Point]:
    """What the program here cannot run without."""
    lost = [name for name, have in sorted((own.libraries or {}).items()) if have == "missing"]
    if not lost:
        return []
    text = f"{', '.join(lost)} is not installed beside the program here: install the package with pip"
    return [Point(about="libraries", verdict="no", text=text)]
