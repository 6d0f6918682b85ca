"""The control socket: what it answers, what it refuses, and that no client can hold the agent up."""
from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_rig import Caller, Service

from twinbeat.control import CLIENTS_MAX, LINE_BYTES_MAX, ControlSocketError, Reply, group_number, listen
from twinbeat.errors import ConfigError, RefusedError


class Verbs(Service):
    """A few verbs, and the answers that are still owed."""

    def __init__(self, folder: Path) -> None:
        self.later: list[Reply] = []
        super().__init__(folder, {
            "later": lambda _request, reply: self.later.append(reply),
            "no": self._no,
            "broken": lambda _request, _reply: 1 / 0,  # type: ignore[arg-type, return-value]
            "big": lambda _request, reply: reply({"ok": True, "text": "x" * 300_000}),
        })

    @staticmethod
    def _no(_request: dict[str, Any], _reply: Reply) -> None:
        raise RefusedError("the answer is no", 1)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Verbs]:
    service = Verbs(tmp_path)
    yield service
    service.end()


@pytest.fixture
def caller(service: Verbs) -> Iterator[Caller]:
    caller = Caller(service.path)
    yield caller
    caller.close()


def test_a_question_has_an_answer(caller: Caller) -> None:
    assert caller.ask(verb="echo", say="hello") == {"ok": True, "said": "hello"}
    assert caller.ask(verb="echo", say=[1]) == {"ok": True, "said": [1]}


def test_the_socket_is_for_its_group_only(service: Verbs) -> None:
    assert stat.S_IMODE(service.path.stat().st_mode) == 0o660
    assert stat.S_ISSOCK(service.path.stat().st_mode)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"status\n", "not one line of JSON"),
        (b"[1]\n", "names no verb"),
        (b'{"verb": 5}\n', "names no verb"),
        (b'{"verb": "sing"}\n', 'unknown verb "sing"; known are big, broken, echo, later, no'),
        (b"\xff\xfe\n", "not one line of JSON"),
        (b"[" * 5000 + b"\n", "not one line of JSON"),
    ],
)
def test_a_malformed_request_is_explained_and_the_next_one_served(caller: Caller, line: bytes, text: str) -> None:
    caller.send(line)
    answer = caller.line()
    assert (answer["ok"], answer["exit_code"]) == (False, 2)
    assert text in answer["error"]
    assert caller.ask(verb="echo")["ok"]


def test_a_refusal_carries_its_exit_code(caller: Caller) -> None:
    assert caller.ask(verb="no") == {"ok": False, "error": "the answer is no", "exit_code": 1}


def test_a_fault_in_a_verb_is_answered_and_the_agent_lives(caller: Caller) -> None:
    answer = caller.ask(verb="broken")
    assert (answer["ok"], answer["exit_code"]) == (False, 70)
    assert "ZeroDivisionError" in answer["error"]
    assert caller.ask(verb="echo")["ok"]


def test_answers_come_in_order_and_one_at_a_time(service: Verbs, caller: Caller) -> None:
    caller.send(b'{"verb":"later"}\n{"verb":"echo","say":2}\n')
    other = Caller(service.path)
    assert other.ask(verb="echo", say=3)["said"] == 3
    assert len(service.later) == 1
    service.in_loop(lambda: service.later[0]({"ok": True, "said": 1}))
    service.in_loop(lambda: service.later[0]({"ok": True, "said": "twice"}))
    assert [caller.line()["said"], caller.line()["said"]] == [1, 2]
    other.close()


def test_thousands_of_requests_in_one_write(caller: Caller) -> None:
    caller.send(b'{"verb":"echo","say":7}\n' * 2000)
    assert all(caller.line() == {"ok": True, "said": 7} for _ in range(2000))


def test_half_a_line_waits_for_the_rest(caller: Caller) -> None:
    caller.send(b'{"verb":"ec')
    caller.send(b'ho","say":1}\n')
    assert caller.line()["said"] == 1


def test_a_line_without_end_is_cut_off(caller: Caller) -> None:
    caller.send(b"x" * (LINE_BYTES_MAX + 1))
    assert "longer than 65536 bytes" in caller.line()["error"]
    assert caller.file.readline() == b""


def test_a_client_that_leaves_before_its_answer_harms_nobody(service: Verbs, caller: Caller) -> None:
    gone = Caller(service.path)
    gone.send(b'{"verb":"later"}\n')
    assert caller.ask(verb="echo")["ok"]
    gone.close()
    assert caller.ask(verb="echo")["ok"]
    service.in_loop(lambda: [reply({"ok": True}) for reply in service.later])
    assert caller.ask(verb="echo")["ok"]


def test_a_client_that_does_not_read_costs_one_answer_and_is_shown_out(service: Verbs, caller: Caller) -> None:
    slow, deaf = Caller(service.path), Caller(service.path)
    for one in (slow, deaf):
        one.send(b'{"verb":"big"}\n' * 20)
    assert caller.ask(verb="echo")["ok"]
    assert all(len(client._output) < 300_100 for client in service.server._clients)
    assert all(len(slow.line()["text"]) == 300_000 for _ in range(20))
    service.server.idle_limit_s = -1.0
    service.in_loop(service.server.sweep)
    assert service.in_loop(lambda: len(service.server._clients)) == 0
    for one in (slow, deaf):
        one.close()


def test_too_many_clients_are_told_so(service: Verbs) -> None:
    callers = [Caller(service.path) for _ in range(CLIENTS_MAX)]
    assert all(one.ask(verb="echo")["ok"] for one in callers)
    extra = Caller(service.path)
    assert "16 clients are connected already" in extra.line()["error"]
    callers[0].close()
    service.in_loop(lambda: None)
    again = Caller(service.path)
    assert again.ask(verb="echo")["ok"]
    for one in (*callers[1:], extra, again):
        one.close()


def test_the_silent_are_shown_out_but_not_the_waiting(service: Verbs) -> None:
    silent, waiting = Caller(service.path), Caller(service.path)
    assert silent.ask(verb="echo")["ok"]
    waiting.send(b'{"verb":"later"}\n{"verb":"echo","say":1}\n')
    assert Caller(service.path).ask(verb="echo")["ok"]
    service.server.idle_limit_s = -1.0
    service.in_loop(service.server.sweep)
    assert silent.file.readline() == b""
    service.in_loop(lambda: service.later[0]({"ok": True, "said": 0}))
    assert [waiting.line()["said"], waiting.line()["said"]] == [0, 1]


def test_a_dead_agents_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path, None).close()
    assert path.exists()
    listen(path, None).close()
    other = tmp_path / "file"
    other.write_text("precious")
    with pytest.raises(ControlSocketError, match=r"control socket .*file: Address already in use"):
        listen(other, None)
    assert other.read_text() == "precious"


def test_the_sockets_group(tmp_path: Path) -> None:
    import grp

    own = grp.getgrgid(os.getgid()).gr_name
    listen(tmp_path / "s", own).close()
    assert (tmp_path / "s").stat().st_gid == os.getgid()
    with pytest.raises(ConfigError, match=r'control_group = "no-such-group": there is no such group here'):
        group_number("no-such-group")


def test_a_path_too_long_and_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(ControlSocketError, match="longer than 107 bytes; choose a shorter --run-dir"):
        listen(tmp_path / ("x" * 120), None)
    with pytest.raises(ControlSocketError, match="No such file or directory"):
        listen(tmp_path / "no" / "s", None)
