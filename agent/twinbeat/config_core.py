"""From the configuration to the core's settings: the figures that the user need not know."""
from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TypedDict

from twinbeat.config_schema import ArbiterVoter, LinkConfig, MqttLink, SerialLink
from twinbeat.errors import ConfigError
from twinbeat.upgrade.pin import pinned_layout
from twinbeat.wire_load import frame_ms
from twinbeat_core.errors import SettingsError
from twinbeat_core.model import LinkKind, Lone
from twinbeat_core.settings import GroupSettings, LinkSettings, Settings

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.config_model import GroupConfig

CHECK_REALTIME_MS = 5.0
"""T_chk with real-time scheduling: of 23,596 deadline drops under load, none was later."""
CHECK_ORDINARY_MS = 15.0
"""T_chk without: 9.4 ms was the latest of 27,576, and the write itself can be interrupted."""
SERIAL_HOPS_MS = 0.5
"""What both ends' threads and the kernel add to a serial round trip."""
REASKS_PER_PERIOD = 8
MS_PER_S = 1000.0
PREPARE_ROOM_MS = 500.0
"""What the giver waits longer than the taker's hooks may take: starting them, and the word that they are done."""


def realtime_permitted() -> bool:
    """Whether this process may use SCHED_FIFO. Tried, not read: capabilities, limits and cgroups all have a say."""
    before = os.sched_getscheduler(0)
    param_before = os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    os.sched_setscheduler(0, before, param_before)
    return True


def uses_realtime(cfg: Config, realtime: bool | None = None) -> bool:
    """Whether the agent asks for SCHED_FIFO: `realtime`, else [timing] realtime, where "auto" is what is permitted."""
    if realtime is not None:
        return realtime
    return realtime_permitted() if cfg.timing.realtime == "auto" else bool(cfg.timing.realtime)


def core_settings(cfg: Config, *, realtime: bool | None = None) -> Settings:
    """The core's settings for this node; `realtime` overrides [timing] realtime.

    Raises ConfigError, naming links and groups as the file does, when the figures contradict each other.
    """
    timing = cfg.timing
    default_check_ms = CHECK_REALTIME_MS if uses_realtime(cfg, realtime) else CHECK_ORDINARY_MS
    settings = Settings(
        node_count=len(cfg.nodes),
        self_node=cfg.self_index,
        links=tuple(link_settings(cfg, link) for link in cfg.links),
        groups=tuple(group_settings(cfg, group) for group in cfg.groups),
        pair_id=cfg.pair_id,
        config_digest=cfg.digest,
        voters=tuple(range(len(cfg.nodes))),
        drift_ppm=timing.drift_ppm,
        check_ms=timing.check_ms if timing.check_ms is not None else default_check_ms,
        lost_asks=timing.lost_asks,
        mistake_exp=timing.mistake_exp,
        lonely_start_ms=max(group.lonely_start_ms for group in cfg.groups),
        grant_max_ms=timing.grant_max_ms,
        wire_version_max=pinned_layout(),
        **third_settings(cfg),
        **load_settings(cfg),
    )
    try:
        check_longest(cfg, settings.compile().third_grant_ms)
    except SettingsError as error:
        raise ConfigError([f"{cfg.path}: {in_words_of_file(cfg, problem)}" for problem in error.problems]) from None
    return settings


def check_longest(cfg: Config, grant_ms: float) -> None:
    """Raises ConfigError when the promise that follows from all figures is longer than the third voter ever gives."""
    from twinbeat.config_rules_voter import LONGEST_GRANT_MS

    voter = cfg.third_voter
    if voter is None or grant_ms <= LONGEST_GRANT_MS[voter.type]:
        return
    raise ConfigError([
        f"{cfg.path}: [third_voter]: renewals, the slowest output's release and the clocks' drift need a promise of "
        f'{grant_ms:g} ms, and type = "{voter.type}" promises at most {LONGEST_GRANT_MS[voter.type]} ms: lower '
        "renew_ms, missed or the output's release_ms"
    ])


class ThirdSettings(TypedDict, total=False):
    """What the core's settings say of the third voter."""

    third_voter: bool
    third_period_ms: float
    third_missed: int
    third_rtt_ms: float
    third_reask_ms: float
    third_grant_ms: float | None


def third_settings(cfg: Config) -> ThirdSettings:
    """The third voter with its pace; nothing where the pair has none."""
    voter = cfg.third_voter
    if voter is None:
        return {}
    is_arbiter = isinstance(voter, ArbiterVoter)
    return {
        "third_voter": True,
        "third_period_ms": voter.renew_ms or 0.0,
        "third_missed": voter.missed,
        "third_rtt_ms": voter.rtt_ms,
        # A cable loses little and answers at once; a network is asked again once the answer is overdue.
        "third_reask_ms": min(2.0, voter.rtt_ms) if is_arbiter else voter.rtt_ms,
        "third_grant_ms": voter.grant_ms,
    }


def link_settings(cfg: Config, link: LinkConfig) -> LinkSettings:
    """One link with its round trip and the least distance between two asks."""
    if isinstance(link, SerialLink):
        one_frame_ms = frame_ms(len(cfg.nodes), len(cfg.groups), link.baud)
        return LinkSettings(
            kind=LinkKind.LINK_SERIAL,
            period_ms=link.period_ms,
            missed=link.missed,
            rtt_ms=2 * one_frame_ms + SERIAL_HOPS_MS,
            reask_ms=max(2 * one_frame_ms, link.period_ms / REASKS_PER_PERIOD),
            nodes=tuple(cfg.node_names.index(name) for name in link.between) if link.between else None,
        )
    is_mqtt = isinstance(link, MqttLink)
    # A link is asked on in earnest when it is the last one, and then it beats at its fast period.
    pace_ms = link.fast_ms if isinstance(link, MqttLink) else link.period_ms
    return LinkSettings(
        kind=LinkKind.LINK_MQTT if is_mqtt else LinkKind.LINK_UDP,
        period_ms=link.period_ms,
        missed=link.missed,
        fast_period_ms=pace_ms if is_mqtt else None,
        rtt_ms=link.rtt_ms,
        reask_ms=min(pace_ms, max(link.rtt_ms, pace_ms / REASKS_PER_PERIOD)),
    )


def group_settings(cfg: Config, group: GroupConfig) -> GroupSettings:
    """One unit; nodes that may not drive it follow in the order of the file."""
    names = cfg.node_names
    order = [*group.drivers, *(name for name in names if name not in group.drivers)]
    return GroupSettings(
        lone=Lone.LONE_TAKEOVER if group.lone == "takeover" else Lone.LONE_HOLD,
        rank=tuple(order.index(name) for name in names),
        release_ms=group.release_ms,
        make_ms=group.make_ms,
        exclusive=not group.overlap,
        gated=any(output.__struct_config__.tag == "arbiter" for output in group.outputs),
        drivers=None if len(group.drivers) == len(names) else tuple(sorted(map(names.index, group.drivers))),
        failback_ms=group.failback_after_ms,
        hold_down_ms=group.hold_down_s * MS_PER_S,
        hold_down_max_ms=group.hold_down_max_s * MS_PER_S if group.hold_down_s else 0.0,
        balance=cfg.balance is not None and group.shard is not None,
        prepare_ms=group.prepare_ms + PREPARE_ROOM_MS if group.prepare else 0.0,
    )


class LoadSettings(TypedDict, total=False):
    """What the core's settings say of moves by load."""

    load_gap_percent: int
    load_hold_ms: float
    move_gap_ms: float


def load_settings(cfg: Config) -> LoadSettings:
    """When load moves shards; nothing where the file has no [balance]."""
    balance = cfg.balance
    if balance is None:
        return {}
    return {
        "load_gap_percent": balance.load_gap_percent,
        "load_hold_ms": balance.load_hold_s * MS_PER_S,
        "move_gap_ms": balance.move_gap_s * MS_PER_S,
    }


def in_words_of_file(cfg: Config, problem: str) -> str:
    """A sentence of the core with `link 0` and `group 0` as the file calls them."""

    def link_place(match: re.Match[str]) -> str:
        number = int(match[1])
        return f"[[link]] {number + 1} ({cfg.link_name(number)})"

    def group_place(match: re.Match[str]) -> str:
        number = int(match[1])
        unit = cfg.groups[number]
        place = next(at for at, family in enumerate(cfg.families, start=1) if number in family.units)
        return f"[[group]] {place} ({unit.name})"

    return re.sub(r"\bgroup (\d+)\b", group_place, re.sub(r"\blink (\d+)\b", link_place, problem))
