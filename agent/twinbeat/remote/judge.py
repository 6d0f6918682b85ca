"""Whether a message is a command that this agent must carry out now. Pure: no clock, no broker, no agent."""
from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from twinbeat.config_reader import suggestion
from twinbeat.links.mqtt_mail import Mail
from twinbeat.remote.envelope import (
    ASK,
    ASK_BYTES_MAX,
    HELLO,
    PLAIN,
    Sealed,
    cmd_stem,
    console_of,
    is_id,
    is_signed,
    split,
)
from twinbeat.remote.keyring import Operator

VALID_MS_MIN = 100
VALID_MS_MAX = 30_000
ARGUMENTS_MAX = 16
ARGUMENT_CHARS_MAX = 256
IDS_KEPT = 64
"""Of each operator: a copy of one of these is passed over in silence, or its refusal would pass for the answer."""
OUTSIDE_KEYS = ("verb", "by")
"""Keys of a request that the agent itself sets."""

Argument = str | int | float | bool


@dataclass(frozen=True)
class Order:
    """A message that was found right. `verb` HELLO asks for the challenge; `args` are the arguments of others."""

    operator: Operator
    verb: str
    id: str
    reply_topic: str
    args: dict[str, Argument]


class Refused(Exception):
    """A message that is not carried out. `reason` is a word for counters.

    `order`: whom to answer, signed; None where nobody is known to have signed it. `silent`: answer nothing at all.
    """

    def __init__(self, reason: str, text: str, order: Order | None = None, *, silent: bool = False) -> None:
        self.reason = reason
        self.text = text
        self.order = order
        self.silent = silent
        super().__init__(text)


@dataclass
class Book:
    """What is remembered of one operator: the newest challenge used up, and the ids of the newest commands."""

    at_ns: int
    ids: deque[str]


class Judge:
    """Knows the operators, and what each has commanded since this start. `session`: random, new with every start.

    `offered`: the verbs of this agent that may be asked for over a broker.
    """

    def __init__(
        self, pair: str, node: str, session: str, operators: Mapping[str, Operator], offered: Collection[str]
    ) -> None:
        self.pair = pair
        self.node = node
        self.session = session
        self.operators = operators
        self.offered = tuple(offered)
        self._stem = cmd_stem(pair, node)
        self._books = {name: Book(0, deque(maxlen=IDS_KEPT)) for name in operators}

    def admit(self, mail: Mail, now_ns: int) -> Order:
        """The order in a message, once and never again. `now_ns`: CLOCK_BOOTTIME. Raises Refused."""
        operator, sealed = self._signer(mail)
        body = self._body(sealed)
        order = self._order(operator, body, mail)
        if order.verb != HELLO:
            self._check_time(order, body, now_ns)
            self._check_verb(order)
            self._check_arguments(order)
        return order

    # ------------------------------------------------------------ who

    def _signer(self, mail: Mail) -> tuple[Operator, Sealed]:
        """Whose signature is right. Nothing else is looked at before."""
        if mail.retained:
            text = f"{mail.topic}: a retained command is refused: it would be given again and again; clear the topic"
            raise Refused("retained", text)
        if len(mail.payload) > ASK_BYTES_MAX:
            text = f"a command of {len(mail.payload)} bytes is refused; at most {ASK_BYTES_MAX} are read"
            raise Refused("oversize", text)
        sealed = split(mail.payload)
        if sealed is None or sealed.form != PLAIN:
            raise Refused("unsigned", "what came is no signed command; send commands with: twinbeat remote")
        operator = self.operators.get(sealed.operator)
        if operator is None:
            text = f'{self.node} knows no operator "{sealed.operator}"; add an [[operator]] of that name to the file '
            raise Refused("operator", text + "of both gateways and restart their agents one after the other")
        if not is_signed(sealed, operator.key, ASK):
            text = f'the signature is not that of operator "{operator.name}" on {self.node}; use the key file that '
            raise Refused("signature", text + "stands on the gateways, and send the message as it was signed")
        return operator, sealed

    def _body(self, sealed: Sealed) -> dict[str, Any]:
        try:
            body = json.loads(sealed.body)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise Refused("form", "the signed text is no JSON object; use the same version of twinbeat on both sides")
        return body

    def _order(self, operator: Operator, body: dict[str, Any], mail: Mail) -> Order:
        """Everything that the message says besides its text must be what was signed."""
        verb, asked_id, reply_topic = body.get("verb"), body.get("id"), body.get("reply")
        args = body.get("args", {})
        if not (isinstance(verb, str) and is_id(asked_id) and isinstance(reply_topic, str) and isinstance(args, dict)):
            raise Refused("form", "the signed text lacks verb, id, reply or args; use the same version on both sides")
        if console_of(self.pair, operator.name, reply_topic) is None or mail.response_topic != reply_topic:
            text = f'the answer would go to "{mail.response_topic}", which is not what was signed'
            raise Refused("reply", text, silent=True)
        order = Order(operator, verb, str(asked_id), reply_topic, args)
        if mail.correlation != order.id.encode():
            raise Refused("reply", "the correlation data are not the id that was signed", order, silent=True)
        pair, node = body.get("pair"), body.get("node")
        if (pair, node) != (self.pair, self.node) or mail.topic != f"{self._stem}/{verb}":
            text = (
                f"{mail.topic}: this was signed as {verb} for node {node} of pair {pair}; somebody sent it to another "
                "topic: find out who writes to the pair's topics"
            )
            raise Refused("place", text, order, silent=True)
        return order

    # ------------------------------------------------------------ when

    def _check_time(self, order: Order, body: dict[str, Any], now_ns: int) -> None:
        """Of this start, in time, not a copy, not overtaken. By the agent's clock alone."""
        at_ns, valid_ms = body.get("at_ns"), body.get("valid_ms")
        if type(at_ns) is not int or type(valid_ms) is not int or not VALID_MS_MIN <= valid_ms <= VALID_MS_MAX:
            text = f"at_ns and valid_ms are whole numbers, valid_ms from {VALID_MS_MIN} to {VALID_MS_MAX}"
            raise Refused("form", text, order)
        if body.get("session") != self.session:
            text = f"the command is for another start of {self.node}'s agent, which was restarted since, and is not "
            raise Refused("session", text + "carried out now; look at twinbeat status, then give it again", order)
        book = self._books[order.operator.name]
        if order.id in book.ids:
            raise Refused("repeated", f"a copy of command {order.id} came again", order, silent=True)
        late_ms = (now_ns - at_ns) / 1e6
        if late_ms < 0:
            raise Refused("clock", f"the command is dated {-late_ms:.0f} ms ahead of {self.node}'s clock", order)
        if late_ms > valid_ms:
            text = (
                f"the command came {late_ms / 1e3:.1f} s after {self.node} was asked for its clock and was valid for "
                f"{valid_ms / 1e3:g} s, so it was held up; give it again, on a slow line with a longer --timeout"
            )
            raise Refused("expired", text, order)
        if at_ns <= book.at_ns:
            text = (
                f"{order.operator.who} has given a newer command since; this one is passed over. Look at "
                "twinbeat events, then give it again if it is still wanted"
            )
            raise Refused("overtaken", text, order)
        book.at_ns = at_ns
        book.ids.append(order.id)

    # ------------------------------------------------------------ what

    def allowed(self, operator: Operator) -> list[str]:
        """What an operator may ask of this agent."""
        return [verb for verb in self.offered if verb in operator.verbs]

    def _check_verb(self, order: Order) -> None:
        if order.verb not in self.offered:
            text = f'no verb "{order.verb}" may be asked of {self.node} over a broker'
            raise Refused("verb", f"{text}; {suggestion(order.verb, self.offered, 'verbs')}", order)
        if order.verb not in order.operator.verbs:
            text = f'{order.operator.who} may not ask for "{order.verb}", only for {", ".join(order.operator.verbs)}'
            raise Refused("forbidden", f"{text}; add it to `verbs` of the [[operator]] on both gateways", order)

    def _check_arguments(self, order: Order) -> None:
        if len(order.args) > ARGUMENTS_MAX:
            raise Refused("arguments", f"there are {len(order.args)} arguments; at most {ARGUMENTS_MAX}", order)
        for key, value in order.args.items():
            if key in OUTSIDE_KEYS:
                raise Refused("arguments", f'"{key}" cannot be given as an argument; leave it out', order)
            if not isinstance(value, Argument) or len(str(value)) > ARGUMENT_CHARS_MAX or len(key) > ARGUMENT_CHARS_MAX:
                what = f"a text or a number of at most {ARGUMENT_CHARS_MAX} characters, true or false"
                raise Refused("arguments", f'argument "{key[:64]}" takes {what}', order)
