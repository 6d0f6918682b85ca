"""One command that changes roles at a time."""
from __future__ import annotations

import pytest

from twinbeat.errors import RefusedError
from twinbeat.run_turn import LOCAL, CommandTurn, who_asks


class Clock:
    def __init__(self) -> None:
        self.now_ns = 5_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def test_second_command_is_refused_with_who_and_how_long() -> None:
    clock = Clock()
    turn = CommandTurn(clock)
    release = turn.take("handover of pump", "operator alice", 4.0)
    clock.now_ns += 1_500_000_000
    with pytest.raises(RefusedError) as refused:
        turn.take("drain", "operator bob", 10.0)
    assert str(refused.value) == (
        "drain refused: handover of pump by operator alice is under way and over in 2.5 s at the latest; "
        "look at its outcome with twinbeat status, then ask again"
    )
    assert refused.value.exit_code == 1
    release()
    turn.take("drain", "operator bob", 10.0)


def test_turn_that_is_not_given_back_ends_by_itself() -> None:
    clock = Clock()
    turn = CommandTurn(clock)
    turn.take("drill", "operator alice", 2.0)
    clock.now_ns += 1_999_999_999
    assert turn.holder is not None
    clock.now_ns += 1
    assert turn.holder is None
    turn.take("out", LOCAL, 1.0)


def test_late_or_second_release_takes_nothing_from_the_next() -> None:
    clock = Clock()
    turn = CommandTurn(clock)
    late = turn.take("drill", "operator alice", 2.0)
    clock.now_ns += 3_000_000_000
    turn.take("out", "operator bob", 2.0)
    late()
    late()
    assert turn.holder is not None and turn.holder.who == "operator bob"


@pytest.mark.parametrize("said", [None, "", 7, ["x"]])
def test_without_a_word_it_was_somebody_here(said: object) -> None:
    assert who_asks({"by": said}) == LOCAL
    assert who_asks({"by": "operator alice"}) == "operator alice"
