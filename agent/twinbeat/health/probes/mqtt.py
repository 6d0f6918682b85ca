"""Did a message come on a topic not long ago? Over the broker of a link, beside its heartbeats."""
from __future__ import annotations

from typing import Any

from twinbeat.config_check import MqttCheck
from twinbeat.health.probe import Measured, unavailable
from twinbeat.links.mqtt_watch import TopicWatch
from twinbeat.run_loop import boottime_ns


class MqttProbe:
    """`broker` is the link (`twinbeat.links.mqtt.MqttLink`), not started yet. What a broker has kept does not count."""

    blocking = False

    def __init__(self, check: MqttCheck, broker: Any) -> None:
        self._topic = check.topic
        self._max_s = check.max_age_s
        self._broker = broker
        self._begun_ns = boottime_ns()
        if broker.watch is None:
            broker.watch = TopicWatch()
        self._watch: TopicWatch = broker.watch
        self._watch.add(check.topic)

    def measure(self) -> Measured:
        """Look once."""
        limit = f"at most {self._max_s:g} s"
        heard_ns = self._watch.heard_ns(self._topic)
        age_s = (boottime_ns() - (heard_ns or self._begun_ns)) / 1e9
        if heard_ns and age_s <= self._max_s:
            return Measured(True, f"last message on {self._topic} {age_s:.1f} s ago", limit, figure=age_s)
        if age_s <= self._max_s:
            return Measured(None, f"no message on {self._topic} yet", limit)
        refused = self._watch.refused(self._topic)
        if refused:
            return unavailable(f"the broker refuses the subscription to {self._topic} ({refused})")
        state = self._broker.state
        if not state.connected:
            return unavailable(f"{self._topic}: no connection to the broker for its messages: {state.reason}")
        when = f"{age_s:.1f} s ago" if heard_ns else "since the start"
        text = f"{'last' if heard_ns else 'no'} message on {self._topic} {when}"
        return Measured(False, text, limit, figure=age_s)

    def close(self) -> None:
        """The subscription ends with the connection."""
