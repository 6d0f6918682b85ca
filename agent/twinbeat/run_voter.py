"""The third voter in the running agent: its port or client, its votes to the core, and what it does not like.

An arbiter is served by the real-time part alone; this module opens its port and looks now and then at what came back.
A witness or an ensemble is served by a client in Python: asks come as messages, votes go to the core as events.
"""
from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twinbeat.config_schema import ArbiterVoter, WitnessVoter, ZookeeperVoter
from twinbeat.errors import DeviceError
from twinbeat.links.serial import SerialPort
from twinbeat.run_loop import boottime_ns
from twinbeat.run_types import RuntimeLike
from twinbeat_core.errors import FrameError
from twinbeat_core.events import Vote
from twinbeat_core.model import FrameKind, RowFlag, VoteCode
from twinbeat_hardware.arbiter import OWN_CLOSED, OWN_STUCK, ArbiterOutput
from twinbeat_hardware.output import Output

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat_bridge.contract import VoteAnswer, VoterClient

LOOK_S = 1.0
VOTER_PORT = 8
"""The arbiter's number among the real-time part's ports, behind those of the links."""
SILENT_GRANTS = 4
"""A voter that has not answered for as many promises is told of."""
PROMISED = 1
CLAIM_TRIPS = 5
"""Round trips that a claim may need: a promise given back is seen, a claim written, its answer read, one try lost."""
SETTLE_MOST_S = 2.0


@dataclass
class ThirdVoter:
    """What the agent has of its third voter. `settle_s`: within it a taker has its vote, where it is reachable."""

    kind: str
    rt: RuntimeLike
    key: bytes
    pair_id: int
    grant_ms: float
    settle_s: float
    port: SerialPort | None = None
    client: VoterClient | None = None
    tell: Callable[[str, str, int], None] = lambda code, text, level: None
    short_ms: int = 0
    told: dict[str, str] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)

    # ------------------------------------------------------------ messages of the real-time part

    def ask(self, message: Any) -> None:
        """AskVoter: the core wants a promise, or the floor."""
        if self.client is not None:
            self.client.ask(message.group, message.epoch, message.stamp)

    def give_back(self, message: Any) -> None:
        """ReturnPromise."""
        if self.client is not None:
            self.client.give_back(message.group, message.epoch)

    def peer_dead(self, node: int, incarnation: int) -> None:
        """The peer's gate said that its agent died; its newest signed word is passed on as proof."""
        if self.client is None:
            return
        from twinbeat_core.wire import decode

        newest: tuple[int, frozenset[int], bytes] = (0, frozenset(), b"")
        for notice in self.rt.death_notices(node):
            try:
                frame = decode(notice, self.key, self.pair_id)
            except FrameError:
                continue                 # a newer one was being written over it; its own report follows
            if frame.kind == FrameKind.FRAME_DEATH and frame.incarnation == incarnation and frame.stamp > newest[0]:
                groups = frozenset(group for group, row in enumerate(frame.rows) if row.flags & RowFlag.ROW_DROPPED)
                newest = (frame.stamp, groups, notice)
        if newest[1]:
            self.client.peer_dead(node, incarnation, newest[1], newest[2])

    def vote(self, answer: VoteAnswer) -> None:
        """An answer of the client, from any thread."""
        code = VoteCode(int(answer.code))
        if code == VoteCode.VOTE_PROMISED:
            self.short_ms = answer.ms if answer.ms < self.grant_ms - 1 else 0
        self.rt.post(Vote(boottime_ns(), answer.group, code, answer.epoch, answer.stamp, answer.ms))

    # ------------------------------------------------------------ looking after it

    def look(self) -> None:
        """Every second: say what is wrong with it, once, and when that has ended."""
        faults = self.faults()
        for code, text in faults.items():
            if code not in self.told:
                self.told[code] = text
                self.tell(code, text, logging.WARNING)
        for code in [code for code in self.told if code not in faults]:
            del self.told[code]
            self.tell(code, f"third voter: over: {code.removeprefix('VOTER_').lower().replace('_', ' ')}", logging.INFO)

    def describe(self) -> dict[str, Any]:
        """For the status."""
        if self.client is not None:
            return self.client.describe()
        figures = dict(self.rt.view().get("arbiter") or {})
        figures["told"] = bytes(figures.get("told", b"")).hex()
        for name in ("voter", "voter_heard"):
            figures[name] = f"{figures.get(name, 0):08x}"
        figures["type"] = self.kind
        if self.port is not None:
            figures["port"] = {"path": self.port.path, "plugged": self.port.plugged, "faults": self.port.faults}
        return figures

    def faults(self) -> dict[str, str]:
        """What is wrong now: code and a sentence with the remedy."""
        if self.client is not None:
            state = self.client.describe()
            if state.get("connected") and self.short_ms:
                return {"VOTER_SHORT": f"third voter ({self.kind}): it promises {self.short_ms} ms where "
                                       f"{self.grant_ms:.0f} are asked for; raise its grant_max_ms, or lower renew_ms"}
            if state.get("connected"):
                return {}
            reason = state.get("reason") or "no connection"
            return {"VOTER_SILENT": f"third voter ({self.kind}): {reason}; the pair goes on with two votes"}
        return self.arbiter_faults(self.rt.view().get("arbiter") or {})

    def arbiter_faults(self, now: dict[str, Any]) -> dict[str, str]:
        """From the client's counters: what rose since the last look."""
        found: dict[str, str] = {}
        rose = {name: now.get(name, 0) - self.before.get(name, 0) for name in COUNTED}
        self.before = {name: now.get(name, 0) for name in COUNTED}
        ago = now.get("heard_ago_ms")
        if (ago is None or ago > SILENT_GRANTS * self.grant_ms) and not rose["other_voter"]:
            found["VOTER_SILENT"] = silence(now, rose)
        if rose["other_voter"]:
            found["VOTER_OTHER"] = (
                f"arbiter: the board that answers is {now['voter_heard']:08x}, the configuration names "
                f"{now['voter']:08x}: two arbiters, or another pair's; wire both gateways to one board and put its id "
                "into [third_voter] id"
            )
        if rose["other_pair"]:
            found["VOTER_OTHER_PAIR"] = (
                "arbiter: this board serves another pair; flash it for this one (twinbeat arbiter flash) or "
                "connect this pair's own"
            )
        if rose["wrong_side"]:
            found["VOTER_WRONG_SIDE"] = (
                "arbiter: this gateway is wired to the other one's side of the board; swap the two cables"
            )
        if rose["no_group"]:
            found["VOTER_GROUPS"] = "arbiter: the board has fewer groups than the configuration; use another board"
        for group in now.get("groups", ()):
            if (group["contacts"] or 0) & OWN_STUCK:
                reads = "closed" if group["contacts"] & OWN_CLOSED else "open"
                found[f"VOTER_CONTACT_{group['group']}"] = (
                    f"arbiter: the contact of group {group['group'] + 1} reads {reads} and was ordered otherwise; "
                    "check relay, load and read-back wire"
                )
        return found


COUNTED = ("other_voter", "other_pair", "wrong_side", "no_group", "bad_form", "noise", "answers")


def silence(now: dict[str, Any], rose: dict[str, int]) -> str:
    """Why no answer comes, as far as the bytes on the line tell."""
    if not now.get("attached"):
        return "arbiter: its serial port is gone; the pair goes on with two votes"
    if rose["bad_form"]:
        return "arbiter: other frames come from its port: is it the crosslink, or a board with other firmware?"
    if rose["noise"]:
        return "arbiter: only noise comes from its port: other baud rate, or a board with other firmware"
    return "arbiter: it does not answer; the pair goes on with two votes; check supply and cable"


# ---------------------------------------------------------------- putting it together
def open_third_voter(
    cfg: Config, rt: RuntimeLike, key: bytes, grant_ms: float, incarnation: int, open_port: Callable[[str, int], int],
    soon: Callable[[Callable[[], None]], None],
) -> ThirdVoter | None:
    """The third voter of the configuration, opened but not started; None where there is none. Raises DeviceError."""
    voter = cfg.third_voter
    if voter is None:
        return None
    made = ThirdVoter(voter.type, rt, key, cfg.pair_id, grant_ms, min(CLAIM_TRIPS * voter.rtt_ms / 1000, SETTLE_MOST_S))
    if isinstance(voter, ArbiterVoter):
        number = int(voter.id, 16)
        made.port = SerialPort(
            VOTER_PORT, "arbiter", cfg.serial_path(voter.port), voter.baud, open_port,
            lambda _link, fd: rt.set_arbiter(fd, number, round(grant_ms)), soon,
        )
        try:
            made.port.open()
        except DeviceError as error:
            raise DeviceError(f"[third_voter]: {error}") from None
    elif isinstance(voter, WitnessVoter):
        made.client = witness_client(cfg, voter, key, grant_ms, incarnation, made.vote)
    else:
        made.client = zookeeper_client(cfg, voter, key, grant_ms, incarnation, made.vote)
    return made


def witness_client(
    cfg: Config, voter: WitnessVoter, key: bytes, grant_ms: float, incarnation: int, votes: Callable[[VoteAnswer], None]
) -> VoterClient:
    """The client of a witness."""
    from twinbeat.links.lean_paho import load_paho
    from twinbeat.run_open import broker_of

    options, context = broker_of(cfg, voter, len(cfg.links), "witness")
    load_paho(context is not None)
    from twinbeat.voter.witness_client import WitnessClient

    return WitnessClient(
        options, context, witness=voter.witness, pair=cfg.pair.name, pair_id=cfg.pair_id, key=key,
        node=cfg.self_index, incarnation=incarnation, grant_ms=round(grant_ms), votes=votes,
    )


def zookeeper_client(
    cfg: Config, voter: ZookeeperVoter, key: bytes, grant_ms: float, incarnation: int,
    votes: Callable[[VoteAnswer], None],
) -> VoterClient:
    """The client of a ZooKeeper ensemble."""
    from twinbeat.links.mqtt_options import read_password
    from twinbeat_bridge.zookeeper import ZookeeperClient

    def path(text: str | None) -> str | None:
        return None if text is None else str(cfg.resolve(text))

    return ZookeeperClient(
        hosts=voter.hosts, path=voter.path, pair=cfg.pair.name, groups=[group.name for group in cfg.groups],
        node=cfg.self_index, incarnation=incarnation, key=key, grant_ms=round(grant_ms), session_ms=voter.session_ms,
        drift_ppm=cfg.timing.drift_ppm, votes=votes, user=voter.user,
        password=read_password(str(cfg.resolve(voter.password_file))) if voter.password_file else None,
        ca=path(voter.ca), cert=path(voter.cert), key_file=path(voter.key),
    )


def attach_contacts(drivers: list[Output[Any]], voter: ThirdVoter | None) -> None:
    """Outputs on the arbiter learn from its answers what their contacts do."""
    for driver in drivers:
        if isinstance(driver, ArbiterOutput) and voter is not None:
            driver.attach(lambda group=driver.place.group: contacts_of(voter, group))  # type: ignore[misc]


def contacts_of(voter: ThirdVoter, group: int) -> int | None:
    """The contacts byte where it says something of this node's output now: promised, and closed or stuck open.

    Between a promise and its contact lies the relay's own time, and without a promise the contact is open as it should
    be: neither is a fault of the output. Nor is one that stays closed: the arbiter then promises to nobody else, and
    to bar the node that it still promises to would leave nobody; it is an alarm (`arbiter_faults`).
    """
    groups = (voter.rt.view().get("arbiter") or {}).get("groups", [])
    if group >= len(groups) or groups[group]["contacts"] is None or groups[group]["ago_ms"] > voter.grant_ms:
        return None
    byte = int(groups[group]["contacts"])
    return byte if groups[group]["code"] == PROMISED and byte & (OWN_CLOSED | OWN_STUCK) else None
