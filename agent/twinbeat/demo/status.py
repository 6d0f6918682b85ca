"""Reads the agents' status just as far as a trial needs: may the next fault come?"""
from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def both_ready(answers: dict[str, Json], driver: str) -> bool:
    """Whether every agent answers, sees its peer on every link, and the others than `driver` could take over."""
    return all(ready(answer, node == driver) for node, answer in answers.items())


def ready(answer: Json, drives: bool) -> bool:
    """One agent's status: ACTIVE or STANDBY as it should be, every link up."""
    if not answer.get("ok"):
        return False
    wanted = "ACTIVE" if drives else "STANDBY"
    states = [str(group.get("state", "")).upper() for group in _items(answer, "groups")]
    links = [bool(link.get("up")) for link in _items(answer, "links")]
    return all(state == wanted for state in states) and all(links)


def _items(answer: Json, name: str) -> list[Json]:
    found = answer.get(name, [])
    values = list(found.values()) if isinstance(found, dict) else found
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
