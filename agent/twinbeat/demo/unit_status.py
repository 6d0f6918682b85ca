"""Reads the agents' status just as far as a trial with many units needs: is all as it should be?"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twinbeat.demo.layout import Layout

Json = dict[str, Any]
CALM = ("ACTIVE", "STANDBY")


def all_settled(answers: dict[str, Json], layout: Layout, drivers: Sequence[frozenset[str]]) -> bool:
    """Whether every agent answers, hears every other on each link, and says of each unit who drives it as it is."""
    return all(_settled(node, answer, layout, drivers) for node, answer in answers.items())


def _settled(node: str, answer: Json, layout: Layout, drivers: Sequence[frozenset[str]]) -> bool:
    if not answer.get("ok"):
        return False
    groups = {str(group["name"]): group for group in answer.get("groups", [])}
    for unit, name in enumerate(layout.units):
        group = groups.get(name)
        if group is None or frozenset(group.get("drivers", ())) != drivers[unit]:
            return False
        if node in layout.drivers[unit] and str(group.get("state")) not in CALM:
            return False
    return all(link.get("up") for link in answer.get("links", []) if link.get("here", True))
