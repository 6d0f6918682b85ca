"""Two gateways and arbitrary interleavings: never two holders, and one again in the end."""
from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rule_world import DRIFT_PPM, GRANT_MS, World

from twinbeat_bridge.contract import Code

NODES = st.integers(0, 1)
SHARE = DRIFT_PPM / 1e6
RATES = st.lists(st.sampled_from([1.0, 1.0 - SHARE, 1.0 + SHARE]), min_size=2, max_size=2)
BEAT = st.tuples(st.just("beat"), NODES, st.booleans())
WAIT = st.tuples(st.just("pass_time"), st.sampled_from([500, 20_000, 60_000, 85_000, 93_000, 101_000, 123_000]))
FINE = st.one_of(
    st.tuples(st.just("ask"), NODES),
    st.tuples(st.just("serve"), NODES, st.sampled_from([0, 0, 0, 1, 2])),
    st.tuples(st.just("answer"), NODES),
    st.tuples(st.just("settle"), NODES),
    st.tuples(st.just("look"), NODES),
    st.tuples(st.just("give_back"), NODES),
    st.tuples(st.just("cut"), NODES, st.booleans()),
    st.tuples(st.just("land")),
    st.tuples(st.just("crash"), NODES, st.booleans()),
    st.tuples(st.just("torn"), NODES, st.booleans()),
    st.tuples(st.just("fail"), NODES, st.booleans()),
)
LATE = st.tuples(st.just("beat_after"), st.sampled_from([60, 82, 85, 88, 91, 94, 97, 100, 103, 110, 123]), NODES)
STEPS = st.one_of(BEAT, BEAT, LATE, WAIT, FINE)
STRANGERS = st.one_of(
    st.tuples(st.just("delete")),
    st.tuples(st.just("scribble"), st.sampled_from([b"", b"mine", b'{"holder":0}'])),
    st.tuples(st.just("again"), st.integers(0, 30)),
)
QUICK = settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))


def run(rates: list[float], steps: Sequence[tuple[object, ...]]) -> World:
    """The steps in a world of two gateways; fails at the first overlap."""
    world = World(rates)
    for node in (0, 1, 0, 1):
        world.settle(node)
        world.pass_time(130_000)
        world.look(node)
    for name, *arguments in steps:
        if name == "delete":
            world.server.delete()
        elif name == "scribble":
            world.server.scribble(arguments[0])  # type: ignore[arg-type]
        elif name == "again":       # a value that did stand there once
            past = world.server.history
            world.server.scribble(past[int(arguments[0]) % len(past)].value)  # type: ignore[call-overload]
        else:
            getattr(world, str(name))(*arguments)
        world.judge()
        assert world.overlap is None, world.overlap
    return world


def heals(world: World) -> None:
    """Left in peace, the first gateway that asks is promised after what may still be promised has run out."""
    world.late.clear()
    for node in (0, 1):
        world.settle(node)
    world.pass_time(3 * GRANT_MS * 1000)
    for _ in range(3):
        world.look(0)
        world.settle(0)
        world.pass_time(2 * GRANT_MS * 1000)
        world.ask(0)
        world.settle(0)
    assert world.gateways[0].answers[-1].code == Code.PROMISED
    assert world.gateways[0].answers[-1].epoch == world.gateways[0].epoch


@QUICK
@given(RATES, st.lists(STEPS, min_size=15, max_size=90))
def test_never_two_holders(rates: list[float], steps: list[tuple[object, ...]]) -> None:
    heals(run(rates, steps))


@QUICK
@given(RATES, st.lists(st.one_of(STEPS, STEPS, STEPS, STRANGERS), min_size=15, max_size=90))
def test_never_two_holders_beside_strangers(rates: list[float], steps: list[tuple[object, ...]]) -> None:
    heals(run(rates, steps))


ROUND = [("pass_time", 20_000), ("ask", 0), ("settle", 0), ("look", 1), ("settle", 1)]


def test_the_world_has_promises_in_it() -> None:
    """Against an oracle that is never asked anything."""
    world = run([1.0, 1.0], [("pass_time", 130_000)] * 2 + [("settle", 0), ("settle", 1), ("pass_time", 130_000)]
                + ROUND * 5)
    assert world.promises == 5
    assert world.gateways[0].holds(world.real_us)


def test_a_recreated_znode_at_the_same_version_is_no_answer() -> None:
    """Deleted and created anew while one holder looks away: its compare-and-set matches by chance."""
    start = [("settle", 0), ("settle", 1), ("pass_time", 130_000), ("ask", 0), ("settle", 0)]
    renewed = [("delete",), ("look", 1), ("settle", 1), ("pass_time", 130_000), ("look", 1), ("settle", 1),
               ("ask", 1), ("settle", 1)]
    world = run([1.0, 1.0], start + renewed + [("ask", 0), ("settle", 0)])
    assert world.gateways[1].holds(world.real_us) and not world.gateways[0].holds(world.real_us)
    assert world.gateways[0].answers[-1].code != Code.PROMISED
