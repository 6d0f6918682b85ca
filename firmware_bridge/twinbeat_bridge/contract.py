"""What every third voter looks like to the agent: asks go in, votes come out, nothing blocks.

`docs/third-voter-adapters.md` says what an adapter must keep to, so that another engine (etcd, Redis) can follow.
"""
from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, Protocol


class Code(IntEnum):
    """What a vote says; the values are those of VoteCode in `twinbeat_core.model`."""

    PROMISED = 1   # epoch: the one promised
    REFUSED = 2    # epoch: the floor that a claim must be above
    GONE = 3       # no vote now: unreachable, abstaining, or not yet proven


class VoteAnswer(NamedTuple):
    """The third voter's answer to the ask with `stamp`.

    `ms`: PROMISED: how long, counted from the moment it was given (after `stamp`); REFUSED: how long another's promise
    still lasts, 0 where only the epoch is in the way.
    """

    group: int
    code: Code
    epoch: int
    stamp: int
    ms: int


class VoterClient(Protocol):
    """One gateway's connection to its third voter. Every method returns at once and is called in the agent's loop.

    Votes are delivered by the callable given at construction, from any thread.
    """

    def start(self) -> None:
        """Begin to connect; a voter that cannot be reached is tried again for ever."""

    def ask(self, group: int, epoch: int, stamp: int) -> None:
        """Ask for a promise to (group, epoch), or with epoch 0 for the floor alone."""

    def give_back(self, group: int, epoch: int) -> None:
        """That claim is over: its promise ends, a later one's does not."""

    def peer_dead(self, node: int, incarnation: int, groups: frozenset[int], notice: bytes) -> None:
        """The gate of that life says that its agent is dead and these groups are off; `notice` is its signed frame."""

    def stop(self) -> None:
        """Disconnect; waits a bounded time for its threads."""

    def describe(self) -> dict[str, Any]:
        """For status: type, connected, voter, life, answers, round_trip_ms, and what else is worth seeing."""


Votes = Callable[[VoteAnswer], Any]
