"""`twinbeat check --devices`: are this node's ports and outputs there and free? Nothing is switched on."""
from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from twinbeat.config_schema import ArbiterVoter, SerialLink
from twinbeat.errors import DeviceError
from twinbeat.serial_port import open_serial, usb_warning
from twinbeat_bridge.protocol import Session, Told, VoteCode, Votes, voter_text
from twinbeat_bridge.session import SerialSession
from twinbeat_core.errors import TwinbeatError
from twinbeat_hardware.factory import build_output
from twinbeat_hardware.output import OutputPlace

if TYPE_CHECKING:
    from twinbeat.config import Config

TRIES = 2
"""Asks to the arbiter, each waited for 0.3 s; where none is answered, what else is there is listened for."""
GRANT_MS = 10
"""Named in an ask that asks for no promise."""


def check_devices(cfg: Config) -> tuple[list[str], list[str], list[str]]:
    """(what was found good, warnings, problems), one sentence each. Every device is let go again."""
    found: list[str] = []
    warnings: list[str] = []
    problems: list[str] = []
    for number, link in enumerate(cfg.links):
        if not isinstance(link, SerialLink) or not cfg.reaches(link):
            continue
        path = cfg.serial_path(link.port)
        try:
            os.close(open_serial(path, link.baud))
            warning = usb_warning(path, link.period_ms)
        except TwinbeatError as error:
            problems.append(f"link {cfg.link_name(number)}: {error}")
            continue
        found.append(f"link {cfg.link_name(number)}: {path} opens at {link.baud} baud")
        if warning is not None:
            warnings.append(f"link {cfg.link_name(number)}: {warning}")
    check_arbiter(cfg, found, warnings, problems)
    check_outputs(cfg, found, warnings, problems)
    check_prepare(cfg, found, problems)
    return found, warnings, problems


def check_prepare(cfg: Config, found: list[str], problems: list[str]) -> None:
    """The programs that this node runs before it takes a group over are there. None is run."""
    from twinbeat.run_prepare import hooks_of

    try:
        hooks = hooks_of(cfg)
    except TwinbeatError as error:
        problems.append(str(error))
        return
    for number, programs in hooks.items():
        name = cfg.groups[number].name
        found.append(f'group "{name}": {len(programs)} prepare hook{"s" if len(programs) > 1 else ""} found')


def check_arbiter(cfg: Config, found: list[str], warnings: list[str], problems: list[str]) -> None:
    """Open the arbiter's port and ask who is there. Nothing is promised by that, and no contact moves."""
    voter = cfg.third_voter
    if not isinstance(voter, ArbiterVoter):
        return
    path = cfg.serial_path(voter.port)
    every_ms = max(voter.renew_ms or 0.0, min(link.period_ms for link in cfg.links))
    try:
        fd = open_serial(path, voter.baud)
        try:
            found.append(arbiter_there(cfg, voter, fd, path))
        finally:
            os.close(fd)
        warning = usb_warning(path, every_ms)
    except TwinbeatError as error:
        # What a link calls its period is the renewal here.
        problems.append(f"arbiter: {error}".replace("period_ms", "renew_ms"))
        return
    if warning is not None:
        warnings.append(f"arbiter: {warning}".replace("period_ms", "renew_ms"))


def arbiter_there(cfg: Config, voter: ArbiterVoter, fd: int, path: str) -> str:
    """Who answers, where it is the one that the configuration names. Raises ArbiterError with what is there instead."""
    session = Session(cfg.self_index, cfg.pair_id, secrets.randbits(32) | 1, int(voter.id, 16), GRANT_MS)
    line = SerialSession(fd, session, path)
    line.drain()
    told = line.query(TRIES).answer
    assert isinstance(told, Told)
    votes = line.ask([(0, 0)], TRIES).answer
    if isinstance(votes, Votes) and any(row.code is VoteCode.WRONG_SIDE for row in votes.rows):
        raise DeviceError(f"{path}: this is the other gateway's side of the arbiter; exchange the two cables")
    if told.groups < len(cfg.groups):
        raise DeviceError(
            f"{path}: the board has contacts and promises for {told.groups} groups, the file has {len(cfg.groups)}; "
            "use another board, or let outputs that move together share a group"
        )
    return (
        f"arbiter: {path} opens at {voter.baud} baud; {voter_text(told.voter)} answers, the configured one, with "
        f"firmware {told.version}"
    )


def check_outputs(cfg: Config, found: list[str], warnings: list[str], problems: list[str]) -> None:
    """Open and close every output of what this node may drive; a GPIO line takes its off level by that."""
    for number, group in enumerate(cfg.groups):
        if not cfg.may_drive(group):
            continue
        place = OutputPlace(
            group=number,
            group_name=group.name,
            node=cfg.node,
            pair=cfg.pair.name,
            serial_ports=cfg.nodes[cfg.node].serial,
        )
        for spec in group.outputs:
            output = build_output(spec, place)
            try:
                fast = output.open()
            except TwinbeatError as error:
                problems.append(str(error))
                continue
            warnings.extend(output.warnings)
            output.close()
            if fast.fd >= 0:
                os.close(fast.fd)
            found.append(f"{output.where()}: can be opened")
