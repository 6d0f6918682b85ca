"""Early warning in an agent of stand-ins: events, alarms, points off the score, proposals, what is shown."""
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from health_rig import VirtualLoop
from run_fakes import WAIT_S, core_view, peer_view

from twinbeat.config_warning import WarningConfig
from twinbeat.links.mqtt_note import Note
from twinbeat.run_words import Names
from twinbeat.telemetry import TTL_S
from twinbeat.warning import limits
from twinbeat.warning.alarms import Alarms
from twinbeat.warning.figures import Warned
from twinbeat.warning.machine import Absent, Sample
from twinbeat.warning.move import POINTS, Mover
from twinbeat.warning.pair import Pair
from twinbeat.warning.service import CMD_MOVE, WarningService
from twinbeat_core.events import Command, Health
from twinbeat_core.model import FrameFlag

NAMES = Names("gw-a", ["gw-a", "gw-b"], ["pump", "fan"], ["cross"])
TOPIC = "twinbeat/v1/pump-7/alarm/EARLY_WARNING/gw-a/temperature"


class Machine:
    """Says what it is told; `hangs` keeps the reader waiting."""

    def __init__(self) -> None:
        self.celsius: float | None = 50.0
        self.hangs = False
        self.release = threading.Event()
        self.absent = [Absent("eMMC wear", "no such source on this machine")]

    def read(self) -> list[Sample]:
        if self.hangs:
            assert self.release.wait(WAIT_S)
        return [] if self.celsius is None else [(limits.temperature(WarningConfig(), "cpu-thermal"), self.celsius)]


class Agent:
    """What the service needs of an agent, with what it was told."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.core = core_view("ACTIVE", peers=[peer_view(1)])
        self.notes: list[Note] = []
        self.posted: list[Any] = []
        self.told: list[tuple[str, str]] = []
        self.names = NAMES
        self.scored: Any = None
        self.ring_full = False
        broker = SimpleNamespace(counters=SimpleNamespace(losses=0), send_note=self.notes.append)
        self.parts = SimpleNamespace(
            loop=loop, rt=SimpleNamespace(view=lambda: {"core": self.core}), brokers={0: broker}
        )
        self.events = SimpleNamespace(add=lambda code, text, level, group=None: self.told.append((code, text)))

    def post(self, event: Any) -> bool:
        event = self.scored(event)
        if self.ring_full:
            return False
        self.posted.append(event)
        if isinstance(event, Health):
            self.core = self.core | {"health": event.score}
        return True

    def commands(self) -> list[tuple[int, int, int]]:
        return [(int(one.code), one.group, one.node) for one in self.posted if isinstance(one, Command)]

    def scores(self) -> list[int]:
        return [one.score for one in self.posted if isinstance(one, Health)]


class Rig:
    def __init__(self, **keys: Any) -> None:
        self.loop = VirtualLoop()
        self.agent = Agent(self.loop)
        self.machine = Machine()
        table = WarningConfig(**({"predict": "handover"} | keys))
        alarms = Alarms("pump-7", "gw-a", lambda: list(self.agent.parts.brokers.values()))
        pair = Pair(table, NAMES, [45.0], 5.0)
        self.service = WarningService(table, self.agent, pair, self.machine, alarms, self.loop.clock_ns)  # type: ignore[arg-type]
        self.service.begin()

    def run(self, seconds: float) -> None:
        """Sample by sample; what the thread reads is there within its sample."""
        for _ in range(round(seconds / 5)):
            self.loop.advance(5)
            if not self.machine.hangs:
                self.loop.await_call(1)

    def heat(self, celsius: float) -> None:
        self.machine.celsius = celsius
        self.run(30)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.machine.release.set()
    rig.service.close()


def test_calm_says_nothing_and_touches_nobody(rig: Rig) -> None:
    rig.run(600)
    assert (rig.agent.told, rig.agent.notes, rig.agent.posted) == ([], [], [])
    assert rig.service.standing() == []


def test_heat_is_told_shown_published_and_cleared(rig: Rig) -> None:
    rig.run(60)
    rig.heat(85)
    code, text = rig.agent.told[0]
    assert code == "EARLY_WARNING"
    assert text == "early warning: temperature of cpu-thermal 85 °C, at or above the limit of 80 °C: it matters now"
    (shown,) = rig.service.standing()
    keys = "figure kind unit value limit trend_per_hour matters_in_s text since_s own"
    assert set(shown) == set(keys.split())
    note = rig.agent.notes[0]
    body = json.loads(note.payload)
    assert (note.topic, note.retain, note.qos, note.expiry_s) == (TOPIC, True, 1, TTL_S)
    assert (body["node"], body["active"], body["figure"], body["matters_in_s"]) == ("gw-a", True, "temperature", 0)
    count = len(rig.agent.notes)
    rig.run(60)
    assert len(rig.agent.notes) - count == 3, "repeated as its time to live wants"
    rig.machine.celsius = 50
    rig.run(360)
    assert rig.agent.notes[-1] == Note(TOPIC, b"", retain=True, qos=1)
    assert rig.agent.told[-1] == ("EARLY_WARNING", "early warning ended: temperature")
    assert rig.service.standing() == []


def test_points_are_taken_off_whoever_speaks_of_health_and_given_back(rig: Rig) -> None:
    rig.run(60)
    rig.heat(85)
    assert rig.agent.scores()[-1] == 100 - POINTS
    rig.agent.post(Health(1, True, 60, 33))
    assert (rig.agent.posted[-1].score, rig.agent.posted[-1].load) == (50, 33)
    rig.agent.post(Health(1, True, 5, 33))
    assert rig.agent.posted[-1].score == 1, "a prediction makes nobody unfit"
    rig.agent.post(Health(1, False, 0, 33))
    assert (rig.agent.posted[-1].score, rig.agent.posted[-1].fit) == (0, False)
    rig.machine.celsius = 50
    rig.agent.post(Health(1, True, 60, 33))
    rig.run(360)
    assert (rig.agent.posted[-1].score, rig.agent.posted[-1].load) == (60, 33)


def test_a_handover_is_proposed_once_until_it_is_quiet(rig: Rig) -> None:
    rig.run(60)
    rig.heat(85)
    rig.run(300)
    assert rig.agent.commands() == [(CMD_MOVE, 0, 1)]
    assert "pump: handover to gw-b proposed because of temperature" in rig.agent.told[-1][1]
    rig.heat(50)
    rig.run(360)
    rig.heat(85)
    rig.run(120)
    assert rig.agent.commands() == [(CMD_MOVE, 0, 1)] * 2


@pytest.mark.parametrize(
    "peer",
    [
        {"health": 100 - POINTS},                       # it sees the same coming
        {"silent": True}, {"dead": True}, {"known": False},
        {"flags": int(FrameFlag.FLAG_UNFIT)},
        {"rows": [{"state": "OUT", "vote": 15, "epoch": 0}]},
    ],
)
def test_nobody_is_asked_who_is_no_better_off(rig: Rig, peer: dict[str, Any]) -> None:
    rig.agent.core = core_view("ACTIVE", peers=[peer_view(1, **peer)])
    rig.run(60)
    rig.heat(85)
    rig.run(300)
    assert rig.agent.commands() == []


def test_what_both_share_moves_nothing(rig: Rig) -> None:
    """Loss on a link is no fault of this node."""
    rig.machine.celsius = None
    for path in rig.agent.core["peers"][0]["paths"]:
        path["loss_percent"] = 40.0
    rig.run(300)
    assert [one["figure"] for one in rig.service.standing()] == ["link.cross.gw-b.loss"]
    assert rig.agent.posted == []


def test_warn_only_proposes_nothing() -> None:
    rig = Rig(predict="warn")
    rig.run(60)
    rig.heat(85)
    rig.run(300)
    assert rig.agent.commands() == [] and rig.agent.scores()[-1] == 100 - POINTS
    rig.service.close()


def test_a_reader_that_hangs_holds_up_nothing_and_is_shown(rig: Rig) -> None:
    rig.run(60)
    rig.machine.hangs = True
    rig.run(30)
    shown = rig.service.describe()
    assert shown["hangs"] == 5
    ages = {one["figure"]: one["age_s"] for one in shown["figures"]}  # type: ignore[attr-defined]
    assert ages["temperature"] == 30.0 and ages["link.cross.gw-b.loss"] == 0.0
    assert rig.service.standing() == []
    rig.run(30)
    (waits,) = rig.service.standing()
    assert (waits["figure"], waits["value"], waits["own"]) == ("disk.wait", 50.0, True)
    rig.machine.hangs = False
    rig.machine.release.set()
    rig.loop.await_call(1)
    rig.run(30)
    assert rig.service.describe()["hangs"] == 11


def test_describe_names_all_and_what_is_not_there(rig: Rig) -> None:
    rig.run(30)
    shown = rig.service.describe()
    assert [one["figure"] for one in shown["figures"]] == [  # type: ignore[attr-defined]
        "disk.wait", "link.cross.gw-b.jitter", "link.cross.gw-b.loss", "link.cross.reconnects", "temperature",
    ]  # fmt: skip
    assert shown["absent"] == [{"source": "eMMC wear", "why": "no such source on this machine"}]
    assert (shown["predict"], shown["proposed"], shown["points"]) == ("handover", 0, 0)
    json.dumps(shown)


def test_nothing_happens_after_the_end(rig: Rig) -> None:
    rig.run(30)
    rig.service.close()
    rig.machine.celsius = 99
    rig.loop.advance(60)
    assert rig.service.standing() == []


# ---------------------------------------------------------------- when to propose


def warned(matters_in_s: float | None, *, own: bool = True) -> Warned:
    return Warned("f", "trend", "", 1.0, 2.0, 1.0, matters_in_s, "f", 0.0, own)


def two_groups() -> dict[str, Any]:
    rows = [{"state": "STANDBY", "vote": 15, "epoch": 0}] * 2
    core = core_view("ACTIVE", peers=[peer_view(1, rows=rows)], health=90)
    return core | {"groups": [core["groups"][0], core["groups"][0] | {"group": 1}]}


def test_a_proposal_waits_for_the_warning_to_stand_but_not_too_long() -> None:
    late, soon = Mover(), Mover()
    assert [late.look(at, [warned(1800)], two_groups()) for at in (0, 59)] == [None, None]
    assert late.look(60, [warned(1740)], two_groups()) is not None
    assert soon.look(0, [warned(40)], two_groups()) is None
    assert soon.look(9.9, [warned(40)], two_groups()) is None
    assert soon.look(10, [warned(40)], two_groups()) is not None


def test_groups_go_one_after_another() -> None:
    mover = Mover()
    found = [mover.look(float(at), [warned(0)], two_groups()) for at in range(0, 40, 5)]
    assert [(at * 5, one[0], one[1]) for at, one in enumerate(found) if one] == [(5, 0, 1), (15, 1, 1)]


def test_what_does_not_matter_or_is_shared_is_not_proposed() -> None:
    mover = Mover()
    for at in range(0, 200, 5):
        assert mover.look(float(at), [warned(None), warned(10, own=False)], two_groups()) is None


def test_the_best_other_node_is_chosen() -> None:
    core = core_view("ACTIVE", peers=[peer_view(1, health=95), peer_view(2, health=100), peer_view(3, health=100)],
                     health=90)
    mover = Mover()
    mover.look(0, [warned(0)], core)
    found = mover.look(60, [warned(0)], core)
    assert found is not None and found[:2] == (0, 2)
