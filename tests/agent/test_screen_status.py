"""The screen of status: exact for a few days of a pair, and never wider or more dangerous than a terminal takes."""
from __future__ import annotations

import io
import re
from typing import Any

import pytest
from screen_answers import group, quiet, sharded

from twinbeat.group_names import compact, runs
from twinbeat.screen_alarms import alarms
from twinbeat.screen_paint import Paint, clean, columns_for, cut, length, paint_for, wrap
from twinbeat.screen_status import status_text

GOOD_DAY = """\
node gw-a of pair pump-7 (version 0.1.0, up 2 h 2 min, start no. 4)

  group  driver  here    epoch  since  authority
  pump   gw-a    ACTIVE  17     90 s   28 ms

  peer  heard     health  load  says
  gw-b  4 ms ago  100     7 %   STANDBY pump

  link   type    state  silent  loss   longest gap
  cross  serial  UP     4 ms    0.0 %  11.3 ms
  mqtt   mqtt    UP     62 ms   0.4 %  131.0 ms

health: score 100, load 12 %"""


def test_a_good_day_is_one_short_screen() -> None:
    assert status_text(quiet()) == GOOD_DAY


def test_applications_are_counted_where_there_are_any() -> None:
    assert status_text(quiet(watchers=0)) == GOOD_DAY
    assert status_text(quiet(watchers=1)) == GOOD_DAY + ", 1 application watches"
    assert status_text(quiet(watchers=2)) == GOOD_DAY + ", 2 applications watch"
    nothing = quiet(load=None)
    nothing["peers"][0]["load"] = None
    assert status_text(nothing) == GOOD_DAY.replace("load 12 %", "load -").replace("100     7 %   ", "100     -     ")


BAD_DAY = """\
node gw-a of pair pump-7 (version 0.1.0, up 2 h 2 min, start no. 4)

! NOBODY DRIVES pump
    no other node is heard, and alone this one has no majority: bring the other
    node or a link back
! gw-b is SILENT for 12 s; nobody could take over from here
    look at the power of gw-b, its agent, and the links
! third voter (witness) NOT CONNECTED: no answer
    the pair goes on with two votes; the next fault leaves nobody to drive
! link mqtt: nothing listens there

  group  driver  here     epoch  since  authority
  pump   NOBODY  STANDBY  17     90 s   -

  peer         heard             health  load  says
  gw-b         12 s ago, SILENT  100     7 %   STANDBY pump
  third voter  NOT CONNECTED     -       -     witness

  link   type    state  silent  loss   longest gap
  cross  serial  DOWN   12 s    0.0 %  11.3 ms
  mqtt   mqtt    DOWN   62 ms   0.4 %  131.0 ms

health: score 100, load 12 %

Warnings:
  - no real-time scheduling"""


def bad_day() -> dict[str, Any]:
    answer = quiet(
        groups=[group("pump", None, "STANDBY")],
        third_voter={"type": "witness", "connected": False, "reason": "no answer"},
        warnings=["no real-time scheduling"],
    )
    answer["peers"][0] |= {"alive": False, "heard_ms_ago": 12000.0}
    for link in answer["links"]:
        link["paths"]["gw-b"]["state"] = "DOWN"
    answer["links"][0]["paths"]["gw-b"]["heard_ms_ago"] = 12000.0
    answer["links"][1]["broker"] = {"connected": False, "reason": "nothing listens there"}
    return answer


def test_a_bad_day_says_first_what_is_wrong_and_what_to_do() -> None:
    assert status_text(bad_day()) == BAD_DAY
    assert len(BAD_DAY.splitlines()) <= 30


def test_colours_are_the_same_text_painted() -> None:
    painted = status_text(bad_day(), paint=Paint(True))
    assert re.sub("\x1b\\[[0-9;]*m", "", painted) == BAD_DAY
    lines = painted.splitlines()
    assert lines[0] == "\x1b[1mnode gw-a of pair pump-7\x1b[0m (version 0.1.0, up 2 h 2 min, start no. 4)"
    assert lines[2] == "\x1b[1;31m! NOBODY DRIVES pump\x1b[0m"
    assert "\x1b[1;31mNOBODY\x1b[0m" in painted and "\x1b[33mDOWN\x1b[0m" in painted
    assert "\x1b[32mACTIVE\x1b[0m" in status_text(quiet(), paint=Paint(True))
    assert all(length(line) <= 80 for line in lines)


HOT_HOT = """\
  lines: 8 shards, 4 here, 4 on gw-b; authority 20 ms at least
    lines.6: back to the better ranked node in 41 s
    lines.0-1: moves held down 23 s, 3 changes"""


def test_shards_are_summed_up_and_told_apart_on_request() -> None:
    answer = sharded(4, 4)
    for number, left_ms in ((0, 22000.0), (1, 23400.0)):
        answer["groups"][number] |= {"hold_down_ms": left_ms, "changes": 3}
    answer["groups"][6]["failback_in_ms"] = 41000.0
    text = status_text(answer)
    assert HOT_HOT in text and "lines.3" not in text
    assert "gw-b  4 ms ago  100     7 %   STANDBY lines.0-3; ACTIVE lines.4-7" in text
    every = status_text(answer, every_group=True)
    assert all(f"  lines.{number}  gw-" in every for number in range(8))


def test_shards_that_nobody_drives_are_named_and_counted() -> None:
    answer = sharded(4, 4)
    for number in (5, 6, 7):
        answer["groups"][number] |= {"driver": None, "drivers": []}
    text = status_text(answer)
    assert "! NOBODY DRIVES lines.5-7\n" in text
    assert "lines: 8 shards, 4 here, 1 on gw-b, 3 driven by NOBODY" in text


def test_an_overlap_group_names_both_drivers_and_misses_one() -> None:
    family = {"name": "horn", "overlap": True, "units": ["horn"]}
    both = quiet(families=[family], groups=[group("horn", "gw-a", "ACTIVE", drivers=["gw-a", "gw-b"])])
    assert "  horn   gw-a, gw-b  ACTIVE" in status_text(both) and "!" not in status_text(both)
    one = quiet(families=[family], groups=[group("horn", "gw-a", "ACTIVE")])
    assert "! only one node drives horn, which both should" in status_text(one)
    one["peers"][0]["groups"] = {"horn": "OUT"}
    assert "- only one node drives horn, which both should\n    out of service on gw-b" in status_text(one)
    here = quiet(families=[family], groups=[group("horn", "gw-b", "OUT")])
    assert "    out of service on this node" in status_text(here)
    wrong = quiet(groups=[group("horn", "gw-a", "ACTIVE", drivers=["gw-a", "gw-b"])])
    assert "! TWO SAY THAT THEY DRIVE horn" in status_text(wrong)


def test_the_epoch_is_the_drivers_and_a_dead_agent_says_nothing() -> None:
    answer = quiet(groups=[group("pump", "gw-b", "STANDBY", epoch=0)])
    answer["peers"][0] |= {"groups": {"pump": "ACTIVE"}, "epochs": {"pump": 33}}
    assert "  pump   gw-b    STANDBY  33 " in status_text(answer)
    assert "  pump   NOBODY  LISTEN  - " in status_text(quiet(groups=[group("pump", None, "LISTEN", epoch=0)]))
    answer["peers"][0] |= {"alive": False, "dead": True}
    assert "ACTIVE pump" not in status_text(answer)


def test_a_node_with_another_file_is_not_called_unheard() -> None:
    text = status_text(faulty(alive=False, heard_ms_ago=None, config_mismatch=True))
    assert "gw-b runs ANOTHER CONFIGURATION" in text and "NEVER HEARD" not in text
    assert "gw-b  never  100     7 %   OTHER CONFIGURATION\n" in text


def test_a_node_that_took_all_out_of_service_is_a_note_and_nobody_is_alone() -> None:
    answer = quiet(groups=[group("pump", "gw-a", "ACTIVE", alone=True)])
    answer["peers"][0] |= {"groups": {"pump": "OUT"}, "maintenance": {"on": True}}
    text = status_text(answer)
    assert "- gw-b has all it could drive out of service" in text and "!" not in text and "(alone)" not in text
    answer["peers"][0] |= {"alive": False, "maintenance": {"on": False}}
    assert "ACTIVE (alone)" in status_text(answer)


def test_countdowns_of_a_group() -> None:
    busy = group("pump", "gw-a", "ACTIVE", hold_down_ms=23000.0, changes=1, failback_in_ms=41000.0, preparing="gw-b")
    text = status_text(quiet(groups=[busy]))
    assert "    moves held down 23 s, 1 change\n" in text
    assert "    back to the better ranked node in 41 s\n" in text
    assert "    gw-b prepares to take it\n" in text


def test_a_failback_names_the_best_node_that_could_take_it() -> None:
    ranked = {"name": "pump", "units": ["pump"], "drivers": [["gw-c", "gw-b", "gw-a"]]}
    answer = quiet(groups=[group("pump", "gw-a", "ACTIVE", failback_in_ms=41000.0)], families=[ranked])
    assert "    back to gw-b in 41 s\n" in status_text(answer)
    answer["peers"].append(answer["peers"][0] | {"name": "gw-c"})
    assert "    back to gw-c in 41 s\n" in status_text(answer)
    answer["peers"][1] |= {"fit": False}
    assert "    back to gw-b in 41 s\n" in status_text(answer)


def test_maintenance_says_until_when_and_why() -> None:
    text = status_text(quiet(maintenance={"on": True, "left_s": 4320.0, "reason": "new fan"}))
    assert re.search(r"^- maintenance until \d\d:\d\d, 1 h 12 min left, new fan$", text, re.MULTILINE)
    assert "maintenance" not in status_text(quiet(maintenance={"on": False}))
    out = group("pump", "gw-b", "OUT", barred_by=["operator"])
    held = quiet(maintenance={"left_s": 5.0, "groups": ["pump"]}, groups=[out])
    assert [alarm.text.split()[0] for alarm in alarms(held)] == ["maintenance"], "and no word of an operator besides"
    held["groups"][0] |= {"driver": None, "drivers": []}
    assert alarms(held)[0].remedy == "it is out of service here for maintenance: twinbeat maintenance off"


def test_early_warnings_state_figure_trend_and_when_it_matters() -> None:
    figures = {"figure": "loss on cross", "unit": "%", "value": 1.25, "limit": 5, "trend_per_hour": 0.5,
               "matters_in_s": 27000}
    text = " ".join(status_text(quiet(early_warnings=[figures])).split())
    assert "! early: loss on cross is 1.25 %, limit 5 %, +0.5 % an hour; would matter in 7 h 30 min" in text
    own = status_text(quiet(early_warnings=[{"text": "the board grows hot", "matters_in_s": 60}]))
    assert "! early: the board grows hot; would matter in 60 s" in own


def faulty(**changes: Any) -> dict[str, Any]:
    answer = quiet()
    answer["peers"][0] |= changes
    return answer


def lonely() -> dict[str, Any]:
    return faulty(alive=False) | {"groups": [group("pump", "gw-a", "ACTIVE", alone=True)]}


def pathed(**changes: Any) -> dict[str, Any]:
    answer = quiet()
    answer["links"][0]["paths"]["gw-b"] |= changes
    return answer


CHECK = {"name": "app", "state": "failed", "effect": "unfit", "since_ms": 1500.0, "value": "not there"}


@pytest.mark.parametrize(
    ("answer", "level", "text", "remedy"),
    [
        (faulty(config_mismatch=True), "bad", "ANOTHER CONFIGURATION", "twinbeat check"),
        (faulty(version_mismatch=True), "bad", "ANOTHER PROTOCOL VERSION", "install the same"),
        (faulty(alive=False, dead=True), "bad", "its agent DIED", "systemctl status"),
        (faulty(alive=False, heard_ms_ago=None), "bad", "NEVER HEARD", "cables"),
        (faulty(fit=False), "bad", "gw-b is not fit to drive", "on gw-b: twinbeat status"),
        (pathed(state="RX_DEAD"), "doubt", "link cross: RX_DEAD to gw-b", "receiving line"),
        (pathed(state="TX_DEAD"), "doubt", "link cross: TX_DEAD to gw-b", "sending line"),
        (quiet(groups=[group("pump", "gw-b", "OUT", barred_by=["output fault"])]), "bad", "an output of pump failed",
         "twinbeat in pump"),
        (quiet(groups=[group("pump", "gw-b", "OUT", barred_by=["operator"])]), "note", "out of service here",
         "twinbeat in pump"),
        (quiet(groups=[group("pump", None, "OUT", barred_by=["operator"])]), "bad", "NOBODY DRIVES pump",
         "twinbeat in pump"),
        (quiet(groups=[group("pump", None, "LISTEN")]), "bad", "NOBODY DRIVES pump", "still listens"),
        (quiet(groups=[group("pump", None, "STANDBY")]), "bad", "NOBODY DRIVES pump", "twinbeat why pump"),
        (quiet(groups=[group("pump", None, "STANDBY")], fit=False), "bad", "NOBODY DRIVES pump", "failed checks"),
        (lonely(), "doubt", "alone", "bring the other node back"),
        (quiet(groups=[group("pump", "gw-a", "ACTIVE", alone=True)]), "doubt", "nobody else could take pump over",
         "on gw-b: twinbeat status"),
        (quiet(health={"score": 0, "load": 1, "checks": [CHECK]}), "bad", "check app failed: not there", ""),
        (quiet(third_voter={"type": "arbiter", "heard_ago_ms": None}), "bad", "voter (arbiter) NEVER HEARD", "fault"),
        (quiet(third_voter={"port": {"plugged": False, "path": "/dev/x"}}), "bad", "UNPLUGGED: /dev/x", "two votes"),
    ],
)
def test_every_fault_is_an_alarm_with_its_remedy(answer: dict[str, Any], level: str, text: str, remedy: str) -> None:
    found = alarms(answer)
    assert any(alarm.level == level and text in alarm.text and remedy in alarm.remedy for alarm in found), found
    assert found[0].level == sorted((alarm.level for alarm in found), key=["bad", "doubt", "note"].index)[0]


def test_a_cable_between_two_others_is_not_this_nodes_trouble() -> None:
    answer = quiet()
    answer["links"].append({"name": "other", "type": "serial", "here": False, "up": False, "paths": {}})
    assert status_text(answer) == GOOD_DAY


def test_no_fault_no_alarm() -> None:
    assert alarms(quiet()) == [] and alarms(sharded(4, 4)) == [] and alarms({}) == []


def test_more_alarms_than_fit_are_counted() -> None:
    answer = quiet(early_warnings=[{"text": f"figure {number}"} for number in range(9)])
    assert "! and 3 more: twinbeat status --groups" in status_text(answer)
    assert "figure 8" in status_text(answer, every_group=True)


def test_many_groups_show_the_undriven_ones_first() -> None:
    groups = [group(f"g{number}", None if number == 33 else "gw-a", "ACTIVE") for number in range(40)]
    text = status_text(quiet(families=[], groups=groups))
    assert "g33" in text and "and 30 more, all driven: twinbeat status --groups" in text
    assert len(text.splitlines()) <= 35


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    answer = sharded(32, 32, warnings=["w" * 300, "many words " * 40], node="g" * 63, pair="p" * 63)
    answer["early_warnings"] = [{"text": "a long story " * 30}]
    answer["links"] = [{"name": "l" * 63, "type": "mqtt", "paths": {"n" * 63: {"state": "DOWN"}},
                        "broker": {"connected": False, "reason": "r " * 200}}]
    answer["groups"][3] |= {"driver": None, "drivers": []}
    for paint in (Paint(False), Paint(True)):
        for every in (False, True):
            lines = status_text(answer, paint=paint, width=width, every_group=every).splitlines()
            assert max(length(line) for line in lines) <= width


def test_texts_of_others_cannot_steer_the_terminal() -> None:
    answer = quiet(node="gw\x1b[2J", warnings=["\x1b]0;owned\x07"])
    answer["links"][0]["name"] = "li\x1b[31mnk\r"
    answer["peers"][0] |= {"groups": {"pu\x9bmp": "\x1b[5mX"}, "fit": False}
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", status_text(answer))


def test_of_an_agent_that_says_little_the_rest_is_passed_over() -> None:
    sparse = {"ok": True, "groups": [{"driver": "x"}], "peers": [{}], "links": [{"up": True, "tx_dead": True}, {}]}
    text = status_text(sparse)
    assert "TX_DEAD" in text and "NEVER HEARD" in text
    assert status_text({"groups": "odd", "links": [1], "families": 3, "third_voter": [], "warnings": "w"})


# ---------------------------------------------------------------- paint


class Screen(io.StringIO):
    def __init__(self, tty: bool) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


@pytest.mark.parametrize(
    ("mode", "tty", "environ", "on"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_when_there_are_colours(mode: str, tty: bool, environ: dict[str, str], on: bool) -> None:
    assert paint_for(mode, Screen(tty), environ).on is on


def test_a_screen_is_at_most_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, wide in (("200", 80), ("66", 66), ("3", 40)):
        monkeypatch.setenv("COLUMNS", columns)
        assert columns_for(Screen(True)) == wide
        assert columns_for(Screen(False)) == 80


def test_cutting_keeps_colours_closed() -> None:
    red = Paint(True)("bad", "0123456789")
    assert cut(red, 20) == red and cut("0123456789", 10) == "0123456789"
    assert cut("0123456789", 6) == "0123.."
    assert cut(red, 6) == "\x1b[1;31m0123\x1b[0m\x1b[0m.." and length(cut(red, 6)) == 6


def test_small_words() -> None:
    assert compact(["lines.2", "lines.0", "lines.1", "pump", "lines.5"]) == "lines.0-2, lines.5 and pump"
    assert compact(["a.01", "b"]) == "a.01 and b" and compact([]) == "nothing"
    assert runs([3, 1, 2, 7, 7]) == ["1-3", "7"]
    assert clean("a\x00b\u202ec") == "a b c"
    assert wrap("", 20, "x ") == ["x"]
