"""The configuration file as types: one frozen Struct per table, one field per key.

The annotations are the single source of types and ranges: the reader refuses by them, and
docs/configuration.md is tested against them. A key's unit is the end of its name.
"""
from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""Names become file names, topic levels and labels, so they are kept to what is harmless in all of them."""

FAST_PERIOD_MS = 20.0
CAPACITY = 100
"""Weight of a node in the spreading of shards, where the file names none."""
FAILBACK_AFTER_S = 60.0
"""How long a better node must have been ready, where the file names no time."""

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Text = Annotated[str, Meta(min_length=1)]
FastPeriodMs = Annotated[float, Meta(ge=1, le=1000)]
SlowPeriodMs = Annotated[float, Meta(ge=5, le=20000)]
RoundTripMs = Annotated[float, Meta(ge=0.1, le=5000)]
Missed = Annotated[int, Meta(ge=2, le=20)]
Mode = Literal["hot-warm", "hot-hot", "hot-spare"]


class PairConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[pair]: what both nodes share."""

    name: Name
    key_file: Text
    outage_budget_ms: Annotated[float, Meta(gt=0, le=3600000)] | None = None


class NodeConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[node.NAME]: what differs between the nodes: device paths and addresses, each under a name of its own."""

    serial: dict[str, str] = {}
    udp: dict[str, str] = {}
    spare: bool = False
    capacity: Annotated[int, Meta(ge=1, le=1000)] = CAPACITY


class SerialLink(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[[link]] with type = "serial": a crosslink cable between the nodes."""

    type: Literal["serial"]
    name: Name | None = None
    port: Text
    between: tuple[str, ...] = ()
    baud: Annotated[int, Meta(ge=1200, le=4000000)] = 921600
    period_ms: FastPeriodMs = 10.0
    missed: Missed = 3


class BrokerTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a broker is reached, wherever one is named."""

    broker: Text
    user: Text | None = None
    password_file: Text | None = None
    ca: Text | None = None
    cert: Text | None = None
    key: Text | None = None


class MqttLink(BrokerTable, frozen=True, kw_only=True, omit_defaults=True):
    """[[link]] with type = "mqtt": one broker."""

    type: Literal["mqtt"]
    name: Name | None = None
    period_ms: SlowPeriodMs = 100.0
    fast_period_ms: SlowPeriodMs | None = None
    missed: Missed = 3
    rtt_ms: RoundTripMs = 8.0
    expiry_s: Annotated[int, Meta(ge=1, le=60)] = 1
    keepalive_s: Annotated[int, Meta(ge=1, le=300)] = 5

    @property
    def fast_ms(self) -> float:
        """How fast it may go while a faster link is silent: as set, else FAST_PERIOD_MS or the period if shorter."""
        return min(FAST_PERIOD_MS, self.period_ms) if self.fast_period_ms is None else self.fast_period_ms


class UdpLink(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[[link]] with type = "udp": Ethernet between the gateways' own addresses."""

    type: Literal["udp"]
    name: Name | None = None
    address: Text
    period_ms: FastPeriodMs = 10.0
    missed: Missed = 3
    rtt_ms: RoundTripMs = 1.0


LinkConfig = SerialLink | MqttLink | UdpLink
LINK_TYPES: dict[str, type[SerialLink] | type[MqttLink] | type[UdpLink]] = {
    "serial": SerialLink,
    "mqtt": MqttLink,
    "udp": UdpLink,
}


class GroupTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[[group]] without its outputs: the outputs and hooks that move together."""

    name: Name
    mode: Mode = "hot-warm"
    shards: Annotated[int, Meta(ge=1, le=64)] | None = None
    overlap: bool = False
    prefer: tuple[str, ...] = ()
    failback: Literal["never", "manual", "after"] | None = None
    failback_after_s: Annotated[float, Meta(ge=0, le=604800)] | None = None
    hold_down_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    hold_down_max_s: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    lone: Literal["takeover", "hold"] = "takeover"
    lonely_start_ms: Annotated[float, Meta(ge=0, le=600000)] = 2000.0


class PrepareTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[[group.prepare]]: a hook that the taker runs before a planned handover."""

    command: Annotated[tuple[Text, ...], Meta(min_length=1)]
    deadline_ms: Annotated[int, Meta(ge=10, le=300000)] = 2000


class BalanceConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[balance]: measured load moves shards from the loaded to the idle node. No table: it moves none."""

    load_gap_percent: Annotated[int, Meta(ge=1, le=100)] = 30
    load_hold_s: Annotated[float, Meta(ge=0, le=86400)] = 30.0
    move_gap_s: Annotated[float, Meta(ge=0, le=86400)] = 10.0


class TimingConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[timing]: what the promise lengths are computed from. The defaults fit a Linux gateway."""

    realtime: bool | Literal["auto"] = "auto"
    check_ms: Annotated[float, Meta(ge=0.5, le=1000)] | None = None
    drift_ppm: Annotated[int, Meta(ge=1, le=50000)] = 1000
    lost_asks: Annotated[int, Meta(ge=0, le=10)] = 1
    mistake_exp: Annotated[int, Meta(ge=3, le=11)] = 9
    grant_max_ms: Annotated[float, Meta(ge=10, le=60000)] | None = None


class AgentConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[agent]: how the program runs on a gateway. Not part of the configuration digest."""

    run_dir: Text | None = None
    state_dir: Text | None = None
    control_group: Text | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    zombie_ms: Annotated[int, Meta(ge=500, le=60000)] = 2000


class ArbiterVoter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[third_voter] with type = "arbiter": a microcontroller between the gateways, a serial port to each."""

    type: Literal["arbiter"]
    port: Text
    id: Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
    baud: Annotated[int, Meta(ge=1200, le=4000000)] = 921600
    renew_ms: Annotated[float, Meta(ge=5, le=1000)] | None = None
    missed: Missed = 3
    rtt_ms: RoundTripMs = 3.0
    grant_ms: Annotated[int, Meta(ge=10, le=2000)] | None = None


class WitnessVoter(BrokerTable, frozen=True, kw_only=True, omit_defaults=True):
    """[third_voter] with type = "witness": `twinbeat witness` on another machine, reached over a broker."""

    type: Literal["witness"]
    witness: Name
    renew_ms: Annotated[float, Meta(ge=20, le=20000)] = 1000.0
    missed: Missed = 3
    rtt_ms: RoundTripMs = 100.0
    grant_ms: Annotated[int, Meta(ge=50, le=60000)] | None = None
    keepalive_s: Annotated[int, Meta(ge=1, le=300)] = 5


class ZookeeperVoter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[third_voter] with type = "zookeeper": one znode per group in an ensemble that runs already."""

    type: Literal["zookeeper"]
    hosts: Text
    path: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9][A-Za-z0-9._-]*)+$")] = "/twinbeat"
    user: Text | None = None
    password_file: Text | None = None
    ca: Text | None = None
    cert: Text | None = None
    key: Text | None = None
    session_ms: Annotated[int, Meta(ge=1000, le=60000)] = 4000
    renew_ms: Annotated[float, Meta(ge=100, le=20000)] = 1000.0
    missed: Missed = 3
    rtt_ms: RoundTripMs = 200.0
    grant_ms: Annotated[int, Meta(ge=500, le=60000)] | None = None


ThirdVoter = ArbiterVoter | WitnessVoter | ZookeeperVoter
THIRD_VOTER_TYPES: dict[str, type[ArbiterVoter] | type[WitnessVoter] | type[ZookeeperVoter]] = {
    "arbiter": ArbiterVoter,
    "witness": WitnessVoter,
    "zookeeper": ZookeeperVoter,
}

LATER_VALUES: dict[tuple[str, str], tuple[str, ...]] = {}
"""Values that a later version will take: refused with these words instead of as a spelling mistake."""

LATER_KEYS: dict[str, tuple[str, ...]] = {"group": ("check", "sync"), "node": (), "link": ()}
"""Keys that a later version will take."""
