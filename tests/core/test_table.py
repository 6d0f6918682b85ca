"""The transition table is total, the diagram is drawn from it, and the stubs say what the compiled enums are."""
from __future__ import annotations

import ast
import enum
from pathlib import Path

import pytest

import twinbeat_core
from twinbeat_core import diagram, model, triggers, wire
from twinbeat_core.groups import fill_table
from twinbeat_core.model import State
from twinbeat_core.table import MEANING, TRANSITIONS
from twinbeat_core.triggers import Trigger

PACKAGE = Path(twinbeat_core.__file__).parent
STATES_MD = PACKAGE.parents[1] / "docs" / "states.md"


def test_every_pair_of_state_and_trigger_is_there() -> None:
    assert set(TRANSITIONS) == set(State)
    for state in State:
        assert set(TRANSITIONS[state]) == set(Trigger), state.name
        for following in TRANSITIONS[state].values():
            assert following is None or following in set(State)


def test_every_trigger_has_a_meaning() -> None:
    assert set(MEANING) == set(Trigger)
    assert all(text and len(set(MEANING.values())) == len(Trigger) for text in MEANING.values())


def test_a_start_is_possible_everywhere_and_owns_nothing() -> None:
    assert {TRANSITIONS[state][Trigger.TR_START] for state in State} == {State.LISTEN}


def test_only_a_majority_leads_to_driving_and_only_release_leads_away() -> None:
    into = {(s, t) for s in State for t in Trigger if TRANSITIONS[s][t] == State.ACTIVE and s != State.ACTIVE}
    away = {f for t, f in TRANSITIONS[State.ACTIVE].items() if f not in (None, State.ACTIVE) and t != Trigger.TR_START}
    assert into == {(State.CLAIMING, Trigger.TR_MAJORITY)}
    assert away == {State.RELEASING}


def test_releasing_ends_only_when_the_outputs_are_off() -> None:
    assert {t for t, f in TRANSITIONS[State.RELEASING].items() if f not in (None, State.LISTEN)} == {Trigger.TR_OFF}


def test_every_state_can_be_reached_and_left() -> None:
    reached, new = set(), {State.LISTEN}
    while new:
        reached |= new
        new = {f for s in new for f in TRANSITIONS[s].values() if f is not None} - reached
    assert reached == set(State)
    for state in State:
        assert any(f not in (None, state) for f in TRANSITIONS[state].values())


def test_a_table_with_a_pair_left_out_is_refused() -> None:
    holed = {s: dict(row) for s, row in TRANSITIONS.items()}
    del holed[State.OUT][Trigger.TR_IN]
    with pytest.raises(KeyError):
        fill_table(holed)
    fill_table(TRANSITIONS)


# ---------------------------------------------------------------- the diagram
def test_states_md_is_what_the_table_renders() -> None:
    assert STATES_MD.read_text(encoding="utf-8") == diagram.render()
    assert diagram.main([str(STATES_MD), "--check"]) == 0


def test_diagram_shows_every_transition_and_every_refusal() -> None:
    text = diagram.render()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    for state in State:
        assert rows[state.name].count("refused") == sum(f is None for f in TRANSITIONS[state].values())
    assert "    CLAIMING --> ACTIVE: majority\n" in text


def test_diagram_check_fails_on_a_changed_or_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "states.md"
    assert diagram.main([str(path), "--check"]) == 1
    assert not path.exists()
    assert diagram.main([str(path)]) == 0
    assert diagram.main([str(path), "--check"]) == 0
    path.write_text(path.read_text(encoding="utf-8").replace("CLAIMING", "ACTIVE", 1), encoding="utf-8")
    assert diagram.main([str(path), "--check"]) == 1
    assert "differs from the transition table" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--wrong"], ["--check"]])
def test_diagram_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert diagram.main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")


# ---------------------------------------------------------------- enums as type checkers see them
@pytest.mark.parametrize("module", [model, triggers, wire], ids=lambda m: m.__name__)
def test_stub_lists_the_enums_with_their_values(module: object) -> None:
    name = module.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    tree = ast.parse((PACKAGE / f"{name}.pyi").read_text(encoding="utf-8"))
    declared = {
        node.name: {a.targets[0].id: ast.literal_eval(a.value)  # type: ignore[attr-defined]
                    for a in node.body if isinstance(a, ast.Assign)}
        for node in tree.body if isinstance(node, ast.ClassDef) and node.bases
    }
    compiled = {
        cls.__name__: {member.name: int(member) for member in cls}
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, enum.IntEnum) and cls.__module__ == module.__name__  # type: ignore[attr-defined]
    }
    assert declared == compiled
    assert compiled
