"""What the commands of an operator came to, as text for people."""
from __future__ import annotations

from typing import Any

from twinbeat.group_names import compact
from twinbeat.maintenance import span_text
from twinbeat.screen import Answer, entries, figure


def handover_text(answer: Answer) -> str:
    """Who drives now."""
    moved = entries(answer, "groups") or [answer]
    return "\n".join(moved_line(item) for item in moved)


def moved_line(item: Answer) -> str:
    """One group that was handed over."""
    took = f" after {figure(item.get('took_ms'), 'ms', 1)}" if item.get("took_ms") is not None else ""
    return f"{item.get('driver') or 'the other node'} drives {item.get('group', 'the group')}{took}"


def plan_text(answer: Answer) -> str:
    """What would become of a handover: for each group whether it would go, what speaks against it, the facts."""
    lines: list[str] = []
    for plan in entries(answer, "plans"):
        lines += plan_lines(plan)
    verdict = "it would succeed" if answer.get("would") else "it would be refused"
    return "\n".join([*lines, f"dry run, nothing was changed: {verdict}"])


def plan_lines(plan: Answer) -> list[str]:
    """One group."""
    name, reasons = plan.get("group", "?"), texts(plan, "reasons")
    if plan.get("would"):
        gap = plan.get("gap")
        parts = gap if isinstance(gap, dict) else {}
        figures = ", ".join(
            f"{word} {figure(parts.get(key), 'ms', 1)}"
            for word, key in (("release", "release_ms"), ("two hops", "two_hops_ms"), ("make", "make_ms"))
        )
        lines = [f"{name}: {plan.get('to', '?')} would take it over from {plan.get('from', '?')}; undriven for about "
                 f"{figure(plan.get('expected_gap_ms'), 'ms', 1)} ({figures})"]
    else:
        lines = [f"{name}: cannot be handed over"]
    lines += [f"  - {reason}" for reason in reasons]
    lines += [f"  note: {note}" for note in texts(plan, "notes")]
    return lines + [f"  {taker_line(taker)}" for taker in entries(plan, "takers")]


def taker_line(taker: Answer) -> str:
    """What is known of one node."""
    node = taker.get("node", "?")
    if "state" not in taker:
        return f"{node}: nothing is known"
    links = taker.get("links")
    paths = ", ".join(f"{link} {state}" for link, state in links.items()) if isinstance(links, dict) else "?"
    heard = f"heard {figure(taker.get('heard_ms_ago'), 'ms')} ago" if taker.get("heard") else "not heard"
    facts = [
        str(taker["state"]),
        heard,
        f"links {paths}",
        f"{'fit' if taker.get('fit') else 'NOT FIT'} (health {taker.get('health', '?')})",
        "in step" if taker.get("in_step") else "BEHIND",
    ]
    if taker.get("in_maintenance"):
        facts.append("IN MAINTENANCE")
    if taker.get("reaches_third_voter") is False:
        facts.append("DOES NOT REACH THE ARBITER")
    return f"{node}: {', '.join(facts)}"


def failback_text(answer: Answer) -> str:
    """What went home, what could not."""
    moved = [moved_line(item) for item in entries(answer, "groups")]
    left = [
        f"{item.get('group', '?')} stays here: {'; '.join(texts(item, 'reasons'))}" for item in entries(answer, "left")
    ]
    return "\n".join([*moved, *left]) or "nothing to do: every group that may go back is where it belongs"


def drain_text(answer: Answer) -> str:
    """Whether anything is still driven here."""
    moved = [moved_line(item) for item in entries(answer, "moved")]
    if answer.get("drained"):
        shared = texts(answer, "shared")
        but = f" but {compact(shared)}, which every node drives at the same time" if shared else ""
        return "\n".join([*moved, f"{answer.get('node', 'this node')} drives nothing{but}"])
    return "\n".join([*moved, f"still driven by {answer.get('node', 'this node')}:", remaining_text(answer)])


def remaining_text(answer: Answer) -> str:
    """What is still driven here, and why; what stays for the same reason is told once."""
    why: dict[str, list[str]] = {}
    for item in entries(answer, "remaining"):
        why.setdefault("; ".join(texts(item, "reasons")) or "roles are moving", []).append(str(item.get("group", "?")))
    return "\n".join(f"  {compact(names)}: {reason}" for reason, names in why.items())


def maintenance_text(answer: Answer) -> str:
    """Whether it is on, and for how long."""
    now = answer.get("maintenance")
    if isinstance(now, dict):
        left_s = now.get("left_s")
        left = span_text(left_s) if isinstance(left_s, (int, float)) else "?"
        reason = f" ({now['reason']})" if now.get("reason") else ""
        lines = [
            f"maintenance is on for another {left}, until {now.get('until', '?')}{reason}",
            f"out of service here: {compact(texts(now, 'groups')) or 'nothing'}",
        ]
    else:
        lines = ["maintenance is off"]
    undriven = texts(answer, "undriven")
    lines += [f"NOBODY DRIVES {compact(undriven)}"] if undriven else []
    lines += [f"note: {answer['note']}"] if answer.get("note") else []
    others = answer.get("others")
    lines += [f"{node}: {text}" for node, text in others.items()] if isinstance(others, dict) else []
    return "\n".join(lines)


def service_text(answer: Answer, verb: str) -> str:
    """What `out` or `in` came to."""
    what = "out of service" if verb == "out" else "back in service"
    by_driver: dict[str, list[str]] = {}
    for group in entries(answer, "groups"):
        by_driver.setdefault(str(group.get("driver") or "nobody"), []).append(str(group.get("name", "?")))
    lines = [
        f"{compact(names)} {'is' if len(names) == 1 else 'are'} {what} on {answer.get('node', 'this node')}; "
        f"{driver} drives {'it' if len(names) == 1 else 'them'}"
        for driver, names in by_driver.items()
    ]
    lines += [f"note: {answer['note']}"] if answer.get("note") else []
    return "\n".join(lines) or f"done: {what}"


def operate_text(verb: str, answer: Answer) -> str:
    """The answer of any of these commands."""
    if verb in ("out", "in"):
        return service_text(answer, verb)
    if answer.get("dry_run"):
        return plan_text(answer)
    return TEXTS[verb](answer)


TEXTS = {"handover": handover_text, "failback": failback_text, "drain": drain_text, "maintenance": maintenance_text}


def texts(answer: Answer, key: str) -> list[str]:
    """A list of texts from an answer; empty where it is not there."""
    found: Any = answer.get(key)
    return [str(item) for item in found] if isinstance(found, list) else []
