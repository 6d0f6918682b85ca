"""How the tables of a configuration must fit together. Every rule has its own message with the numbers in it."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec

from twinbeat.config_modes import joined, may_drive, placed_outputs, unit_count
from twinbeat.config_reader import Reader, number_text, suggestion
from twinbeat.config_schema import NAME_PATTERN, BrokerTable, LinkConfig, MqttLink, NodeConfig, SerialLink, UdpLink
from twinbeat.wire_load import FRAME_SHARE_MAX, baud_that_fits, frame_ms, heartbeat_bytes, period_that_fits
from twinbeat_core.parameters import MAX_GROUPS, MAX_LINKS
from twinbeat_hardware.spec import SerialRelaySpec

if TYPE_CHECKING:
    from twinbeat.config_model import Tables

T = TypeVar("T")

NODES_IN_A_PAIR = 2
NODES_WITH_SPARE = 3
MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}
PORT_MAX = 65535


def check_rules(tables: Tables, reader: Reader) -> None:
    """Note every rule that the tables break."""
    from twinbeat.config_rules_modes import check_modes, check_node_count
    from twinbeat.config_rules_voter import check_third_voter

    check_nodes(tables, reader)
    if not check_node_count(tables, reader):
        return  # the rules below would only repeat it for every port
    check_counts(tables, reader)
    check_serial_ports(tables, reader)
    for number, link in enumerate(tables.links, start=1):
        place = f"[[link]] {number}"
        if isinstance(link, SerialLink):
            check_baud(tables, link, place, reader)
        elif isinstance(link, MqttLink):
            check_mqtt(link, place, reader)
        else:
            check_udp(tables, link, place, reader)
    check_link_twins(tables.links, reader)
    check_groups(tables, reader)
    check_modes(tables, reader)
    check_third_voter(tables, reader)
    if tables.checks:
        from twinbeat.config_rules_check import check_checks

        check_checks(tables, reader)
    if tables.remote is not None:
        from twinbeat.config_operator import check_remote

        check_remote(tables, tables.remote, reader)


def check_nodes(tables: Tables, reader: Reader) -> None:
    """Nodes whose names can be told apart, with addresses that can be read."""
    names = list(tables.nodes)
    for name, node in tables.nodes.items():
        if not re.match(NAME_PATTERN, name):
            reader.add(
                f'[node."{name}"]',
                f'"{name}" is no node name; use at most 63 letters, digits, dots, dashes and underscores',
            )
        for port, path in node.serial.items():
            if not path.startswith("/"):
                reader.add(
                    f"[node.{name}]",
                    f'serial.{port} = "{path}" is no device path; write it in full, such as "/dev/serial/by-path/..."',
                )
        for port, address in node.udp.items():
            try:
                split_address(address)
            except ValueError as error:
                reader.add(f"[node.{name}]", f'udp.{port} = "{address}" {error}')
    for name, twin in twins(names, str.lower):
        reader.add(f"[node.{name}]", f'the name differs from node "{twin}" only in case; give it another name')


def check_counts(tables: Tables, reader: Reader) -> None:
    """The limits that the frame format and the core set."""
    if len(tables.links) > MAX_LINKS:
        reader.add("[[link]]", f"the file has {len(tables.links)} of them; at most {MAX_LINKS} are possible")
    units = unit_count(tables.groups)
    if units <= MAX_GROUPS:
        return
    if any(group.shards for group in tables.groups):
        parts = " + ".join(f"{group.shards or 1} of {group.name}" for group in tables.groups)
        reader.add("[[group]]", f"groups and shards are {units} together ({parts}); at most {MAX_GROUPS} are possible: "
                                "lower shards")
    else:
        reader.add("[[group]]", f"the file has {units} of them; at most {MAX_GROUPS} are possible")


def check_serial_ports(tables: Tables, reader: Reader) -> None:
    """Every port name is defined on every node that needs it, and no two users share one: each opens it for itself."""
    users: list[tuple[str, str, bool, tuple[str, ...]]] = [
        (f"[[link]] {number}", link.port, True, joined(link, tables.nodes))
        for number, link in enumerate(tables.links, start=1)
        if isinstance(link, SerialLink)
    ]
    users += [
        (place, output.port, False, may_drive(group, tables.nodes))
        for place, group, output in placed_outputs(tables.groups)
        if isinstance(output, SerialRelaySpec)
    ]
    user_of: dict[tuple[str, str], str] = {}
    for place, port, is_link, names in users:
        nodes = {name: node for name, node in tables.nodes.items() if name in names}
        if "/" in port and is_link:
            remedy = 'name it in [node.*] as serial.NAME and write port = "NAME"'
            reader.add(place, f'port = "{port}" is a device path; {remedy}')
            continue
        if "/" not in port and not defined_everywhere(nodes, port, place, "serial", '"/dev/..."', reader):
            continue
        for node, config in nodes.items():
            device = config.serial.get(port, port)
            taken_by = user_of.get((node, device))
            if taken_by is not None:
                remedy = f"which {taken_by} uses; give it a line of its own"
                reader.add(place, f'port = "{port}" is {device} on {node}, {remedy}')
                break
            user_of[node, device] = place


def defined_everywhere(
    nodes: Mapping[str, NodeConfig], name: str, place: str, table: str, example: str, reader: Reader
) -> bool:
    """Whether each of these nodes has `name` in its `serial` or `udp` table; a missing one is noted."""
    key = "port" if table == "serial" else "address"
    entries = {node: getattr(config, table) for node, config in nodes.items()}
    missing = [node for node, ports in entries.items() if name not in ports]
    if not missing:
        return True
    if len(missing) == len(entries):
        known = {port for ports in entries.values() for port in ports}
        reader.add(
            place,
            f'{key} = "{name}" is not defined in any [node.*]; {suggestion(name, known, table + " names")} '
            f"(define it as {table}.{name} = {example})",
        )
    else:
        reader.add(
            place,
            f'{key} = "{name}" is not defined for node {", ".join(missing)}; '
            f"add {table}.{name} = {example} to [node.{missing[0]}]",
        )
    return False


def check_baud(tables: Tables, link: SerialLink, place: str, reader: Reader) -> None:
    """One heartbeat must leave most of the period free, for answers and for re-asking."""
    nodes, groups = len(tables.nodes), unit_count(tables.groups)
    if groups > MAX_GROUPS:
        return  # noted, and not what the line is judged by
    one_frame_ms = frame_ms(nodes, groups, link.baud)
    share = one_frame_ms / link.period_ms
    if share <= FRAME_SHARE_MAX:
        return
    baud = baud_that_fits(nodes, groups, link.period_ms)
    remedy = f"set baud = {baud} or more, or " if baud else ""
    reader.add(
        place,
        f"baud = {link.baud} is too slow for period_ms = {number_text(link.period_ms)}: one heartbeat of "
        f"{heartbeat_bytes(nodes, groups)} bytes takes {one_frame_ms:.2f} ms, {share:.0%} of the period "
        f"(at most {FRAME_SHARE_MAX:.0%}); {remedy}"
        f"set period_ms = {period_that_fits(nodes, groups, link.baud)} or more",
    )


def check_broker(table: BrokerTable, place: str, reader: Reader) -> bool:
    """A URL that can be used, TLS keys only where there is TLS, a password only with a user. False: no usable URL."""
    try:
        _, _, tls = split_broker(table.broker)
    except ValueError as error:
        reader.add(place, f'broker = "{table.broker}" {error}')
        return False
    for key in ("ca", "cert", "key"):
        if getattr(table, key) is not None and not tls:
            reader.add(place, f"{key} is set, but {table.broker} is not encrypted; write mqtts:// or remove {key}")
    if (table.cert is None) != (table.key is None):
        have, need = ("cert", "key") if table.key is None else ("key", "cert")
        reader.add(place, f"{have} is set without {need}; a client certificate needs both")
    if table.password_file is not None and table.user is None:
        reader.add(place, 'password_file is set without user; add user = "..."')
    return True


def check_mqtt(link: MqttLink, place: str, reader: Reader) -> None:
    """A broker that can be used, and periods that fit each other."""
    if not check_broker(link, place, reader):
        return
    if link.fast_ms > link.period_ms:
        reader.add(
            place,
            f"fast_period_ms = {number_text(link.fast_ms)} is longer than period_ms = "
            f"{number_text(link.period_ms)}; it must be the same or shorter",
        )
    if link.expiry_s * 1000 < link.period_ms:
        reader.add(
            place,
            f"expiry_s = {link.expiry_s} is shorter than period_ms = {number_text(link.period_ms)}: raise expiry_s",
        )


def check_udp(tables: Tables, link: UdpLink, place: str, reader: Reader) -> None:
    """An address on every node, not the same one, all of one family."""
    if not defined_everywhere(tables.nodes, link.address, place, "udp", '"10.0.0.1:7400"', reader):
        return
    seen: dict[tuple[str, int], str] = {}
    families: dict[int, str] = {}
    for node, config in tables.nodes.items():
        try:
            host, port = split_address(config.udp[link.address])
        except ValueError:
            return
        if (host, port) in seen:
            reader.add(place, f"{node} and {seen[host, port]} have the same address {host}:{port}; give each its own")
        seen[host, port] = node
        families[ipaddress.ip_address(host).version] = node
    if len(families) > 1:
        reader.add(place, f"{families[4]} has an IPv4 and {families[6]} an IPv6 address; use one family on all nodes")


def check_link_twins(links: tuple[LinkConfig, ...], reader: Reader) -> None:
    """No name twice, no broker twice: two links over one path would count as two and fail as one."""
    named = [(link.name, f"[[link]] {number}") for number, link in enumerate(links, start=1) if link.name]
    for (name, place), (_, first) in twins(named, lambda item: item[0]):
        reader.add(place, f'name = "{name}" is taken by {first}; give every link a name of its own')
    brokers = [
        (link.broker, f"[[link]] {number}") for number, link in enumerate(links, start=1) if isinstance(link, MqttLink)
    ]
    for (broker, place), (_, first) in twins(brokers, lambda item: broker_key(item[0])):
        reader.add(place, f"broker = {broker} is the broker of {first} too; a second link to it adds nothing")
    addresses = [
        (link.address, f"[[link]] {number}") for number, link in enumerate(links, start=1) if isinstance(link, UdpLink)
    ]
    for (address, place), (_, first) in twins(addresses, lambda item: item[0]):
        reader.add(place, f'address = "{address}" is used by {first} too; define a second udp address or remove one')


def check_groups(tables: Tables, reader: Reader) -> None:
    """Group names once each; `prefer` names nodes of the file, each once."""
    placed = [(group.name, f"[[group]] {number}") for number, group in enumerate(tables.groups, start=1)]
    for (name, place), (_, first) in twins(placed, lambda item: item[0]):
        reader.add(place, f'name = "{name}" is taken by {first}; give every group a name of its own')
    for (_, place), group in zip(placed, tables.groups, strict=True):
        for node in group.prefer:
            if node not in tables.nodes:
                hint = suggestion(node, tables.nodes, "nodes")
                reader.add(place, f'prefer names "{node}", which is no node of the file; {hint}')
        for node, _ in twins(list(group.prefer), str):
            reader.add(place, f'prefer names "{node}" twice; name every node once')


def twins(items: list[T], key: Callable[[T], str]) -> Iterator[tuple[T, T]]:
    """Each item whose key an earlier one has, with that earlier one."""
    first: dict[str, T] = {}
    for item in items:
        if key(item) in first:
            yield item, first[key(item)]
        else:
            first[key(item)] = item


def split_broker(url: str) -> tuple[str, int, bool]:
    """(host, port, encrypted) of a broker URL; ValueError with the rest of a sentence when it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError('has brackets that hold no IPv6 address; write it as "mqtt://[fd00::1]:1883"') from None
    if parts.scheme not in MQTT_PORTS:
        raise ValueError('must start with mqtt:// or mqtts://, such as "mqtts://broker.plant:8883"')
    if "@" in parts.netloc:
        raise ValueError("carries a user; write user = and password_file = beside it: no password in this file")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"has no valid port; a port is 1 to {PORT_MAX}") from None
    if not host:
        raise ValueError('names no host; write it as "mqtt://HOST" or "mqtt://HOST:PORT"')
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError("has a malformed host name; write a name that can be looked up, or an address") from None
    if port == 0:
        raise ValueError(f"has port 0; a port is 1 to {PORT_MAX}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("has something behind the port; only host and port belong there")
    return host, port or MQTT_PORTS[parts.scheme], parts.scheme == "mqtts"


def broker_key(url: str) -> str:
    """Equal for two URLs of one broker, however they are written."""
    try:
        host, port, _ = split_broker(url)
    except ValueError:
        return url
    return f"{host} {port}"


def split_address(text: str) -> tuple[str, int]:
    """(address, port) of "10.0.0.1:7400" or "[fd00::1]:7400"; ValueError with the rest of a sentence for others."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare:
        raise ValueError('must be ADDRESS:PORT, such as "10.0.0.1:7400"')
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError("must be a numeric address: a gateway must find its peer without name service") from None
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= PORT_MAX:
        raise ValueError(f"has no valid port; a port is 1 to {PORT_MAX}")
    if address.is_unspecified or address.is_multicast:
        raise ValueError("must be the gateway's own address, neither 0.0.0.0 nor a group address")
    return str(address), int(port)


def named_links(links: tuple[LinkConfig, ...]) -> tuple[LinkConfig, ...]:
    """The links with a name each: the given one, else its port, address or "mqtt", numbered where that is taken."""
    taken = {link.name for link in links if link.name}
    named: list[LinkConfig] = []
    for link in links:
        if link.name is None:
            base = link.port if isinstance(link, SerialLink) else link.address if isinstance(link, UdpLink) else "mqtt"
            name, number = base, 2
            while name in taken:
                name = f"{base}-{number}"
                number += 1
            taken.add(name)
            link = msgspec.structs.replace(link, name=name)
        named.append(link)
    return tuple(named)
