"""An operator's side: asks an agent over a broker for its challenge, gives the command, waits for the signed answer."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from twinbeat.config_reader import suggestion
from twinbeat.errors import ControlError, LinkError, RefusedError
from twinbeat.links.mqtt_client import connect, make_client, publish_properties
from twinbeat.links.mqtt_note import TOPIC_ROOT
from twinbeat.links.mqtt_options import MqttOptions, explain, explain_refusal
from twinbeat.remote.envelope import (
    ANSWER,
    ASK,
    HELLO,
    ID_HEX_DIGITS,
    answer_topic,
    cmd_stem,
    is_signed,
    seal,
    split,
    unpacked,
)
from twinbeat.remote.judge import VALID_MS_MAX

if TYPE_CHECKING:
    import ssl

    from twinbeat.remote.keyring import Operator

TURN_S = 0.2
HINT_GRACE_S = 1.0
STATUS_BYTES_MAX = 4096
NODES_MAX = 16
NO_SUBSCRIBERS = 16
ISSUED_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class Heard:
    """What came back to one question. `done`: no more will come; `refused`: the broker did not let it through."""

    answer: dict[str, Any] | None = None
    hint: str = ""
    hinted_s: float = 0.0
    broker: str = ""
    done: bool = False
    refused: bool = False


class RemoteClient:
    """One connection to a broker as one operator. Use it as a context manager. Not for more than one thread.

    `limit_s` bounds each of: connecting, the challenge, the command.
    """

    def __init__(
        self, options: MqttOptions, context: ssl.SSLContext | None, operator: Operator, limit_s: float = 10.0
    ) -> None:
        self.limit_s = limit_s
        self.nodes: dict[str, dict[str, Any]] = {}
        self._options = options
        self._pair = options.pair
        self._operator = operator
        self._console = os.urandom(8).hex()
        self._topic = answer_topic(self._pair, operator.name, self._console)
        self._status_stem = f"{TOPIC_ROOT}/{self._pair}/"
        self._heard: dict[str, Heard] = {}
        self._sent: dict[int, str] = {}
        self._trouble = ""
        self._up = False
        self._client = make_client(options, context, f"twinbeat-op-{operator.name}-{self._console}")
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = self._on_disconnect

    def __enter__(self) -> RemoteClient:
        self.open()
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect and listen for answers. Raises LinkError."""
        place = self._options.place
        try:
            connect(self._client, self._options)
        except (OSError, ValueError) as error:
            raise LinkError(f"{place}: {explain(error)}") from None
        if not self._wait(lambda: self._up, self.limit_s):
            closed = self._client.socket() is None
            self.close()
            why = explain(ConnectionResetError()) if closed else f"no answer within {self.limit_s:g} s"
            raise LinkError(f"{place}: {self._trouble or why}")

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        for _ in range(5):
            if self._client.socket() is None:
                return
            self._client.loop(TURN_S)

    # ------------------------------------------------------------ questions

    def ask(self, node: str, verb: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """The agent's signed answer to a verb.

        Raises RefusedError when the agent says no, ControlError when it says nothing that can be trusted.
        """
        challenge = self.challenge(node)
        # Not longer than this console waits: a command that was not answered in time cannot begin later.
        valid_ms = min(VALID_MS_MAX, int(self.limit_s * 1000))
        bound = {"session": challenge["session"], "at_ns": challenge["at_ns"], "valid_ms": valid_ms}
        sent_s = time.monotonic()
        heard = self._exchange(node, verb, bound | {"args": arguments or {}}, patient=True)
        if heard.answer is None:
            raise ControlError(self._unknown(node, verb, heard, valid_ms / 1000 - (time.monotonic() - sent_s)))
        return understood(heard.answer)

    def _unknown(self, node: str, verb: str, heard: Heard, left_s: float) -> str:
        """That nobody knows whether a command was carried out. `left_s`: for how long it may still begin."""
        why = heard.broker
        if not why and not self._client.is_connected():
            why = self._trouble or "closed the connection"
        how = f"({self._options.place} {why})" if why else f"in {self.limit_s:g} s"
        later = "cannot begin any more" if left_s <= 0 else f"may still begin within the next {left_s:.1f} s"
        return f"{node} did not answer {verb} {how}. The command {later}; whether it did: twinbeat remote {node} events"

    def challenge(self, node: str) -> dict[str, Any]:
        """Which start of the agent this is, and what its clock says. Raises as `ask`."""
        heard = self._exchange(node, HELLO, {})
        if heard.answer is not None:
            answer = understood(heard.answer)
            if isinstance(answer.get("session"), str) and type(answer.get("at_ns")) is int:
                return answer
            raise ControlError(f"{node}: its answer has no session or no clock; run the same version on both sides")
        if heard.hint:
            raise RefusedError(f"{node} answers without a signature, so it may be anybody: {heard.hint}")
        raise ControlError(self._silence(node, heard))

    def _exchange(self, node: str, verb: str, more: dict[str, Any], *, patient: bool = False) -> Heard:
        """Publish a question and wait for its answer. `patient`: what is not signed does not end the waiting."""
        asked_id = os.urandom(ID_HEX_DIGITS // 2).hex()
        issued = time.strftime(ISSUED_FORMAT, time.gmtime())
        body = {"pair": self._pair, "node": node, "verb": verb, "id": asked_id, "reply": self._topic, "issued": issued}
        text = json.dumps(body | more, separators=(",", ":")).encode()
        payload = seal(self._operator.key, ASK, self._operator.name, text)
        properties = publish_properties(max(1, int(self.limit_s)), asked_id.encode(), self._topic)
        heard = self._heard[asked_id] = Heard()
        sent = self._client.publish(f"{cmd_stem(self._pair, node)}/{verb}", payload, 1, False, properties)
        self._sent[sent.mid] = asked_id

        def done() -> bool:
            hinted = heard.hint and not patient and time.monotonic() - heard.hinted_s > HINT_GRACE_S
            return heard.answer is not None or bool(hinted) or heard.done

        self._wait(done, self.limit_s)
        del self._heard[asked_id]
        return heard

    def _silence(self, node: str, heard: Heard) -> str:
        """Why an agent may not have answered, from all that is known."""
        said = self.nodes.get(node)
        if heard.refused:
            return f"{node} was not reached; {self._options.place} {heard.broker}"
        told = f"{node} did not answer within {self.limit_s:g} s" if not heard.done else f"{node} was not reached"
        if heard.broker:
            told += f"; {self._options.place} {heard.broker}"
        if not self._client.is_connected():
            return f"{told}; {self._options.place}: {self._trouble or 'the connection was lost'}"
        if said is None and self.nodes:
            return f'{told}; pair {self._pair} has no status of it there; {suggestion(node, self.nodes, "nodes")}'
        if said is None:
            return f"{told}; nothing of pair {self._pair} is on this broker: check the pair's name, and who may read it"
        if said.get("state") != "online":
            reason = said.get("reason", "no reason")
            return f"{told}; its last status is {said.get('state')} ({reason}): start its agent, or look at its network"
        return (
            f"{told}, although it is online: it takes remote commands only with an [[operator]] in its file, over a "
            f"broker that lets it read {cmd_stem(self._pair, node)}/+; twinbeat events on the gateway says more"
        )

    # ------------------------------------------------------------ the connection

    def _wait(self, done: Callable[[], bool], limit_s: float) -> bool:
        until_s = time.monotonic() + limit_s
        while not done():
            left_s = until_s - time.monotonic()
            if left_s <= 0 or self._client.socket() is None:
                return done()
            self._client.loop(min(TURN_S, left_s))
        return True

    def _on_connect(self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _more: object) -> None:
        if code.is_failure:
            self._trouble = explain_refusal(code.value, code.getName())
            return
        wish = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        client.subscribe([(self._topic, wish), (f"{self._status_stem}+/status", SubscribeOptions(qos=0))])

    def _on_subscribe(
        self, client: paho.Client, _data: object, _mid: int, codes: list[ReasonCode], _more: object
    ) -> None:
        if codes[0].is_failure:
            self._trouble = (
                f"it refuses the subscription to {self._topic} ({codes[0].getName()}); allow this user to read "
                f"{answer_topic(self._pair, self._operator.name, '+')} in the broker's access list"
            )
            client.disconnect()
        else:
            self._up = True

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, code: ReasonCode, _more: object) -> None:
        heard = self._heard.get(self._sent.pop(mid, ""))
        if heard is None:
            return
        if code.is_failure:
            heard.broker = (
                f"refuses the command ({code.getName()}): allow this user to write {TOPIC_ROOT}/{self._pair}/cmd/# in "
                "the broker's access list"
            )
            heard.done = heard.refused = True
        elif code.value == NO_SUBSCRIBERS:
            heard.broker = "says that nobody listens for this node's commands"
            heard.done = True

    def _on_disconnect(
        self, _client: paho.Client, _data: object, flags: object, code: ReasonCode, _more: object
    ) -> None:
        if getattr(flags, "is_disconnect_packet_from_server", False):
            self._trouble = self._trouble or explain_refusal(code.value, code.getName())

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic == self._topic:
            if not message.retain:
                self._take(message)
            return
        node = message.topic.removeprefix(self._status_stem).removesuffix("/status")
        if len(message.payload) <= STATUS_BYTES_MAX and (node in self.nodes or len(self.nodes) < NODES_MAX):
            try:
                status = json.loads(message.payload)
            except ValueError:
                return
            if isinstance(status, dict):
                self.nodes[node] = status

    def _take(self, message: paho.MQTTMessage) -> None:
        """An answer, or what claims to be one: only a signed one for what was asked counts."""
        correlation = getattr(message.properties, "CorrelationData", b"")
        asked_id = correlation.decode("ascii", "replace")
        heard = self._heard.get(asked_id)
        if heard is None:
            return
        payload = bytes(message.payload)
        sealed = split(payload)
        if sealed is None:
            heard.hint = heard.hint or hint_of(payload)
            heard.hinted_s = heard.hinted_s or time.monotonic()
            return
        if sealed.operator != self._operator.name or not is_signed(sealed, self._operator.key, ANSWER):
            return
        text = unpacked(sealed)
        body = json.loads(text) if text else None
        if isinstance(body, dict) and body.get("id") == asked_id and isinstance(body.get("answer"), dict):
            heard.answer = body["answer"]


def hint_of(payload: bytes) -> str:
    """The error in an answer without a signature; a text in any case."""
    try:
        said = json.loads(payload[:STATUS_BYTES_MAX])
    except ValueError:
        said = None
    text = str(said.get("error")) if isinstance(said, dict) else "something that is no answer"
    return "".join(sign if sign.isprintable() else "?" for sign in text[:600])


def understood(answer: dict[str, Any]) -> dict[str, Any]:
    """A signed answer; RefusedError when it is a no."""
    if not answer.get("ok"):
        code = answer.get("exit_code")
        text = str(answer.get("error") or "the agent refused without a reason")
        raise RefusedError(text, code if isinstance(code, int) and 0 < code < 256 else 1)
    return answer
