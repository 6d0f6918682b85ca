"""What a configuration promises: the timing sum, the wire load, the worst outage, the faults it covers.

Everything is computed from the settings that the core itself will run with. The result is plain data;
`twinbeat.check_text` prints it.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from twinbeat.check_coverage import FaultRow, coverage, overlap_rows
from twinbeat.check_coverage_spare import spare_coverage
from twinbeat.check_coverage_voter import voter_coverage, voter_facts
from twinbeat.check_load import LinkLoad, link_load
from twinbeat.check_modes import ModeRow, mode_rows
from twinbeat.check_third import (
    ASK_ROUND_TRIPS,
    ROUNDED_MS,
    TermLine,
    ThirdReport,
    contact_lost_ms,
    contacts_ms,
    last_make_ms,
    third_problems,
    third_report,
)
from twinbeat.check_warnings import warnings_of
from twinbeat.config import Config, core_settings
from twinbeat.config_core import uses_realtime
from twinbeat_core.settings import CoreSettings, LinkSettings, Settings
from twinbeat_core.timing import timing_terms, tolerated_loss

if TYPE_CHECKING:
    from twinbeat.check_health import HealthRow

BEATS_TOGETHER = 4
"""Up to so many groups a change of role is told on all links at once, which keeps their beats together."""


class LinkReport(Struct, frozen=True, kw_only=True):
    """One link: its sum (lease and grant among the terms), the loss it tolerates (0..1 each way), its load."""

    name: str
    type: str
    terms: list[TermLine]
    lease_ms: float
    grant_ms: float
    tolerated_loss: float
    load: LinkLoad


class Outage(Struct, frozen=True, kw_only=True):
    """The worst time without a driven output at the death of the driver, against the budget.

    fast_ms    with every link up; with a third voter its promise counts too, whatever link is left
    slow_ms    when only the slowest link is left
    budget_ms  [pair] outage_budget_ms, None where none is set
    over_ms    by how much fast_ms is over the budget, 0.0 when it is not
    """

    fast_ms: float
    slow_ms: float
    budget_ms: float | None
    over_ms: float


class Report(Struct, frozen=True, kw_only=True):
    """The whole answer of `twinbeat check`; `problems` make it a no."""

    pair: str
    node: str
    digest: int
    realtime: bool
    check_ms: float
    links: list[LinkReport]
    third_voter: ThirdReport | None
    detection_ms: tuple[float, float]
    listen_ms: float
    outage: Outage
    faults: list[FaultRow]
    warnings: list[str]
    problems: list[str]
    devices: list[str]
    checks: list[HealthRow]
    modes: list[ModeRow]


def build_report(cfg: Config) -> Report:
    """Everything that can be said without touching a device. Raises ConfigError when the figures contradict."""
    realtime = uses_realtime(cfg)
    settings = core_settings(cfg, realtime=realtime)
    core = settings.compile()
    links = link_reports(cfg, settings, core)
    third = third_report(cfg, settings, core)
    outage = outage_of(cfg, settings, core, third)
    number = min(range(len(links)), key=lambda number: links[number].grant_ms)
    fastest, period_ms = links[number], settings.links[number].period_ms
    checks, idle = health_report(cfg)
    return Report(
        pair=cfg.pair.name,
        node=cfg.node,
        digest=cfg.digest,
        realtime=realtime,
        check_ms=settings.check_ms,
        links=links,
        third_voter=third,
        detection_ms=(fastest.grant_ms - period_ms, fastest.grant_ms),
        listen_ms=core.grant_max_ms,
        outage=outage,
        faults=fault_rows(cfg, settings, core, number, outage.fast_ms, third),
        warnings=warnings_of(cfg, realtime=realtime, slow_ms=outage.slow_ms),
        problems=[*third_problems(cfg, core), *budget_problems(cfg, outage), *idle],
        devices=[],
        checks=checks,
        modes=mode_rows(cfg),
    )


def health_report(cfg: Config) -> tuple[list[HealthRow], list[str]]:
    """What each health check moves when it fails alone, and those that can change nothing."""
    if not cfg.checks:
        return [], []
    from twinbeat.check_health import health_problems, health_rows

    rows = health_rows(cfg)
    return rows, health_problems(cfg, rows)


def fault_rows(cfg: Config, settings: Settings, core: CoreSettings, number: int, power_ms: float,
               third: ThirdReport | None) -> list[FaultRow]:
    """What is covered, with the outages; `number`: the link with the shortest T_G, `power_ms`: a silent death's.

    A frozen node acts until its last answered stamp is T_L old, and that is at most a period and a round trip older
    than the last frame that its peer heard; with a third voter the longer of its two authorities counts, and a node
    that wakes just then may claim first, which costs the other one more ask.
    """
    link, lease_ms, grant_ms = settings.links[number], core.lease_ms(number), core.grant_ms(number)
    shared = overlap_rows(cfg)
    if all(group.overlap for group in cfg.groups):
        return shared
    if third is None:
        frozen_ms = power_ms - lease_ms + link.period_ms + link.rtt_ms
        rows = coverage if cfg.spare is None else spare_coverage
        return [*rows(cfg, lease_ms=lease_ms, grant_ms=grant_ms, power_ms=power_ms, frozen_ms=frozen_ms), *shared]
    again_ms = settings.third_rtt_ms + settings.third_reask_ms
    tail_ms = again_ms + settings.late_ms + last_make_ms(cfg) + contacts_ms(cfg)
    renew_ms = max(settings.third_period_ms, min(other.period_ms for other in settings.links))
    frozen_ms = tail_ms + max(
        grant_ms + link.rtt_ms / 2 - lease_ms + link.period_ms + link.rtt_ms,
        third.takeover_ms - third.lease_ms + renew_ms + settings.third_rtt_ms,
    )
    return [*shared, *voter_coverage(voter_facts(
        cfg,
        contacts_ms=contacts_ms(cfg),
        lease_ms=max(lease_ms, third.lease_ms),
        grant_ms=third.grant_ms,
        power_ms=power_ms,
        frozen_ms=min(frozen_ms, power_ms),
        killed_ms=third.killed_ms,
        cut_ms=contact_lost_ms(cfg, settings, core),
    ))]


def link_reports(cfg: Config, settings: Settings, core: CoreSettings) -> list[LinkReport]:
    """One report for each link, in the order of the file."""
    terms = timing_terms(settings)
    return [
        LinkReport(
            name=cfg.link_name(number),
            type=link.type,
            terms=[TermLine(name=term.name, ms=term.ms, text=term.text) for term in terms if term.link == number],
            lease_ms=core.lease_ms(number),
            grant_ms=core.grant_ms(number),
            tolerated_loss=tolerated_loss(core, number),
            load=link_load(cfg, link, settings.links[number]),
        )
        for number, link in enumerate(cfg.links)
    ]


def alone_after_ms(settings: Settings, link: LinkSettings) -> float:
    """The silence after which a node of a bare pair knows itself alone: two and a half beats (protocol.md, L1)."""
    if len(settings.voters) + settings.third_voter != 2:
        return 0.0
    fastest_ms = min(other.period_ms for other in settings.links)
    beat_ms = link.period_ms if link.period_ms == fastest_ms else (link.fast_period_ms or link.period_ms)
    return 2.5 * beat_ms


def vote_ms(cfg: Config, settings: Settings, core: CoreSettings, number: int) -> float:
    """With a spare: what the third node's vote adds, whose promise to the dead one may end a little after the taker's.

    The claim is then refused once, with the rest of that promise in whole milliseconds, and asked again.
    """
    if cfg.spare is None:
        return 0.0
    link = settings.links[number]
    apart_ms = core.grant_ms(number) * settings.drift_ppm / 1e6
    return apart_ms + ASK_ROUND_TRIPS * link.rtt_ms + link.reask_ms + ROUNDED_MS + 2 * settings.late_ms


def outage_of(cfg: Config, settings: Settings, core: CoreSettings, third: ThirdReport | None) -> Outage:
    """The driver dies with everything right after a frame of its own was heard: T_G, then the peer's output makes.

    In a bare pair two and a half beats where those are longer: before that the peer does not know itself alone. With a
    third voter its promise to the dead one too has to run out, and the arbiter's contacts move where they gate. With a
    spare a third node is asked for its vote. Groups with overlap know no outage: the others drive already.

    The worst case of the faults that only silence tells. A frame that was under way adds half a round trip,
    the decider its lateness; of several groups the slowest output counts.
    """
    tail_ms = settings.late_ms + last_make_ms(cfg) + contacts_ms(cfg)
    # With several groups the beats of a slow link come between those of a fast one, and the last may be one of them.
    slowest_ms = max(link.rtt_ms for link in settings.links) / 2 if len(settings.groups) > BEATS_TOGETHER else 0.0
    third_ms = third.takeover_ms if third is not None else 0.0
    worst = [
        max(core.grant_ms(number) + max(link.rtt_ms / 2, slowest_ms), third_ms,
            alone_after_ms(settings, link) + link.rtt_ms / 2)
        + vote_ms(cfg, settings, core, number) + tail_ms
        for number, link in enumerate(settings.links)
        if all(cfg.reaches(cfg.links[number], node) for node in cfg.nodes)
    ]
    if all(group.overlap for group in cfg.groups):
        worst = [0.0]
    budget_ms = cfg.pair.outage_budget_ms
    over_ms = max(0.0, min(worst) - budget_ms) if budget_ms is not None else 0.0
    return Outage(fast_ms=min(worst), slow_ms=max(worst), budget_ms=budget_ms, over_ms=over_ms)


def budget_problems(cfg: Config, outage: Outage) -> list[str]:
    """The outage budget, broken; empty when it holds or none is set."""
    if not outage.over_ms:
        return []
    remedy = "lower period_ms or missed of the fastest link"
    if cfg.third_voter is not None:
        remedy += ", renew_ms, missed or rtt_ms of the third voter"
    return [
        f"worst outage {outage.fast_ms:.1f} ms is {outage.over_ms:.1f} ms over outage_budget_ms = "
        f"{outage.budget_ms:g}; "
        f"{remedy}, use an output with a shorter release_ms, or raise the budget"
    ]


def as_data(report: Report) -> dict[str, Any]:
    """The report as plain data for --json."""
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(report)
    return {"ok": not report.problems, **data}
