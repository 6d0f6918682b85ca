"""`twinbeat upgrade-check`: whether two versions work together, and the steps from one to the other."""
from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from twinbeat.cli_dispatch import print_json
from twinbeat.cli_options import CONFIG_PATH
from twinbeat.commands.control import find_socket
from twinbeat.control_client import ControlClient
from twinbeat.errors import AgentNotRunning, ConfigError, ControlError
from twinbeat.screen import entries
from twinbeat.upgrade.facts import Facts, as_data, facts_of_file, own_facts, release_facts
from twinbeat.upgrade.judge import PeerSeen, Point, Seen, fits, judge
from twinbeat.upgrade.steps import losses, steps

if TYPE_CHECKING:
    import argparse

MARKS = {"yes": "ok", "no": "NO", "unknown": "?", "note": "note"}
COLUMNS = 118


def main(arguments: argparse.Namespace) -> int:
    """Print the judgement and the steps. 0: they work together; 1: not."""
    named = arguments.config if arguments.config != CONFIG_PATH or Path(CONFIG_PATH).exists() else None
    own = own_facts(named)
    other = None
    if arguments.peer_version:
        other = release_facts(arguments.peer_version)
    elif arguments.other:
        other = facts_of_file(arguments.other)
    seen = look(arguments)
    points = judge(own, other, seen)
    plan, lost = steps(points, seen), losses(own, other)
    if arguments.json:
        print_json({
            "ok": fits(points),
            "points": msgspec.to_builtins(points),
            "steps": plan,
            "losses": lost,
            "here": as_data(own),
            "there": as_data(other) if other else None,
            "running": msgspec.to_builtins(seen),
        })
    else:
        print("\n".join(as_lines(own, other, seen, points, plan, lost)))
    return 0 if fits(points) else 1


def look(arguments: argparse.Namespace) -> Seen:
    """What the running agent says; nothing where none runs or can be asked."""
    try:
        with ControlClient(find_socket(arguments)) as client:
            answer = client.ask("status")
    except (AgentNotRunning, ConfigError):
        return Seen()
    except ControlError:
        if arguments.socket:
            raise
        return Seen()
    return seen_of(answer)


def seen_of(answer: dict[str, Any]) -> Seen:
    """From the agent's status; an older one says less."""
    node = answer.get("node")
    digest, version = answer.get("config_digest"), answer.get("version")
    drives = {str(group["driver"]) for group in entries(answer, "groups") if group.get("driver")}
    return Seen(
        node=node if isinstance(node, str) else None,
        version=version if isinstance(version, str) else None,
        digest=digest if type(digest) is int else None,
        peers=tuple(peer_of(peer) for peer in entries(answer, "peers")),
        drives=tuple(sorted(drives)),
    )


def peer_of(peer: dict[str, Any]) -> PeerSeen:
    """One other node."""
    layout, newest = peer.get("version"), peer.get("version_max")
    return PeerSeen(
        name=str(peer.get("name", "?")),
        alive=bool(peer.get("alive")),
        version=layout if type(layout) is int and layout else None,
        version_max=newest if type(newest) is int and newest else None,
        config_mismatch=bool(peer.get("config_mismatch")),
        version_mismatch=bool(peer.get("version_mismatch")),
    )


def as_lines(own: Facts, other: Facts | None, seen: Seen, points: list[Point], plan: list[str],
             lost: list[str]) -> list[str]:
    """For people."""
    there = f"twinbeat {other.twinbeat}" if other else "what the running agent hears" if seen.node else "not known"
    running = f"; running here: twinbeat {seen.version}" if seen.version else "; no agent runs here"
    lines = [f"installed here: twinbeat {own.twinbeat}; on the other gateway: {there}{running}", ""]
    width = max(len(point.about) for point in points)
    for point in points:
        lines += wrapped(f"  {MARKS[point.verdict]:<4}  {point.about:<{width}}  ", point.text)
    refused = any(point.verdict == "no" for point in points)
    lines += ["", "They work together." if fits(points) else "They do NOT work together as they are." if refused else
              "Whether they work together cannot be said yet."]
    if plan:
        lines += ["", "Steps, in this order:"]
        for number, step in enumerate(plan, start=1):
            lines += wrapped(f"{number:>4}. ", step)
        lines += ["", "Not kept:"]
        for text in lost:
            lines += wrapped("   -  ", text)
    return lines


def wrapped(head: str, text: str) -> list[str]:
    """A paragraph behind its head."""
    return textwrap.wrap(text, COLUMNS, initial_indent=head, subsequent_indent=" " * len(head),
                         break_long_words=False, break_on_hyphens=False)
