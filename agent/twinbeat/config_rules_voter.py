"""How [third_voter] and outputs on the arbiter must fit the rest of a configuration."""
from __future__ import annotations

import math
import re
import termios
from collections.abc import Iterator
from typing import TYPE_CHECKING

from twinbeat.config_modes import placed_outputs, unit_count
from twinbeat.config_reader import Reader, number_text
from twinbeat.config_rules import PORT_MAX, check_broker, defined_everywhere
from twinbeat.config_schema import ArbiterVoter, SerialLink, ThirdVoter, WitnessVoter, ZookeeperVoter
from twinbeat.wire_load import BAUD_RATES, BITS_PER_BYTE, FRAME_SHARE_MAX
from twinbeat_hardware.spec import ARBITER_GROUPS, ArbiterSpec, SerialRelaySpec

if TYPE_CHECKING:
    from twinbeat.config_model import Tables

PLACE = "[third_voter]"
ROWS_MAX = 16
"""Groups in one frame to or from an arbiter or a witness."""
ASK_BYTES, ASK_ROW_BYTES = 26, 5
VOTE_BYTES, VOTE_ROW_BYTES = 30, 10
WRAP_BYTES = 7
"""CRC-32, one byte of stuffing and two delimiters; a body is too short for a second byte of stuffing."""
LONGEST_GRANT_MS = {"arbiter": 2000, "witness": 60000, "zookeeper": 60000}
ZOOKEEPER_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
KNOWN_RATES = tuple(
    sorted(rate for rate in (int(name[1:]) for name in dir(termios) if re.fullmatch(r"B\d+", name)) if rate)
)
"""The rates that the operating system has a name for: what every driver and board can be expected to offer."""


def check_third_voter(tables: Tables, reader: Reader) -> None:
    """Note every rule that [third_voter], the outputs on the arbiter, or a baud rate breaks."""
    for number, link in enumerate(tables.links, start=1):
        if isinstance(link, SerialLink):
            check_rate(link.baud, f"[[link]] {number}", reader)
    voter = tables.third_voter
    check_arbiter_outputs(tables, reader)
    if voter is None:
        return
    if isinstance(voter, ArbiterVoter):
        check_rate(voter.baud, PLACE, reader)
        check_port(tables, voter, reader)
        check_load(tables, voter, reader)
    elif isinstance(voter, WitnessVoter):
        check_broker(voter, PLACE, reader)
    else:
        check_zookeeper(voter, reader)
    units = unit_count(tables.groups)
    if not isinstance(voter, ZookeeperVoter) and units > ROWS_MAX:
        sharded = any(group.shards for group in tables.groups)
        reader.add(
            PLACE,
            f"the file has {units} groups{' and shards' if sharded else ''}, and type = \"{voter.type}\" carries at "
            f"most {ROWS_MAX}: {'lower shards' if sharded else 'let outputs that move together share a group'}, or use "
            'type = "zookeeper"',
        )
    check_grant(tables, voter, reader)


def check_rate(baud: int, place: str, reader: Reader) -> None:
    """A baud rate that has a name; a slip of a digit is the likelier reason for any other."""
    if baud not in KNOWN_RATES:
        near = min(KNOWN_RATES, key=lambda rate: abs(rate - baud))
        reader.add(place, f"baud = {baud} is an unknown baud rate; did you mean {near}?")


def check_port(tables: Tables, voter: ArbiterVoter, reader: Reader) -> None:
    """The arbiter's port is named on every node and used by nobody else."""
    if "/" in voter.port:
        remedy = 'name it in [node.*] as serial.NAME and write port = "NAME"'
        reader.add(PLACE, f'port = "{voter.port}" is a device path; {remedy}')
        return
    if not defined_everywhere(tables.nodes, voter.port, PLACE, "serial", '"/dev/..."', reader):
        return
    for place, port in other_ports(tables):
        for node, config in tables.nodes.items():
            device = config.serial[voter.port]
            if config.serial.get(port, port) == device:
                remedy = f"which {place} uses; the arbiter needs a line of its own"
                reader.add(PLACE, f'port = "{voter.port}" is {device} on {node}, {remedy}')
                return


def other_ports(tables: Tables) -> Iterator[tuple[str, str]]:
    """(place, port) of every link and output that has a serial line."""
    for number, link in enumerate(tables.links, start=1):
        if isinstance(link, SerialLink):
            yield f"[[link]] {number}", link.port
    for place, _, output in placed_outputs(tables.groups):
        if isinstance(output, SerialRelaySpec):
            yield place, output.port


def round_bytes(groups: int) -> int:
    """Bytes on the wire of one ask and its answer."""
    return ASK_BYTES + ASK_ROW_BYTES * groups + VOTE_BYTES + VOTE_ROW_BYTES * groups + 2 * WRAP_BYTES


def round_ms(groups: int, baud: int) -> float:
    """Time that one ask and its answer take on the wire in ms."""
    return round_bytes(groups) * BITS_PER_BYTE * 1000.0 / baud


def fast_period_ms(tables: Tables) -> float:
    """The period of the fastest link, with whose beats the third voter is asked at the earliest."""
    return min(link.period_ms for link in tables.links)


def renewal_ms(tables: Tables, voter: ThirdVoter) -> float:
    """Time between two asks for what the voter has promised."""
    return max(fast_period_ms(tables), voter.renew_ms or 0.0)


def check_load(tables: Tables, voter: ArbiterVoter, reader: Reader) -> None:
    """Ask and answer must leave most of the time between two asks free, and fit the round trip counted with."""
    groups = min(unit_count(tables.groups), ROWS_MAX)
    every_ms, takes_ms = renewal_ms(tables, voter), round_ms(groups, voter.baud)
    share = takes_ms / every_ms
    if share > FRAME_SHARE_MAX:
        rate = next((rate for rate in BAUD_RATES if round_ms(groups, rate) <= FRAME_SHARE_MAX * every_ms), None)
        remedy = f"set baud = {rate} or more, or " if rate else ""
        reader.add(
            PLACE,
            f"baud = {voter.baud} is too slow for an ask every {number_text(every_ms)} ms: ask and answer of "
            f"{round_bytes(groups)} bytes take {takes_ms:.2f} ms, {share:.0%} of it (at most {FRAME_SHARE_MAX:.0%}); "
            f"{remedy}set renew_ms = {math.ceil(takes_ms / FRAME_SHARE_MAX)} or more",
        )
    elif takes_ms > voter.rtt_ms:
        reader.add(
            PLACE,
            f"rtt_ms = {number_text(voter.rtt_ms)} is shorter than the {takes_ms:.2f} ms that ask and answer of "
            f"{round_bytes(groups)} bytes take at baud = {voter.baud}; set rtt_ms = {math.ceil(takes_ms + 1)} or more",
        )


def check_zookeeper(voter: ZookeeperVoter, reader: Reader) -> None:
    """Hosts that can be connected to; credentials in pairs."""
    seen: set[str] = set()
    for entry in voter.hosts.split(","):
        try:
            host = zookeeper_host(entry)
        except ValueError as error:
            reader.add(PLACE, f'hosts = "{voter.hosts}": "{entry}" {error}')
            continue
        if host in seen:
            reader.add(PLACE, f'hosts = "{voter.hosts}": "{entry.strip()}" is named twice; name every server once')
        seen.add(host)
    for have, need, why in (
        ("cert", "key", "a client certificate needs both"),
        ("key", "cert", "a client certificate needs both"),
        ("cert", "ca", "TLS needs the certificates to trust"),
        ("user", "password_file", "ZooKeeper's digest needs both"),
        ("password_file", "user", "ZooKeeper's digest needs both"),
    ):
        if getattr(voter, have) is not None and getattr(voter, need) is None:
            reader.add(PLACE, f"{have} is set without {need}; {why}")


def zookeeper_host(entry: str) -> str:
    """HOST:PORT of one entry; ValueError with the rest of a sentence for what is none."""
    text = entry.strip()
    if not text:
        raise ValueError('names no server; write "zk1:2181,zk2:2181,zk3:2181"')
    if "//" in text:
        raise ValueError("has a scheme; write the server as HOST or HOST:PORT")
    if "/" in text:
        raise ValueError('has a path; write it as path = "/..." beside hosts')
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        port = rest.removeprefix(":")
        if not bracket or not re.fullmatch(r"\[[0-9A-Fa-f:.]+", host) or (rest and not rest.startswith(":")):
            raise ValueError('is no server; an IPv6 address is written as "[fd00::1]:2181"')
        host += "]"
    else:
        host, _, port = text.partition(":")
        if ":" in port:
            raise ValueError('is no server; an IPv6 address is written as "[fd00::1]:2181"')
        if not ZOOKEEPER_HOST.fullmatch(host):
            raise ValueError("has no valid host name; write the server as HOST or HOST:PORT")
    if text.endswith(":") or (port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= PORT_MAX)):
        raise ValueError(f"has no valid port; a port is 1 to {PORT_MAX}")
    return f"{host.lower()}:{port or '2181'}"


def check_grant(tables: Tables, voter: ThirdVoter, reader: Reader) -> None:
    """A promise outlives the renewals that may be missing, the voter can give it, and the budget has room for it."""
    every_ms = renewal_ms(tables, voter)
    need_ms = voter.missed * every_ms + voter.rtt_ms
    shown_need = number_text(math.ceil(need_ms))
    trip_text = f"a round trip of {number_text(voter.rtt_ms)} ms"
    sum_text = f"{voter.missed} renewals of {number_text(every_ms)} ms and {trip_text}"
    if voter.grant_ms is not None and voter.grant_ms < need_ms:
        reader.add(
            PLACE,
            f"grant_ms = {voter.grant_ms} is shorter than {sum_text}, {shown_need} ms together: raise grant_ms, or "
            "lower renew_ms or missed",
        )
        return
    grant_ms = voter.grant_ms if voter.grant_ms is not None else need_ms
    longest_ms = LONGEST_GRANT_MS[voter.type]
    if grant_ms > longest_ms:
        reader.add(
            PLACE,
            f'{sum_text} need a promise of {shown_need} ms, and type = "{voter.type}" promises at most '
            f"{longest_ms} ms: lower renew_ms or missed",
        )
        return
    budget_ms = tables.pair.outage_budget_ms
    if budget_ms is not None and grant_ms >= budget_ms:
        remedy = "lower renew_ms, missed or grant_ms, or raise the budget"
        if not isinstance(voter, ArbiterVoter):
            remedy += ', or use a faster voter: type = "arbiter"'
        reader.add(
            PLACE,
            f"a gateway that loses power leaves a promise of {number_text(math.ceil(grant_ms))} ms behind, and nobody "
            f"can drive before it has run out: outage_budget_ms = {number_text(budget_ms)} cannot be met; {remedy}",
        )


def check_arbiter_outputs(tables: Tables, reader: Reader) -> None:
    """Outputs on the arbiter's board need the arbiter, a unit that it has contacts for, and one of them each."""
    last_unit = 0
    for number, group in enumerate(tables.groups, start=1):
        last_unit += group.shards or 1
        first = 0
        for position, output in enumerate(group.outputs, start=1):
            if not isinstance(output, ArbiterSpec):
                continue
            place = f"[[group]] {number}, output {position}"
            if not isinstance(tables.third_voter, ArbiterVoter):
                reader.add(
                    place,
                    'type = "arbiter" is a contact on the arbiter\'s board, and the file has no [third_voter] with '
                    'type = "arbiter": add it, or use another type of output',
                )
            if last_unit > ARBITER_GROUPS:
                what = f"group {number} of the file" if last_unit == number else "beyond them, every shard counting"
                lower = "" if group.shards is None else "lower shards, "
                reader.add(
                    place,
                    f"an arbiter has contacts for the first {ARBITER_GROUPS} groups at most, and this is {what}: "
                    f"{lower}move its table up, or use another type of output",
                )
            if first:
                reader.add(
                    place,
                    f"output {first} is this group's contact on the arbiter already, and there is one for each group: "
                    "remove one of the two",
                )
            first = first or position
