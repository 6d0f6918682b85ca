"""Both nodes' halves of a role change joined: by epoch, told as one story, exact on the screen."""
from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from screen_answers import gave, knew, record, took

from twinbeat.cli_dispatch import dispatch
from twinbeat.run_words import Names
from twinbeat.screen_paint import Paint, length
from twinbeat.screen_why import why_text
from twinbeat.story import stories
from twinbeat.verdict_peers import KEPT_PER_GROUP, TAKEN_BURST, PeerVerdicts

UTC = datetime.UTC
NOW = datetime.datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
GAVE = gave("gw-a", "pump", 16, "HANDOVER", ms=3)
TOOK = took("gw-b", "pump", 17, "HANDOVER", ms=5, peers=[knew("gw-a", "STANDBY", 17, 0.4)], boot_ns=9 * 10**15)
SHARDS = [f"lines.{number}" for number in range(8)]


def dead(group: str, epoch: int, ms: int) -> dict[str, Any]:
    figures = {"claim_ms": 0.1 * ms, "decided_to_ordered_ms": 0.01, "ordered_to_on_ms": 0.05}
    return took("gw-b", group, epoch, "DEATH_NOTICE", ms=ms, measured=figures,
                peers=[knew("gw-a", "STANDBY", epoch - 1, 4.4, dead=True)])


def answer(own: str, verdicts: list[dict[str, Any]], peers: list[dict[str, Any]] | None = None,
           brokers: dict[str, bool] | None = None) -> dict[str, Any]:
    other = "gw-b" if own == "gw-a" else "gw-a"
    return {"node": own, "verdicts": verdicts, "peer_verdicts": peers or [],
            "peer_source": {"nodes": [other], "brokers": brokers or {}}}


def screen(given: dict[str, Any], count: int = 3, **more: Any) -> str:
    return why_text(given, count, NOW, zone=UTC, **more)


HANDED_OVER = """\
2026-11-22 10:00:00.005 (4 min ago)
planned handover: pump -> gw-b
  gw-a, which let go                    | gw-b, which took over
  10:00:00.003Z by its clock            | 10:00:00.005Z by its clock
  gw-a let go of pump (epoch 16):       | gw-b took over pump (epoch 17):
    handover.                           |   handover.
  measured: decided to ordered 0.01 ms, | measured: claim 0.2 ms, decided to
    ordered to off 0.12 ms              |   ordered 0.01 ms, ordered to on 0.05
                                        |   ms
  gw-b knew: gw-a was last heard 0.4 ms before, as STANDBY; links: cross UP
    (silent 0.4 ms)
  the time between off and on is not told: the two clocks are not compared"""


@pytest.mark.parametrize("own", ["gw-a", "gw-b"])
def test_both_halves_stand_beside_each_other_on_either_node(own: str) -> None:
    mine, theirs = ([GAVE], [TOOK]) if own == "gw-a" else ([TOOK], [GAVE])
    assert screen(answer(own, mine, theirs)) == HANDED_OVER


DIED = """\
2026-11-22 10:00:00.005 (4 min ago)
gw-a died: lines.0-3 and pump -> gw-b
  gw-a, which died                      | gw-b, which took over
  no record: its agent died before it   | 10:00:00.005Z by its clock
    could write one                     | 5 groups: lines.0-3 and pump; epochs
                                        |   20 to 24
                                        | the first: gw-b took over lines.0
                                        |   (epoch 20): death notice.
                                        | measured: claim 0.5 to 0.9 ms,
                                        |   decided to ordered 0.01 ms, ordered
                                        |   to on 0.05 ms
  gw-b knew: gw-a was last heard 4.4 ms before, when its gate reported its
    agent's death; links: cross UP (silent 4.4 ms)
  from the last frame of gw-a to the outputs on: about 4.5 ms, by the clock of
    gw-b"""


def test_one_failure_that_moved_many_groups_is_one_story() -> None:
    moved = [dead(name, 20 + number, 5 + number) for number, name in enumerate([*SHARDS[:4], "pump"])]
    assert screen(answer("gw-b", moved)) == DIED


def test_both_halves_of_many_groups_are_one_story_too() -> None:
    lets = [gave("gw-a", name, 10, "STOP", ms=number) for number, name in enumerate(SHARDS)]
    takes = [took("gw-b", name, 11, "RELEASED", ms=number, boot_ns=5) for number, name in enumerate(SHARDS)]
    (story,) = stories(lets + takes)
    assert story.headline() == "gw-a was stopped as planned: lines.0-7 -> gw-b"
    assert (len(story.lets), len(story.takes)) == (8, 8)
    text = screen(answer("gw-b", takes, lets))
    assert text.count("8 groups: lines.0-7; epoch 1") == 2


def test_one_cause_at_two_times_is_two_stories() -> None:
    assert len(stories([dead("pump", 20, 0), dead("fan", 21, 1999)])) == 1
    assert len(stories([dead("pump", 20, 0), dead("fan", 21, 2001)])) == 2
    assert len(stories([dead("pump", 20, 0), dead("pump", 30, 10)])) == 2


def test_halves_are_joined_by_epoch_and_no_clock() -> None:
    first = [gave("gw-a", "pump", 16, "HANDOVER", ms=9000), took("gw-b", "pump", 17, "HANDOVER", ms=1, boot_ns=1)]
    second = [gave("gw-b", "pump", 17, "UNFIT", ms=2, boot_ns=1), took("gw-a", "pump", 25, "RELEASED", ms=9500)]
    found = stories([second[1], first[0], second[0], first[1]])
    assert [(story.giver, story.taker, story.cause) for story in found] == [
        ("gw-a", "gw-b", "HANDOVER"), ("gw-b", "gw-a", "UNFIT")]


def test_a_lost_record_joins_nothing_wrong() -> None:
    """Between epochs 16 and 30 gw-a drove again at 25, and that record is lost: 16 is not what 30 followed."""
    old, new = gave("gw-a", "pump", 16, "HANDOVER"), took("gw-b", "pump", 30, "SILENCE", ms=10,
                                                          peers=[knew("gw-a", "ACTIVE", 25, 40.0)])
    found = stories([old, new])
    assert [(bool(story.lets), bool(story.takes)) for story in found] == [(True, False), (False, True)]
    assert found[1].headline() == "gw-a fell silent: pump -> gw-b"


def test_a_start_after_nobody_drove_is_no_handover() -> None:
    stop, start = gave("gw-a", "pump", 16, "STOP"), took("gw-a", "pump", 1032, "COLD_START", ms=60)
    found = stories([stop, start])
    assert [story.headline() for story in found] == [
        "gw-a was stopped as planned: gw-a let go of pump", "nobody drove: pump -> gw-a"]
    assert "| then nobody drove" in screen(answer("gw-a", [stop, start]))


def test_who_takes_its_own_again_is_measured_by_its_one_clock() -> None:
    lapsed, again = gave("gw-a", "pump", 16, "SELF_LATE"), took("gw-a", "pump", 24, "RELEASED", ms=25)
    text = screen(answer("gw-a", [lapsed, again]))
    assert "gw-a stood still: gw-a let go of pump and took it again" in text
    assert "off for 24.9 ms, by the clock of gw-a" in text and "not compared" not in text


def test_a_group_that_every_node_drives_is_never_handed_over() -> None:
    mine = gave("gw-a", "horn", 8, "STOP", ms=900) | {"overlap": True}
    theirs = took("gw-b", "horn", 17, "COLD_START", peers=[knew("gw-a", "ACTIVE", 8, 4.0)]) | {"overlap": True}
    found = stories([mine, theirs])
    assert [story.headline() for story in found] == [
        "gw-b drives horn, as every node may", "gw-a no longer drives horn, as every node may"]
    assert "which took over" not in screen(answer("gw-a", [mine], [theirs]))


def test_service_changes_are_stories_of_their_own() -> None:
    out = [record("gw-a", name, 0, "STANDBY", "OUT", "OPERATOR", ms=number) for number, name in enumerate(SHARDS)]
    back = record("gw-a", "pump", 0, "OUT", "STANDBY", "OPERATOR", ms=3000)
    assert [story.headline() for story in stories([*out, back])] == [
        "lines.0-7 taken out of service on gw-a", "pump put back into service on gw-a"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (answer("gw-a", [GAVE]), "gw-b: who took over? not known here: without an MQTT link this node cannot read it"),
        (answer("gw-a", [GAVE], brokers={'broker "m"': False}), 'not known here: broker "m" is not connected; ask'),
        (answer("gw-a", [GAVE], brokers={"m": False, "n": True}), "it has not come over MQTT; ask there: twinbeat why"),
        (answer("gw-b", [TOOK], brokers={"m": True}), "gw-a, which let go it has not come over MQTT; ask there"),
        (answer("gw-a", [], [TOOK]), "no record of it here; its agent may not have run"),
        ({"verdicts": [GAVE]}, "not in what was read; add its file with --file, or ask there: twinbeat why pump"),
    ],
)
def test_a_missing_half_says_why_and_how_to_get_it(given: dict[str, Any], text: str) -> None:
    shown = screen(given).splitlines()
    column = 0 if "which let go it" in text or "no record of it" in text else 1
    joined = " ".join((line.split(" | ") + [""])[column].strip() for line in shown if " | " in line or line[-1:] == "|")
    assert text in " ".join(joined.split())


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_screen_keeps_its_width(width: int) -> None:
    long = gave("g" * 63, "n" * 63, 16, "HANDOVER")
    for given in (answer("gw-a", [GAVE], [TOOK]), answer("gw-b", [TOOK]), answer("gw-a", [long])):
        for line in screen(given, width=width, paint=Paint(True)).splitlines():
            assert length(line) <= width


def test_records_of_strangers_break_nothing() -> None:
    odd = [{}, {"sentence": "\x1b[2Jx", "to": "ACTIVE", "evidence": [], "measured": 3, "epoch": "x", "time": 5},
           {"from": "ACTIVE", "evidence": {"peers": [3, {"links": 5}]}, "group": None, "measured": {"claim_ms": "x"}}]
    text = screen({"node": "gw-a", "verdicts": odd, "peer_verdicts": "x", "peer_source": {"brokers": 5}})
    assert "\x1b" not in text


# ---------------------------------------------------------------- the files of both


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(item) + "\n" for item in records)


def test_two_files_are_joined_without_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text(lines(GAVE) + '{"half a li')
    (tmp_path / "b.jsonl").write_text(lines(TOOK, dead("fan", 20, 500)))
    files = ["--file", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    assert dispatch(["why", *files]) == 0
    shown = capsys.readouterr().out
    assert HANDED_OVER.split("\n", 1)[1] in shown and "gw-a died: fan -> gw-b" in shown
    assert dispatch(["why", "pump", "--json", *files]) == 0
    (story,) = json.loads(capsys.readouterr().out)["stories"]
    assert (story["giver"], story["taker"], story["epochs"]) == ("gw-a", "gw-b", {"pump": [16, 17]})
    assert dispatch(["why", "valve", *files]) == 0
    assert capsys.readouterr().out == "No role change of valve is in these files.\n"


def test_a_file_that_is_none_of_verdicts_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("hello\n")
    for name, text in (("x", "no line of it is a verdict"), ("nothing", "No such file or directory")):
        assert dispatch(["why", "--file", str(tmp_path / name)]) == 3
        assert f"{text}; name a file PAIR-NODE.verdicts.jsonl" in capsys.readouterr().err


# ---------------------------------------------------------------- the book of the peers' verdicts


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def book(clock: Clock | None = None) -> PeerVerdicts:
    names = Names("gw-a", ("gw-a", "gw-b", "gw-c"), ("pump", "fan"), ("m",))
    return PeerVerdicts(names, "pump-7", lambda call: call(), clock or Clock())


def test_the_book_keeps_the_newest_of_each_node_and_group_once() -> None:
    peers = book()
    take = peers.taker("gw-b")
    for epoch in range(1, KEPT_PER_GROUP + 4):
        for _ in range(2):
            take("pump", json.dumps(took("gw-b", "pump", epoch, "SILENCE", ms=epoch)).encode())
    take("fan", json.dumps(took("gw-b", "fan", 5, "SILENCE")).encode())
    assert [item["epoch"] for item in peers.last(99, ["pump"])] == list(range(4, KEPT_PER_GROUP + 4))
    assert len(peers.last(99)) == KEPT_PER_GROUP + 1 and len(peers.last(2)) == 2 and peers.last(0) == []
    assert peers.refused == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"\xff", b"[" * 5000, b'{"schema": 1}',
        json.dumps(TOOK | {"node": "gw-c"}).encode(),
        json.dumps(TOOK | {"group": "fan"}).encode(),
        json.dumps(TOOK | {"pair": "other"}).encode(),
        json.dumps(TOOK | {"epoch": True}).encode(),
        json.dumps(TOOK | {"epoch": -1}).encode(),
        json.dumps(TOOK | {"sentence": 5}).encode(),
        json.dumps(TOOK | {"schema": 2}).encode(),
        json.dumps(TOOK | {"more": "x" * 40_000}).encode(),
    ],
)
def test_what_is_no_verdict_of_that_node_is_refused_and_counted(payload: bytes) -> None:
    peers = book()
    peers.taker("gw-b")("pump", payload)
    assert (peers.last(9), peers.refused) == ([], 1)
    peers.taker("gw-b")("valve", json.dumps(TOOK | {"group": "valve"}).encode())
    assert peers.refused == 2


def test_a_flood_is_held_back() -> None:
    clock = Clock()
    peers = book(clock)
    for _ in range(int(TAKEN_BURST) + 10):
        peers.taker("gw-b")("pump", b"x")
    assert (peers.refused, peers.held_back) == (TAKEN_BURST, 10)
    clock.now_ns = 10**9
    peers.taker("gw-b")("pump", json.dumps(TOOK).encode())
    assert peers.last(9) == [TOOK]
