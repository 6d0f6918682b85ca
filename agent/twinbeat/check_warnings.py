"""What is allowed but doubtful in a configuration, one sentence each."""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from twinbeat.check_modes import each_once, mode_warnings
from twinbeat.check_third import contact_of
from twinbeat.check_voter import voter_warnings
from twinbeat.config_rules import split_broker
from twinbeat.config_schema import ArbiterVoter, MqttLink, SerialLink
from twinbeat_hardware.spec import GpioSpec, HookSpec, MockSpec, SerialRelaySpec, SystemdSpec

if TYPE_CHECKING:
    from twinbeat.config import Config

PULLED_UP_LINES = frozenset(f"GPIO{number}" for number in range(9))
"""Lines of a Raspberry Pi header that are pulled up until software takes them."""
RASPBERRY_CHIPS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")
UNSTABLE_NAME = re.compile(r"/dev/tty(USB|ACM)\d+$")


def warnings_of(cfg: Config, *, realtime: bool, slow_ms: float) -> list[str]:
    """All warnings, the grave ones first. `slow_ms`: the worst outage when only the slowest link is left."""
    return [
        *link_warnings(cfg),
        *voter_warnings(cfg),
        *mode_warnings(cfg),
        *serial_name_warnings(cfg),
        *output_warnings(cfg),
        *broker_warnings(cfg),
        *figure_warnings(cfg, realtime=realtime, slow_ms=slow_ms),
    ]


def link_warnings(cfg: Config) -> Iterator[str]:
    """Too few links, or links that fail together."""
    types = {link.type for link in cfg.links}
    # With a third vote `lone` has no effect.
    bare_pair = cfg.third_voter is None and cfg.spare is None
    sorts = {group.lone for group in cfg.groups if not group.overlap} if bare_pair else set()
    common = [link for link in cfg.links if all(cfg.reaches(link, node) for node in cfg.nodes)]
    if cfg.spare is not None and len(common) == 1:
        yield (
            f"one link only reaches all nodes, {common[0].name}: its loss cuts {cfg.spare} off, and every node that no "
            "cable joins to another drives nothing; add a second one on another route"
        )
    elif len(cfg.links) == 1 and (sorts or not bare_pair):
        what = "two drivers while both nodes live" if "takeover" in sorts else "that no takeover is possible"
        if cfg.third_voter is not None:
            what = "that the third voter alone keeps the driver, and its loss too leaves nobody"
        yield f"there is one link only: its loss means {what}; add a second one on another route"
    elif "serial" not in types and "udp" not in types:
        what = "every takeover waits for the promise to run out"
        if "hold" in sorts:
            what = "with lone = hold nobody takes over when it dies"
        yield (
            f"all links go through brokers: the gate has no way to report its agent's death, so {what}; add a serial "
            "or udp link"
        )
    if "serial" in types and "udp" not in types:
        yield (
            "the crosslink is a tty only: its input passes an ordinary kernel worker that heavy load can starve for "
            "hundreds of ms; where there is Ethernet between the gateways, add a udp link"
        )


def serial_name_warnings(cfg: Config) -> Iterator[str]:
    """Device names that move, adapters on USB, names that nobody uses."""
    third = {cfg.third_voter.port} if isinstance(cfg.third_voter, ArbiterVoter) else set()
    for node, config in cfg.nodes.items():
        links = {link.port for link in cfg.links if isinstance(link, SerialLink) and cfg.reaches(link, node)}
        outputs = {
            output.port for group in cfg.groups if cfg.may_drive(group, node)
            for output in group.outputs if isinstance(output, SerialRelaySpec)
        }
        for port, path in config.serial.items():
            place = f"[node.{node}] serial.{port} = {path}"
            if UNSTABLE_NAME.search(path):
                yield f"{place}: the number changes when adapters are plugged; use the name in /dev/serial/by-path"
            if port in links | third and ("usb" in path.lower() or "ttyACM" in path):
                where = "as crosslink" if port in links else "to the arbiter"
                yield (
                    f"{place}: a USB adapter {where} holds received bytes back (FTDI: 16 ms unless told "
                    "otherwise) and vanishes with a disturbance on the bus; use a UART where there is one"
                )
            if port not in links | outputs | third:
                yield f"{place}: no link and no output uses this name"


def output_warnings(cfg: Config) -> Iterator[str]:
    """Outputs that keep their level, are slow, or whose times were not given."""
    for name, group in each_once(cfg):
        for output in group.outputs:
            place = f"{name}, output {output.label}"
            if isinstance(output, GpioSpec) and contact_of(group) is None:
                yield (
                    f"{place}: a GPIO line keeps its level when agent and gate are killed together or the kernel "
                    "hangs; a hardware watchdog (RuntimeWatchdogSec) ends that"
                )
            if isinstance(output, GpioSpec) and output.chip in RASPBERRY_CHIPS and str(output.line) in PULLED_UP_LINES:
                yield f"{place}: this line is pulled up from power-on until the agent runs; use GPIO9 to GPIO27"
            if isinstance(output, GpioSpec | SerialRelaySpec) and output.release_ms == 0:
                yield f"{place}: release_ms is 0, but a relay takes 2 to 20 ms to open; measure it and set release_ms"
            if isinstance(output, HookSpec | SystemdSpec) and output.release_ms == 0:
                yield (
                    f"{place}: the stop command is not waited for, so both sides may run for a moment; set release_ms "
                    "to the longest time it takes where that must not be"
                )
            if isinstance(output, MockSpec):
                yield f"{place}: a mock output switches nothing"
            if output.exit_level == "hold":
                yield f"{place}: exit = hold leaves it on after a planned end of the agent that handed over to nobody"


def broker_warnings(cfg: Config) -> Iterator[str]:
    """Passwords on an open line."""
    for number, link in enumerate(cfg.links):
        if isinstance(link, MqttLink) and link.user is not None and not split_broker(link.broker)[2]:
            yield f"[[link]] {number + 1} ({link.name}): user and password go to {link.broker} unencrypted; use mqtts://"


def figure_warnings(cfg: Config, *, realtime: bool, slow_ms: float) -> Iterator[str]:
    """What the figures rest on."""
    budget_ms = cfg.pair.outage_budget_ms
    if budget_ms is None:
        yield "no outage_budget_ms is set in [pair]: there is nothing to judge the worst outage against"
    elif slow_ms > budget_ms and len(cfg.links) > 1:
        yield (
            f"once only the slowest link is left, the worst outage is {slow_ms:.0f} ms, over outage_budget_ms = "
            f"{budget_ms:g}; a second fast link would keep it"
        )
    if not realtime:
        yield (
            "without real-time scheduling the gate is counted 15 ms late instead of 5 and a loaded machine delays a "
            "takeover; run as root, or with LimitRTPRIO=99 and AmbientCapabilities=CAP_SYS_NICE"
        )
