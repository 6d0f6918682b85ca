"""Campaigns: fixed seeds hold what is promised, workers change nothing, every failure becomes a scenario file."""
from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path

import pytest

from twinbeat.cli_dispatch import dispatch
from twinbeat.sim import campaign, campaign_runs, chance, chance_faults
from twinbeat.sim.campaign_report import again
from twinbeat.sim.campaign_runs import Plan, Runner, chunks, run_all
from twinbeat.sim.campaign_tally import Failure, FaultTally, Tally, bucket_end, bucket_of
from twinbeat.sim.chance_draw import ALONE, BESIDE, UNPROMISED
from twinbeat.sim.engine import Engine
from twinbeat.sim.scenario import parse
from twinbeat.sim.spec import ALL, MS, Action, Excuse, Gap, Rule, RunResult, Verb, Violation

PROFILES = tuple(chance.PROFILES)


def tally_of(plan: Plan, first: int, count: int, jobs: int = 1) -> Tally:
    total = Tally()
    assert run_all(plan, first, count, jobs, total.merge)
    return total


# ---------------------------------------------------------------- what is promised
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("world", chance.WORLD_NAMES)
def test_fixed_seeds_break_nothing(world: str, profile: str) -> None:
    tally = tally_of(Plan(world, profile, 6.0), 1, 96)
    assert tally.runs == 96
    told = [(failure.seed, failure.violation) for failure in tally.failures()]
    assert not tally.violations, f"{again(Plan(world, profile, 6.0), told[0][0], world)}: {told}"


# ---------------------------------------------------------------- drawing
@pytest.mark.parametrize("profile", PROFILES)
def test_a_seed_gives_the_same_run_whatever_was_drawn_before(profile: str) -> None:
    whole = Runner(Plan("all", profile, 5.0))
    runs = [whole.draw(seed) for seed in range(40)]
    for seed in (39, 3, 17):
        alone = Runner(Plan(runs[seed].world, profile, 5.0)).draw(seed)
        assert (alone.shape, alone.schedule, alone.until_ns) == (
            runs[seed].shape, runs[seed].schedule, runs[seed].until_ns)
        assert alone.run() == Runner(Plan("all", profile, 5.0)).draw(seed).run()


def test_numbers_are_those_of_splitmix64() -> None:
    """Drawn numbers must never change by accident: seeds in documents would mean other runs."""
    rng, word = chance.chance(3, "single"), (3 * chance.STRIDE + chance.SALT["single"]) & chance.MASK
    for _ in range(3):
        word = (word + 0x9E3779B97F4A7C15) & chance.MASK
        mixed = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & chance.MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & chance.MASK
        assert rng.next() == mixed ^ (mixed >> 31)


@pytest.mark.parametrize("profile", PROFILES)
def test_schedules_are_in_order_and_end_with_healing(profile: str) -> None:
    runner = Runner(Plan("all", profile, 8.0))
    for seed in range(0, 400, 5):
        drawn = runner.draw(seed)
        actions = drawn.schedule.actions
        times = [action.at_ns for action in actions]
        assert times == sorted(times)
        assert [action.verb for action in actions].count(Verb.HEAL_ALL) == 1
        healing = actions[-1]
        if healing.verb != Verb.HEAL_ALL:                # one of three that stays deaf
            assert drawn.shape.nodes > 2
            assert (healing.verb, healing.node, healing.link) == (Verb.CUT, ALL, ALL)
            healing = actions[-2]
        assert healing.verb == Verb.HEAL_ALL
        assert drawn.until_ns - actions[-1].at_ns >= drawn.engine.bound_ns
        assert len(actions) == len(drawn.schedule.faults) == len(drawn.schedule.circumstances)
        for action in actions:
            assert action.node < drawn.shape.nodes and action.peer < drawn.shape.nodes
            assert action.link < len(drawn.shape.links)
            assert action.group < drawn.shape.groups or action.verb == Verb.LATE


def test_wild_runs_use_every_verb() -> None:
    runner = Runner(Plan("all", "wild", 10.0))
    verbs = {action.verb for seed in range(1500) for action in runner.draw(seed).schedule.actions}
    assert set(Verb) - verbs == set()


def test_single_faults_are_healed_before_the_next() -> None:
    """The next fault begins when the one before is over and the world has settled."""
    runner = Runner(Plan("three", "single", 10.0))
    for seed in range(60):
        schedule = runner.draw(seed).schedule
        ends = 0
        for action, name, begins in zip(schedule.actions, schedule.faults, schedule.begins, strict=True):
            if name in ("start", "loss", "healing"):
                continue
            assert not begins or action.at_ns >= ends + 300 * MS
            ends = max(ends, action.at_ns + action.lasts_ns)


def test_faults_without_a_promise_are_kept_apart() -> None:
    hold = {fault.name: fault.unpromised for fault in chance_faults.faults_of(chance.shape("hold"), "single")}
    assert hold["power"] and hold["stall"] and not hold["kill"] and not hold["cut"]
    pair = {fault.name: fault.unpromised for fault in chance_faults.faults_of(chance.shape("pair"), "single")}
    assert not pair["power"] and "cut off" not in pair
    lonely = chance_faults.faults_of(chance.shape("pair", links=("serial",)), "single")
    assert {fault.name: fault.unpromised for fault in lonely}["cut"]
    voter = {fault.name: fault.unpromised for fault in chance_faults.faults_of(chance.shape("voter"), "single")}
    assert not any(voter.values()) and "voter dead" in voter


def test_shapes_vary_from_block_to_block_only() -> None:
    shapes = [chance.draw_shape("pair", seed) for seed in range(40 * chance.BLOCK)]
    assert len(set(shapes)) > 30
    assert len(set(shapes[:chance.BLOCK])) == 1
    assert {shape.drift_ppm for shape in shapes} <= set(chance.DRIFT_PPM)
    assert max(shape.groups for shape in shapes) == 3


# ---------------------------------------------------------------- counting
def test_buckets_are_narrow_and_in_order() -> None:
    lengths = [0, 1, 63, 64, 100, 127, 128, 129, 12_345, 999_999, 31_700_000, 4_000_000_000, 10**15]
    buckets = [bucket_of(length) for length in lengths]
    assert buckets == sorted(buckets)
    for length, bucket in zip(lengths, buckets, strict=True):
        end = bucket_end(bucket)
        assert length <= end <= length + length / 64 + 1
        assert bucket_of(end) == bucket and bucket_of(end + 1) == bucket + 1


def gap(length_ns: int, *, before: int = 0, after: int = 1, action: int = 0) -> Gap:
    return Gap(0, length_ns, 0, action, before, after)


def test_quantiles_and_worst() -> None:
    tally = FaultTally()
    for number in range(1, 101):
        tally.add(gap(number * MS), seed=number)
    assert tally.quantile_ns(0.5) == pytest.approx(50 * MS, rel=0.02)
    assert tally.quantile_ns(0.99) == pytest.approx(99 * MS, rel=0.02)
    assert (tally.quantile_ns(1.0), tally.worst_ns, tally.worst_seed) == (100 * MS, 100 * MS, 100)


def test_drop_outs_and_open_gaps_are_counted() -> None:
    tally = FaultTally()
    tally.add(gap(5, before=1, after=1), 1)
    tally.add(gap(5, before=1, after=0), 2)
    tally.add(gap(5, before=1, after=ALL), 3)
    assert (tally.gaps, tally.dropouts, tally.open, tally.worst_seed) == (3, 1, 1, 1)


def test_gaps_go_to_their_fault_and_circumstance() -> None:
    """A gap belongs to the action before it; the first one of all to the start."""
    schedule = chance.Schedule(
        [Action(0, Verb.START), Action(5, Verb.POWER, 0), Action(9, Verb.POWER, 1)], ["start", "power", "cut"],
        [ALONE, UNPROMISED, BESIDE], [True, True, False])
    result = RunResult(10, 100, -1, 0, [], [Violation(1, Rule.TWO_DRIVERS, Excuse.L3, 0, 0, 1, 5, 8)],
                       [gap(3, before=ALL, action=-1), gap(7, action=1), gap(2, action=2)], [[0]], [8])
    tally = Tally()
    tally.add("pair", 4, schedule, result)
    assert {key: (fault.faults, fault.gaps, fault.worst_ns) for key, fault in tally.faults.items()} == {
        ("pair", "start", ALONE): (1, 1, 3), ("pair", "power", UNPROMISED): (1, 1, 7),
        ("pair", "cut", BESIDE): (0, 1, 2)}
    assert tally.excused == {("pair", Rule.TWO_DRIVERS, Excuse.L3): 1}
    assert tally.failing == 0


def test_the_first_failures_are_those_of_the_smallest_seeds() -> None:
    parts = []
    for seeds in (range(50, 0, -7), range(3, 60, 4)):
        part = Tally()
        for seed in seeds:
            broken = [Violation(seed, Rule.TWO_DRIVERS, Excuse.NONE, 0, 0, 1, 5, 8)] * 2
            result = RunResult(1, 1, -1, 0, broken, [], [], [[0]], [8])
            part.add("pair", seed, chance.Schedule([], [], [], []), result)
        parts.append(part)
    for first, second in (parts, parts[::-1]):
        total = Tally()
        total.merge(first)
        total.merge(second)
        kept = [failure.seed for failure in total.failures()]
        assert kept == [1, 3, 7, 8, 11, 15, 19, 22]
        assert total.violations == {("pair", Rule.TWO_DRIVERS): 2 * 23}


# ---------------------------------------------------------------- workers
def test_chunks_end_where_blocks_end() -> None:
    parts = list(chunks(70, 200))
    assert parts[0] == (70, campaign_runs.CHUNK * 2 - 70)
    assert [first % campaign_runs.CHUNK for first, _ in parts[1:]] == [0] * (len(parts) - 1)
    assert sum(size for _, size in parts) == 200


def test_the_tally_does_not_depend_on_the_workers() -> None:
    plan = Plan("all", "wild", 3.0)
    assert tally_of(plan, 40, 300, jobs=1) == tally_of(plan, 40, 300, jobs=3)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_ends_with_what_there_is(jobs: int) -> None:
    total = Tally()

    def told(part: Tally) -> None:
        total.merge(part)
        os.kill(os.getpid(), signal.SIGINT)

    assert not run_all(Plan("pair", "wild", 2.0), 0, 10_000, jobs, told)
    assert 0 < total.runs < 10_000


# ---------------------------------------------------------------- command
Capture = pytest.CaptureFixture[str]


def run_command(words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(folder)
    return dispatch(["sim", *words.split()])


def test_json_of_a_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    code = run_command("--campaign 64 --seed 1 --world three --profile single --seconds 4 --jobs 1 --json", tmp_path,
                       monkeypatch)
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (told["runs"], told["complete"], told["violations"], told["saved"]) == (64, True, [], [])
    assert told["worlds"]["three"]["runs"] == 64
    kill = next(row for row in told["faults"] if row["fault"] == "kill" and row["came"] == "alone")
    assert 0 < kill["median_ms"] <= kill["p99_ms"] <= kill["worst_ms"]
    assert list(tmp_path.iterdir()) == []


def test_summary_of_a_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert run_command("--campaign 160 --world hold --profile single --seconds 6", tmp_path, monkeypatch) == 0
    told = capsys.readouterr()
    assert "violations: none" in told.out and "160 runs" in told.out
    assert any(line.split()[:4] == ["hold", "power", "not", "promised"] for line in told.out.splitlines())
    assert told.err == ""


def test_progress_shows_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(campaign, "BAR_EVERY_S", 0.0)
    campaign.measure(Plan("pair", "single", 2.0), 1, 128, 1)
    assert "128 runs" in screen.getvalue() and screen.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("words", "told"), [
    ("--campaign many", '"many" is no count of runs; give a whole number from 1'),
    ("--campaign 5 --seed 0x7", '"0x7" is no seed; give a whole number from 0'),
    ("--campaign 5 --jobs 0", '"0" is no count of workers'),
    ("--campaign 5 --seconds soon", '"soon" is no length of a run'),
    ("--campaign 5 --world moon", "invalid choice: 'moon'"),
    ("--campaign 5 --plot picture.gif", 'the name ends in ".gif"; give one that ends in .svg or .png'),
    ("--campaign 5 --seed 9223372036854775807", "would have a seed above"),
])
def test_wrong_words_are_told(words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                              capsys: Capture) -> None:
    assert run_command(words, tmp_path, monkeypatch) == 2
    assert told in capsys.readouterr().err


# ---------------------------------------------------------------- failures
@pytest.fixture
def excuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine to which everything is promised, so that L3 is a violation."""
    class Strict:
        def __init__(self, spec: object) -> None:
            self.inner = Engine(spec)
            self.spec, self.bound_ns = self.inner.spec, self.inner.bound_ns

        def run(self, *words: object, **more: object) -> RunResult:
            result = self.inner.run(*words, **more)
            result.violations += [one._replace(excuse=Excuse.NONE) for one in result.excused]
            result.excused.clear()
            return result

    monkeypatch.setattr("twinbeat.sim.campaign_runs.Engine", Strict)
    monkeypatch.setattr("twinbeat.sim.shrink.Engine", Strict)


@pytest.mark.usefixtures("excuses_nothing")
def test_a_failing_seed_becomes_a_scenario_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    pytest.importorskip("matplotlib")
    words = "--campaign 48 --world pair --profile wild --seconds 4 --jobs 1 --save found --plot run.svg"
    assert run_command(words, tmp_path, monkeypatch) == 1
    told = capsys.readouterr().out
    files = sorted((tmp_path / "found").iterdir())
    path = next(file for file in files if "two-drivers" in file.name)
    scenario = parse(path.read_text(), str(path))[0]
    assert f"found/{path.name}" in told and "--campaign 1 --seed" in told
    assert len(scenario.actions) <= 6
    result = Engine(scenario.shape.spec()).run(scenario.actions, scenario.seed, scenario.run_ns)
    assert any(found.rule == Rule.TWO_DRIVERS for found in result.excused)
    assert (tmp_path / "run.svg").read_text().count("<svg") == 1


@pytest.mark.usefixtures("excuses_nothing")
def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "found").write_text("a file, no folder")
    words = "--campaign 48 --world pair --profile wild --seconds 4 --jobs 1 --save found"
    assert run_command(words, tmp_path, monkeypatch) == 2
    assert "choose another folder with --save DIR" in capsys.readouterr().err


def test_a_worker_that_dies_is_told() -> None:
    class Dead:
        def result(self) -> Tally:
            raise campaign_runs.BrokenProcessPool("gone")

    with pytest.raises(campaign_runs.CampaignError, match="--campaign 7 --seed 30 --world pair --profile wild"):
        campaign_runs.result_of(Dead(), (30, 7), Plan("pair", "wild", 10.0))


def test_the_reproducing_command_says_no_more_than_it_must() -> None:
    assert again(Plan("all", "wild", 10.0), 5, "hold") == (
        "twinbeat sim --campaign 1 --seed 5 --world hold --profile wild")
    assert again(Plan("all", "wild", 2.5), 5, "hold").endswith("--profile wild --seconds 2.5")
    assert Failure(1, "pair", Violation(0, Rule.TABLE, Excuse.NONE, 0, 0, 0, 0, 0)) < Failure(
        2, "hold", Violation(0, Rule.TABLE, Excuse.NONE, 0, 0, 0, 0, 0))
