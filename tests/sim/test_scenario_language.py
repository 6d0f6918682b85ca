"""The language of scenarios: what is read is what is written; a mistake is told with its place and a way out."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat.errors import UsageError
from twinbeat.sim.command import main, rewrite
from twinbeat.sim.scenario import Scenario, format_scenario, parse, to_text
from twinbeat.sim.scenario_actions import PARTS, SENTENCES, action_text, read_action, statement_list
from twinbeat.sim.scenario_play import Player
from twinbeat.sim.scenario_words import (
    Names,
    ScenarioError,
    duration,
    rate_text,
    read_duration,
    read_share,
    share_text,
    tokens,
)
from twinbeat.sim.scenario_world import FIELDS
from twinbeat.sim.spec import ALL, MS, Action, Excuse, Rule, Verb, Violation
from twinbeat.sim.worlds import WORLDS, Shape, shape

HEAD = "pins: R5\nworld pair\n"
GOOD = HEAD + "at 0ms start all\nat 1s kill a for 500ms\nrun 2s\n"
NAMES = Names(("a", "b", "c"), ("serial", "mqtt"), ("g0", "g1"))


def one(text: str) -> Scenario:
    scenario, = parse(text)
    return scenario


def actions_of(*lines: str) -> tuple[Action, ...]:
    return one(HEAD + "\n".join(lines) + "\nrun 100s\n").actions


def fault_of(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "x.scn")
    assert caught.value.exit_code == 2
    return str(caught.value)


# ---------------------------------------------------------------- reading
@pytest.mark.parametrize(("line", "action"), [
    ("kill a", Action(0, Verb.KILL, node=0)),
    ("kill b for 500ms", Action(0, Verb.KILL, node=1, lasts_ns=500 * MS)),
    ("power off all for 1s disk-lost", Action(0, Verb.POWER, lasts_ns=1000 * MS, value=1)),
    ("cut serial a->b for 3ms", Action(0, Verb.CUT, node=0, peer=1, link=0, lasts_ns=3 * MS)),
    ("cut all", Action(0, Verb.CUT)),
    ("cut mqtt all->b", Action(0, Verb.CUT, peer=1, link=1)),
    ("loss mqtt 30%", Action(0, Verb.LOSS, link=1, value=307)),
    ("clog serial b->a for 80ms", Action(0, Verb.CLOG, node=1, peer=0, link=0, lasts_ns=80 * MS)),
    ("delay all 2.5ms for 1s", Action(0, Verb.DELAY, value=2_500_000, lasts_ns=1000 * MS)),
    ("handover a to b", Action(0, Verb.HANDOVER, node=0, peer=1)),
    ("handover a", Action(0, Verb.HANDOVER, node=0)),
    ("voter kill for 1s", Action(0, Verb.VOTER_KILL, lasts_ns=1000 * MS)),
    ("voter cut a answers", Action(0, Verb.VOTER_CUT, node=0, value=2)),
    ("stick a on", Action(0, Verb.STICK, node=0, value=1)),
    ("stick a group g0 for 1s", Action(0, Verb.STICK, node=0, group=0, lasts_ns=1000 * MS)),
    ("clock a 5000ppm", Action(0, Verb.CLOCK, node=0, value=5_000_000)),
    ("clock a -80.5ppm", Action(0, Verb.CLOCK, node=0, value=-80_500)),
    ("replay a 40 frames old over serial to b", Action(0, Verb.REPLAY, node=0, peer=1, link=0, value=40)),
    ("late b canary by 20ms", Action(0, Verb.LATE, node=1, group=3, value=20 * MS)),
    ("disk a normal", Action(0, Verb.DISK, node=0, value=0)),
    ("disk a 2s", Action(0, Verb.DISK, node=0, value=2000 * MS)),
    ("sync b behind", Action(0, Verb.SYNC, node=1, value=-1)),
    ("sync b 7", Action(0, Verb.SYNC, node=1, value=7)),
    ("heal links a->b", Action(0, Verb.HEAL, node=0, peer=1)),
    ("heal all", Action(0, Verb.HEAL_ALL)),
])
def test_a_statement_is_an_action(line: str, action: Action) -> None:
    assert actions_of(line) == (action,)


def test_times_stand_still_add_up_and_are_exact() -> None:
    listed = actions_of("start all", "at 1s kill a", "kill b", "at +20ms start a", "at +0.25us start b",
                        "at 1.5s heal all")
    assert [action.at_ns for action in listed] == [0, 1_000_000_000, 1_000_000_000, 1_020_000_000, 1_020_000_250,
                                                   1_500_000_000]


def test_both_directions_are_two_actions() -> None:
    assert actions_of("cut serial a<->b") == actions_of("cut serial a->b", "cut serial b->a")
    assert actions_of("cut all a<->all for 5ms") == actions_of("cut all a->all for 5ms", "cut all all->a for 5ms")


def test_world_line_gives_every_field() -> None:
    line = ("world pair nodes=3 links=udp,mqtt groups=2 lone=hold voter=yes gated=yes third-period=30ms "
            "third-rtt=5ms third-reask=4ms third-way=3ms third-abstain=1s third-hears-gates=no "
            "release=12ms make=1.5ms hold=0ms "
            "drift=500ppm lonely=1s grant-max=600ms stagger=30ms gate-late=1ms worst=yes "
            "spare=yes shared=0 failback=2s hold-down=30ms hold-down-max=90ms prepare=7ms load-gap=25 load-hold=40ms "
            "move-gap=6ms seed=77")
    scenario = one(f"pins: x\n{line}\nstart all\nrun 1s\n")
    assert scenario.seed == 77
    assert scenario.shape == Shape(
        nodes=3, links=("udp", "mqtt"), groups=2, lone="hold", voter=True, gated=True, third_period_ms=30.0,
        third_rtt_ms=5.0, third_reask_ms=4.0, third_way_ms=3.0, third_abstain_ms=1000.0,
        third_hears_gates=False, release_ms=12.0, make_ms=1.5, hold_ms=0.0,
        drift_ppm=500.0, lonely_ms=1000.0, grant_max_ms=600.0, stagger_ms=30.0, gate_late_ms=1.0, worst=True,
        spare=True, shared=0,
        failback_ms=2000.0, hold_down_ms=30.0, hold_down_max_ms=90.0, prepare_ms=7.0, load_gap=25, load_hold_ms=40.0,
        move_gap_ms=6.0)
    assert set(line.replace("=", " ").split()) >= set(FIELDS)


def test_comments_blank_lines_and_several_scenarios() -> None:
    text = (f"# why\n\ntitle: one # is text\n{GOOD}\nexpect:\n  line # kept\n\n---\n\n"
            f"{HEAD}run 1s   # short\nexpect summary:\n")
    first, second = parse(text)
    assert (first.title, first.expected, first.brief, first.line) == ("one # is text", ("  line # kept",), False, 1)
    assert (second.run_ns, second.expected, second.brief, second.line) == (1_000_000_000, (), True, 15)


def test_run_bound_ends_when_all_must_have_settled() -> None:
    played = Player().play(one(HEAD + "start all\nat 1s cut all\nat 2s heal all\nrun bound\n"))
    assert played.result.end_ns == 2_000_000_000 + played.engine.bound_ns + 1
    assert any("liveness: ok" in line for line in played.lines)


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(("text", "place", "says"), [
    (HEAD + "at 1s killl a\nrun 2s", "3:7", '"killl" is no action; did you mean "kill"?'),
    (HEAD + "frezee a\nrun 2s", "3:1", '"frezee" is no action; did you mean "freeze"?'),
    (HEAD + "at 1s voter kil\nrun 2s", "3:13", 'did you mean "kill"?'),
    (HEAD + "at 1s power a\nrun 2s", "3:13", 'expected off'),
    (HEAD + "at 1s kill\nrun 2s", "3:11", "expected a node (a, b, all)"),
    (HEAD + "at 1s kill c\nrun 2s", "3:12", '"c" is no node of this world; expected a, b or all'),
    (HEAD + "at 1s kill a fro 5ms\nrun 2s", "3:14", 'expected "for"'),
    (HEAD + "at 1s kill a for 5\nrun 2s", "3:18", "has no unit; write 5ms, 5us or 5s"),
    (HEAD + "at 1s kill a for 5sec\nrun 2s", "3:18", "is no unit of time"),
    (HEAD + "at 1s kill a for soon\nrun 2s", "3:18", '"soon" is no time'),
    (HEAD + "at 1s kill a for 0.1ns\nrun 2s", "3:18", "no whole number of nanoseconds"),
    (HEAD + "at 99999s kill a\nrun 2s", "3:4", "too long"),
    (HEAD + "at 1 kill a\nrun 2s", "3:4", "has no unit"),
    (HEAD + "at 1s\nrun 2s", "3:4", '"at" wants a time and an action'),
    (HEAD + "at 2s kill a\nat 1s kill b\nrun 3s", "4:4", "time runs backwards: 1s after 2s"),
    (HEAD + "cut serail\nrun 2s", "3:5", '"serail" is no link of this world'),
    (HEAD + "cut serial a->c\nrun 2s", "3:12", '"c" is no node of this world'),
    (HEAD + "cut serial a->a\nrun 2s", "3:12", "from a node to itself"),
    (HEAD + "cut serial a->\nrun 2s", "3:12", "is no direction"),
    (HEAD + "loss mqtt 30\nrun 2s", "3:11", "expected a percentage such as 30%"),
    (HEAD + "loss mqtt 130%\nrun 2s", "3:11", "more than all"),
    (HEAD + "clock a fast\nrun 2s", "3:9", "is no rate of a clock"),
    (HEAD + "sync a -3\nrun 2s", "3:8", "expected behind or a position"),
    (HEAD + "handover a two b\nrun 2s", "3:12", 'expected "to" or "group"'),
    (HEAD + "drop a group g9\nrun 2s", "3:14", '"g9" is no group'),
    (HEAD + "stick a shut\nrun 2s", "3:9", 'expected on or off, "group" or "for"'),
    (HEAD + "heal all a->b\nrun 2s", "3:10", "expected the end of the line"),
    (HEAD + "replay a x frames old over serial to b\nrun 2s", "3:10", "is no number of frames"),
    ("pins: x\nworld pairr\nrun 2s", "2:7", 'did you mean "pair"?'),
    ("pins: x\nworld\nrun 2s", "2:1",
     "expected pair, hold, three, voter, gated, witness, hothot, spare, overlap, many or solo"),
    ("pins: x\nworld pair relase=2ms\nrun 2s", "2:12", '"relase" is no field of a world; did you mean "release"?'),
    ("pins: x\nworld pair release=2\nrun 2s", "2:20", "has no unit"),
    ("pins: x\nworld pair release\nrun 2s", "2:12", "has no value"),
    ("pins: x\nworld pair lone=alone\nrun 2s", "2:17", "expected takeover or hold"),
    ("pins: x\nworld pair voter=1\nrun 2s", "2:18", "expected yes or no"),
    ("pins: x\nworld pair links=serial,upd\nrun 2s", "2:25", 'did you mean "udp"?'),
    ("pins: x\nworld pair links=udp,udp\nrun 2s", "2:22", "given twice"),
    ("pins: x\nworld pair nodes=0\nrun 2s", "2:18", "at least one"),
    ("pins: x\nworld pair nodes=9\nrun 2s", "2:18", "from 0 to 8"),
    ("pins: x\nworld pair seed=1 seed=2\nrun 2s", "2:19", "given twice"),
    ("pins: x\nworld pair seed=one\nrun 2s", "2:17", "is no seed"),
    ("pins: x\nworld pair release=20s\nrun 2s", "2:7", "release_ms = 20000 is out of range"),
    ("pins: x\nworld pair drift=60000ppm\nrun 2s", "2:18", "beyond the bound of 1000ppm"),
    ("world pair\nrun 2s", "1:1", 'the header "pins:" is missing'),
    ("pins:\nworld pair\nrun 2s", "1:1", "says nothing"),
    ("pins: x\npins: y\nworld pair\nrun 2s", "2:1", "already"),
    ("pins: x\nworld pair\ntitle: late\nrun 2s", "3:1", "comes too late"),
    ("pins: x\nworld pair\nworld pair\nrun 2s", "3:1", "one world line"),
    ("pins: x\nrun 2s", "2:1", "before the world line"),
    ("pins: x\nkill a\nrun 2s", "2:1", "before the world line"),
    ("pins: x\n", "1:1", "the world line is missing"),
    (HEAD + "kill a", "3:1", 'write "run 3s" or "run bound"'),
    (HEAD + "run", "3:1", '"run" wants one time'),
    (HEAD + "run 2s 3s", "3:8", '"run" wants one time'),
    (HEAD + "run bound", "3:5", '"run bound" counts from "heal all"'),
    (HEAD + "at 3s kill a\nrun 2s", "4:5", "ends before its last action at 3s"),
    (HEAD + "run 0ms", "3:5", "ends before"),
    (HEAD + "run 2s\nkill a", "4:1", 'stands after "run"'),
    (HEAD + "run 2s\nexpect", "4:1", 'expected "expect:" or "expect summary:"'),
    (GOOD + "---\nworld pair\nrun 2s", "7:1", 'the header "pins:" is missing'),
    ("", "1:1", 'the header "pins:" is missing'),
])
def test_a_mistake_is_told_with_its_place(text: str, place: str, says: str) -> None:
    message = fault_of(text)
    assert message.startswith(f"x.scn:{place}: ")
    assert says in message
    assert "\n" not in message


@given(st.integers(0, len(GOOD)), st.integers(0, 8), st.text(max_size=8))
@settings(max_examples=300, deadline=None)
def test_whatever_stands_there_is_read_or_refused(at: int, length: int, text: str) -> None:
    try:
        parse(GOOD[:at] + text + GOOD[at + length:], "x.scn")
    except ScenarioError as error:
        assert str(error).startswith("x.scn:")


# ---------------------------------------------------------------- writing
def some_action(verb: Verb) -> st.SearchStrategy[Action]:
    """Actions whose fields are those that the verb's sentence has a place for."""
    words = {word for part in PARTS[verb] for word in part.words}
    node, link = st.sampled_from([ALL, 0, 1, 2]), st.sampled_from([ALL, 0, 1])
    paths = st.sampled_from([(ALL, ALL), (0, 1), (2, 0), (ALL, 1), (1, ALL)])
    number = st.integers(0, 5_000_000_000)
    values: st.SearchStrategy[int] = st.just(0)
    for word, choices in {"TIME": number, "SHARE": st.integers(0, 1024), "RATE": st.integers(-900_000_000, 900_000_000),
                          "COUNT": st.integers(0, 900), "DISK": st.integers(0, 1), "STUCK": st.integers(0, 2),
                          "WAYS": st.integers(0, 2), "WRITES": number, "FIT": st.integers(0, 1),
                          "POSITION": st.integers(-1, 900_000)}.items():
        if word in words:
            values = choices
    return st.builds(
        lambda at, n, path, peer, k, g, thread, value, lasts: Action(
            at, verb,
            node=path[0] if "PATH" in words else n if "NODE" in words else ALL,
            peer=path[1] if "PATH" in words else peer if "PEER" in words else ALL,
            link=k if words & {"LINK", "LINKS"} else ALL,
            group=thread if "THREAD" in words else g if "GROUP" in words else ALL,
            value=value, lasts_ns=lasts if "LENGTH" in words else 0),
        st.integers(0, 9_000_000_000), node, paths, node, link, st.sampled_from([ALL, 0, 1]),
        st.sampled_from([1, 2, 3]), values, number)


@given(st.sampled_from(list(Verb)).flatmap(some_action))
@settings(max_examples=600, deadline=None)
def test_every_action_reads_as_it_is_written(action: Action) -> None:
    text = action_text(action, NAMES)
    assert read_action(tokens(text, 1), action.at_ns, NAMES) == [action]


@given(
    st.sampled_from(list(WORLDS)), st.integers(0, (1 << 64) - 1),
    st.lists(st.sampled_from([Verb.KILL, Verb.CUT, Verb.CLOCK, Verb.HEAL_ALL]).flatmap(some_action), max_size=6),
    st.sampled_from([0.0, 2.0, 12.5]), st.sampled_from([-1.0, 0.0, 7.25]), st.sampled_from([0.0, 333.25]),
)
@settings(max_examples=100, deadline=None)
def test_a_written_scenario_is_the_one_that_was_meant(
    world: str, seed: int, actions: list[Action], release_ms: float, hold_ms: float, drift_ppm: float
) -> None:
    made = shape(world, nodes=3, release_ms=release_ms, hold_ms=hold_ms, drift_ppm=drift_ppm)
    listed = sorted(actions, key=lambda action: action.at_ns)
    text = to_text(made, actions, seed, "found by seed", "one  driver", run_ns=20_000_000_000)
    scenario = one(text)
    assert (scenario.shape, scenario.seed, list(scenario.actions)) == (made, seed, listed)
    assert (scenario.title, scenario.pins, scenario.run_ns) == ("found by seed", "one driver", 20_000_000_000)
    assert format_scenario(scenario) == text


def test_only_what_differs_from_the_named_world_is_written() -> None:
    assert to_text(Shape(), [], 3, "", "x", 1_000_000_000) == "pins: x\nworld pair seed=3\nrun 1s\n"
    assert "world hold release=12ms seed=3" in to_text(Shape(lone="hold", release_ms=12.0), [], 3, "", "x", MS)
    assert "world three links=serial seed=3" in to_text(replace(shape("three"), links=("serial",)), [], 3, "", "x", MS)


def test_without_a_length_everything_is_healed_and_settles() -> None:
    text = to_text(Shape(), [Action(5 * MS, Verb.START)], 3, "", "x")
    assert text.endswith("at 5ms start all\nat 5ms heal all\nrun bound\n")
    assert one(text).run_ns is None


@given(st.integers(0, 9_000_000_000_000))
def test_durations_are_exact(ns: int) -> None:
    assert read_duration(tokens(duration(ns), 1)[0]) == ns


@given(st.integers(0, 1024))
def test_shares_are_exact(value: int) -> None:
    assert read_share(tokens(share_text(value), 1)[0]) == value


def test_numbers_are_short() -> None:
    assert [duration(ns) for ns in (0, 1, 1_500_000, 2_000_000_000)] == ["0ms", "0.000001ms", "1.5ms", "2s"]
    assert [share_text(value) for value in (0, 307, 512, 1024)] == ["0%", "30%", "50%", "100%"]
    assert rate_text(-80_500) == "-80.5ppm"


# ---------------------------------------------------------------- the command
def test_help_lists_every_statement(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert len(statement_list()) == len(SENTENCES) == len(Verb)
    assert all(statement in shown for statement in statement_list())
    assert "stick NODE [on|off] [group GROUP] [for TIME]" in statement_list()


def test_rewrite_makes_a_file_come_out_as_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.scn"
    above = "# a comment that stays\n" + GOOD
    path.write_text(above + "expect:\n  something else\n---\n" + GOOD + "\nexpect summary:\n")
    assert main([str(path)]) == 1
    assert "-  something else" in capsys.readouterr().out
    assert main([str(path), "--rewrite"]) == 0
    assert path.read_text().startswith(above)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.endswith(f"{path}: 2 as expected\n")
    kept = path.read_text()
    assert main([str(path), "--rewrite"]) == 0
    assert path.read_text() == kept
    first, second = parse(kept)
    assert first.expected and second.expected
    assert first.expected[-len(second.expected):] == second.expected


def test_rewrite_does_not_hide_a_broken_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.scn"
    path.write_text(GOOD)
    played = Player().play(one(GOOD))
    broken = replace(played.result, violations=[Violation(MS, Rule.TWO_DRIVERS, Excuse.NONE, 0, 0, 1, MS, 8)])
    assert rewrite({str(path): GOOD}, {str(path): [replace(played, result=broken)]}) == 1
    assert f"{path}:1: a promise is broken here: R5" in capsys.readouterr().out


def test_a_file_without_expectation_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.scn"
    path.write_text(GOOD)
    assert main([str(path)]) == 0
    shown = capsys.readouterr().out
    assert "    1000.000  * kill a for 500ms\n" in shown
    assert "b: CLAIMING -> ACTIVE, alone, epoch 17" in shown
    assert "  safety: ok" in shown


def test_json_holds_what_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.scn"
    path.write_text(HEAD + "start all\nat 1s cut all\nrun 2s\n")
    assert main([str(path), "--json", "--seed", "5"]) == 0
    answer, = json.loads(capsys.readouterr().out)
    assert (answer["seed"], answer["passes"], answer["compared"], answer["safe"]) == (5, True, False, True)
    assert answer["drivers"] == {"g0": ["a", "b"]}
    assert [found["excuse"] for found in answer["excused"]] == ["l3"]
    assert answer["excused"][0]["length_ms"] > 900


@pytest.mark.parametrize(("words", "says"), [
    ([], "nothing to run"), (["x.scn", "--rewrite", "--seed", "1"], "--rewrite writes what comes"),
])
def test_senseless_command_lines(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        main(words)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        main([str(tmp_path / "none.scn")])
    path = tmp_path / "a.scn"
    path.write_bytes(b"pins: x\n\xff\n")
    with pytest.raises(ScenarioError, match=r"a\.scn:2: not UTF-8"):
        main([str(path)])
    path.write_text(GOOD + "---\n" + GOOD)
    with pytest.raises(UsageError, match="draws one scenario"):
        main([str(path), "--plot", "x.svg"])


@pytest.mark.parametrize("seed", ["x", "-1", "1.5", str(1 << 64)])
def test_a_seed_that_is_no_number(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["x.scn", f"--seed={seed}"])
    assert caught.value.code == 2
    assert "is no seed; give a whole number" in capsys.readouterr().err
