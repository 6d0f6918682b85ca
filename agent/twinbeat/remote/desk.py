"""Carries out what operators command over a broker, by the verbs of the control socket, and signs the answers."""
from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from twinbeat.control import Answer, Verb, failure
from twinbeat.errors import TwinbeatError
from twinbeat.links.mqtt_mail import Mail
from twinbeat.links.mqtt_note import Note
from twinbeat.remote import READ_VERBS
from twinbeat.remote.envelope import ANSWER, ANSWER_BYTES_MAX, HELLO, console_of, is_name, seal
from twinbeat.remote.judge import Judge, Order, Refused
from twinbeat.run_turn import WHO_KEY

UNDER_WAY_MAX = 8
GIVE_UP_S = 900.0
ANSWER_EXPIRY_S = 30
HINT_BURST = 5.0
HINTS_PER_S = 0.5
TOLD_PAUSE_S = 60.0
TOLD_AT_ONCE = 5

Send = Callable[[Note], None]
Later = Callable[[float, Callable[[], None]], object]
Tell = Callable[[str, str, int], object]


class RemoteDesk:
    """Only for the loop's thread. `tell(code, text, level)` notes an event, `clock_ns` is CLOCK_BOOTTIME.

    `verbs` are those of the control socket; `version` and the like in `fixed` go into the answer to a hello.
    """

    def __init__(
        self,
        judge: Judge,
        verbs: Mapping[str, Verb],
        tell: Tell,
        later: Later,
        clock_ns: Callable[[], int],
        fixed: Mapping[str, Any],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._judge = judge
        self._verbs = verbs
        self._tell = tell
        self._later = later
        self._clock_ns = clock_ns
        self._fixed = fixed
        self._under_way: dict[str, tuple[int, Callable[[], None]]] = {}
        self._hints = HINT_BURST
        self._hinted_ns = clock_ns()
        self._told = 0
        self._untold: Counter[str] = Counter()

    def take(self, mail: Mail, send: Send) -> None:
        """A message arrived; `send` publishes on the broker over which it came."""
        try:
            order = self._judge.admit(mail, self._clock_ns())
        except Refused as refused:
            self._refuse(refused, mail, send)
            return
        if order.verb == HELLO:
            self.counts["hello"] += 1
            self._answer(order, send, self._challenge(order))
        elif self._under_way_now() >= UNDER_WAY_MAX:
            text = f"{UNDER_WAY_MAX} remote commands are under way already; wait for the answer of one"
            self._refuse(Refused("busy", text, order), mail, send)
        else:
            self.counts["taken"] += 1
            self._carry_out(order, send)

    def flooded(self, broker: str, seconds: int, dropped: int) -> None:
        """A broker's mailbox was shut."""
        self.counts["floods"] += 1
        self._tell(
            "REMOTE_FLOOD",
            f"{broker}: {dropped} messages at once on the topic of this node's commands; it is closed for {seconds} s, "
            "so that heartbeats go on. Find out who writes there; let only operators do so in the broker's access list",
            logging.WARNING,
        )

    def describe(self) -> dict[str, Any]:
        """What status shows."""
        operators = {name: self._judge.allowed(operator) for name, operator in self._judge.operators.items()}
        return {"operators": operators, "under_way": len(self._under_way), "counters": dict(self.counts)}

    # ------------------------------------------------------------ carrying out

    def _challenge(self, order: Order) -> Answer:
        """What a command must be bound to."""
        judge = self._judge
        allowed = judge.allowed(order.operator)
        at_ns = self._clock_ns()
        return {"ok": True, "session": judge.session, "at_ns": at_ns, "verbs": allowed, **self._fixed}

    def _carry_out(self, order: Order, send: Send) -> None:
        changes = order.verb not in READ_VERBS
        given = " ".join([order.verb, *(f"{key}={value}" for key, value in order.args.items())])

        def reply(answer: Answer) -> None:
            if self._under_way.pop(order.id, None) is None:
                return
            self._answer(order, send, answer)
            done = bool(answer.get("ok"))
            self.counts["done" if done else "failed"] += 1
            if changes:
                outcome = "done" if done else f"not done: {answer.get('error')}"
                self._tell("REMOTE", f"{given}, by {order.operator.who}: {outcome}", logging.INFO)

        def give_up() -> None:
            reply(failure(f"{order.verb}: no outcome within {GIVE_UP_S:g} s; look at twinbeat events", 1))

        if changes:
            self._tell("REMOTE", f"{order.operator.who} commands over a broker: {given}", logging.INFO)
        self._under_way[order.id] = (self._clock_ns() + int(GIVE_UP_S * 1e9), give_up)
        try:
            self._verbs[order.verb]({**order.args, "verb": order.verb, WHO_KEY: order.operator.who}, reply)
        except TwinbeatError as error:
            reply(failure(str(error), error.exit_code))
        except Exception as error:  # noqa: BLE001 - a fault in one verb is answered, and ends neither agent nor desk
            reply(failure(f"internal error: {type(error).__name__}: {error}", 70))

    def _under_way_now(self) -> int:
        """How many commands wait for their outcome; those that wait for ever are answered so."""
        now_ns = self._clock_ns()
        for until_ns, give_up in list(self._under_way.values()):
            if now_ns >= until_ns:
                give_up()
        return len(self._under_way)

    def _answer(self, order: Order, send: Send, answer: Answer) -> None:
        payload = self._sealed(order, answer)
        if len(payload) > ANSWER_BYTES_MAX:
            text = f"done, but the answer is too long for a broker ({len(payload)} bytes, at most {ANSWER_BYTES_MAX})"
            payload = self._sealed(order, failure(f"{text}; ask for less with count=, or on the gateway itself", 1))
        send(Note(order.reply_topic, payload, retain=False, qos=0, expiry_s=ANSWER_EXPIRY_S,
                  correlation=order.id.encode()))

    def _sealed(self, order: Order, answer: Answer) -> bytes:
        judge = self._judge
        body = {"pair": judge.pair, "node": judge.node, "verb": order.verb, "id": order.id, "answer": answer}
        text = json.dumps(body, separators=(",", ":"), default=str).encode()
        return seal(order.operator.key, ANSWER, order.operator.name, text, pack=True)

    # ------------------------------------------------------------ refusing

    def _refuse(self, refused: Refused, mail: Mail, send: Send) -> None:
        self.counts[f"refused_{refused.reason}"] += 1
        self._note_refusal(refused)
        if refused.silent:
            return
        if refused.order is not None:
            self._answer(refused.order, send, failure(refused.text, 1) | {"reason": refused.reason})
        elif self._may_hint(mail.response_topic):
            body = json.dumps(failure(refused.text, 1) | {"reason": refused.reason}).encode()
            send(Note(mail.response_topic, body, retain=False, qos=0, expiry_s=ANSWER_EXPIRY_S,
                      correlation=mail.correlation[:32]))

    def _may_hint(self, topic: str) -> bool:
        """Whether somebody unknown is answered: seldom, unsigned, and on a topic of answers only."""
        operator = topic.split("/")[-2:-1]
        if not operator or not is_name(operator[0]) or console_of(self._judge.pair, operator[0], topic) is None:
            return False
        now_ns = self._clock_ns()
        self._hints = min(HINT_BURST, self._hints + (now_ns - self._hinted_ns) / 1e9 * HINTS_PER_S)
        self._hinted_ns = now_ns
        if self._hints < 1.0:
            return False
        self._hints -= 1.0
        return True

    def _note_refusal(self, refused: Refused) -> None:
        """The first few as an event each, then one event a minute with their numbers."""
        if not self._told:
            self._later(TOLD_PAUSE_S, self._told_enough)
        self._told += 1
        if self._told <= TOLD_AT_ONCE:
            who = f", signed by {refused.order.operator.who}" if refused.order else ""
            self._tell("REMOTE_REFUSED", f"remote command refused{who}: {refused.text}", logging.WARNING)
        else:
            self._untold[refused.reason] += 1

    def _told_enough(self) -> None:
        self._told = 0
        if self._untold:
            numbers = ", ".join(f"{count} {reason}" for reason, count in self._untold.most_common())
            self._untold.clear()
            text = f"more remote commands refused within {TOLD_PAUSE_S:g} s: {numbers}"
            self._tell("REMOTE_REFUSED", text, logging.WARNING)
