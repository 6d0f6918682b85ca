"""The witness's connection to its broker: asks in, answers out.

Safety rests on one rule here: whoever takes a connection in this witness's name promises nothing for the longest
promise there is. The broker allows one connection for each client id, so the one before is over by then; it is told
so (0x8E), or finds out before it would take the name back, stops answering before anything else, and the process ends.
"""
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from twinbeat.errors import AlreadyRunning
from twinbeat.links.mqtt_options import MqttOptions
from twinbeat.run_loop import boottime_ns
from twinbeat.witness.courier import Courier
from twinbeat.witness.desk import Desk, ask_topic
from twinbeat.witness.figures import Histogram
from twinbeat.witness.lane import Message
from twinbeat.witness.presence import another_life

if TYPE_CHECKING:
    import ssl

log = logging.getLogger("twinbeat.witness")


class WitnessLink(Courier):
    """One witness's connection; the desk belongs to its thread.

    `batch_done()` is called there after messages were answered, `ended(error)` when it gives up for good.
    """

    def __init__(
        self, options: MqttOptions, context: ssl.SSLContext | None, desk: Desk,
        batch_done: Callable[[], None], ended: Callable[[Exception], None],
    ) -> None:  # fmt: skip
        self.witness = desk.witness
        # The id is fixed by the name: the broker then ends the older of two.
        super().__init__(options, context, f"twinbeat-witness-{self.witness.name}", ask_topic("+", self.witness.name))
        self.answers = 0
        self.answer_time = Histogram()
        self._desk = desk
        self._batch_done = batch_done
        self._ended = ended

    def prepare(self) -> None:
        """Not to show out a successor, and to learn how long a predecessor's promises last. Raises AlreadyRunning."""
        witness = self.witness
        other_ms = another_life(self.options, self.context, witness.name, witness.life, self.stopping.is_set)
        if other_ms is None:
            return
        if self.connects:
            self.taken_over()
        witness.abstain_ms = max(witness.abstain_ms, other_ms)
        log.warning(
            '%s: another witness named "%s" is connected there; this one takes its place, and that one must end',
            self.options.place, witness.name,
        )  # fmt: skip

    def opened(self) -> None:
        """Somebody else may have spoken in this name until a moment ago."""
        self.witness.abstain(boottime_ns() // 1_000_000)
        log.info("%s: connected; nothing is promised for %d ms", self.options.place, self.witness.abstain_ms)

    def take(self, messages: list[Message], read_at_ns: int) -> None:
        """Answer."""
        packets = self._desk.answer(messages, read_at_ns // 1_000_000)
        if packets and self.send(b"".join(packets)):
            self.answers += len(packets)
            self.answer_time.add((boottime_ns() - read_at_ns) / 1e6, len(packets))
        elif packets:
            self.unsent += len(packets) - 1         # one is counted already
        self._batch_done()

    def taken_over(self) -> None:
        """There is another witness of this name. Raises AlreadyRunning."""
        raise AlreadyRunning(
            f'{self.options.place}: another witness named "{self.witness.name}" has connected there; this one has '
            "stopped answering, for two of one name could promise to two. Run one of them only, or give this one a "
            "name of its own and name it in its pairs' [third_voter]"
        )

    def failed(self, error: Exception) -> None:
        """Have the process end with it."""
        self._ended(error)
