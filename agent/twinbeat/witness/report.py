"""What the witness says of itself: one line for the service manager, Prometheus text, and what `--check` found."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinbeat.witness.config import WitnessConfig
from twinbeat.witness.figures import PREFIX, family
from twinbeat.witness.keyring import PairKey, shared_numbers
from twinbeat_bridge.witness import ANSWERS_PER_S, GROUPS_MAX, PAIRS_MAX, voter_id

if TYPE_CHECKING:
    from twinbeat.witness.service import Service


def status_text(service: Service) -> str:
    """One line: what it serves, how it stands with the broker."""
    witness, link = service.witness, service.link
    state = "connected" if link.connected else "not connected"
    if link.connected and abstaining_ms(service) > 0:
        state += f", promises nothing for {abstaining_ms(service)} ms yet"
    counts = witness.counts
    return f"{len(witness.pairs)} pairs, {state}; {counts['asks']} asks, {counts['promises']} promises"


def abstaining_ms(service: Service) -> int:
    """How long nothing is promised yet; 0: promises are given."""
    from twinbeat.witness.service import now_ms

    return max(0, service.witness.abstains_until_ms - now_ms())


def figures_text(service: Service) -> str:
    """All figures in Prometheus text."""
    witness, link, counts = service.witness, service.link, service.witness.counts
    gauges: list[tuple[str, float, str]] = [
        ("pairs", len(witness.pairs), "Pairs that are served."),
        ("connected", link.connected, "1 while the broker is connected."),
        ("abstaining", abstaining_ms(service) > 0, "1 while nothing is promised, after a start or a new connection."),
        ("start", service.book.starts, "Number of this start."),
    ]
    counters: list[tuple[str, float, str]] = [
        ("asks_total", counts["asks"], "Asks with a good tag."),
        ("queries_total", counts["queries"], "Queries with a good tag."),
        ("promises_total", counts["promises"], "Promises given or renewed."),
        ("returns_total", counts["returns"], "Promises given back."),
        ("death_notices_total", counts["deaths"], "Death notices of gates."),
        ("answers_total", link.answers, "Answers sent."),
        ("answers_unsent_total", link.unsent, "Answers dropped because the broker did not read."),
        ("connects_total", link.connects, "Connections to the broker."),
        ("retained_refused_total", service.desk.retained_refused, "Retained messages refused."),
        ("reservation_failures", service.writes_failed, "Failed writes of reservations since the last good one."),
    ]
    lines = []
    for kind, rows in (("gauge", gauges), ("counter", counters)):
        for name, value, text in rows:
            lines += family(name, kind, text, [("", value)])
    refusals = {"refused": "refusals", "abstaining": "abstained", "unproven": "unproven", "not_reserved": "waits"}
    samples = [(f'{{reason="{label}"}}', counts[name]) for label, name in refusals.items()]
    lines += family("refusals_total", "counter", "Asks answered without a promise.", samples)
    samples = [(f'{{reason="{reason}"}}', count) for reason, count in witness.refused.items()]
    lines += family("messages_refused_total", "counter", "Messages without an answer.", samples)
    name = PREFIX + "answer_seconds"
    lines += [f"# HELP {name} From reading an ask to its answer written.", f"# TYPE {name} histogram"]
    lines += link.answer_time.lines(name)
    return "\n".join(lines) + "\n"


def check_data(cfg: WitnessConfig, found: dict[str, PairKey], faults: list[str]) -> dict[str, Any]:
    """What `--check --json` prints."""
    table = cfg.witness
    return {
        "witness": table.name,
        "id": f"{voter_id(table.name):08x}",
        "broker": table.broker,
        "state_dir": str(cfg.state_dir),
        "grant_max_ms": table.grant_max_ms,
        "metrics_port": table.metrics_port,
        "pairs": sorted(found),
        "limits": {"pairs": PAIRS_MAX, "groups_per_pair": GROUPS_MAX, "answers_per_second_and_pair": ANSWERS_PER_S},
        "problems": faults,
    }


def check_text(cfg: WitnessConfig, found: dict[str, PairKey], faults: list[str]) -> str:
    """What `--check` prints."""
    table = cfg.witness
    shown = ", ".join(sorted(found)[:20]) + (", ..." if len(found) > 20 else "")
    lines = [
        f"witness     {table.name}, id {voter_id(table.name):08x}",
        f"broker      {table.broker}",
        f"pairs       {len(found)} of at most {PAIRS_MAX}: {shown}" if found else "pairs       none yet",
        f"promises    at most {table.grant_max_ms} ms; so long it abstains after a start and after a new connection",
        f"limits      {GROUPS_MAX} groups and {ANSWERS_PER_S} answers a second for each pair",
        f"state       {cfg.state_dir}",
        f"metrics     http://127.0.0.1:{table.metrics_port}/metrics" if table.metrics_port else "metrics     off",
    ]
    shared = shared_numbers(found)
    if shared:
        lines.append(f"note        {shared} pairs have the number of another one; key and topic tell them apart")
    lines += [f"problem     {fault}" for fault in faults]
    return "\n".join(lines)
