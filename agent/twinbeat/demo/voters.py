"""The third voters of the demo: an arbiter on ptys, a witness behind the broker, ZooKeeper; a process of ours each."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twinbeat.demo.agents import PairSettings
from twinbeat.demo.broker import Broker
from twinbeat.demo.measure import Change
from twinbeat.demo.voter_arbiter import Arbiter
from twinbeat.demo.voter_process import ThirdVoter
from twinbeat.demo.voter_witness import Witness
from twinbeat.demo.voter_zookeeper import ZooKeeper

KINDS = ("arbiter", "witness", "zookeeper")


def make_voter(settings: PairSettings, directory: Path, broker: Broker, proxy_port: int,
               add: Callable[[Change], None]) -> ThirdVoter | None:
    """The third voter that these settings name; None for a pair alone. `add` is told of contacts that move.

    RigError with the remedy where what it needs is not installed.
    """
    if settings.third_voter == "arbiter":
        return Arbiter(directory, settings, add)
    if settings.third_voter == "witness":
        return Witness(directory, broker, proxy_port)
    if settings.third_voter == "zookeeper":
        return ZooKeeper(directory)
    return None
