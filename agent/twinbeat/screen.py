"""Answers of the agent as text for people. Keys that an older or newer agent does not send are passed over."""
from __future__ import annotations

from typing import Any

Answer = dict[str, Any]


def entries(answer: Answer, key: str) -> list[Answer]:
    """A list of objects from an answer; empty when it is not there."""
    found = answer.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def duration(seconds: object) -> str:
    """A time as people say it: "0.4 s", "12 s", "3 min", "2 h 5 min", "4 d 3 h"."""
    if not isinstance(seconds, (int, float)) or seconds < 0:
        return "?"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def figure(value: object, unit: str, digits: int = 0) -> str:
    """A figure with its unit, "-" when there is none."""
    return f"{value:.{digits}f} {unit}" if isinstance(value, (int, float)) and not isinstance(value, bool) else "-"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *rows]
    ]


def status_text(answer: Answer) -> str:
    """The screen of `twinbeat status`."""
    who = f"node {answer.get('node', '?')}"
    if answer.get("pair"):
        who += f" of pair {answer['pair']}"
    details = [f"version {answer.get('version', '?')}", f"up {duration(answer.get('uptime_s'))}"]
    if answer.get("session") is not None:
        details.append(f"start no. {answer['session']}")
    if answer.get("fit") is False:
        details.append("NOT FIT to drive")
    lines = [f"{who} ({', '.join(details)})", ""]
    groups = [group_row(item) for item in entries(answer, "groups")]
    peers = [peer_row(item) for item in entries(answer, "peers")]
    lines += table(("group", "driver", "here", "epoch", "since", "authority"), groups)
    lines += ["", *table(("peer", "heard", "incarnation", "health", "note"), peers)]
    links = [row for item in entries(answer, "links") for row in link_rows(item)]
    lines += ["", *table(("link", "type", "state", "silent", "loss", "longest gap", "note"), links)]
    lines += health_lines(answer.get("health"))
    warnings = answer.get("warnings")
    if isinstance(warnings, list) and warnings:
        lines += ["", "Warnings:", *(f"  - {text}" for text in warnings)]
    for group in entries(answer, "groups"):
        if not group.get("driver"):
            lines += ["", f"NOBODY DRIVES {group.get('name', '?')}; twinbeat why shows the last role changes"]
    return "\n".join(lines)


def health_lines(health: object) -> list[str]:
    """The checks of this node, where it has some."""
    if not isinstance(health, dict):
        return []
    rows: list[tuple[str, ...]] = [
        (
            str(check.get("name", "?")),
            str(check.get("state", "?")).upper() if check.get("state") != "good" else "good",
            duration(check["since_ms"] / 1000) if isinstance(check.get("since_ms"), (int, float)) else "?",
            str(check.get("effect", "?")),
            "no answer" if check.get("hung") else str(check.get("value") or check.get("last_error") or "no result yet"),
        )
        for check in entries(health, "checks")
    ]
    head = f"health: score {health.get('score', '?')}, load {figure(health.get('load'), '%')}"
    return ["", head, *table(("check", "state", "since", "effect", "found"), rows)]


def group_row(group: Answer) -> tuple[str, ...]:
    """One group: who drives, and what it is here."""
    state = str(group.get("state", "?"))
    reasons = group.get("barred_by") or ([group["fault"]] if group.get("fault") else [])
    if reasons:
        state += f" ({', '.join(map(str, reasons))})"
    if group.get("alone"):
        state += " (alone)"
    since_s = group.get("since_s")
    if since_s is None and isinstance(group.get("since_ms"), (int, float)):
        since_s = group["since_ms"] / 1000
    authority = group.get("authority_ms")
    return (
        str(group.get("name", "?")),
        str(group.get("driver") or "NOBODY"),
        state,
        str(group.get("epoch", "-")),
        duration(since_s),
        figure(authority, "ms") if authority else "-",
    )


def peer_row(peer: Answer) -> tuple[str, ...]:
    """One other node."""
    alive = peer.get("alive", peer.get("up"))
    incarnation = peer.get("incarnation")
    silent_ms = peer.get("heard_ms_ago", peer.get("silent_ms"))
    heard = f"{figure(silent_ms, 'ms')} ago" if isinstance(silent_ms, (int, float)) else "never"
    notes = [] if alive else ["its gate said: agent dead" if peer.get("dead") else "SILENT"]
    if peer.get("config_mismatch"):
        notes.append("OTHER CONFIGURATION: compare the files")
    if peer.get("version_mismatch"):
        notes.append("OTHER PROTOCOL VERSION: update one")
    if peer.get("fit") is False:
        notes.append("not fit")
    return (
        str(peer.get("name") or peer.get("node") or "?"),
        heard,
        f"{incarnation:08x}" if isinstance(incarnation, int) and incarnation else "-",
        str(peer.get("health", "-")),
        ", ".join(notes),
    )


def link_rows(link: Answer) -> list[tuple[str, ...]]:
    """One line for each other node on the link; one for the link itself where nobody was heard on it."""
    note = ""
    broker, port = link.get("broker"), link.get("port")
    if isinstance(broker, dict) and not broker.get("connected"):
        note = str(broker.get("reason") or "not connected to the broker")
    if isinstance(port, dict) and port.get("plugged") is False:
        note = f"{port.get('path', 'port')} is unplugged"
    paths = link.get("paths")
    found = list(paths.values()) if isinstance(paths, dict) and paths else [link]
    return [link_row(link, path, note) for path in found if isinstance(path, dict)]


def link_row(link: Answer, path: Answer, note: str) -> tuple[str, ...]:
    """One direction pair of a link."""
    state = path.get("state") or (
        "RX_DEAD" if path.get("rx_dead") else "TX_DEAD" if path.get("tx_dead") else "UP" if link.get("up") else "DOWN"
    )
    return (
        str(link.get("name", "?")),
        str(link.get("type", "?")),
        str(state),
        figure(path.get("heard_ms_ago", path.get("silent_ms")), "ms"),
        figure(path.get("loss_percent"), "%", 1),
        figure(path.get("gap_max_ms"), "ms", 1),
        note,
    )


def why_text(answer: Answer) -> str:
    """The screen of `twinbeat why`: the newest role change last, each with what was measured and heard."""
    verdicts = entries(answer, "verdicts")
    if not verdicts:
        return "No role has changed on this node as far as its records go."
    return "\n\n".join("\n".join(verdict_lines(verdict)) for verdict in verdicts)


def verdict_lines(verdict: Answer) -> list[str]:
    """One role change."""
    lines = [f"{verdict.get('time', '?')}  {verdict.get('sentence', '?')}"]
    measured = verdict.get("measured")
    if isinstance(measured, dict) and measured:
        figures = [f"{name.removesuffix('_ms').replace('_', ' ')} {value} ms" for name, value in measured.items()]
        lines.append(f"  measured: {', '.join(figures)}")
    evidence = verdict.get("evidence")
    for peer in entries(evidence, "peers") if isinstance(evidence, dict) else []:
        lines.append("  " + peer_sentence(peer))
    return lines


def peer_sentence(peer: Answer) -> str:
    """What was known of another node at that moment."""
    name = peer.get("node", "?")
    ago = peer.get("heard_ms_ago")
    if ago is None:
        return f"{name} had not been heard"
    text = f"{name} was last heard {figure(ago, 'ms', 1)} before, as {peer.get('said_state', '?')}"
    if peer.get("gate_said_dead"):
        text += "; its gate had reported its agent's death"
    links = peer.get("links")
    if isinstance(links, dict) and links:
        states = ", ".join(
            f"{link} {path.get('state', '?')} (silent {figure(path.get('heard_ms_ago'), 'ms', 1)})"
            for link, path in links.items()
            if isinstance(path, dict)
        )
        text += f"; links: {states}"
    return text


def event_line(event: Answer) -> str:
    """One event."""
    level = str(event.get("level", ""))
    mark = f" {level.upper()}:" if level in ("warning", "error", "critical") else ""
    return f"{event.get('time', '?')}{mark} {event.get('text', event.get('code', '?'))}"


def handover_text(answer: Answer) -> str:
    """What a handover came to."""
    took = f" after {figure(answer.get('took_ms'), 'ms', 1)}" if answer.get("took_ms") is not None else ""
    return f"{answer.get('driver') or 'the other node'} drives {answer.get('group', 'the group')}{took}"


def service_text(answer: Answer, verb: str) -> str:
    """What `out` or `in` came to."""
    what = "out of service" if verb == "out" else "back in service"
    groups = entries(answer, "groups")
    if not groups:
        return f"done: {what}"
    return "\n".join(
        f"{group.get('name', '?')} is {what} on {answer.get('node', 'this node')}; "
        f"{group.get('driver') or 'nobody'} drives it"
        for group in groups
    )
