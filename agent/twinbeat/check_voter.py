"""What is allowed but doubtful about a third voter, one sentence each."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from twinbeat.check_modes import each_once
from twinbeat.config_rules import split_broker
from twinbeat.config_schema import ArbiterVoter, MqttLink, WitnessVoter, ZookeeperVoter
from twinbeat_hardware.spec import ArbiterSpec, GpioSpec, SerialRelaySpec

if TYPE_CHECKING:
    from twinbeat.config import Config

FEWEST_SERVERS = 3
"""Servers of an ensemble that goes on when one of them fails."""


def voter_warnings(cfg: Config) -> Iterator[str]:
    """Nothing where there is no third voter."""
    voter = cfg.third_voter
    if voter is None:
        return
    for number, (_, group) in enumerate(each_once(cfg), start=1):
        if group.lone != "takeover":
            yield (
                f'[[group]] {number} ({group.family}): lone = "{group.lone}" says what a pair without third voter '
                "does; with [third_voter] it has no effect: remove it"
            )
    if isinstance(voter, ArbiterVoter):
        yield from arbiter_warnings(cfg)
    elif isinstance(voter, WitnessVoter):
        yield from witness_warnings(cfg, voter)
    elif isinstance(voter, ZookeeperVoter):
        servers = len(voter.hosts.split(","))
        if servers < FEWEST_SERVERS:
            yield (
                f"[third_voter]: hosts names {servers} server{'' if servers == 1 else 's'}: an ensemble of fewer than "
                f"{FEWEST_SERVERS} fails with the first of them"
            )
        if voter.user is not None and voter.ca is None:
            yield f"[third_voter]: the password of {voter.user} goes to {voter.hosts} unencrypted; set ca for TLS"


def arbiter_warnings(cfg: Config) -> Iterator[str]:
    """Outputs that the arbiter could take from a frozen gateway, and does not."""
    for name, group in each_once(cfg):
        gated = any(isinstance(output, ArbiterSpec) for output in group.outputs)
        keeps = [output.label for output in group.outputs if isinstance(output, GpioSpec | SerialRelaySpec)]
        if keeps and not gated:
            yield (
                f'{name}: {", ".join(keeps)} keeps its level while its gateway is frozen as a whole; an '
                'output with type = "arbiter" in series opens then'
            )
        for output in group.outputs:
            if isinstance(output, ArbiterSpec) and output.release_ms == 0:
                yield (
                    f'{name}, output {output.label}: release_ms is 0, but a relay takes 2 to 20 ms to '
                    "open; measure it and set release_ms"
                )


def witness_warnings(cfg: Config, voter: WitnessVoter) -> Iterator[str]:
    """A witness that fails together with something else, or hears a password on an open line."""
    host, _, tls = split_broker(voter.broker)
    if voter.user is not None and not tls:
        yield f"[third_voter]: user and password go to {voter.broker} unencrypted; use mqtts://"
    links = [link for link in cfg.links if not isinstance(link, MqttLink) or split_broker(link.broker)[0] != host]
    if not links:
        yield (
            f"[third_voter]: every link goes through {host} as the witness does: its loss takes peer and witness at "
            "once, and nobody drives; add a link that does not need it"
        )
