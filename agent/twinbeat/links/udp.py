"""UDP links: one socket on this gateway's own address, the other gateways' addresses as peers."""
from __future__ import annotations

import errno
import ipaddress
import socket

from twinbeat.errors import LinkError

DSCP_NETWORK_CONTROL = 48 << 2
"""Class selector 6 in the TOS byte: switches that look at it send heartbeats ahead of bulk traffic."""
PRIORITY = 6
"""SO_PRIORITY: the highest that needs no privilege; the own queue sends heartbeats first."""
BUFFER_BYTES = 65536


def open_udp(name: str, address: tuple[str, int]) -> int:
    """A bound, non-blocking UDP socket as a bare descriptor, which the caller then owns.

    `address` is this node's own address and port on the link. Raises LinkError with the remedy.
    """
    host, port = address
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise LinkError(f'udp link "{name}": {host} is no IP address; write numbers, such as 192.168.7.1') from None
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        prefer(sock, family)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise LinkError(f'udp link "{name}": {host} port {port}: {bind_fault(error, port)}') from None
    return sock.detach()


def prefer(sock: socket.socket, family: int) -> None:
    """Ask for short queues and precedence; a kernel that refuses changes nothing but the delay."""
    wishes = [
        (socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES),
        (socket.SOL_SOCKET, socket.SO_PRIORITY, PRIORITY),
    ]
    if family == socket.AF_INET:
        wishes.append((socket.IPPROTO_IP, socket.IP_TOS, DSCP_NETWORK_CONTROL))
    else:
        wishes.append((socket.IPPROTO_IPV6, socket.IPV6_TCLASS, DSCP_NETWORK_CONTROL))
    for level, option, value in wishes:
        try:
            sock.setsockopt(level, option, value)
        except OSError:
            continue


def bind_fault(error: OSError, port: int) -> str:
    """Why the address cannot be used, and what to do."""
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; check [node.NAME] udp, and that the interface is up"
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; stop the program that holds it (ss -ulnp shows it) or choose another port"
    if error.errno == errno.EACCES:
        return f"ports below 1024 need a privilege; choose one above instead of {port}"
    return f"{error.strerror}; check the address"
