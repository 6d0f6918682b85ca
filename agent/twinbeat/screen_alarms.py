"""What is wrong, from an agent's status: each fault with its remedy, the gravest first."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from twinbeat.group_names import compact
from twinbeat.screen import Answer, duration, entries
from twinbeat.screen_paint import clean

DRIVES = "ACTIVE"
UNKNOWN = "look at the other node"
ORDER = ("bad", "doubt", "note")


class Alarm(NamedTuple):
    """A fault. `level`: "bad" (nobody drives, or would after the next fault), "doubt", "note" (wanted so)."""

    level: str
    text: str
    remedy: str = ""


def alarms(answer: Answer) -> list[Alarm]:
    """Everything that is wrong, the gravest first."""
    found = [
        *group_alarms(answer), *peer_alarms(answer), *health_alarms(answer), *voter_alarms(answer),
        *link_alarms(answer), *early_alarms(answer), *maintenance_notes(answer),
    ]
    return sorted(found, key=lambda alarm: ORDER.index(alarm.level))


# ---------------------------------------------------------------- groups


def group_alarms(answer: Answer) -> Iterator[Alarm]:
    """Groups without a driver, with two, or barred here; equal faults of several groups are one."""
    groups = entries(answer, "groups")
    both = {unit for family in entries(answer, "families") if family.get("overlap") for unit in family.get("units", [])}
    undriven: dict[str, list[str]] = {}
    for group in groups:
        if not group.get("driver"):
            undriven.setdefault(undriven_remedy(group, answer), []).append(name_of(group))
    for remedy, names in undriven.items():
        yield Alarm("bad", f"NOBODY DRIVES {compact(names)}", remedy.replace("NAME", names[0]))
    twice = [name_of(group) for group in groups if len(drivers(group)) > 1 and name_of(group) not in both]
    if twice:
        yield Alarm("bad", f"TWO SAY THAT THEY DRIVE {compact(twice)}", "twinbeat why on both; look at the outputs")
    for text, names in one_of_both(answer, [group for group in groups if name_of(group) in both]).items():
        level = "doubt" if text == UNKNOWN else "note"
        yield Alarm(level, f"only one node drives {compact(names)}, which both should", text)
    faulty = [name_of(group) for group in groups if "output fault" in (group.get("barred_by") or [])]
    if faulty:
        yield Alarm("bad", f"an output of {compact(faulty)} failed here; this node does not claim it",
                    f"check its wiring and device, then: twinbeat in {faulty[0]}")
    held = held_by_maintenance(answer)
    out = [name_of(group) for group in groups if "operator" in (group.get("barred_by") or []) and group.get("driver")]
    out = [name for name in out if name not in held]
    if out:
        yield Alarm("note", f"{compact(out)}: out of service here by an operator", f"back: twinbeat in {out[0]}")
    lone = [name_of(group) for group in groups if group.get("alone")]
    present = [peer for peer in entries(answer, "peers") if alive(peer)]
    if lone and not present:
        yield Alarm("doubt", f"this node drives {compact(lone)} alone, without anybody's promise",
                    "bring the other node back; until then two could drive")
    elif lone and not any(in_maintenance(peer) for peer in present):
        yield Alarm("doubt", f"nobody else could take {compact(lone)} over now",
                    f"see why on {' and '.join(map(name_of, present))}: twinbeat status")


def one_of_both(answer: Answer, groups: list[Answer]) -> dict[str, list[str]]:
    """Groups that every node should drive and only one does: why, and which."""
    found: dict[str, list[str]] = {}
    for group in groups:
        name = name_of(group)
        if len(drivers(group)) == 1:
            out = [name_of(peer) for peer in entries(answer, "peers")
                   if alive(peer) and isinstance(peer.get("groups"), dict) and peer["groups"].get(name) == "OUT"]
            here = ["this node"] if group.get("state") == "OUT" else []
            text = f"out of service on {' and '.join(here + out)}" if here + out else UNKNOWN
            found.setdefault(text, []).append(name)
    return found


def undriven_remedy(group: Answer, answer: Answer) -> str:
    """What an operator can do where nobody drives; NAME stands for the group."""
    bars = group.get("barred_by") or ([group["fault"]] if group.get("fault") else [])
    if "output fault" in bars:
        return "check the output's wiring and device, then: twinbeat in NAME"
    if bars and name_of(group) in held_by_maintenance(answer):
        return "it is out of service here for maintenance: twinbeat maintenance off"
    if bars:
        return f"it is out of service here ({', '.join(map(clean, bars))}): twinbeat in NAME"
    if answer.get("fit") is False:
        return "this node is not fit to drive: see its failed checks below"
    if any(peer.get("config_mismatch") or peer.get("version_mismatch") for peer in entries(answer, "peers")):
        return "neither begins while the nodes do not agree: see below"
    if group.get("state") == "LISTEN":
        return "this node still listens after its start; it may have to hear every other voter once"
    if not any(alive(peer) for peer in entries(answer, "peers")):
        return "no other node is heard, and alone this one has no majority: bring the other node or a link back"
    return "twinbeat why NAME shows the last role changes"


def drivers(group: Answer) -> list[str]:
    """Everybody who says to drive a group."""
    found = group.get("drivers")
    if isinstance(found, list) and found:
        return [clean(name) for name in found]
    return [clean(group["driver"])] if group.get("driver") else []


def aimed(answer: Answer) -> Answer:
    """The answer with `failback_to` at each group that waits to go back: the best node that is heard and fit."""
    able = {name_of(peer) for peer in entries(answer, "peers") if alive(peer) and peer.get("fit") is not False}
    order: dict[str, list[str]] = {}
    for family in entries(answer, "families"):
        ranks = family.get("drivers")
        if isinstance(ranks, list):
            order |= {str(unit): rank for unit, rank in zip(family.get("units", []), ranks, strict=False)}
    groups = []
    for group in entries(answer, "groups"):
        to = next((node for node in order.get(str(group.get("name")), []) if node in able), None)
        waits = to is not None and isinstance(group.get("failback_in_ms"), (int, float))
        groups.append(group | {"failback_to": to} if waits else group)
    return answer | {"groups": groups}


def name_of(item: Answer) -> str:
    """The name of a group, node or link."""
    return clean(item.get("name") or item.get("node") or "?")


# ---------------------------------------------------------------- nodes


def in_maintenance(peer: Answer) -> bool:
    """Whether another node has said so."""
    return isinstance(peer.get("maintenance"), dict) and bool(peer["maintenance"].get("on"))


def alive(peer: Answer) -> bool:
    """Whether another node is heard."""
    return bool(peer.get("alive", peer.get("up")))


def peer_alarms(answer: Answer) -> Iterator[Alarm]:
    """Other nodes that could not take over."""
    peers = entries(answer, "peers")
    left = "the next fault leaves nobody to drive" if any(map(alive, peers)) else "nobody could take over from here"
    for peer in peers:
        name = name_of(peer)
        heard_ms = peer.get("heard_ms_ago", peer.get("silent_ms"))
        if peer.get("config_mismatch"):
            yield Alarm("bad", f"{name} runs ANOTHER CONFIGURATION; neither begins to drive",
                        "compare what twinbeat check prints on both, restart the agent whose file was wrong")
        if peer.get("version_mismatch"):
            yield Alarm("bad", f"{name} speaks ANOTHER PROTOCOL VERSION", "install the same twinbeat on both")
        if not alive(peer) and peer.get("dead"):
            yield Alarm("bad", f"{name}: its agent DIED, said its gate; {left}",
                        f"on {name}: systemctl status twinbeat")
        elif peer.get("config_mismatch") or peer.get("version_mismatch"):
            pass                                # it is heard, and not understood
        elif not alive(peer) and not isinstance(heard_ms, (int, float)):
            yield Alarm("bad", f"{name} was NEVER HEARD", "is its agent running? Do the cables and addresses fit?")
        elif not alive(peer) and isinstance(heard_ms, (int, float)):
            yield Alarm("bad", f"{name} is SILENT for {duration(heard_ms / 1000)}; {left}",
                        f"look at the power of {name}, its agent, and the links")
        elif peer.get("fit") is False:
            yield Alarm("bad", f"{name} is not fit to drive: it could not take over", f"on {name}: twinbeat status")
        if in_maintenance(peer):
            yield Alarm("note", f"{name} has all it could drive out of service: maintenance, out, or it stops", "")


def health_alarms(answer: Answer) -> Iterator[Alarm]:
    """Failed checks of this node."""
    health = answer.get("health")
    checks = entries(health, "checks") if isinstance(health, dict) else []
    for check in checks:
        if check.get("state") in (None, "good"):
            continue
        found = "no answer" if check.get("hung") else check.get("value") or check.get("last_error") or "no result yet"
        level = "bad" if check.get("effect") in ("unfit", "fit") else "doubt"
        yield Alarm(level, f"check {name_of(check)} {clean(check.get('state'))}: {clean(found)}", "")
    if answer.get("fit") is False:
        yield Alarm("bad", "this node is NOT FIT to drive", "" if checks else "see twinbeat events")


def maintenance_notes(answer: Answer) -> Iterator[Alarm]:
    """Planned work on this node."""
    found = answer.get("maintenance")
    if isinstance(found, dict) and found.get("on", True):
        reason = f", {clean(found['reason'])}" if found.get("reason") else ""
        yield Alarm("note", f"maintenance{until(found.get('left_s'))}{reason}", "end it: twinbeat maintenance off")


def held_by_maintenance(answer: Answer) -> list[str]:
    """The groups that maintenance holds out of service here."""
    found = answer.get("maintenance")
    groups = found.get("groups") if isinstance(found, dict) and found.get("on", True) else None
    return [clean(name) for name in groups] if isinstance(groups, list) else []


def until(left_s: object) -> str:
    """ " until 14:20, 1 h 12 min left"."""
    if not isinstance(left_s, (int, float)):
        return ""
    import datetime

    end = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=left_s)
    left = duration(left_s) if left_s < 3600 else f"{int(left_s) // 3600} h {int(left_s) % 3600 // 60} min"
    return f" until {end:%H:%M}, {left} left"


# ---------------------------------------------------------------- voter, links, warnings


def voter_alarms(answer: Answer) -> Iterator[Alarm]:
    """A third voter that is away: the next fault leaves nobody."""
    voter = answer.get("third_voter")
    if not isinstance(voter, dict):
        return
    word, reason = voter_state(voter)
    if word not in ("answers", "?"):
        yield Alarm("bad", f"third voter ({clean(voter.get('type', '?'))}) {word}{f': {reason}' if reason else ''}",
                    "the pair goes on with two votes; the next fault leaves nobody to drive")


def voter_state(voter: Answer) -> tuple[str, str]:
    """Whether it answers, and why not."""
    port = voter.get("port")
    if isinstance(port, dict) and port.get("plugged") is False:
        return "UNPLUGGED", clean(port.get("path", "its port"))
    if "connected" in voter:
        if not voter["connected"]:
            return "NOT CONNECTED", clean(voter.get("reason") or "")
        return ("answers", "") if voter.get("answering", True) else ("SILENT", "")
    if "heard_ago_ms" not in voter:
        return "?", ""
    heard_ms = voter["heard_ago_ms"]
    if not isinstance(heard_ms, (int, float)):
        return "NEVER HEARD", ""
    return ("answers", "") if heard_ms < 1000 else (f"SILENT for {duration(heard_ms / 1000)}", "")


def link_alarms(answer: Answer) -> Iterator[Alarm]:
    """Links that do not carry, and what to look at. Where nobody is heard, they are not told one by one."""
    some = any(alive(peer) for peer in entries(answer, "peers"))
    for link in links_here(answer):
        name = name_of(link)
        broker, port = link.get("broker"), link.get("port")
        if isinstance(port, dict) and port.get("plugged") is False:
            yield Alarm("doubt", f"link {name}: {clean(port.get('path', 'port'))} is unplugged", "plug it in again")
        elif isinstance(broker, dict) and not broker.get("connected"):
            yield Alarm("doubt", f"link {name}: {clean(broker.get('reason') or 'not connected to the broker')}")
        elif some:
            for node, path in paths_of(link):
                state = path_state(link, path)
                if state != "UP":
                    yield Alarm("doubt", f"link {name}: {state} to {node}", PATH_REMEDIES.get(state, ""))


PATH_REMEDIES = {
    "RX_DEAD": "it hears this node, but nothing arrives here: receiving line, input, firewall here",
    "TX_DEAD": "it is heard, but nothing from here arrives there: sending line, its input, firewall there",
    "DOWN": "cable, address, switch or broker of this link",
}


def links_here(answer: Answer) -> list[Answer]:
    """The links that this node is connected to."""
    return [link for link in entries(answer, "links") if link.get("here", True)]


def paths_of(link: Answer) -> list[tuple[str, Answer]]:
    """The link's path to each other node; the link itself where there is none."""
    paths = link.get("paths")
    if isinstance(paths, dict) and paths:
        return [(clean(node), path) for node, path in paths.items() if isinstance(path, dict)]
    return [("?", link)]


def path_state(link: Answer, path: Answer) -> str:
    """UP, DOWN, RX_DEAD or TX_DEAD."""
    if path.get("state"):
        return clean(path["state"])
    if path.get("rx_dead") or path.get("tx_dead"):
        return "RX_DEAD" if path.get("rx_dead") else "TX_DEAD"
    return "UP" if link.get("up") else "DOWN"


def early_alarms(answer: Answer) -> Iterator[Alarm]:
    """Figures that grow worse: what, how fast, and when it would matter."""
    for warning in entries(answer, "early_warnings"):
        yield Alarm("doubt", early_text(warning), "")


def early_text(warning: dict[str, Any]) -> str:
    """An early warning in one sentence; its own text where it has one."""
    text = clean(warning.get("text") or "")
    if not text:
        unit = clean(warning.get("unit") or "")
        text = f"{clean(warning.get('figure', '?'))} is {number(warning.get('value'))} {unit}".rstrip()
        if warning.get("limit") is not None:
            text += f", limit {number(warning['limit'])} {unit}".rstrip()
        if isinstance(warning.get("trend_per_hour"), (int, float)):
            text += f", {warning['trend_per_hour']:+g} {unit} an hour".replace("  ", " ")
    if isinstance(warning.get("matters_in_s"), (int, float)) and "matter" not in text:
        text += f"; would matter in {duration(warning['matters_in_s'])}"
    return f"early: {text}"


def number(value: object) -> str:
    """A figure as short as it can be."""
    return f"{value:g}" if isinstance(value, (int, float)) else clean(value)
