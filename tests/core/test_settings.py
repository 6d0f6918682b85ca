"""Every relation between the settings: what breaks it is refused in one sentence with the numbers in it."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from twinbeat_core.errors import SettingsError, SnapshotError, TwinbeatError
from twinbeat_core.model import LinkKind, Lone
from twinbeat_core.parameters import problems_of
from twinbeat_core.settings import CoreSettings, GroupSettings, LinkSettings, Settings

SERIAL = LinkSettings(kind=LinkKind.LINK_SERIAL, period_ms=10, rtt_ms=0.9, reask_ms=1.25)
MQTT = LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=100, fast_period_ms=20, rtt_ms=8, reask_ms=5)
GROUP = GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0, 1))
GOOD = Settings(
    node_count=2, self_node=0, links=(SERIAL, MQTT), groups=(GROUP,), pair_id=7, config_digest=1, voters=(0, 1),
)


def link(**changes: Any) -> Settings:
    return replace(GOOD, links=(replace(SERIAL, **changes), MQTT))


def group(**changes: Any) -> Settings:
    return replace(GOOD, groups=(GROUP, replace(GROUP, **changes)))


def refusal(settings: Settings) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings.compile()
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


def test_good_settings_compile_and_have_no_problems() -> None:
    assert problems_of(GOOD) == []
    assert isinstance(GOOD.compile(), CoreSettings)


def test_settings_error_is_an_error_an_operator_can_act_on() -> None:
    with pytest.raises(TwinbeatError) as caught:
        replace(GOOD, node_count=9).compile()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("change", "sentence"), [
    ({"node_count": 0}, "node_count = 0 is out of range: 1 to 8"),
    ({"node_count": 9}, "node_count = 9 is out of range: 1 to 8"),
    ({"self_node": 2}, "self_node = 2 is out of range: 0 to 1"),
    ({"self_node": -1}, "self_node = -1 is out of range: 0 to 1"),
    ({"links": ()}, "number of links = 0 is out of range: 1 to 8"),
    ({"links": (SERIAL,) * 9}, "number of links = 9 is out of range: 1 to 8"),
    ({"groups": ()}, "number of groups = 0 is out of range: 1 to 64"),
    ({"groups": (GROUP,) * 65}, "number of groups = 65 is out of range: 1 to 64"),
    ({"drift_ppm": -1}, "drift_ppm = -1 is out of range: 0 to 50000"),
    ({"drift_ppm": 50_001}, "drift_ppm = 50001 is out of range: 0 to 50000"),
    ({"check_ms": 0.05}, "check_ms = 0.05 is out of range: 0.1 to 1000"),
    ({"check_ms": 1001}, "check_ms = 1001 is out of range: 0.1 to 1000"),
    ({"late_ms": -1}, "late_ms = -1 is out of range: 0 to 1000"),
    ({"lost_asks": 51}, "lost_asks = 51 is out of range: 0 to 50"),
    ({"mistake_exp": 1}, "mistake_exp = 1 is out of range: 2 to 11"),
    ({"mistake_exp": 12}, "mistake_exp = 12 is out of range: 2 to 11"),
    ({"lonely_start_ms": -1}, "lonely_start_ms = -1 is out of range: 0 to 3.6e+06"),
    ({"stagger_ms": 60_001}, "stagger_ms = 60001 is out of range: 0 to 60000"),
    ({"epoch_block": 15}, "epoch_block = 15 is out of range: 16 to "),
    ({"pair_id": 65_536}, "pair_id = 65536 is out of range: 0 to 65535"),
    ({"config_digest": -1}, "config_digest = -1 is out of range: 0 to 65535"),
    ({"voters": ()}, "voters () must name nodes 0 to 1, each once, at least one"),
    ({"voters": (0, 0)}, "voters (0, 0) must name nodes 0 to 1, each once, at least one"),
    ({"voters": (0, 2)}, "voters (0, 2) must name nodes 0 to 1, each once, at least one"),
    ({"check_ms": float("nan")}, "check_ms = nan is out of range: 0.1 to 1000"),
    ({"stagger_ms": float("inf")}, "stagger_ms = inf is out of range: 0 to 60000"),
])
def test_scalar_out_of_range(change: dict[str, Any], sentence: str) -> None:
    problems = refusal(replace(GOOD, **change))
    assert any(problem.startswith(sentence) for problem in problems), problems


@pytest.mark.parametrize(("change", "sentence"), [
    ({"period_ms": 0.5}, "link 0: period_ms = 0.5 is out of range: 1 to 60000"),
    ({"period_ms": 60_001}, "link 0: period_ms = 60001 is out of range: 1 to 60000"),
    ({"missed": 1}, "link 0: missed = 1 is out of range: 2 to 20"),
    ({"missed": 21}, "link 0: missed = 21 is out of range: 2 to 20"),
    ({"rtt_ms": 0}, "link 0: rtt_ms = 0 is out of range: 0.01 to 60000"),
    ({"reask_ms": 0.05}, "link 0: reask_ms = 0.05 is out of range: 0.1 to 60000"),
    ({"reask_ms": 11}, "link 0: reask_ms = 11 is longer than period_ms = 10: an ask repeated later than the next beat"),
])
def test_link_out_of_range(change: dict[str, Any], sentence: str) -> None:
    problems = refusal(link(**change))
    assert any(problem.startswith(sentence) for problem in problems), problems


@pytest.mark.parametrize("fast_ms", [0.0, -5.0, 10.5])
def test_fast_period_must_be_above_zero_and_at_most_the_period(fast_ms: float) -> None:
    problem, = refusal(link(fast_period_ms=fast_ms))
    assert problem.startswith(f"link 0: fast_period_ms = {fast_ms:g} must be ")
    assert "period_ms = 10" in problem


def test_problem_names_the_link_it_is_about() -> None:
    problems = refusal(replace(GOOD, links=(SERIAL, replace(MQTT, missed=21, rtt_ms=0.0))))
    assert [problem.split(" = ")[0] for problem in problems] == ["link 1: missed", "link 1: rtt_ms"]


def test_lost_asks_must_fit_between_two_judgements() -> None:
    # 2 periods of 10 ms less one, plus 0.9 and 1 ms: 11.9 ms. Nine asks 1.25 ms apart take 11.25 + 1.9 = 13.15 ms.
    problem, other = refusal(replace(link(missed=2), lost_asks=9))
    assert problem == (
        "link 0: 9 lost asks 1.25 ms apart, a round trip of 0.9 ms and 1 ms of lateness take 13.15 ms, but only"
        " 11.9 ms are left after a beat of 10 ms with missed = 2: raise missed or lower lost_asks"
    )
    assert other.startswith("link 1: 9 lost asks 5 ms apart")   # judged by the beat of 20 ms that it has when it counts
    assert problems_of(replace(link(missed=2), lost_asks=8)) == []


@pytest.mark.parametrize(("change", "sentence"), [
    ({"release_ms": -1}, "group 1: release_ms = -1 is out of range: 0 to 10000"),
    ({"release_ms": 10_001}, "group 1: release_ms = 10001 is out of range: 0 to 10000"),
    ({"make_ms": -0.5}, "group 1: make_ms = -0.5 is out of range: 0 to 10000"),
    ({"rank": (0, 0)}, "group 1: rank (0, 0) must order the 2 nodes from 0 on, each once"),
    ({"rank": (1, 2)}, "group 1: rank (1, 2) must order the 2 nodes from 0 on, each once"),
    ({"rank": (0,)}, "group 1: rank (0,) must order the 2 nodes from 0 on, each once"),
    ({"lone": 2}, "group 1: lone = 2 is neither takeover (0) nor hold (1)"),
])
def test_group_problem(change: dict[str, Any], sentence: str) -> None:
    assert refusal(group(**change)) == [sentence]


def test_all_problems_are_told_at_once() -> None:
    problems = refusal(replace(GOOD, links=(replace(SERIAL, missed=21), MQTT), groups=(replace(GROUP, rank=()),)))
    assert [problem.split(":")[0] for problem in problems] == ["link 0", "group 0"]


def test_relations_wait_until_the_plain_ranges_are_right() -> None:
    problems = refusal(replace(link(missed=1), drift_ppm=99_999))
    assert problems == ["drift_ppm = 99999 is out of range: 0 to 50000"]


def test_grant_max_shorter_than_a_links_grant() -> None:
    longest_ms = max(GOOD.compile().grant_ms(i) for i in (0, 1))
    problem, = refusal(replace(GOOD, grant_max_ms=longest_ms - 1))
    assert problem == (f"grant_max_ms = {longest_ms - 1:g} is shorter than the {longest_ms:g} ms that a link needs:"
                       f" set it to {longest_ms:g} or more, or leave it out")
    assert replace(GOOD, grant_max_ms=longest_ms).compile().grant_max_ms == longest_ms


def test_promise_that_does_not_fit_the_frame() -> None:
    slow = LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=25_000, rtt_ms=100, reask_ms=100)
    problem, = refusal(replace(GOOD, links=(slow,)))
    assert "does not fit the frame (65000 ms)" in problem
    assert "shorten period_ms" in problem
    problem, = refusal(replace(GOOD, grant_max_ms=65_001.0))
    assert problem.startswith("a promise of 65001 ms does not fit the frame (65000 ms)")


def test_default_grant_max_leaves_room_to_lengthen_the_fast_links_promise() -> None:
    core = GOOD.compile()
    assert core.grant_max_ms >= max(core.grant_ms(0), core.grant_ms(1), 4 * core.grant_ms(0))


def test_settings_go_to_bytes_and_back() -> None:
    core = GOOD.compile()
    again = CoreSettings.from_bytes(core.to_bytes())
    assert again.to_bytes() == core.to_bytes()
    assert (again.lease_ms(0), again.grant_ms(1), again.grant_max_ms) == (
        core.lease_ms(0), core.grant_ms(1), core.grant_max_ms)


def test_equal_settings_give_equal_bytes_and_different_ones_do_not() -> None:
    assert GOOD.compile().to_bytes() == replace(GOOD).compile().to_bytes()
    for change in ({"self_node": 1}, {"third_voter": True}, {"drift_ppm": 999}, {"pair_id": 8}, {"late_ms": 2.0}):
        assert replace(GOOD, **change).compile().to_bytes() != GOOD.compile().to_bytes()


@pytest.mark.parametrize("size", [0, 1, 10_000])
def test_bytes_of_another_layout_are_refused(size: int) -> None:
    with pytest.raises(SnapshotError, match=f"settings of {size} bytes; this version writes"):
        CoreSettings.from_bytes(bytes(size))


def test_settings_are_frozen_and_keyword_only() -> None:
    with pytest.raises(AttributeError):
        GOOD.pair_id = 9  # type: ignore[misc]
    with pytest.raises(TypeError):
        GroupSettings(0, (0, 1))  # type: ignore[call-arg]
