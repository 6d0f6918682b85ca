"""Schedules and inputs that a hostile reading of the core suggests. To stand beside the others in tests/core."""
from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest
from world import MQTT, MS, SERIAL, World, settings

from twinbeat_core import events as ev
from twinbeat_core import wire
from twinbeat_core.errors import SettingsError, SnapshotError, TwinbeatError
from twinbeat_core.failover import Failover
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import CommandCode, DriveCode, LinkKind, Lone, OutputCode, ReportCode, State
from twinbeat_core.settings import GroupSettings, LinkSettings, Settings
from twinbeat_core.timing import lease_for_loss_ms


def steady(**config: object) -> World:
    world = World(**config)  # type: ignore[arg-type]
    world.start_all()
    world.run_ms(20_000)
    assert world.drivers() == [0]
    return world


# ---- 1 SAFETY: a target left over from an old handover moves an unexpired promise
def test_a1_leaving_service_long_after_a_handover_moves_no_promise() -> None:
    world = steady(nodes=3)
    world.handover(0, node=1)
    world.run_ms(1000)
    world.handover(1, node=2)
    world.run_ms(1000)
    assert world.drivers() == [2]
    world.cut_all((0, 1), ((1, 2), (2, 1)))
    world.run_ms(2000)
    assert world.drivers() == [2]
    world.deliver(0, lambda now: ev.Command(now, CommandCode.CMD_OUT))
    assert world.nodes[0].core.view()["groups"][0]["promise"]["holder"] == 2
    world.run_ms(1000)
    assert world.overlap_ms() == 0


def test_a1_in_a_pair_leaving_service_after_a_handover_does_not_make_the_driver_claim_anew() -> None:
    world = steady()
    world.handover(0, node=1)
    world.run_ms(1000)
    epoch = world.nodes[1].core.view()["groups"][0]["epoch"]
    for code in (CommandCode.CMD_OUT, CommandCode.CMD_IN):
        world.deliver(0, lambda now, c=code: ev.Command(now, c))  # type: ignore[misc]
        world.run_ms(500)
    assert world.nodes[1].core.view()["groups"][0]["epoch"] == epoch


# ---- 2 SAFETY: a new life ends the old life's promise while the old life's relay still releases
@pytest.mark.parametrize(("release_ms", "down_ms"), [(12.0, 0.5), (500.0, 50.0), (2000.0, 300.0)])
def test_r4_quick_restart_does_not_say_released_for_the_life_before(release_ms: float, down_ms: float) -> None:
    world = steady(nodes=3, release_ms=release_ms)
    world.power(0)
    world.run_ms(down_ms)
    world.restart(0)
    world.run_ms(10_000)
    assert world.overlap_ms() == 0


# ---- 3 effects overflow: groups ACTIVE whose DRIVE_ON was dropped, never driven
def test_sixty_four_groups_are_all_driven() -> None:
    group = GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0,))
    core = Failover(Settings(node_count=1, self_node=0, links=(SERIAL,), groups=(group,) * 64, pair_id=7,
                             config_digest=1, voters=(0,)))
    now, on = 1000 * MS, set()
    effects = core.step(ev.Start(now, 5))
    for _ in range(50):
        for effect in effects:
            if isinstance(effect, ev.Drive) and effect.code == DriveCode.DRIVE_ON:
                on.add(effect.group)
        ceilings = [e.ceiling for e in effects if isinstance(e, ev.Persist)]
        now = now if ceilings else core.deadline_ns or now
        effects = core.step(ev.Persisted(now, ceilings[0]) if ceilings else ev.Wake(now))
    active = {g["group"] for g in core.view()["groups"] if g["state"] == "ACTIVE"}
    assert on == active == set(range(64))


# ---- 4 AVAILABILITY: one old authentic frame of another configuration blocks every takeover for ever
def test_p5_replayed_frame_of_an_earlier_configuration_bars_nobody_for_ever() -> None:
    world = steady()
    old = Frame(source=0, incarnation=99, stamp=5, pair_id=7, config_digest=2)
    for _ in range(3):
        world.deliver(1, lambda now: ev.Heard(now, 1, old))
        world.run_ms(50)
    assert sum(r.code == ReportCode.RP_CONFIG_MISMATCH for _, r in world.nodes[1].reports) == 1
    world.power(0)
    for _ in range(12):
        world.deliver(1, lambda now: ev.Heard(now, 1, old))
        world.run_ms(5000)
    assert world.drivers() == [1]


# ---- 5 AVAILABILITY: two old frames of two past lives, sent in turn, displace the echo of the current life
def test_p3_replayed_past_lives_do_not_cost_the_driver_its_answers() -> None:
    world = steady()
    old = [Frame(source=1, incarnation=life, stamp=5, pair_id=7, config_digest=1) for life in (101, 102)]
    for turn in range(2000):
        world.deliver(0, lambda now, f=old[turn % 2]: ev.Heard(now, 1, f))  # type: ignore[misc]
        world.run_ms(1)
    assert len(world.spans(0)) == 1


# ---- 6 AVAILABILITY: the gate let go at the epoch before the claim above; the core never notices
def test_gates_word_for_the_epoch_before_counts_too() -> None:
    world = steady()
    core, peer = world.nodes[0].core, world.nodes[1]
    epoch = core.view()["groups"][0]["epoch"]
    frame = Frame(source=1, incarnation=peer.incarnation, stamp=world.local(1) // 1000 + 1, pair_id=7, config_digest=1,
                  rows=(Row(State.STANDBY, 15, 0, epoch + 100),))
    world.deliver(0, lambda now: ev.Heard(now, 0, frame))
    assert core.view()["groups"][0]["epoch"] > epoch
    world.gate_off(world.nodes[0], 0)
    world.deliver(0, lambda now: ev.Output(now, 0, OutputCode.OUTPUT_OFF, epoch))
    world.run_ms(5000)
    assert len(world.drivers()) == 1


# ---- 7 epochs run out: every start reserves two blocks, used or not, and the count wraps in silence
def test_r1_epoch_ceiling_never_goes_back() -> None:
    ceiling = 0
    for _ in range(300):
        effects = Failover(settings(0, epoch_block=1 << 16)).step(ev.Start(1000 * MS, 5, ceiling))
        asked = next(e.ceiling for e in effects if isinstance(e, ev.Persist))
        assert asked > ceiling
        ceiling = asked


def test_r1_epoch_near_the_end_is_not_wrapped() -> None:
    core = Failover(settings(0, lonely_start_ms=0.0))
    core.step(ev.Start(1000 * MS, 5, ceiling=0xFFFFFFF0))
    for _ in range(100):
        assert core.deadline_ns
        core.step(ev.Wake(core.deadline_ns))
    group = core.view()["groups"][0]
    assert group["epoch"] == 0 or group["epoch"] > group["floor"] - 1 >= 0xFFFFFFF0 - 1


# ---- 8 lease_for_loss counts too few asks for the configured mistake rate
@pytest.mark.parametrize("mistake_exp", [2, 5, 9, 11])
def test_lease_for_loss_reaches_the_mistake_rate(mistake_exp: int) -> None:
    core = settings(0, links=(SERIAL,), mistake_exp=mistake_exp).compile()
    short = []
    for loss in range(1, 900):
        asks = round((lease_for_loss_ms(core, 0, loss / 1024) - 10 - 0.9 - 1) / 1.25)
        keep = Fraction(1024 - loss, 1024)
        if asks < 400 and (1 - keep * keep) ** asks > Fraction(1, 10**mistake_exp):
            short.append((loss, asks))
    assert short == []


# ---- 9 settings that are accepted and should not be, or are refused and should not be
def test_fast_period_has_a_lower_bound() -> None:
    for fast_ms in (1e-9, 1e-3):
        with pytest.raises(SettingsError):
            settings(0, links=(SERIAL, LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=100, fast_period_ms=fast_ms,
                                                    rtt_ms=8, reask_ms=5))).compile()


def test_slow_single_link_is_not_refused_for_a_default() -> None:
    link = LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=5000, rtt_ms=100, reask_ms=100)
    assert settings(0, links=(link,)).compile().grant_max_ms <= 65_000


def test_lost_asks_are_judged_by_the_period_that_counts() -> None:
    # The slower link's lease is 3 * 20 + 8 + 1 = 69 ms; twelve asks 5 ms apart after a beat need 20 + 60 + 9 = 89 ms.
    with pytest.raises(SettingsError):
        settings(0, links=(LinkSettings(kind=1, period_ms=10, missed=20, rtt_ms=0.9, reask_ms=1.25), MQTT),
                 lost_asks=12).compile()


# ---- 10 memory: indices and bytes from outside
@pytest.mark.parametrize("code", [
    "settings(0).compile().lease_ms(10_000_000)",                                       # SIGSEGV
    "settings(0).compile().grant_ms(-1_000_000_00)",
    "tolerated_loss(settings(0).compile(), 10_000_000)",
    "c = bytearray(settings(0).compile().to_bytes()); c[0] = c[4] = c[5] = 255;"        # never returns, writes wild
    " f = Failover(CoreSettings.from_bytes(bytes(c))); f.step(ev.Start(10**9, 5)); f.step(ev.Wake(10**9 + 1))",
    "f = Failover(settings(0)); f.restore(b'\\xff' * len(f.snapshot())); f.step(ev.Wake(10**9))",
])
def test_wild_index_or_bytes_are_refused_with_an_exception(code: str) -> None:
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from world import settings\nfrom twinbeat_core import events as ev\n"
        "from twinbeat_core.failover import Failover\nfrom twinbeat_core.settings import CoreSettings\n"
        "from twinbeat_core.timing import tolerated_loss\n"
        f"try:\n    exec({code!r})\nexcept Exception: sys.exit(42)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=10).returncode == 42


def test_snapshot_of_other_settings_of_equal_size_is_refused() -> None:
    other = Failover(settings(1, nodes=3, links=(SERIAL,)))
    with pytest.raises(SnapshotError):
        Failover(settings(0)).restore(other.snapshot())


# ---- 11 the Python face
@pytest.mark.parametrize("frame", [
    Frame(16, 5, 1, 7), Frame(0, 5, 1 << 48, 7), Frame(0, 5, 1, 7, kind=17), Frame(0, 5, 1, 7, version=17),
    Frame(0, 5, 1, 7, rows=(Row(17, 3, 0, 1),)), Frame(0, 5, 1, 7, rows=(Row(1, 3, 17, 1),)),
    Frame(0, 5, 1, 7, echoes=(Echo(9, 0, 0, 1, 1),)), Frame(256, 5, 1, 7), Frame(0, 5, 1, 1 << 16),
])
def test_encode_refuses_what_the_wire_cannot_carry(frame: Frame) -> None:
    with pytest.raises(TwinbeatError):
        wire.encode(frame, bytes(16))


@pytest.mark.parametrize("thing", [None, object(), 5])
def test_something_that_is_no_event_is_refused_by_its_name(thing: object) -> None:
    with pytest.raises(TypeError, match=f"{type(thing).__name__} is no event of the core"):
        Failover(settings(0)).step(thing)  # type: ignore[arg-type]


def test_return_names_the_epoch_it_gives_back() -> None:
    assert "epoch" in ev.Return.__dataclass_fields__


def test_incarnation_zero_is_refused_because_no_peer_could_ever_prove_it() -> None:
    with pytest.raises((TwinbeatError, ValueError)):
        Failover(settings(0)).step(ev.Start(1000 * MS, 0))


# ---- 12 SAFETY: the giver counts T_off on its own clock without the clock error
@pytest.mark.parametrize("drift", [0.0009, 0.001])
def test_a9_release_time_is_counted_with_the_clock_error(drift: float) -> None:
    world = World(nodes=3, release_ms=300.0)
    world.start_all()
    world.nodes[0].drift = drift
    world.run_ms(12_000)
    assert world.drivers() == [0]
    world.handover(0, node=1)
    world.run_ms(3000)
    assert world.overlap_ms() == 0
