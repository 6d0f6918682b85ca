"""How busy each link is: bytes, time on the wire, share of the line."""
from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from twinbeat.config_schema import LinkConfig, MqttLink, SerialLink
from twinbeat.wire_load import frame_ms, heartbeat_bytes

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat_core.settings import LinkSettings

SERIAL_FRAMING_BYTES = 7
"""CRC-32, one COBS byte, two delimiters: what a frame has on a serial line and nowhere else."""
MQTT_HEADER_BYTES = 14
"""Fixed header, topic length and the properties with the expiry."""
IP_TCP_BYTES = 52
IP_UDP_ETHERNET_BYTES = 66


class LinkLoad(Struct, frozen=True, kw_only=True):
    """The load in one direction, of MQTT and UDP the busier one.

    frame_bytes    one heartbeat with everything that goes around it on this link
    frame_ms       its time on a serial line; None elsewhere
    quiet_percent  share of a serial line: one heartbeat in every period
    busy_percent   share of a serial line when each heartbeat is answered at once too
    worst_percent  share of a serial line while asks are lost and repeated as fast as allowed
    kbit_s         bits per second of the busy case, in thousands
    fast_kbit_s    the same at the link's fast period, while a faster link is silent
    """

    frame_bytes: int
    frame_ms: float | None
    quiet_percent: float | None
    busy_percent: float | None
    worst_percent: float | None
    kbit_s: float
    fast_kbit_s: float


def link_load(cfg: Config, link: LinkConfig, settings: LinkSettings) -> LinkLoad:
    """The load of one link.

    A node sends a heartbeat and one answer for each other node, and all of them get both: over UDP each gets a copy,
    and from a broker a node gets what all others send. A cable joins two.
    """
    nodes, groups = len(cfg.nodes), len(cfg.groups)
    serial_bytes = heartbeat_bytes(nodes, groups)
    if isinstance(link, SerialLink):
        one_ms = frame_ms(nodes, groups, link.baud)
        quiet = 100 * one_ms / link.period_ms
        return LinkLoad(
            frame_bytes=serial_bytes,
            frame_ms=one_ms,
            quiet_percent=quiet,
            busy_percent=2 * quiet,
            worst_percent=min(100.0, quiet + 100 * one_ms / settings.reask_ms),
            kbit_s=2 * serial_bytes * 8 / link.period_ms,
            fast_kbit_s=2 * serial_bytes * 8 / link.period_ms,
        )
    bare = serial_bytes - SERIAL_FRAMING_BYTES
    others = nodes - 1
    frames = (1 + others) * others
    if isinstance(link, MqttLink):
        topic = max(len(f"twinbeat/v1/{cfg.pair.name}/{node}/beat") for node in cfg.nodes)
        size = bare + topic + MQTT_HEADER_BYTES + IP_TCP_BYTES
    else:
        size = bare + IP_UDP_ETHERNET_BYTES
    return LinkLoad(
        frame_bytes=size,
        frame_ms=None,
        quiet_percent=None,
        busy_percent=None,
        worst_percent=None,
        kbit_s=frames * size * 8 / link.period_ms,
        fast_kbit_s=frames * size * 8 / (settings.fast_period_ms or link.period_ms),
    )
