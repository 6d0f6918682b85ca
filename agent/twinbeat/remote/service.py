"""Puts the remote desk between the brokers' mailboxes and the agent's verbs."""
from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from twinbeat.control import Reply, Verb
from twinbeat.links.mqtt_mail import CommandMail, Mail
from twinbeat.remote import REMOTE_VERBS
from twinbeat.remote.desk import RemoteDesk, Send
from twinbeat.remote.envelope import cmd_stem
from twinbeat.remote.judge import Judge
from twinbeat.remote.keyring import Operator
from twinbeat.run_loop import boottime_ns
from twinbeat.run_node import NodeAgent
from twinbeat.run_types import MqttLike
from twinbeat.version import __version__

SESSION_BYTES = 16


class RemoteService:
    """Remote commands of one agent. To be made before the brokers are started."""

    def __init__(
        self, agent: NodeAgent, pair: str, operators: Mapping[str, Operator], verbs: Mapping[str, Verb]
    ) -> None:
        parts = agent.parts
        offered = [verb for verb in REMOTE_VERBS if verb in verbs]
        # Random, not the start counter: a lost disk begins to count anew, and must not make old commands valid again.
        session = os.urandom(SESSION_BYTES).hex()
        fixed = {"version": __version__, "start": parts.opened.starts}
        self._agent = agent
        self._brokers = parts.brokers
        judge = Judge(pair, agent.names.node, session, operators, offered)
        self.desk = RemoteDesk(judge, verbs, agent.events.add, parts.loop.call_later, boottime_ns, fixed)
        for broker in parts.brokers.values():
            broker.mail = self._mailbox(broker, cmd_stem(pair, agent.names.node))

    def table(self) -> dict[str, Verb]:
        """What the control socket can be asked about it."""
        return {"remote": self._remote}

    def tell(self) -> None:
        """Say at the start who may command."""
        operators = self.desk.describe()["operators"]
        text = "; ".join(f"{name} ({', '.join(verbs)})" for name, verbs in operators.items())
        self._agent.events.add("REMOTE", f"remote commands are taken from: {text}", logging.INFO)

    def _mailbox(self, broker: MqttLike, stem: str) -> CommandMail:
        """The mailbox of one broker; what comes is dealt with in the loop's thread."""
        soon, desk = self._agent.parts.loop.call_threadsafe, self.desk
        send: Send = broker.send_note
        place = str(broker.options.place)

        def deliver(mail: Mail) -> None:
            soon(lambda: desk.take(mail, send))

        def flooded(seconds: int, dropped: int) -> None:
            soon(lambda: desk.flooded(place, seconds, dropped))

        return CommandMail(stem, deliver, flooded)

    def _remote(self, _request: dict[str, Any], reply: Reply) -> None:
        mailboxes = {str(broker.options.place): broker.mail.describe() for broker in self._brokers.values()}
        reply({"ok": True, **self.desk.describe(), "brokers": mailboxes})
