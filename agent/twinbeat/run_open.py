"""Opens what a configuration names: outputs, ports, sockets, brokers. Imports only what is configured."""
from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twinbeat.config import Config, MqttLink, SerialLink, UdpLink
from twinbeat.config_schema import WitnessVoter
from twinbeat.errors import DeviceError
from twinbeat.links.serial import SerialPort
from twinbeat.run_types import MqttLike, RuntimeLike
from twinbeat.run_words import Names
from twinbeat_core.outputs import FastOutput
from twinbeat_hardware.factory import build_output
from twinbeat_hardware.output import Output, OutputPlace, SlowOutput

if TYPE_CHECKING:
    import ssl

    from twinbeat.links.mqtt_note import Note
    from twinbeat.links.mqtt_options import MqttOptions


@dataclass
class OpenedOutputs:
    """The drivers, open, and what they gave for the gate."""

    drivers: list[Output[Any]] = field(default_factory=list)
    fast: list[FastOutput] = field(default_factory=list)
    slow: dict[int, list[SlowOutput[Any]]] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """What the drivers found doubtful."""
        return [warning for driver in self.drivers for warning in driver.warnings]

    def drop_descriptors(self) -> None:
        """Close this process's copies; after `set_outputs` only the gate holds the outputs."""
        for output in self.fast:
            if output.fd >= 0:
                os.close(output.fd)
        self.fast = []

    def close(self) -> None:
        """Close the drivers. Switches nothing."""
        for driver in self.drivers:
            driver.close()


def names_of(cfg: Config) -> Names:
    """What the core's numbers are called."""
    links = tuple(cfg.link_name(number) for number in range(len(cfg.links)))
    return Names(cfg.node, cfg.node_names, tuple(group.name for group in cfg.groups), links)


def open_outputs(cfg: Config) -> OpenedOutputs:
    """Open every output of what this node may drive. Raises OutputError with none left open; none was switched on."""
    opened = OpenedOutputs()
    with ExitStack() as undo:
        undo.callback(opened.close)
        undo.callback(opened.drop_descriptors)
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
                driver = build_output(spec, place)
                opened.fast.append(driver.open())
                opened.drivers.append(driver)
                if isinstance(driver, SlowOutput):
                    opened.slow.setdefault(number, []).append(driver)
        undo.pop_all()
    return opened


def open_ports(
    cfg: Config, rt: RuntimeLike, gate_pid: int, soon: Callable[[Callable[[], None]], None]
) -> tuple[dict[int, SerialPort], list[str]]:
    """Open the serial and UDP links of this node and hand them to the real-time part. Raises DeviceError.

    A cable between two other nodes is none of its. Returns the serial ports by link, to be watched for unplugging, and
    warnings.
    """
    serials: dict[int, SerialPort] = {}
    warnings: list[str] = []
    for number, link in enumerate(cfg.links):
        if not cfg.reaches(link):
            continue
        if isinstance(link, SerialLink):
            path = cfg.serial_path(link.port)
            serials[number] = SerialPort(
                number, cfg.link_name(number), path, link.baud, serial_opener(gate_pid), rt.set_serial, soon
            )
            try:
                serials[number].open()
                # Opening asks the adapter for low latency, so what it still holds back is known only now.
                warning = usb_warning_of(path, link.period_ms)
            except DeviceError as error:
                raise DeviceError(f"link {cfg.link_name(number)}: {error}") from None
            warnings += [f"link {cfg.link_name(number)}: {warning}"] if warning else []
        elif isinstance(link, UdpLink):
            from twinbeat.links.udp import open_udp

            fd = open_udp(cfg.link_name(number), cfg.udp_address(link))
            rt.set_udp(number, fd, [cfg.udp_address(link, peer) for peer in cfg.peer_names])
    return serials, warnings


def usb_warning_of(path: str, period_ms: float) -> str | None:
    """A sentence about a USB adapter; None for a UART, or where there is no port. Raises DeviceError."""
    from twinbeat.serial_port import usb_warning

    return usb_warning(path, period_ms)


def serial_opener(gate_pid: int) -> Callable[[str, int], int]:
    """How a port is opened: exclusively, but for the gate, which may still hold the old descriptor."""
    from twinbeat.serial_port import open_serial

    return lambda path, baud: open_serial(path, baud, own_pids=(gate_pid,))


def broker_options(cfg: Config) -> dict[int, tuple[MqttOptions, ssl.SSLContext | None]]:
    """The brokers by link, with passwords read and certificates loaded. Raises KeyFileError."""
    return {
        number: broker_of(cfg, link, number, cfg.link_name(number))
        for number, link in enumerate(cfg.links)
        if isinstance(link, MqttLink)
    }


def broker_of(
    cfg: Config, table: MqttLink | WitnessVoter, number: int, name: str
) -> tuple[MqttOptions, ssl.SSLContext | None]:
    """One broker as a table of the file names it. Raises KeyFileError."""
    from twinbeat.config_rules import split_broker
    from twinbeat.links.mqtt_options import MqttOptions, read_password, tls_context

    host, port, tls = split_broker(table.broker)
    ca, cert, key = (None if path is None else str(cfg.resolve(path)) for path in (table.ca, table.cert, table.key))
    options = MqttOptions(
        link=number,
        name=name,
        pair=cfg.pair.name,
        node=cfg.node,
        host=host,
        port=port,
        tls=tls,
        user=table.user,
        password=read_password(str(cfg.resolve(table.password_file))) if table.password_file else None,
        ca=ca,
        cert=cert,
        key=key,
        period_ms=table.period_ms if isinstance(table, MqttLink) else table.renew_ms,
        expiry_s=table.expiry_s if isinstance(table, MqttLink) else 1,
        keepalive_s=table.keepalive_s,
    )
    return options, tls_context(options)


def make_brokers(
    options: dict[int, tuple[MqttOptions, ssl.SSLContext | None]],
    rt: RuntimeLike,
    changed: Callable[[int, bool], None],
    will: Note,
) -> dict[int, MqttLike]:
    """The brokers' links, not yet started. `changed(link, up)` is called from their threads."""
    links: dict[int, MqttLike] = {}
    for number, (option, context) in options.items():
        from twinbeat.links.lean_paho import load_paho

        load_paho(any(context is not None for _, context in options.values()))
        from twinbeat.links.mqtt import MqttLink as Client

        links[number] = Client(
            option,
            context,
            lambda data, rx_at_ns, link=number: rt.post_frame(link, data, rx_at_ns),  # type: ignore[misc]
            lambda up, link=number: changed(link, up),  # type: ignore[misc]
            will,
        )
    return links
