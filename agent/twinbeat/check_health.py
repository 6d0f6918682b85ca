"""`twinbeat check` about the health checks: each failing alone, who would drive then, and what each finds now."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from twinbeat.config_check import CheckConfig, CommandCheck, MqttCheck, TcpCheck

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.health.probe import Measured, Probe
    from twinbeat.probe_pool import ProbePool

AGAIN_S = 0.5
"""A check that counts between two looks is looked at twice."""
MQTT_WAIT_MAX_S = 10.0


class HealthRow(Struct, frozen=True, kw_only=True):
    """One check on one node, failing alone while that node drives everything that it may.

    score      what is left of the node's 100 points
    drives     who drives each of these units then
    notice_ms  longest time from the fault to the decision: `fall` results in a row and a deadline
    """

    check: str
    type: str
    node: str
    effect: str
    score: int
    drives: dict[str, str]
    notice_ms: int
    text: str


def health_rows(cfg: Config) -> list[HealthRow]:
    """One row for each check and each node that runs it, in the order of the file."""
    return [row_of(cfg, check, node) for check in cfg.checks for node in cfg.nodes if check in cfg.checks_of(node)]


def row_of(cfg: Config, check: CheckConfig, node: str) -> HealthRow:
    """What follows when this check alone fails on `node`."""
    score = max(0, 100 - check.taken)
    drives = {group.name: driver_then(cfg, number, node, score) for number, group in enumerate(cfg.groups)
              if cfg.may_drive(group, node)}
    notice_ms = check.fall * check.every_ms + check.answer_ms
    if score:
        text = f"{node} drives on, at score {score}" if check.taken else f"{node} drives on; this check only warns"
        with_it = [other.name for other in cfg.checks_of(node) if other.effect == "score" and other is not check]
        if check.taken and with_it:
            text += f" (it counts together with {', '.join(with_it)})"
    elif not drives:
        text = f"{node} drives nothing"
    elif all(driver == node for driver in drives.values()):
        text = f"nobody better: {node} drives on"
    else:
        takers = list(dict.fromkeys(drives.values()))
        text = f"{', '.join(takers)} drives within {notice_ms / 1000:g} s, by planned handover"
        if shared(check):
            text += "; what all nodes miss at once moves nothing: nobody is better then"
    return HealthRow(check=check.name, type=check.type, node=node, effect=check.effect, score=score, drives=drives,
                     notice_ms=notice_ms, text=text)


def driver_then(cfg: Config, number: int, node: str, score: int) -> str:
    """Who drives a unit when `node` drove it and its score came to this, every other node being well."""
    others = [name for name in cfg.groups[number].drivers if name != node and name in cfg.nodes]
    return node if score or not others else others[0]


def shared(check: CheckConfig) -> bool:
    """Whether it looks at something outside the gateway, which all nodes see alike."""
    local = isinstance(check, TcpCheck) and check.host in ("localhost", "127.0.0.1", "::1")
    return isinstance(check, MqttCheck | TcpCheck) and not local and len(check.nodes) != 1


def health_problems(cfg: Config, rows: list[HealthRow]) -> list[str]:
    """Checks that can change nothing, one sentence each. One that shall only warn says so itself."""
    problems: list[str] = []
    for node in cfg.nodes:
        sums = sum(check.taken for check in cfg.checks_of(node) if check.effect == "score")
        weak = [check for check in cfg.checks_of(node) if check.effect == "score"] if sums < 100 else []
        problems += [
            f"check {check.name} on {node} can change nothing: it takes {check.taken} of 100 points, and all score "
            f"checks there take {sums}, so the score never comes to 0; raise points, or write effect = "
            '"unfit", or "warn" where it shall only be told'
            for check in weak
        ]
    for row in rows:
        if row.score == 0 and all(driver == row.node for driver in row.drives.values()):
            why = "nobody else may drive" if row.drives else f"{row.node} may drive nothing, it only votes"
            problems.append(f"check {row.check} on {row.node} can change nothing: {why}; remove it")
    return problems


def health_lines(rows: list[HealthRow]) -> Iterator[tuple[str, str]]:
    """(head, text) of each row."""
    for row in rows:
        yield f"  {row.check:<20} fails on {row.node:<12} ", row.text


# ---------------------------------------------------------------- devices


def look_at_all(cfg: Config) -> tuple[list[str], list[str], list[str]]:
    """Run every probe of this node once: (what is good, warnings, problems), one sentence each."""
    from twinbeat.probe_pool import ProbePool

    found: list[str] = []
    warnings: list[str] = []
    problems: list[str] = []
    checks = cfg.checks_of(cfg.node)
    pool = ProbePool(len(checks))
    for check in checks:
        measured = look(cfg, check, pool)
        place = f"check {check.name} ({check.type})"
        if measured is None:
            problems.append(f"{place}: no answer within {check.answer_ms} ms")
        elif measured.error:
            problems.append(f"{place}: {measured.error}")
        elif measured.ok is False:
            warnings.append(f"{place} fails now: {measured.text()}")
        else:
            found.append(f"{place}: {measured.text()}: {'good' if measured.ok else 'nothing to judge yet'}")
    pool.close(0.1)
    return found, warnings, problems


def look(cfg: Config, check: CheckConfig, pool: ProbePool) -> Measured | None:
    """One probe's answer; None where none comes in time."""
    from twinbeat.health.probe import unavailable
    from twinbeat.health.probes import build_probe

    if isinstance(check, MqttCheck):
        return listen(cfg, check)
    probe = build_probe(cfg, check, {})
    answers: list[Measured] = []
    done = threading.Event()

    def job() -> None:
        answers.append(twice(probe))
        done.set()

    if not pool.submit(job):
        return unavailable("there is no thread for it: the system refuses another one")
    # A command is ended at its deadline and says so a moment later.
    grace_s = 2.0 if isinstance(check, CommandCheck) else AGAIN_S + 0.2
    done.wait(check.answer_ms / 1000 + grace_s)
    probe.close()
    return answers[0] if answers else None


def twice(probe: Probe) -> Measured:
    """Look, and once more where the first look cannot tell."""
    from twinbeat.health.service import measure

    measured = measure(probe)
    if measured.ok is None:
        threading.Event().wait(AGAIN_S)
        measured = measure(probe)
    return measured


def listen(cfg: Config, check: MqttCheck) -> Measured:
    """Listen to a topic with a connection of its own, until a message comes or its age is up."""
    import dataclasses

    from twinbeat.config_schema import MqttLink
    from twinbeat.health.probe import unavailable
    from twinbeat.health.probes import broker_of, build_probe
    from twinbeat.links.lean_paho import load_paho
    from twinbeat.run_open import broker_of as options_of
    from twinbeat_core.errors import TwinbeatError

    number = broker_of(cfg, check)
    table = cfg.links[number]
    assert isinstance(table, MqttLink)
    try:
        # Another client id than the agent's: it may be running.
        options, context = options_of(cfg, table, number, f"{cfg.link_name(number)}-check")
    except TwinbeatError as error:
        return unavailable(str(error))
    load_paho(context is not None)
    from twinbeat.links.mqtt import MqttLink as Client

    options = dataclasses.replace(options, node=f"{cfg.node}-check")
    client = Client(options, context, lambda _data, _at_ns: True, lambda _up: None)
    probe = build_probe(cfg, check, {number: client})
    client.start()
    pause = threading.Event()
    measured = probe.measure()
    for _ in range(int(min(check.max_age_s, MQTT_WAIT_MAX_S) / 0.1) + 5):
        if measured.ok is not None:
            break
        pause.wait(0.1)
        measured = probe.measure()
    connected, reason = client.state.connected, client.state.reason
    client.stop(None, 1.0)
    if measured.ok is None and not connected:
        return unavailable(f"{options.place}: {reason}")
    return measured
