"""The inequality between holder and voter, in exact arithmetic, and what loss and delay ask for."""
from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from twinbeat_core.errors import SettingsError
from twinbeat_core.model import LinkKind, Lone
from twinbeat_core.settings import CoreSettings, GroupSettings, LinkSettings, Settings
from twinbeat_core.timing import (
    grant_from_lease_ms,
    lease_for_loss_ms,
    lease_from_grant_ms,
    timing_terms,
    tolerated_loss,
)

MILLION = 1_000_000
BUSY = settings(max_examples=150, deadline=None)

# Quarters of a millisecond are exact in binary, so the float of the interface loses nothing.
quarters = st.integers(1, 4 * 2_000).map(lambda n: n / 4)


@st.composite
def links(draw: st.DrawFn) -> LinkSettings:
    period_ms = draw(st.integers(4, 4 * 500)) / 4
    return LinkSettings(
        kind=draw(st.sampled_from(list(LinkKind))), period_ms=period_ms, missed=draw(st.integers(2, 6)),
        fast_period_ms=draw(st.none() | st.just(max(1.0, period_ms / 4))),
        rtt_ms=draw(st.integers(1, 200)) / 4, reask_ms=max(0.25, period_ms / draw(st.sampled_from([1, 2, 8]))),
    )


groups = st.builds(
    lambda release, make, exclusive: GroupSettings(
        lone=Lone.LONE_TAKEOVER, rank=(0, 1), release_ms=release / 4, make_ms=make / 4, exclusive=exclusive),
    st.integers(0, 800), st.integers(0, 800), st.booleans(),
)
some_settings = st.builds(
    Settings, node_count=st.just(2), self_node=st.just(0), pair_id=st.just(1), config_digest=st.just(1),
    voters=st.just((0, 1)), links=st.lists(links(), min_size=1, max_size=3).map(tuple),
    groups=st.lists(groups, min_size=1, max_size=3).map(tuple), drift_ppm=st.integers(0, 50_000),
    check_ms=st.integers(1, 80).map(lambda n: n / 4), late_ms=st.integers(0, 40).map(lambda n: n / 4),
    mistake_exp=st.integers(2, 11),
)


def compiled(parameters: Settings) -> CoreSettings:
    try:
        return parameters.compile()
    except SettingsError:
        assume(False)
        raise


def to_ns(ms: float) -> int:
    return round(ms * 1e6)


def least_grant_ns(parameters: Settings, lease_ns: int) -> Fraction:
    """(1 + r) * ((T_L + T_chk) / (1 - r) + T_off - T_on) for the exclusive group that needs most, exactly."""
    r = Fraction(parameters.drift_ppm, MILLION)
    over = max([0] + [to_ns(g.release_ms) - to_ns(g.make_ms) for g in parameters.groups if g.exclusive])
    return (1 + r) * ((lease_ns + to_ns(parameters.check_ms)) / (1 - r) + over)


@BUSY
@given(some_settings)
def test_inequality_holds_for_every_link(parameters: Settings) -> None:
    core = compiled(parameters)
    for i in range(len(parameters.links)):
        lease_ns, grant_ns = to_ns(core.lease_ms(i)), to_ns(core.grant_ms(i))
        assert grant_ns >= least_grant_ns(parameters, lease_ns)
        assert grant_ns % MILLION == 0                   # what the wire carries
        assert grant_ns <= to_ns(core.grant_max_ms)
        assert lease_ns >= to_ns(parameters.links[i].rtt_ms) + to_ns(parameters.late_ms)


@BUSY
@given(some_settings, quarters)
def test_grant_from_lease_is_the_least_whole_millisecond(parameters: Settings, lease_ms: float) -> None:
    core = compiled(parameters)
    least = least_grant_ns(parameters, to_ns(lease_ms))
    grant_ns = to_ns(grant_from_lease_ms(core, lease_ms))
    assert least <= grant_ns <= least + MILLION + 4      # a few ns for rounding up in the middle


@BUSY
@given(some_settings, st.integers(1, 65_000))
def test_lease_from_grant_is_the_longest_that_is_safe(parameters: Settings, grant_ms: int) -> None:
    core = compiled(parameters)
    lease_ns = to_ns(lease_from_grant_ms(core, float(grant_ms)))
    if lease_ns > 0:
        assert least_grant_ns(parameters, lease_ns) <= grant_ms * MILLION
    assert least_grant_ns(parameters, lease_ns + 4) > grant_ms * MILLION


@BUSY
@given(some_settings, quarters)
def test_a_lease_survives_the_way_over_the_wire(parameters: Settings, lease_ms: float) -> None:
    core = compiled(parameters)
    assert lease_from_grant_ms(core, grant_from_lease_ms(core, lease_ms)) >= lease_ms


@BUSY
@given(some_settings, st.integers(0, 64_999), st.integers(1, 500))
def test_longer_grants_give_longer_leases(parameters: Settings, grant_ms: int, more_ms: int) -> None:
    core = compiled(parameters)
    assert lease_from_grant_ms(core, grant_ms) <= lease_from_grant_ms(core, grant_ms + more_ms)
    assert grant_from_lease_ms(core, grant_ms) < grant_from_lease_ms(core, grant_ms + more_ms + 1)


def pair(**changes: object) -> Settings:
    link = LinkSettings(kind=LinkKind.LINK_SERIAL, period_ms=10, rtt_ms=1, reask_ms=1.25)
    slow = LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=100, fast_period_ms=20, rtt_ms=8, reask_ms=5)
    group = GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0, 1))
    return replace(Settings(node_count=2, self_node=0, links=(link, slow), groups=(group,), pair_id=1, config_digest=1,
                            voters=(0, 1)), **changes)  # type: ignore[arg-type]


def test_no_lease_is_left_when_the_grant_is_shorter_than_the_outputs_need() -> None:
    slow_relay = GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0, 1), release_ms=500)
    core = pair(groups=(slow_relay,)).compile()
    assert lease_from_grant_ms(core, 400) == 0.0
    assert lease_from_grant_ms(core, 0) == 0.0


def test_slow_make_is_no_credit_and_a_shared_output_needs_no_release_time() -> None:
    plain = pair().compile().grant_ms(0)
    slow_make = GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0, 1), make_ms=50)
    shared = GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0, 1), release_ms=50, exclusive=False)
    slow = GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0, 1), release_ms=50)
    assert pair(groups=(slow_make,)).compile().grant_ms(0) == plain
    assert pair(groups=(shared,)).compile().grant_ms(0) == plain
    assert pair(groups=(slow, shared)).compile().grant_ms(0) >= plain + 50


# ---------------------------------------------------------------- loss
@pytest.mark.parametrize("mistake_exp", [2, 5, 9, 11])
@pytest.mark.parametrize("link", [0, 1])
def test_more_loss_never_shortens_the_lease(mistake_exp: int, link: int) -> None:
    core = pair(mistake_exp=mistake_exp).compile()
    leases = [lease_for_loss_ms(core, link, loss / 1024) for loss in range(1025)]
    assert leases == sorted(leases)
    assert leases[0] == 0.0
    assert leases[700] > leases[1] > 0


@pytest.mark.parametrize("loss", [1, 30, 100, 300, 600])
def test_fewer_mistakes_never_shorten_the_lease(loss: int) -> None:
    leases = [lease_for_loss_ms(pair(mistake_exp=n).compile(), 0, loss / 1024) for n in range(2, 12)]
    assert leases == sorted(leases)
    assert leases[0] < leases[-1]


@pytest.mark.parametrize("link", [0, 1])
def test_tolerated_loss_is_where_the_links_own_lease_ends(link: int) -> None:
    core = pair().compile()
    loss = tolerated_loss(core, link)
    assert 0 < loss < 1
    assert lease_for_loss_ms(core, link, loss) <= core.lease_ms(link) < lease_for_loss_ms(core, link, loss + 1 / 1024)


def test_more_missed_beats_tolerate_more_loss() -> None:
    first, second = pair().links
    losses = [tolerated_loss(pair(links=(replace(first, missed=n), second)).compile(), 0) for n in (2, 3, 5, 8)]
    assert losses == sorted(set(losses))


# ---------------------------------------------------------------- the sum as text
@BUSY
@given(some_settings)
def test_terms_add_up(parameters: Settings) -> None:
    core = compiled(parameters)
    terms = timing_terms(parameters)
    for i in range(len(parameters.links)):
        term = {t.name: to_ns(t.ms) for t in terms if t.link == i}
        lease_parts = term["beats"] + term["round_trip"] + term["decider_late"]
        lease_parts += term.get("other_link", 0) + term.get("sharing", 0)
        assert lease_parts <= term["lease"] == to_ns(core.lease_ms(i))
        # Rounding the promise up to whole milliseconds is given back to the lease.
        assert term["lease"] - lease_parts <= MILLION + 4
        whole = term["lease"] + term["gate_late"] + term["release"] + term["drift"]
        assert whole == term["grant"] == to_ns(core.grant_ms(i))
        assert term["drift"] >= 0


def test_terms_name_their_numbers() -> None:
    terms = timing_terms(pair())
    first = next(t for t in terms if (t.link, t.name) == (0, "beats"))
    assert (first.ms, first.text) == (30.0, "3 periods of 10 ms")
    assert [t.name for t in terms if t.link == 0][-1] == "grant"
    assert all(t.text for t in terms)


def test_the_next_link_can_answer_when_this_one_fell_silent() -> None:
    first, second = pair().links
    slow_answer = replace(second, rtt_ms=40)
    terms = {(t.link, t.name): t.ms for t in timing_terms(pair(links=(first, slow_answer)))}
    # One and a half periods of 10 ms, 40 ms and 1 ms of lateness instead of 30 + 1 + 1 ms.
    assert terms[0, "other_link"] == 56 - 32
    assert terms[0, "lease"] >= 56
