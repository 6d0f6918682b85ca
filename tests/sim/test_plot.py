"""The picture of a run: its spans are those of the log, it names every lane, it is written as SVG or PNG."""
from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from twinbeat.errors import UsageError
from twinbeat.sim import plot
from twinbeat.sim.campaign_runs import Plan, Runner
from twinbeat.sim.engine import Engine
from twinbeat.sim.plot import PlotError
from twinbeat.sim.plot_lanes import DOWN, Lane, Lanes, Span
from twinbeat.sim.spec import MS, Action, RunResult, Verb, WorldSpec
from twinbeat.sim.worlds import shape
from twinbeat_core.model import State

SVG = "{http://www.w3.org/2000/svg}"
ACTIONS = (
    Action(0, Verb.START), Action(500 * MS, Verb.POWER, 0, lasts_ns=300 * MS),
    Action(1400 * MS, Verb.CUT, 0, 1, 0, lasts_ns=200 * MS), Action(1700 * MS, Verb.LOSS, value=300, lasts_ns=200 * MS),
    Action(2000 * MS, Verb.CUT, lasts_ns=250 * MS), Action(2500 * MS, Verb.HANDOVER), Action(2600 * MS, Verb.HEAL_ALL),
)
Run = tuple[WorldSpec, RunResult, Sequence[Action]]


def run_of(world: str = "pair", actions: Sequence[Action] = ACTIONS, until_ms: int = 3000, **more: object) -> Run:
    engine = Engine(shape(world, **more).spec())
    return engine.spec, engine.run(actions, 1, until_ms * MS, log=True), actions


@pytest.fixture(scope="module")
def run() -> Run:
    return run_of()


# ---------------------------------------------------------------- spans
def test_a_lane_keeps_what_lasted() -> None:
    lane = Lane(0)
    lane.set(5, 1)
    lane.set(5, 2)
    lane.set(7, 2)
    lane.set(9, 0)
    assert lane.close(12) == [Span(0, 5, 0), Span(5, 9, 2), Span(9, 12, 0)]


def test_roles_cover_the_whole_run_without_holes(run: Run) -> None:
    lanes = Lanes(*run)
    for spans in lanes.roles.values():
        assert spans[0].begin == 0 and spans[-1].end == lanes.end
        assert all(one.end == next_.begin for one, next_ in itertools.pairwise(spans))


def test_a_dead_node_is_down_and_comes_back(run: Run) -> None:
    lanes = Lanes(*run)
    down = [span for span in lanes.roles[0, 0] if span.value == DOWN]
    assert down == [Span(500 * MS, 800 * MS, DOWN)]
    assert (800 * MS, 0) in lanes.restarts
    after = next(span for span in lanes.roles[0, 0] if span.begin == 800 * MS)
    assert after.value == State.LISTEN


def test_contacts_and_gaps_fit_together(run: Run) -> None:
    _, result, _ = run
    lanes = Lanes(*run)
    gap = next(gap for gap in result.gaps if gap.before == 0 and gap.after == 1)
    assert any(span.end == gap.at_ns for span in lanes.contacts[0, 0])
    assert any(span.begin == gap.at_ns + gap.length_ns for span in lanes.contacts[1, 0])


def test_the_overlap_is_that_of_the_judge(run: Run) -> None:
    _, result, _ = run
    lanes = Lanes(*run)
    found = result.excused[0]
    assert lanes.overlaps[0] == [Span(found.at_ns, found.at_ns + found.length_ns)]


def test_links_are_cut_and_impaired_where_it_was_said(run: Run) -> None:
    lanes = Lanes(*run)
    assert lanes.cut[0, 0, 1] == [Span(1400 * MS, 1600 * MS, 1), Span(2000 * MS, 2250 * MS, 1)]
    assert lanes.cut[0, 1, 0] == [Span(2000 * MS, 2250 * MS, 1)]
    assert lanes.impaired[1, 0, 1] == [Span(1700 * MS, 1900 * MS, 1)]
    assert any(span.begin < 1000 * MS and span.end >= 500 * MS for span in lanes.up[0, 1, 0])


def test_lost_frames_are_those_of_faults(run: Run) -> None:
    lanes = Lanes(*run)
    lost = [frame.sent for frame in lanes.frames if not frame.arrives]
    assert lost and all(1400 * MS <= at <= 2250 * MS for at in lost)
    assert all(frame.arrives > frame.sent for frame in lanes.frames if frame.arrives)


def test_healing_ends_what_is_open() -> None:
    actions = (Action(0, Verb.START), Action(300 * MS, Verb.CUT, 0, 1), Action(310 * MS, Verb.DELAY, 1, 0, 0, value=MS),
               Action(350 * MS, Verb.KILL, 1), Action(600 * MS, Verb.HEAL_ALL))
    lanes = Lanes(*run_of(actions=actions, until_ms=900))
    assert lanes.cut[0, 0, 1] == [Span(300 * MS, 600 * MS, 1)]
    assert lanes.impaired[0, 1, 0] == [Span(310 * MS, 600 * MS, 1)]
    assert [(fault.begin, fault.end) for fault in lanes.faults] == [
        (300 * MS, 600 * MS), (310 * MS, 600 * MS), (350 * MS, 600 * MS), (600 * MS, 600 * MS)]


def test_faults_last_until_what_ends_them() -> None:
    actions = (Action(0, Verb.START), Action(300 * MS, Verb.STALL, 0), Action(320 * MS, Verb.RESUME, 1),
               Action(400 * MS, Verb.RESUME, 0), Action(500 * MS, Verb.RESTART, 1), Action(600 * MS, Verb.POWER, 1),
               Action(700 * MS, Verb.RESTART, 1))
    lanes = Lanes(*run_of(actions=actions, until_ms=1000))
    assert [(fault.text.split()[0], fault.begin // MS, fault.end // MS) for fault in lanes.faults] == [
        ("stall", 300, 400), ("restart", 500, 500), ("power", 600, 700)]


def test_the_third_voter_has_a_life() -> None:
    actions = (Action(0, Verb.START), Action(300 * MS, Verb.VOTER_KILL, lasts_ns=200 * MS))
    lanes = Lanes(*run_of("voter", actions, 900))
    assert lanes.voter == [Span(0, 300 * MS, 1), Span(300 * MS, 500 * MS, 0), Span(500 * MS, 900 * MS, 1)]


def test_a_run_without_log_is_refused() -> None:
    engine = Engine(shape("pair").spec())
    result = engine.run(ACTIONS, 1, 1000 * MS)
    with pytest.raises(ValueError, match="log=True"):
        Lanes(engine.spec, result, ACTIONS)


# ---------------------------------------------------------------- pictures
def drawn(run: Run) -> tuple[ElementTree.Element, str, set[str]]:
    """The SVG, all its text, and the names of its parts."""
    pytest.importorskip("matplotlib")
    root = ElementTree.fromstring(plot.svg_text(*run))
    text = " ".join("".join(node.itertext()) for node in root.iter(f"{SVG}text"))
    return root, text, {node.attrib["id"] for node in root.iter() if "id" in node.attrib}


def test_the_picture_has_every_lane(run: Run) -> None:
    root, text, names = drawn(run)
    ids = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert len(ids) == len(set(ids))
    assert root.tag == f"{SVG}svg"
    for word in ("faults", "serial", "mqtt", "power off a for 300ms", "LISTEN", "STANDBY", "ACTIVE", "contact on",
                 "time, ms"):
        assert word in text
    assert {"role-a-ACTIVE", "role-b-ACTIVE", "contact-a", "contact-b", "overlap-0-0", "gap-0-0", "fault-0",
            "cut-serial-a-b", "up-mqtt-b-a", "lost-serial-a-b"} <= names
    assert not any(" " in name for name in names)
    assert "both " in text


def test_frames_are_drawn_in_a_short_run_only(run: Run) -> None:
    _, _, long_names = drawn(run)
    _, text, short_names = drawn(run_of(actions=(Action(0, Verb.START), Action(260 * MS, Verb.KILL, 0)), until_ms=400))
    assert "frames-serial" in short_names and "frames, serial" in text
    assert "frames-serial" not in long_names


def test_groups_and_third_voter_have_lanes_of_their_own() -> None:
    actions = (Action(0, Verb.START), Action(300 * MS, Verb.VOTER_KILL, lasts_ns=200 * MS))
    _, text, names = drawn(run_of("voter", actions, 900, groups=2))
    assert "third voter" in text and "third-voter" in names
    for group in ("g0", "g1"):
        assert {f"contact-a-{group}", f"contact-b-{group}"} & names
    for label in ("a g0", "b g0", "a g1", "b g1"):
        assert label in text


@pytest.mark.parametrize("world", ["solo", "three"])
def test_other_worlds_can_be_drawn(world: str) -> None:
    _, text, _ = drawn(run_of(world, (Action(0, Verb.START),), 1200))
    assert ("serial" in text) == (world == "three")


def test_a_long_wild_run_stays_readable_and_small() -> None:
    pytest.importorskip("matplotlib")
    made = Runner(Plan("three", "wild", 10.0)).draw(5)
    text = plot.svg_text(made.engine.spec, made.run(log=True), made.schedule.actions)
    assert len(text) < 1_500_000
    root = ElementTree.fromstring(text)
    assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(864, abs=1)    # 12 inches


def test_the_same_run_gives_the_same_bytes(run: Run) -> None:
    pytest.importorskip("matplotlib")
    assert plot.svg_text(*run) == plot.svg_text(*run)


def test_svg_for_a_page_has_no_head(run: Run) -> None:
    pytest.importorskip("matplotlib")
    text = plot.svg_text(*run)
    assert text.startswith("<svg") and "<?xml" not in text and "<!DOCTYPE" not in text


def test_files_are_written_by_their_suffix(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot.draw(*run, str(tmp_path / "a.svg"))
    plot.draw(*run, str(tmp_path / "a.PNG"))
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    data = (tmp_path / "a.PNG").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(data[16:20], "big") == 1200


# ---------------------------------------------------------------- what cannot be drawn
@pytest.mark.parametrize("name", ["a.pdf", "a", "svg"])
def test_another_suffix_is_refused(name: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"give one that ends in \.svg or \.png"):
        plot.draw(*run, str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_told(run: Run, tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="missing or not writable"):
        plot.draw(*run, str(tmp_path / "nowhere" / "a.svg"))


def test_a_missing_matplotlib_is_one_sentence(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(PlotError) as caught:
        plot.draw(*run, str(tmp_path / "a.svg"))
    assert "pip install 'twinbeat[plot]'" in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_importing_the_module_loads_no_matplotlib() -> None:
    """Commands that draw nothing must not pay for it."""
    source = Path(plot.__file__).read_text()
    assert "\nimport matplotlib" not in source and "\nfrom matplotlib" not in source
