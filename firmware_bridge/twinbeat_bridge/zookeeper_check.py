"""Whether ZooKeeper can be the third voter of this configuration: addresses, files and times."""
from __future__ import annotations

import importlib.util
import os
import re
from typing import NamedTuple

from twinbeat_core.errors import SettingsError

PORT = 2181
NOTICE_ROUND_TRIPS = 1.5      # the watch's word, then a read, until a standby has seen a renewal
CLAIM_ROUND_TRIPS = 3.0       # until a refused claim is made again; read; write
_HOST = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(?::([0-9]{1,5}))?$")


class Tls(NamedTuple):
    """Files for an encrypted connection; all None: not encrypted."""

    ca: str | None = None
    cert: str | None = None
    key_file: str | None = None

    @property
    def used(self) -> bool:
        return any(self)


def host_problems(hosts: str) -> list[str]:
    """What is wrong with a list such as "zk1:2181,zk2,[fd00::3]:2181"; the names are not looked up."""
    problems = []
    for host in hosts.split(","):
        found = _HOST.match(host.strip())
        if "/" in host:
            problems.append(f'[third_voter] hosts: "{host.strip()}" has a path in it; hosts are addresses alone, the'
                            f' place of the znodes is the key path')
        elif found is None or (found[2] and not 1 <= int(found[2]) <= 65535):
            problems.append(f'[third_voter] hosts: "{host.strip()}" is no HOST or HOST:PORT; write'
                            f' "zk1:{PORT},zk2:{PORT},zk3:{PORT}"')
    return problems


def access_problems(user: str | None, password: str | None, tls: Tls) -> list[str]:
    """What is missing of user and password, or of the files of an encrypted connection."""
    problems = []
    if (user is None) != (password is None):
        problems.append("[third_voter] user and password_file belong together: give both or neither")
    if user is not None and ":" in user:
        problems.append(f'[third_voter] user: "{user}" has a colon in it, which ZooKeeper reads as the end of the name')
    if (tls.cert is None) != (tls.key_file is None):
        problems.append("[third_voter] cert and key belong together: give both or neither")
    for name, path in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key_file)):
        if path is not None and not os.access(path, os.R_OK):
            problems.append(f"[third_voter] {name}: {path} is not there or may not be read by this user")
    return problems


def need_kazoo() -> None:
    """SettingsError where the ZooKeeper client library is not installed."""
    if importlib.util.find_spec("kazoo") is None:
        raise SettingsError(['[third_voter] type = "zookeeper" needs the Python package kazoo, which is not installed:'
                             ' pip install "twinbeat[zookeeper]"'])


def takeover_ms(grant_ms: float, rtt_ms: float) -> float:
    """The longest from the death of a silent holder to another's promise, drift aside."""
    return grant_ms + (NOTICE_ROUND_TRIPS + CLAIM_ROUND_TRIPS) * rtt_ms


def silence_ms(session_ms: float) -> float:
    """When a connection on which nothing comes is given up: the client asks for a sign of life after one third of the
    session and waits another third."""
    return session_ms * 2 / 3


def zookeeper_problems(renew_ms: float, rtt_ms: float, grant_ms: float, session_ms: float,
                       budget_ms: float | None) -> list[str]:
    """What these times cannot meet, one sentence each with its remedy; all in ms.

    `session_ms` decides nothing about who may drive: the znodes outlive every session and promises are counted on the
    gateways' own clocks. It decides how long a connection to a dead server is held on to, and that must be shorter
    than a promise. `budget_ms` is the pair's outage_budget_ms, None where none is set.
    """
    problems = []
    worst = takeover_ms(grant_ms, rtt_ms)
    if budget_ms is not None and worst > budget_ms:
        problems.append(
            f"[third_voter] ZooKeeper cannot meet outage_budget_ms = {budget_ms:g}: after a silent death its promise"
            f" stands for {grant_ms:g} ms, {NOTICE_ROUND_TRIPS:g} round trips pass before a renewal is seen and"
            f" {CLAIM_ROUND_TRIPS:g} to claim anew: {grant_ms:g} + {NOTICE_ROUND_TRIPS + CLAIM_ROUND_TRIPS:g} x"
            f" {rtt_ms:g} = {worst:g} ms. Set outage_budget_ms to {worst:.0f} or more, shorten renew_ms ({renew_ms:g}),"
            f' or use type = "arbiter" (milliseconds) or "witness"')
    if rtt_ms >= renew_ms:
        problems.append(
            f"[third_voter] renew_ms = {renew_ms:g} is not longer than rtt_ms = {rtt_ms:g}: one renewal is not answered"
            f" before the next is due. Set renew_ms to {2 * rtt_ms:g} or more")
    if grant_ms < renew_ms + 2 * rtt_ms:
        problems.append(
            f"[third_voter] grant_ms = {grant_ms:g} runs out before it is renewed: {renew_ms:g} ms until the next ask"
            f" and two round trips of {rtt_ms:g} ms. Set grant_ms to {renew_ms + 2 * rtt_ms:g} or more, or leave it"
            f" out")
    longest = (grant_ms - 2 * rtt_ms) * 3 / 2
    if silence_ms(session_ms) + 2 * rtt_ms > grant_ms:
        problems.append(
            f"[third_voter] session_ms = {session_ms:g} is too long: a server that falls silent is given up after two"
            f" thirds of it, {silence_ms(session_ms):.0f} ms, and connecting to another takes two round trips of"
            f" {rtt_ms:g} ms, but a promise of {grant_ms:g} ms has run out by then. "
            + (f"Set session_ms to {longest:.0f} or less (a server with tickTime = 2000 grants 4000 at least), or"
               f" raise grant_ms to {silence_ms(session_ms) + 2 * rtt_ms:.0f}" if longest >= 1000 else
               f"Raise grant_ms to {silence_ms(session_ms) + 2 * rtt_ms:.0f}"))
    if session_ms < 6 * rtt_ms:
        problems.append(
            f"[third_voter] session_ms = {session_ms:g} is too short: a sign of life must be answered within a third of"
            f" it, and with a round trip of {rtt_ms:g} ms a healthy connection would be given up again and again. Set"
            f" session_ms to {6 * rtt_ms:g} or more")
    return problems


def require(problems: list[str]) -> None:
    """SettingsError where there is a problem."""
    if problems:
        raise SettingsError(problems)
