"""The record of a role change: its sentence, its figures, its file."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_fakes import core_view, peer_view, state_report

from twinbeat.run_view import evidence
from twinbeat.run_words import CAUSES, LINK_TEXTS, OTHER_TEXTS, Names, Reported, sentence
from twinbeat.verdict import FILE_BYTES_MAX, KEPT, Verdicts, append, is_role_change, load
from twinbeat_core.model import Cause, OutputCode, ReportCode, State

S, C = State, Cause
NAMES = Names("gw-b", ("gw-a", "gw-b"), ("pump",), ("cross", "mqtt"))
MS = 1_000_000


class Book:
    """A book of verdicts whose timers, disk and telemetry are in the test's hands."""

    def __init__(self, path: Path) -> None:
        self.view = core_view("STANDBY", peers=[peer_view(0, state="ACTIVE", epoch=8, silent_ms=43.2, links=2)])
        self.timers: list[Callable[[], None]] = []
        self.published: list[dict[str, Any]] = []
        self.path = path / "v.jsonl"
        self.verdicts = Verdicts(
            NAMES,
            "pump-7",
            self.path,
            lambda group: evidence(self.view, NAMES, group),
            lambda _seconds, call: self.timers.append(call),
            lambda job: job(),
            self.published.append,
        )

    def takeover(self, cause: int = C.CAUSE_SILENCE, by: int = C.CAUSE_MAJORITY) -> None:
        self.verdicts.state_changed(state_report(S.STANDBY, S.CLAIMING, cause, epoch=17, at_ns=100 * MS))
        self.verdicts.state_changed(state_report(S.CLAIMING, S.ACTIVE, by, epoch=17, at_ns=102 * MS))


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def test_takeover_is_one_record_with_cause_sentence_evidence_and_times(book: Book) -> None:
    book.takeover()
    book.verdicts.drive_changed(0, 17, True, 102 * MS + 10_000)
    assert book.published == []
    book.verdicts.output_changed(0, 17, OutputCode.OUTPUT_DRIVEN, 102 * MS + 60_000)
    (record,) = book.published
    assert record["sentence"] == (
        "gw-b took over pump (epoch 17): the other node was silent on every link until its promise ran out "
        "(gw-a last heard 43.2 ms ago)."
    )
    assert (record["cause"], record["by"], record["epoch"], record["node"]) == ("SILENCE", "MAJORITY", 17, "gw-b")
    assert (record["from"], record["to"]) == ("CLAIMING", "ACTIVE")
    assert record["measured"] == {"claim_ms": 2.0, "decided_to_ordered_ms": 0.01, "ordered_to_on_ms": 0.05}
    assert record["timers"]["grant_max_ms"] == 90.0
    (peer,) = record["evidence"]["peers"]
    assert (peer["node"], peer["said_state"], peer["said_epoch"]) == ("gw-a", "ACTIVE", 8)
    assert set(peer["links"]) == {"cross", "mqtt"}
    assert json.loads(book.path.read_text()) == record


def test_order_and_confirmation_may_come_before_the_report(book: Book) -> None:
    book.verdicts.drive_changed(0, 17, True, 102 * MS)
    book.verdicts.output_changed(0, 17, OutputCode.OUTPUT_DRIVEN, 102 * MS + 50_000)
    book.takeover()
    assert book.published[0]["measured"]["ordered_to_on_ms"] == 0.05


def test_letting_go_waits_for_off(book: Book) -> None:
    book.verdicts.state_changed(state_report(S.ACTIVE, S.RELEASING, C.CAUSE_HANDOVER, epoch=17, at_ns=200 * MS))
    book.verdicts.drive_changed(0, 17, False, 200 * MS)
    book.verdicts.output_changed(0, 17, OutputCode.OUTPUT_DRIVEN, 200 * MS)
    assert book.published == []
    book.verdicts.output_changed(0, 17, OutputCode.OUTPUT_OFF, 200 * MS + 120_000)
    assert book.published[0]["sentence"] == "gw-b let go of pump (epoch 17): planned handover."
    assert book.published[0]["measured"]["ordered_to_off_ms"] == 0.12


def test_without_a_confirmation_the_record_comes_all_the_same(book: Book) -> None:
    book.takeover()
    book.verdicts.drive_changed(0, 16, True, 102 * MS)
    assert book.published == []
    book.timers[0]()
    assert book.published[0]["measured"] == {"claim_ms": 2.0}
    book.timers[0]()
    assert len(book.published) == 1


def test_a_second_change_completes_the_first(book: Book) -> None:
    book.takeover()
    book.verdicts.state_changed(state_report(S.ACTIVE, S.RELEASING, C.CAUSE_LAPSED, epoch=17, at_ns=150 * MS))
    assert [record["to"] for record in book.published] == ["ACTIVE"]
    book.verdicts.flush()
    assert [record["to"] for record in book.published] == ["ACTIVE", "RELEASING"]


def test_a_claim_of_another_epoch_is_not_this_takeovers_cause(book: Book) -> None:
    book.verdicts.state_changed(state_report(S.STANDBY, S.CLAIMING, C.CAUSE_SILENCE, epoch=9))
    book.verdicts.state_changed(state_report(S.CLAIMING, S.ACTIVE, C.CAUSE_MAJORITY, epoch=17))
    book.verdicts.flush()
    assert book.published[0]["cause"] == "MAJORITY"
    assert book.published[0]["measured"] == {}


def test_driving_alone_is_said(book: Book) -> None:
    book.takeover(by=C.CAUSE_ALONE)
    book.verdicts.flush()
    assert "it drives alone, because no other node votes" in book.published[0]["sentence"]


def test_a_group_of_all_nodes_is_not_taken_over(book: Book) -> None:
    book.verdicts = Verdicts(NAMES, "pump-7", book.path, lambda group: evidence(book.view, NAMES, group),
                             lambda _seconds, call: book.timers.append(call), lambda job: job(), book.published.append,
                             ["pump"])
    book.takeover(C.CAUSE_COLD_START)
    book.verdicts.flush()
    (record,) = book.published
    assert record["overlap"] is True
    assert record["sentence"] == "gw-b drives pump too (epoch 17), as every node does that may."


def test_the_gate_may_be_quicker_than_the_note_of_the_order(book: Book) -> None:
    book.takeover()
    book.verdicts.drive_changed(0, 17, True, 103 * MS)
    book.verdicts.output_changed(0, 17, OutputCode.OUTPUT_DRIVEN, 102 * MS - 1)
    assert book.published == [], "before the decision it cannot be this order"
    book.verdicts.output_changed(0, 17, OutputCode.OUTPUT_DRIVEN, 102 * MS + 17_000)
    assert book.published[0]["measured"] == {"claim_ms": 2.0, "decided_to_ordered_ms": 0.017, "ordered_to_on_ms": 0.0}


@pytest.mark.parametrize("old", list(S))
@pytest.mark.parametrize("new", list(S))
def test_what_a_role_change_is(old: State, new: State) -> None:
    drives = (old == S.ACTIVE) != (new == S.ACTIVE)
    service = (old == S.OUT) != (new == S.OUT)
    if old != new:
        assert is_role_change(old, new) == (drives or service)


def test_last_and_group_filter(book: Book) -> None:
    for epoch in (1, 2, 3):
        book.verdicts.state_changed(state_report(S.CLAIMING, S.ACTIVE, C.CAUSE_MAJORITY, epoch=epoch))
        book.verdicts.flush()
    assert [record["epoch"] for record in book.verdicts.last(2)] == [2, 3]
    assert book.verdicts.last(5, ["other"]) == []
    assert book.verdicts.last(0) == []


def test_records_survive_a_restart_and_broken_lines_are_passed_over(book: Book) -> None:
    book.takeover()
    book.verdicts.flush()
    with book.path.open("ab") as file:
        file.write(b'{"sentence": "half a li\n[]\n{"sentence": 5}\n')
    assert [record["epoch"] for record in load(book.path)] == [17]
    assert [record["epoch"] for record in Book(book.path.parent).verdicts.last(9)] == [17]
    assert load(book.path.with_name("nothing")) == []


def test_the_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    line = json.dumps({"sentence": "x" * 10_000}).encode() + b"\n"
    for _ in range(3 * FILE_BYTES_MAX // len(line)):
        append(path, line)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["v.jsonl", "v.jsonl.1"]
    assert all(entry.stat().st_size <= FILE_BYTES_MAX for entry in tmp_path.iterdir())
    assert 0 < len(load(path)) <= KEPT


def test_an_enormous_record_loses_its_evidence_not_its_sentence(book: Book) -> None:
    book.view["peers"] = [peer_view(0, links=2) for _ in range(400)]
    book.takeover()
    book.verdicts.flush()
    assert json.loads(book.path.read_text())["evidence"] == {}
    assert load(book.path)[0]["sentence"].startswith("gw-b took over pump")


def test_every_code_and_cause_of_the_core_has_words() -> None:
    assert set(CAUSES) == set(Cause)
    own = {ReportCode.RP_STATE, ReportCode.RP_SELF_LATE, ReportCode.RP_GRANT}
    assert own | set(LINK_TEXTS) | set(OTHER_TEXTS) == set(ReportCode)
    for code in ReportCode:
        text = sentence(Reported(1, code, 0, 0, 1, 3, 2_000_000, 1), NAMES)
        assert text and "{" not in text and "RP_" not in text


def test_unknown_numbers_are_still_shown() -> None:
    assert sentence(Reported(1, 99, 5, 9, 9, 3, 0, 0), NAMES) == "REPORT 99"
    assert (NAMES.node_name(8), NAMES.node_name(15)) == ("the third voter", "node 15")
    assert (NAMES.group_name(4), NAMES.link_name(6)) == ("group 4", "link 6")
