"""`twinbeat arbiter status`: what the arbiter says, asked of the running agent, or of the board itself."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinbeat.arbiter.lines import OpenLine, Target, data_of, find_target, opened, require_lines
from twinbeat.cli_dispatch import print_json
from twinbeat.control_client import ControlClient
from twinbeat.errors import AgentNotRunning
from twinbeat.screen import entries
from twinbeat_bridge.protocol import Board, Row, Told, VoteCode, Votes, told_of
from twinbeat_bridge.session import ArbiterError
from twinbeat_bridge.status import (
    BOARDS,
    contacts_data,
    faults,
    group_line,
    merged,
    row_data,
    told_data,
    told_lines,
)

if TYPE_CHECKING:
    import argparse

ROWS_MAX = 16
FIRMWARE_BOARDS = (Board.RP2, Board.MICROBIT, Board.UNIX)


def main(arguments: argparse.Namespace) -> int:
    """Print it. 1: something is wrong at the contacts."""
    target = find_target(arguments)
    require_lines(target)
    data = None if arguments.port else ask_agent(target, arguments.run_dir)
    if data is None:
        with opened(target) as lines:
            data = ask_board(target, lines)
    if arguments.json:
        print_json(data)
    else:
        print("\n".join(as_lines(data, target)))
    return 1 if data["faults"] else 0


def ask_agent(target: Target, run_dir: str | None) -> dict[str, Any] | None:
    """What the agent that owns the port knows; None where none runs. Raises ControlError, ArbiterError."""
    assert target.cfg is not None
    try:
        with ControlClient(target.cfg.socket_path(run_dir)) as client:
            part = client.ask("status").get("third_voter")
    except AgentNotRunning:
        return None
    part = part if isinstance(part, dict) else {}
    told = told_of(bytes.fromhex(str(part.get("told") or "")))
    if told is None:
        raise ArbiterError(
            f"{target.lines[0].path}: the running agent has heard nothing from its arbiter: look at twinbeat status, "
            "or stop the agent and ask again"
        )
    return {
        "source": "agent",
        "lines": [data_of(line) for line in target.lines],
        **described(told),
        "heard_ago_ms": part.get("heard_ago_ms"),
        "round_trip_ms": median_ms(part.get("round_trip")),
        "groups_seen": [agent_group(target, group) for group in entries(part, "groups")],
    }


def agent_group(target: Target, group: dict[str, Any]) -> dict[str, Any]:
    """What the agent was answered for one group, as `row_data` has it."""
    number, side = int(group.get("group", 0)), target.lines[0].side
    name = {"name": target.group_name(number)}
    if group.get("contacts") is None or group.get("code") not in set(VoteCode):
        return {"group": number, "answer": None, "holder": None, "left_ms": 0, "contacts": None, **name}
    code, contacts = VoteCode(group["code"]), contacts_data(group["contacts"])
    holder = f"side {side}" if code is VoteCode.PROMISED else "abstains" if code is VoteCode.ABSTAINS else None
    if holder is None and contacts is not None and contacts["other"] == "closed":
        holder = f"side {1 - side}"
    return {"group": number, "answer": code.name, "holder": holder, "left_ms": 0, "contacts": contacts, **name}


def median_ms(histogram: Any) -> float | None:
    """A time that half of all round trips were below; None where there were none."""
    if not isinstance(histogram, dict) or not histogram.get("count"):
        return None
    below, seen = histogram.get("below_us") or {}, 0
    for bound_us in sorted(map(int, below)):
        seen += below[str(bound_us)]
        if 2 * seen >= histogram["count"]:
            return bound_us / 1000
    return float(histogram.get("max_us", 0)) / 1000


def ask_board(target: Target, lines: list[OpenLine]) -> dict[str, Any]:
    """What the board says on each line. Raises ArbiterError."""
    found = [line.serial.query() for line in lines]
    told = found[0].answer
    assert isinstance(told, Told)
    others = [other.answer for other in found if other.answer.voter != told.voter]
    if others:
        raise ArbiterError(
            f"{lines[0].line.path} and {lines[1].line.path} lead to two arbiters: a pair has one; check the cables"
        )
    count = min(told.groups, ROWS_MAX, len(target.group_names) or ROWS_MAX)
    seen = [[row_data(row, line.line.side) for row in floors(line, count)] for line in lines]
    groups = [merged(rows) | {"name": target.group_name(rows[0]["group"])} for rows in zip(*seen, strict=True)]
    return {
        "source": "port",
        "lines": [data_of(line.line) for line in lines],
        **described(told),
        "round_trip_ms": round(min(one.ms for one in found), 3),
        "groups_seen": groups,
    }


def floors(line: OpenLine, count: int) -> tuple[Row, ...]:
    """An answer for each of the first groups, asking nothing but the floor: no promise changes by it."""
    votes = line.serial.ask([(group, 0) for group in range(count)]).answer
    assert isinstance(votes, Votes)
    return votes.rows


def described(told: Told) -> dict[str, Any]:
    """A TOLD with what follows from it."""
    here = build_here(told)
    return told_data(told) | {
        "build_here": None if here is None else f"{here:08x}",
        "current": here is None or not told.build or here == told.build,
        "faults": faults(told),
    }


def build_here(told: Told) -> int | None:
    """The build number of the firmware that this program carries for the board; None where it carries none."""
    from twinbeat_bridge.bundle import build_number, read_sources
    from twinbeat_bridge.squeeze import FirmwareError

    if told.board not in FIRMWARE_BOARDS:
        return None
    try:
        return build_number(read_sources(BOARDS[Board(told.board)]))
    except FirmwareError:
        return None


def as_lines(data: dict[str, Any], target: Target) -> list[str]:
    """The data in words."""
    ports = ", ".join(line["port"] for line in data["lines"])
    lines = told_lines(data, ports if data["source"] == "port" else f"{ports}, asked by the running agent")
    lines += [group_line(group, group["name"], target.node_names) for group in data["groups_seen"]]
    if data["round_trip_ms"] is not None:
        below = "below " if data["source"] == "agent" else ""
        lines.append(f"round trip {below}{data['round_trip_ms']:.2f} ms")
    if data.get("heard_ago_ms") is not None:
        lines.append(f"the agent heard it {data['heard_ago_ms']:.0f} ms ago")
    if not data["current"]:
        lines.append(
            f"the firmware is another than this program's (build {data['build_here']}): twinbeat arbiter flash"
        )
    return lines + [f"WRONG: {fault}" for fault in data["faults"]]
