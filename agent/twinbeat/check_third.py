"""The third voter's part of `twinbeat check`: the sum behind its promise, and what waiting for it costs."""
from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from twinbeat.config_schema import ArbiterVoter, ThirdVoter, ZookeeperVoter
from twinbeat_bridge.zookeeper_check import CLAIM_ROUND_TRIPS, NOTICE_ROUND_TRIPS, zookeeper_problems
from twinbeat_hardware.spec import ArbiterSpec

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.config_model import GroupConfig
    from twinbeat_core.settings import CoreSettings, Settings

ASK_ROUND_TRIPS = 2.0
"""Of a takeover that waits for the voter: the last renewal and the refused answer, half each, and the new claim."""
ROUNDED_MS = 1.0
"""An answer tells the rest of a promise in whole milliseconds, rounded up."""
NOTICE_EVERY_MS = 10.0
"""The gate repeats its notice so often; the first one that comes after a group's release names the group."""
SILENT_PROMISES = 1.5
"""So many promises' time without a new one, and the driver of a gated group hands over (protocol.md, G3)."""


class TermLine(Struct, frozen=True, kw_only=True):
    """One line of a timing sum."""

    name: str
    ms: float
    text: str


class ThirdReport(Struct, frozen=True, kw_only=True):
    """The third voter: its sum (lease and grant among the terms) and what waiting for it costs.

    takeover_ms  from the death of a silent driver to the voter's promise to the other, at most
    killed_ms    the outage when the driver's agent dies and its gate says so; None: no gate can say so to the peer
    gated        names of the groups whose outputs its contacts gate
    """

    type: str
    terms: list[TermLine]
    lease_ms: float
    grant_ms: float
    takeover_ms: float
    killed_ms: float | None
    gated: list[str]


def third_report(cfg: Config, settings: Settings, core: CoreSettings) -> ThirdReport | None:
    """None where the pair has no third voter."""
    voter = cfg.third_voter
    if voter is None:
        return None
    return ThirdReport(
        type=voter.type,
        terms=third_terms(cfg, settings, core),
        lease_ms=core.third_lease_ms,
        grant_ms=core.third_grant_ms,
        takeover_ms=takeover_ms(voter, settings, core),
        killed_ms=killed_ms(cfg, voter, settings),
        gated=[group.name for group in cfg.groups if contact_of(group) is not None],
    )


def third_terms(cfg: Config, settings: Settings, core: CoreSettings) -> list[TermLine]:
    """The whole sum behind the third voter's promise, in the order in which it is added up."""
    beat_ms = max(settings.third_period_ms, min(link.period_ms for link in settings.links))
    renewals_ms = settings.third_missed * beat_ms
    base_ms = renewals_ms + settings.third_rtt_ms + settings.late_ms
    lease_ms, grant_ms = core.third_lease_ms, core.third_grant_ms
    over_ms = max([0.0, *(group.release_ms - group.make_ms for group in settings.groups if group.exclusive)])
    own = settings.third_grant_ms is not None
    return [
        TermLine(name="renewals", ms=renewals_ms, text=f"{settings.third_missed} renewals, one every {beat_ms:g} ms"),
        TermLine(name="round_trip", ms=settings.third_rtt_ms, text="one ask and its answer"),
        TermLine(name="decider_late", ms=settings.late_ms, text="lateness of the decider"),
        TermLine(name="whole_ms", ms=lease_ms - base_ms,
                 text="what grant_ms of the file adds" if own else "what rounding T_G up to whole ms adds"),
        TermLine(name="lease", ms=lease_ms, text="T_L: the holder acts this long on an answer of it"),
        TermLine(name="gate_late", ms=settings.check_ms, text="T_chk: lateness of the gate at a deadline"),
        TermLine(name="release", ms=over_ms, text="T_off - T_on: the slowest output"),
        TermLine(name="drift", ms=grant_ms - lease_ms - settings.check_ms - over_ms,
                 text=f"clocks wrong by {settings.drift_ppm} ppm"),
        TermLine(name="grant", ms=grant_ms, text="T_G: the third voter keeps its promise this long"),
    ]


def takeover_ms(voter: ThirdVoter, settings: Settings, core: CoreSettings) -> float:
    """From a silent driver's death to the voter's promise to another: what it promised, and the claim's way.

    A claim that is refused stands back for the rest of that promise, at first for no more than a node's own longest
    one, and longer each time: after several refusals by up to that much too long (protocol.md, R2).
    """
    shortest_ms = min(core.grant_ms(number) for number in range(len(settings.links)))
    waits_ms = core.grant_max_ms if core.third_grant_ms - shortest_ms > core.grant_max_ms else 0.0
    grant_ms = core.third_grant_ms * (1 + settings.drift_ppm / 1e6)
    trips = NOTICE_ROUND_TRIPS + CLAIM_ROUND_TRIPS if isinstance(voter, ZookeeperVoter) else ASK_ROUND_TRIPS
    return grant_ms + waits_ms + trips * settings.third_rtt_ms + settings.third_reask_ms + ROUNDED_MS


def killed_ms(cfg: Config, voter: ThirdVoter, settings: Settings) -> float | None:
    """The gate's notice: off, told to the peer, passed on where no gate can reach the voter itself, claimed anew."""
    ways = [link.rtt_ms / 2 for link, made in zip(settings.links, cfg.links, strict=True) if made.type != "mqtt"]
    if not ways:
        return None
    passed_on = 0.0 if isinstance(voter, ArbiterVoter) else settings.third_rtt_ms
    claim = settings.third_rtt_ms * (CLAIM_ROUND_TRIPS if isinstance(voter, ZookeeperVoter) else 1.0)
    release_ms = slowest_release_ms(settings)
    return (release_ms + NOTICE_EVERY_MS + min(ways) + passed_on + claim + settings.third_reask_ms + settings.late_ms
            + last_make_ms(cfg) + contacts_ms(cfg))


def slowest_release_ms(settings: Settings) -> float:
    """The longest T_off of what one node drives; groups with overlap are taken over by nobody."""
    return max((group.release_ms for group in settings.groups if group.exclusive), default=0.0)


def last_make_ms(cfg: Config) -> float:
    """The slowest make of any output that is taken over; one with overlap is on elsewhere already."""
    taken = [group for group in cfg.groups if not group.overlap]
    return float(max((output.make_ms for group in taken for output in group.outputs), default=0.0))


def contact_of(group: GroupConfig) -> ArbiterSpec | None:
    """The group's contact on the arbiter's board, where it has one."""
    return next((output for output in group.outputs if isinstance(output, ArbiterSpec)), None)


def contacts_ms(cfg: Config) -> float:
    """The arbiter opens one contact, sees it open and closes the other: release and make of the slowest group."""
    contacts = [contact for contact in map(contact_of, cfg.groups) if contact is not None]
    return float(max((contact.release_ms + contact.make_ms for contact in contacts), default=0.0))


def contact_lost_ms(cfg: Config, settings: Settings, core: CoreSettings) -> float:
    """The driver of a gated group no longer reaches the arbiter: its contact opens, and later it hands over (G3)."""
    fastest = min(settings.links, key=lambda link: link.period_ms)
    grant_ms = core.third_grant_ms * (1 + settings.drift_ppm / 1e6)
    waits_ms = (SILENT_PROMISES - 1) * grant_ms + core.third_grant_ms * settings.drift_ppm / 1e6
    release_ms = slowest_release_ms(settings)
    handed_ms = fastest.period_ms + release_ms + fastest.rtt_ms + settings.third_rtt_ms + settings.third_reask_ms
    return waits_ms + handed_ms + 2 * settings.late_ms + last_make_ms(cfg) + contacts_ms(cfg)


def third_problems(cfg: Config, core: CoreSettings) -> list[str]:
    """What the third voter cannot meet with these times; so far only ZooKeeper says it beforehand."""
    voter = cfg.third_voter
    if not isinstance(voter, ZookeeperVoter):
        return []
    return zookeeper_problems(voter.renew_ms, voter.rtt_ms, core.third_grant_ms, float(voter.session_ms),
                              cfg.pair.outage_budget_ms)
