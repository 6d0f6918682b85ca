"""`twinbeat remote`: ask or command an agent over a broker."""
from __future__ import annotations

import dataclasses
import datetime
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from twinbeat import screen
from twinbeat.cli_dispatch import print_json
from twinbeat.cli_operate import OPERATE_COMMANDS
from twinbeat.cli_options import CONFIG_PATH
from twinbeat.config_reader import suggestion
from twinbeat.errors import LinkError, UsageError
from twinbeat.keys import read_key
from twinbeat.links.mqtt_options import MqttOptions, read_password, tls_context
from twinbeat.remote import PAIR_OPERATOR, REMOTE_VERBS
from twinbeat.remote.envelope import is_name, signing_key
from twinbeat.remote.keyring import Operator

if TYPE_CHECKING:
    import argparse
    import ssl

    from twinbeat.config import Config

Place = tuple[MqttOptions, "ssl.SSLContext | None"]

EXAMPLES = {"on": "action", "off": "action", "show": "action"}
"""Which argument a word is, where it is not the name of a group."""
NODE = "operator"
"""Stands for a node in the options of a connection that belongs to none."""


def main(arguments: argparse.Namespace) -> int:
    """Ask and print. 1: the agent's answer is no; 5: no broker; 6: no answer that can be trusted."""
    verb, given = arguments.command, words(arguments.arguments)
    if verb not in REMOTE_VERBS:
        raise UsageError(f'no verb "{verb}" goes over a broker; {suggestion(verb, REMOTE_VERBS, "verbs")}')
    for what, name in (("NODE", arguments.target), ("--pair", arguments.pair), ("--operator", arguments.operator)):
        if name is not None and not is_name(name):
            raise UsageError(f'{what}: "{name}" is no name; use letters, digits, dots, dashes and underscores')
    places, operator = by_hand(arguments) if arguments.broker else by_file(arguments)
    answer = ask(places, operator, arguments.timeout, arguments.target, verb, given)
    if arguments.json:
        print_json(answer)
    else:
        print(answer_text(verb, answer))
    return 1 if is_no(verb, answer) else 0


def is_no(verb: str, answer: dict[str, Any]) -> bool:
    """What the same command on the gateway itself ends with 1 for."""
    if verb == "status":
        return not all(group.get("driver") for group in screen.entries(answer, "groups"))
    if verb == "warnings":
        return bool(screen.entries(answer, "warnings"))
    return answer.get("drained") is False or answer.get("would") is False


def ask(
    places: list[Place], operator: Operator, limit_s: float, node: str, verb: str, given: dict[str, Any]
) -> dict[str, Any]:
    """The answer over the first broker that can be reached. Raises LinkError when none can."""
    from twinbeat.links.lean_paho import load_paho

    load_paho(any(context is not None for _, context in places))
    from twinbeat.remote.client import RemoteClient

    problems: list[str] = []
    for options, context in places:
        client = RemoteClient(options, context, operator, limit_s)
        try:
            client.open()
        except LinkError as error:
            problems.append(str(error))
            continue
        try:
            return client.ask(node, verb, given)
        finally:
            client.close()
    raise LinkError("\n".join(problems))


def words(pairs: list[str]) -> dict[str, Any]:
    """key=value from the command line; numbers, true and false as such. Raises UsageError."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            example = f"{EXAMPLES.get(pair, 'group')}={pair or 'pump'}"
            raise UsageError(f'"{pair}": write arguments as key=value, such as {example}')
        if key in found:
            raise UsageError(f'"{key}" stands there twice; give every argument once')
        found[key] = value_of(text)
    return found


def value_of(text: str) -> str | int | float | bool:
    """A number or a truth value where it is written like one, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def by_hand(arguments: argparse.Namespace) -> tuple[list[Place], Operator]:
    """Broker and operator as the options name them. Raises UsageError, KeyFileError."""
    from twinbeat.config_rules import split_broker

    for option in ("pair", "operator", "key"):
        if getattr(arguments, option) is None:
            raise UsageError(f"--broker needs --{option} too, or name the pair's file with --config instead")
    for option in ("config", "link"):
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option} has no meaning with --broker; leave one of the two out")
    try:
        host, port, tls = split_broker(arguments.broker)
    except ValueError as error:
        raise UsageError(f'--broker "{arguments.broker}" {error}') from None
    options = MqttOptions(
        link=0, name=host, pair=arguments.pair, node=NODE, host=host, port=port, tls=tls,
        **own_access(arguments),
    )  # fmt: skip
    return [(options, tls_context(options))], Operator(arguments.operator, signing_key(read_key(arguments.key)))


def own_access(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the operator is on the broker, as far as the options say."""
    found: dict[str, Any] = {"user": arguments.user, "ca": arguments.ca}
    if arguments.password_file is not None:
        found["password"] = read_password(arguments.password_file)
    return {key: value for key, value in found.items() if value is not None}


def by_file(arguments: argparse.Namespace) -> tuple[list[Place], Operator]:
    """Brokers and operator as the pair's file names them. Raises ConfigError, KeyFileError, UsageError."""
    from twinbeat.config import MqttLink, load_config

    path = arguments.config or CONFIG_PATH
    if arguments.config is None and not os.path.exists(path):
        raise UsageError(
            f"{path}: there is no such file; name the pair's with --config FILE, or --broker URL with --pair, "
            "--operator and --key"
        )
    cfg = load_config(path, any_node=True)
    if arguments.pair not in (None, cfg.pair.name):
        raise UsageError(f'--pair {arguments.pair}: {path} is the file of pair "{cfg.pair.name}"; leave --pair out')
    if arguments.target not in cfg.nodes:
        raise UsageError(f'{path} has no node "{arguments.target}"; {suggestion(arguments.target, cfg.nodes, "nodes")}')
    operator = operator_of(cfg, arguments)
    links = {cfg.link_name(number): link for number, link in enumerate(cfg.links) if isinstance(link, MqttLink)}
    if arguments.link is not None and arguments.link not in links:
        hint = suggestion(arguments.link, links, "MQTT links")
        raise UsageError(f'{path} has no MQTT link "{arguments.link}"; {hint}')
    chosen = [arguments.link] if arguments.link is not None else list(links)
    if not chosen:
        raise UsageError(f"{path} has no MQTT link; name a broker with --broker, --pair, --operator and --key")
    return [place_of(cfg, links[name], name, arguments) for name in chosen], operator


def place_of(cfg: Config, link: Any, name: str, arguments: argparse.Namespace) -> Place:
    """A broker of the file; --user, --password-file and --ca stand instead of the gateways' own."""
    from twinbeat.run_open import broker_of

    if arguments.user is not None or arguments.password_file is not None:
        link = msgspec.structs.replace(link, user=None, password_file=None, cert=None, key=None)
    options = dataclasses.replace(broker_of(cfg, link, 0, name)[0], **own_access(arguments))
    return options, tls_context(options)


def operator_of(cfg: Config, arguments: argparse.Namespace) -> Operator:
    """Who commands: as named, else the only one whom the file knows. Raises UsageError, KeyFileError."""
    remote = cfg.remote
    tables = {table.name: table for table in remote.operators} if remote else {}
    known = [*tables, *([PAIR_OPERATOR] if remote and remote.pair_key else [])]
    name = arguments.operator
    if name is None and len(known) == 1:
        name = known[0]
    if name is None:
        hint = f"it knows {', '.join(known)}" if known else "it has no [[operator]], so its agents take no commands"
        raise UsageError(f"say who commands with --operator; {cfg.path}: {hint}")
    if name not in known:
        raise UsageError(f'{cfg.path} knows no operator "{name}"; {suggestion(name, known, "operators")}')
    if arguments.key is not None:
        path = Path(arguments.key)
    else:
        path = cfg.key_path if name == PAIR_OPERATOR else cfg.resolve(tables[name].key_file)
    return Operator(name, signing_key(read_key(path)))


def answer_text(verb: str, answer: dict[str, Any]) -> str:
    """The answer for people; of verbs without a screen of their own, what is in it."""
    if verb == "status":
        from twinbeat.screen_status import status_text

        return status_text(answer)
    if verb == "why":
        from twinbeat.screen_why import why_text

        return why_text(answer, len(screen.entries(answer, "verdicts")) or 1, datetime.datetime.now(datetime.UTC))
    if verb == "events":
        from twinbeat.screen_events import event_line

        return "\n".join(event_line(event) for event in screen.entries(answer, "events"))
    if verb == "warnings":
        from twinbeat.commands.warnings import warnings_text

        return warnings_text(answer, False)
    if verb in OPERATE_COMMANDS:
        from twinbeat.screen_operate import operate_text

        return operate_text(verb, answer)
    shown = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in answer.items() if key != "ok"]
    return "\n".join(["done", *shown])
