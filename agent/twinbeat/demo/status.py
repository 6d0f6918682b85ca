"""Reads the agents' status just as far as a trial needs: may the next fault come?"""
from __future__ import annotations

from typing import Any

Json = dict[str, Any]
SILENT_MS = 500.0
CODES = {1: "promised", 2: "refused", 3: "abstains", 4: "unproven", 5: "other pair", 6: "wrong side", 7: "waits",
         8: "no group"}
SETTLED = {True: (None, "promised"), False: (None, "promised", "refused", "answers")}
"""What the third voter may say to who drives, and to who does not, in a pair that is ready for the next fault."""
THIRD = "the third voter"
"""Its name among the votes of a group."""


def both_ready(answers: dict[str, Json], driver: str) -> bool:
    """Whether every agent answers, sees its peer on every link, and the others than `driver` could take over."""
    return all(ready(answer, node == driver) for node, answer in answers.items())


def ready(answer: Json, drives: bool) -> bool:
    """One agent's status: ACTIVE or STANDBY as it should be, every link up, the third voter answering."""
    if not answer.get("ok"):
        return False
    wanted = "ACTIVE" if drives else "STANDBY"
    states = [str(group.get("state", "")).upper() for group in _items(answer, "groups")]
    links = [bool(link.get("up")) for link in _items(answer, "links") if link.get("here", True)]
    return all(state == wanted for state in states) and all(links) and voter_word(answer) in SETTLED[drives]


def voter_word(answer: Json) -> str | None:
    """What the third voter last said to this agent; None where the pair has none.

    "promised", "refused" (another holds its promise), "abstains", "silent", another of an arbiter's codes in words, or
    "answers" where no more than that is known.
    """
    voter = answer.get("third_voter")
    if not isinstance(voter, dict):
        return None
    if voter.get("type") != "arbiter":
        if any(THIRD in group.get("votes", {}) for group in _items(answer, "groups")):
            return "promised"
        return "answers" if voter.get("connected") and voter.get("answering", True) else "silent"
    groups = _items(voter, "groups")
    ago_ms = [group["ago_ms"] for group in groups if group.get("ago_ms") is not None]
    if not ago_ms or min(ago_ms) > SILENT_MS:
        return "silent"
    return CODES.get(int(groups[0]["code"]), "silent")


def _items(answer: Json, name: str) -> list[Json]:
    found = answer.get(name, [])
    values = list(found.values()) if isinstance(found, dict) else found
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
