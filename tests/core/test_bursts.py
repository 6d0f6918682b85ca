"""Many groups that change their role together: what links are asked to carry (Q5), and that every offer is taken."""
from __future__ import annotations

import pytest
from world import MQTT, SERIAL, World

from twinbeat_core.frames import Frame
from twinbeat_core.model import LinkKind
from twinbeat_core.settings import LinkSettings

GROUPS = 32
APART_MS = 0.3
"""Between two handovers: an operator's command each, or gates that switch off one after the other."""
UDP = LinkSettings(kind=LinkKind.LINK_UDP, period_ms=10, rtt_ms=0.9, reask_ms=1.25)


class Counted(World):
    """A world that knows when each node put a frame on each link."""

    def __init__(self, **config: object) -> None:
        self.sent_ns: list[tuple[int, int, int]] = []
        super().__init__(**config)  # type: ignore[arg-type]

    def transmit(self, i: int, link: int, frame: Frame) -> None:
        self.sent_ns.append((i, link, self.now))
        super().transmit(i, link, frame)

    def frames(self, i: int, link: int) -> int:
        """How many node i has put on a link since the start."""
        return len([at for node, on, at in self.sent_ns if node == i and on == link])


def hand_over_all(fast: LinkSettings, groups: int, seed: int = 0) -> Counted:
    """All groups from node 0 to node 1; frames are counted from the first command to one period after the last."""
    world = Counted(groups=groups, links=(fast, MQTT), seed=seed)
    world.start_all()
    world.run_ms(1000)
    world.sent_ns.clear()
    for group in range(groups):
        world.after_ms(group * APART_MS, lambda group=group: world.handover(0, group, 1))  # type: ignore[misc]
    world.run_ms(groups * APART_MS + fast.period_ms)
    return world


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("fast", [SERIAL, UDP], ids=["serial", "udp"])
def test_every_group_of_many_is_taken(fast: LinkSettings, seed: int) -> None:
    """R6: between two offers of a burst the taker speaks of what it has not seen yet; that refuses nothing."""
    world = hand_over_all(fast, GROUPS, seed)
    assert [world.drivers(group) for group in range(GROUPS)] == [[1]] * GROUPS
    assert max(world.overlap_ms(group) for group in range(GROUPS)) <= 0
    for group in range(GROUPS):
        assert len(world.spans(0, group)) == 1, "the giver took it back first"


def test_q5_a_burst_goes_out_as_few_frames_as_a_line_and_a_broker_take() -> None:
    world = hand_over_all(SERIAL, GROUPS)
    took_ms = GROUPS * APART_MS + SERIAL.period_ms
    for node in range(2):
        # Beside what the rule spaces come the answers to the other's asks, no more than one to each of its frames.
        assert world.frames(node, 0) <= 2 * (took_ms / (SERIAL.reask_ms / 2) + 1)
        assert world.frames(node, 1) <= 2 * (took_ms / MQTT.reask_ms + 1)
    assert world.frames(0, 0) < GROUPS


def test_q5_a_datagram_link_that_is_the_fastest_tells_every_change_at_once() -> None:
    world = hand_over_all(UDP, GROUPS)
    assert world.frames(0, 0) >= GROUPS
    assert world.frames(0, 1) <= 2 * ((GROUPS * APART_MS + UDP.period_ms) / MQTT.reask_ms + 1)


def test_q5_few_groups_wait_for_nothing() -> None:
    world = hand_over_all(SERIAL, 4)
    assert world.frames(0, 0) >= 4
    assert world.frames(0, 1) >= 4
