"""What an arbiter says of itself, as plain data and in words."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .protocol import NEVER_MS, Board, Contacts, ResetCause, Row, Told, VoteCode, voter_text

BOARDS = {Board.RP2: "rp2", Board.MICROBIT: "microbit", Board.UNIX: "unix", Board.WITNESS: "witness"}
CAUSES = {
    ResetCause.POWER_ON: "power-on",
    ResetCause.WATCHDOG: "its watchdog",
    ResetCause.SOFT: "a reset by program",
    ResetCause.BROWN_OUT: "a brown-out or another reset",
}
SIDES_SHOWN = 8
"""Groups whose contacts a TOLD can call stuck."""


def told_data(told: Told) -> dict[str, Any]:
    """A TOLD as plain data: times as the keys say, `build` and `voter` in hex, what is unknown as None."""
    return {
        "voter": voter_text(told.voter),
        "pair_id": told.pair_id,
        "board": BOARDS.get(Board(told.board), "unknown") if told.board in set(Board) else f"number {told.board}",
        "firmware": told.version,
        "build": f"{told.build:08x}" if told.build else None,
        "life": told.life,
        "clock_ms": told.clock,
        "started_by": CAUSES.get(ResetCause(told.reset_cause)) if told.reset_cause in set(ResetCause) else None,
        "groups": told.groups,
        "grant_max_ms": told.grant_max_ms,
        "other_heard_ms": None if told.heard_ms == NEVER_MS else told.heard_ms,
        "asks": told.asks,
        "promises": told.promises,
        "refusals": told.refusals,
        "noise": told.noise,
        "gap_us": told.gap_us,
        "overlap_us": told.overlap_us,
        "stuck": [{"group": group, "side": side} for group, side in stuck_contacts(told.stuck)],
    }


def stuck_contacts(bits: int) -> list[tuple[int, int]]:
    """(group, side) of each contact that does not follow."""
    return [(bit // 2, bit % 2) for bit in range(2 * SIDES_SHOWN) if bits >> bit & 1]


def contacts_data(bits: int) -> dict[str, Any] | None:
    """A contacts byte as plain data; None where this board has no contact for the group."""
    contacts = Contacts(bits & 0x3F)
    if not contacts & Contacts.GATED:
        return None
    return {
        "own": "closed" if contacts & Contacts.OWN_CLOSED else "open",
        "other": "closed" if contacts & Contacts.OTHER_CLOSED else "open",
        "own_stuck": bool(contacts & Contacts.OWN_STUCK),
        "other_stuck": bool(contacts & Contacts.OTHER_STUCK),
        "read_back": not contacts & Contacts.NO_READBACK,
    }


def row_data(row: Row, side: int) -> dict[str, Any]:
    """Who holds a group, as a gateway on `side` can see it from an ask for the floor alone.

    `holder`: "side 0" or "side 1", "nobody", "abstains", or None where only the other side could tell.
    """
    holder: str | None
    contacts = contacts_data(row.contacts)
    if row.code is VoteCode.ABSTAINS:
        holder = "abstains"
    elif row.code is not VoteCode.REFUSED:
        holder = None
    elif row.ms:
        holder = f"side {1 - side}"
    elif contacts is None:
        holder = None
    else:
        holder = f"side {side}" if contacts["own"] == "closed" else "nobody"
    return {
        "group": row.group,
        "answer": row.code.name,
        "holder": holder,
        "left_ms": row.ms,
        "floor": row.epoch,
        "contacts": contacts,
    }


def faults(told: Told) -> list[str]:
    """What is wrong at the contacts, one sentence each."""
    found = [
        f"the contact of group {group + 1}, side {side}, is stuck: check the relay, its supply and the read-back wire"
        for group, side in stuck_contacts(told.stuck)
    ]
    if told.overlap_us:
        found.append(
            f"both contacts were closed for {told.overlap_us} us at the last changeover: one of them opens too late or "
            "is welded; replace the relay"
        )
    return found


def told_lines(data: dict[str, Any], where: str) -> list[str]:
    """The data of `told_data` in words. `where`: the port, or who said so."""
    build = f", build {data['build']}" if data["build"] else ", run from source"
    started = f", started by {data['started_by']}" if data["started_by"] else ""
    lines = [
        f"arbiter {data['voter']} ({where}): {data['board']}, firmware {data['firmware']}{build}",
        f"life {data['life']}{started}; serves pair number {data['pair_id']}, {data['groups']} groups, promises of at "
        f"most {data['grant_max_ms']} ms",
    ]
    heard = data["other_heard_ms"]
    lines.append("the other gateway: " + ("not heard lately" if heard is None else f"last heard {heard} ms ago"))
    if data["gap_us"] is None:
        lines.append("no changeover measured yet")
    else:
        overlap = data["overlap_us"]
        both = f"both closed for {overlap} us" if overlap else "never both closed"
        lines.append(f"last changeover: {data['gap_us'] / 1000:.2f} ms with both contacts open, {both}")
    lines.append(
        f"{data['asks']} asks, {data['promises']} promises, {data['refusals']} refusals, "
        f"{data['noise']} pieces of noise"
    )
    return lines


def group_line(data: dict[str, Any], name: str, nodes: Sequence[str] = ()) -> str:
    """The data of `row_data` in words. `nodes`: names for the sides."""
    words = {f"side {number}": node for number, node in enumerate(nodes)}
    holder = data["holder"]
    if holder == "abstains":
        left = f", abstains for {data['left_ms']} ms" if data["left_ms"] else ""
        text = f"nobody: started a moment ago{left}"
    elif holder is None:
        words_of = {"REFUSED": "nobody, or this gateway itself", None: "not asked for lately"}
        text = words_of.get(data["answer"], f"no word ({data['answer']})")
    elif holder == "nobody":
        text = "promised to nobody"
    else:
        left = f" for {data['left_ms']} ms more" if data["left_ms"] else ""
        text = f"promised to {words.get(holder, holder)}{left}"
    return f"group {name}: {text}{contacts_text(data['contacts'])}"


def contacts_text(data: dict[str, Any] | None) -> str:
    """The data of `contacts_data` as the end of a sentence."""
    if data is None:
        return ""
    parts = [f"{side} {data[side]}" + (" (STUCK)" if data[f"{side}_stuck"] else "") for side in ("own", "other")]
    return f"; contacts: {', '.join(parts)}" + ("" if data["read_back"] else ", as commanded: no read-back")


def merged(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One group as both sides see it: what one of them knows of the holder counts."""
    seen = list(rows)
    best = next((row for row in seen if row["left_ms"]), None)
    best = best or next((row for row in seen if row["holder"] not in (None, "nobody")), None)
    if best is None and len(seen) > 1 and all(row["answer"] == "REFUSED" for row in seen):
        return seen[0] | {"holder": "nobody"}
    return best or seen[0]
