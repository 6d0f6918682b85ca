"""What status and verdicts show, made from the real-time part's view: numbers become names, clocks become ages."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twinbeat.run_words import Names
from twinbeat_core.model import FrameFlag

View = Mapping[str, Any]

OWNING = ("CLAIMING", "ACTIVE", "RELEASING")
BARS = {1: "operator", 2: "output fault", 4: "stopping"}
"""Why a node must not claim a group (the core's Bar mask)."""


def group_state(view: View, group: int) -> str:
    """The state's name of a group on this node."""
    return str(view["groups"][group]["state"])


def driver_of(view: View, names: Names, group: int) -> str | None:
    """The node that drives a group as far as this node knows; None: nobody."""
    own = view["groups"][group]
    if own["state"] == "ACTIVE":
        return names.node
    best: tuple[int, str] | None = None
    for peer in view["peers"]:
        row = peer["rows"][group]
        fresh = peer["known"] and not peer["dead"] and not peer["silent"]
        if fresh and row["state"] == "ACTIVE" and (best is None or row["epoch"] > best[0]):
            best = (row["epoch"], names.node_name(peer["node"]))
    return best[1] if best else None


def drivers_of(view: View, names: Names, group: int) -> list[str]:
    """Every node that drives a group as far as this node knows; two are right for a group of both only."""
    own = [names.node] if view["groups"][group]["state"] == "ACTIVE" else []
    fresh = (peer for peer in view["peers"] if peer["known"] and not peer["dead"] and not peer["silent"])
    return own + [names.node_name(peer["node"]) for peer in fresh if peer["rows"][group]["state"] == "ACTIVE"]


def peer_stays(view: View) -> bool:
    """Whether some other node is heard and could take over: one that stops as well will not."""
    living = [peer for peer in view["peers"] if peer["known"] and not peer["dead"] and not peer["silent"]]
    return any(not peer["flags"] & FrameFlag.FLAG_STOPPING for peer in living)


def link_up(view: View, link: int) -> bool:
    """Whether every living node that it joins is heard on a link and hears this one there."""
    living = [peer for peer in view["peers"] if not peer["dead"] and not peer["silent"]]
    paths = [path for peer in living for path in peer["paths"] if path["link"] == link]
    return bool(paths) and all(path["up"] and not path["rx_dead"] and not path["tx_dead"] for path in paths)


def bars_text(bars: int) -> list[str]:
    """The reasons of a Bar mask in words."""
    return [text for bit, text in BARS.items() if bars & bit]


def groups_status(view: View, names: Names) -> list[dict[str, Any]]:
    """Every group: who drives, the state here, epoch, authority and promises."""
    shown = []
    for number, group in enumerate(view["groups"]):
        promise = group["promise"]
        holder = promise["holder"]
        shown.append(
            {
                "name": names.group_name(number),
                "driver": driver_of(view, names, number),
                "drivers": drivers_of(view, names, number),
                "state": group["state"],
                "cause": str(group["cause"]).removeprefix("CAUSE_"),
                "epoch": group["epoch"],
                "since_ms": group["since_ms"],
                "authority_ms": group["authority_ms"],
                "alone": group["alone"],
                "barred_by": bars_text(group["bars"]),
                "promised_to": None if holder is None else names.node_name(holder),
                "promise_left_ms": promise["left_ms"],
                "votes": {names.node_name(int(voter)): left for voter, left in group["votes"].items()},
                **course(group, names),
            }
        )
    return shown


def course(group: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """What is under way for a group: moves held down, a way back that waits, a taker that prepares."""
    found = {key: group[key] for key in ("hold_down_ms", "changes", "failback_in_ms", "may_drive") if key in group}
    asked = group.get("preparing")
    return found | ({} if asked is None else {"preparing": names.node_name(int(asked))})


def families_of(cfg: Any) -> list[dict[str, Any]]:
    """The groups as the configuration writes them: the names of their units, and who may drive each, best first."""
    return [
        {
            "name": family.name,
            "mode": family.mode,
            "shards": family.shards,
            "overlap": family.overlap,
            "units": [cfg.groups[unit].name for unit in family.units],
            "drivers": [list(cfg.groups[unit].drivers) for unit in family.units],
        }
        for family in getattr(cfg, "families", ())
    ]


def peers_status(view: View, names: Names) -> list[dict[str, Any]]:
    """Every other node: heard or not, since when, and what it says of the groups."""
    shown = []
    for peer in view["peers"]:
        states = {names.group_name(number): row["state"] for number, row in enumerate(peer["rows"])}
        epochs = {names.group_name(number): row["epoch"] for number, row in enumerate(peer["rows"])}
        shown.append(
            {
                "name": names.node_name(peer["node"]),
                "alive": bool(peer["known"] and not peer["dead"] and not peer["silent"]),
                "dead": peer["dead"],
                "heard_ms_ago": peer["silent_ms"] if peer["heard"] else None,
                "proven_ms_ago": peer["proven_ms"],
                "incarnation": peer["incarnation"],
                "fit": not peer["flags"] & FrameFlag.FLAG_UNFIT,
                "health": peer["health"],
                "load": peer["load"],
                "grant_ms": peer["grant_ms"],
                "config_mismatch": peer["config_mismatch"],
                "version_mismatch": peer["version_mismatch"],
                **{key: peer[key] for key in ("version", "version_max") if key in peer},
                "groups": states,
                "epochs": epochs,
            }
        )
    return shown


def links_status(view: View, names: Names, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Every link: up or not, and each other node's path on it."""
    shown = []
    for number, kind in enumerate(kinds):
        paths = {}
        for peer in view["peers"]:
            path = next((item for item in peer["paths"] if item["link"] == number), None)
            if path is not None:
                paths[names.node_name(peer["node"])] = path_status(path)
        up = link_up(view, number)
        here = bool(paths) or not view["peers"]
        shown.append({"name": names.link_name(number), "type": kind, "here": here, "up": up, "paths": paths})
    return shown


def path_status(path: Mapping[str, Any]) -> dict[str, Any]:
    """One link to one node: direction faults by name, silence, loss."""
    return {
        "state": path_state(path),
        "heard_ms_ago": path["silent_ms"],
        "loss_percent": path["loss_percent"],
        "gap_max_ms": path["gap_max_ms"],
        "grant_ms": path["grant_ms"],
        "late_frames": path["late_frames"],
    }


def path_state(path: Mapping[str, Any]) -> str:
    """UP, DOWN, RX_DEAD or TX_DEAD."""
    if path["rx_dead"]:
        return "RX_DEAD"
    if path["tx_dead"]:
        return "TX_DEAD"
    return "UP" if path["up"] else "DOWN"


def evidence(view: View, names: Names, group: int) -> dict[str, Any]:
    """What a verdict about a group rests on: each peer, each link, each voter, at this moment."""
    own = view["groups"][group]
    peers = []
    for peer in view["peers"]:
        row = peer["rows"][group]
        peers.append(
            {
                "node": names.node_name(peer["node"]),
                "heard_ms_ago": peer["silent_ms"] if peer["heard"] else None,
                "proven_ms_ago": peer["proven_ms"],
                "gate_said_dead": peer["dead"],
                "said_state": row["state"],
                "said_epoch": row["epoch"],
                "health": peer["health"],
                "load": peer["load"],
                "links": {names.link_name(path["link"]): path_status(path) for path in peer["paths"]},
            }
        )
    holder = own["promise"]["holder"]
    return {
        "peers": peers,
        "votes_left_ms": {names.node_name(int(voter)): left for voter, left in own["votes"].items()},
        "promised_to": None if holder is None else names.node_name(holder),
        "promise_left_ms": own["promise"]["left_ms"],
        "alone": own["alone"],
        "barred_by": bars_text(own["bars"]),
        "load": view["load"],
        "timers": {"authority_ms": own["authority_ms"], "grant_max_ms": view["grant_max_ms"]},
    }
