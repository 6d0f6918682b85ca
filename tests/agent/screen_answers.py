"""Answers of an agent to status and why, for the tests of what people see."""
from __future__ import annotations

from copy import deepcopy
from typing import Any

QUIET: dict[str, Any] = {
    "ok": True,
    "pair": "pump-7",
    "node": "gw-a",
    "pid": 4711,
    "version": "0.1.0",
    "session": 4,
    "uptime_s": 7325.0,
    "fit": True,
    "score": 100,
    "load": 12,
    "health": None,
    "families": [{"name": "pump", "mode": "hot-warm", "shards": None, "overlap": False, "units": ["pump"]}],
    "groups": [
        {"name": "pump", "state": "ACTIVE", "driver": "gw-a", "drivers": ["gw-a"], "epoch": 17, "since_ms": 90500.0,
         "authority_ms": 28.4, "alone": False, "barred_by": [], "hold_down_ms": 0.0, "changes": 0,
         "failback_in_ms": None, "may_drive": True},
    ],
    "peers": [
        {"name": "gw-b", "alive": True, "dead": False, "heard_ms_ago": 4.2, "incarnation": 9, "fit": True,
         "health": 100, "load": 7, "config_mismatch": False, "version_mismatch": False,
         "groups": {"pump": "STANDBY"}, "epochs": {"pump": 17}},
    ],
    "links": [
        {"name": "cross", "type": "serial", "up": True,
         "paths": {"gw-b": {"state": "UP", "heard_ms_ago": 4.2, "loss_percent": 0.0, "gap_max_ms": 11.3}}},
        {"name": "mqtt", "type": "mqtt", "up": True,
         "paths": {"gw-b": {"state": "UP", "heard_ms_ago": 62.0, "loss_percent": 0.4, "gap_max_ms": 131.0}},
         "broker": {"connected": True, "reason": ""}},
    ],
    "third_voter": None,
    "warnings": [],
    "counters": {"verdicts": 1},
}
"""A pair with one group on a good day."""


def quiet(**changes: Any) -> dict[str, Any]:
    """The good day with other fields at its top."""
    return deepcopy(QUIET) | changes


def group(name: str, driver: str | None, state: str, **more: Any) -> dict[str, Any]:
    """A group in an answer."""
    return deepcopy(QUIET["groups"][0]) | {
        "name": name, "driver": driver, "drivers": [driver] if driver else [], "state": state, "authority_ms": None,
    } | more


def sharded(here: int, there: int, **changes: Any) -> dict[str, Any]:
    """A hot-hot family on both nodes."""
    names = [f"lines.{number}" for number in range(here + there)]
    groups = [
        group(name, "gw-a" if number < here else "gw-b", "ACTIVE" if number < here else "STANDBY",
              epoch=5 + number, authority_ms=20.0 + number if number < here else None)
        for number, name in enumerate(names)
    ]
    answer = quiet(families=[{"name": "lines", "mode": "hot-hot", "shards": len(names), "overlap": False,
                              "units": names}], groups=groups)
    answer["peers"][0]["groups"] = {
        name: "STANDBY" if number < here else "ACTIVE" for number, name in enumerate(names)
    }
    return answer | changes


def record(
    node: str, group: str, epoch: int, old: str, new: str, cause: str, *, ms: int = 0, by: str = "MAJORITY",
    measured: dict[str, float] | None = None, peers: list[dict[str, Any]] | None = None, boot_ns: int = 10**12,
) -> dict[str, Any]:
    """A verdict. The node's wall clock says 10:00:00 and `ms`; its other clock `boot_ns` and `ms`."""
    word = "took over" if new == "ACTIVE" else "let go of"
    return {
        "schema": 1, "time": f"2026-11-22T10:00:{ms // 1000:02d}.{ms % 1000:03d}Z", "boottime_ns": boot_ns + ms * 10**6,
        "pair": "pump-7", "node": node, "group": group, "epoch": epoch, "from": old, "to": new, "cause": cause,
        "by": by, "timers": {}, "measured": measured or {}, "evidence": {"peers": peers or []},
        "sentence": f"{node} {word} {group} (epoch {epoch}): {cause.lower().replace('_', ' ')}.",
    }


def gave(node: str, group: str, epoch: int, cause: str, **more: Any) -> dict[str, Any]:
    """The half of who let go."""
    figures = {"decided_to_ordered_ms": 0.01, "ordered_to_off_ms": 0.12}
    return record(node, group, epoch, "ACTIVE", "RELEASING", cause, **{"measured": figures, **more})


def took(node: str, group: str, epoch: int, cause: str, **more: Any) -> dict[str, Any]:
    """The half of who took over."""
    figures = {"claim_ms": 0.2, "decided_to_ordered_ms": 0.01, "ordered_to_on_ms": 0.05}
    return record(node, group, epoch, "CLAIMING", "ACTIVE", cause, **{"measured": figures, **more})


def knew(node: str, state: str, epoch: int, ago_ms: float, *, dead: bool = False) -> dict[str, Any]:
    """What a verdict's evidence says of another node."""
    return {"node": node, "heard_ms_ago": ago_ms, "said_state": state, "said_epoch": epoch, "gate_said_dead": dead,
            "links": {"cross": {"state": "UP", "heard_ms_ago": ago_ms}}}
