"""Every bad input that an operator can give: one clear message, the documented exit code, nothing switched on.

The processes are real, the devices are ptys, the relay boards are read byte by byte. That the bench would see an
output go on is a test of its own. What is said of a message: it names the place, the value and the remedy.
"""
from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bad_input_rig import KEY, LIMIT_S, PAIR, SWAPPED, Agent, Bench, check, held, quiet_environment
from broker_fixture import MOSQUITTO, free_port, running_broker

from twinbeat.config_digest import pair_id_of
from twinbeat_core.frames import WIRE_VERSION, Frame
from twinbeat_core.wire import encode, wrap

pytestmark = pytest.mark.integration

IDLE_MS = 2300.0
"""Longer than listening and the lonely start: a node that is idle for so long was kept from driving."""
OUTPUT = "release_ms = 8\n"
PERIOD = "period_ms = 10\n"
PR_CAPBSET_DROP = 24
READ_ANYTHING = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
CONSOLE = "/dev/console" if os.path.exists("/dev/console") else "/dev/tty"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in set(os.environ) - set(quiet_environment()):
        monkeypatch.delenv(name)
    bench = Bench(tmp_path)
    yield bench
    bench.finish()


def one_message(lines: list[str], *parts: str) -> str:
    """The only line of standard error, with all of this in it and nothing of the program's inside."""
    assert len(lines) == 1, lines
    assert lines[0].startswith("twinbeat: ")
    text = lines[0].removeprefix("twinbeat: ")
    for part in parts:
        assert part in text, text
    for inside in ("Traceback", "Error(", "<class", "internal error", "None"):
        assert inside not in text
    return text


def one_complaint(agent: Agent, *parts: str) -> str:
    """The only warning or error of a running agent with the first part in it; it has the others too."""
    found = [text for text in agent.complaints() if parts[0] in text]
    assert len(found) == 1, agent.lines
    for part in parts:
        assert part in found[0], found[0]
    assert not any("Traceback" in line or "internal error" in line for line in agent.lines)
    return found[0]


# ---------------------------------------------------------------- what ends a start


class Case(NamedTuple):
    """`prepare(bench)` spoils something and gives changes to the file, or a context in which it is spoilt."""

    code: int
    parts: tuple[str, ...]
    changes: tuple[tuple[str, str], ...] = ()
    prepare: Callable[[Bench], AbstractContextManager[object] | None] = lambda bench: None
    options: Callable[[Bench], dict[str, Any]] = lambda bench: {}


def key_of(bench: Bench) -> Path:
    return bench.folder / "pair.key"


def no_key(bench: Bench) -> None:
    key_of(bench).unlink()


def directory_as_key(bench: Bench) -> None:
    key_of(bench).unlink()
    key_of(bench).mkdir()


def closed_key(bench: Bench) -> None:
    key_of(bench).chmod(0)


def open_key(bench: Bench) -> None:
    key_of(bench).chmod(0o644)


def short_key(bench: Bench) -> None:
    key_of(bench).write_text("1234\n")


def without_privilege(bench: Bench) -> dict[str, Any]:
    """Even root is then refused what the mode of a file forbids."""

    def drop() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in READ_ANYTHING:
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)

    return {"preexec_fn": drop} if os.geteuid() == 0 else {}


def with_pretended_gpio(bench: Bench) -> dict[str, Any]:
    """A gpiod module whose line 17 is held by the kernel's SPI driver."""
    chip = bench.folder / "gpiochip0"
    chip.touch()
    (bench.folder / "gpiod.py").write_text(
        "import sys\n"
        f"sys.path.append({str(Path(__file__).parents[1] / 'hardware')!r})\n"
        "import pretend_gpiod\n"
        "hardware = pretend_gpiod.Hardware()\n"
        "lines = [pretend_gpiod.Line(name=f'GPIO{number}') for number in range(28)]\n"
        "lines[17].kernel_consumer = 'spi0 CS0'\n"
        f"hardware.chips[{str(chip)!r}] = ('pinctrl-rp1', lines)\n"
        "globals().update(vars(hardware.module()))\n"
    )
    return {"env": quiet_environment(PYTHONPATH=str(bench.folder))}


def hook(start: str, stop: str = "/bin/true", deadline_ms: int = 300) -> tuple[str, str]:
    """A second output of the group, with these commands."""
    more = f'[[group.output]]\ntype = "hook"\nstart = {start}\nstop = ["{stop}"]\ndeadline_ms = {deadline_ms}\n'
    return OUTPUT, f"{OUTPUT}\n{more}"


def gpio(bench: Bench) -> tuple[str, str]:
    chip = bench.folder / "gpiochip0"
    return OUTPUT, f'{OUTPUT}\n[[group.output]]\ntype = "gpio"\nchip = "{chip}"\nline = "GPIO17"\nrelease_ms = 8\n'


FILE_CASES = {
    "unknown key": Case(3, ("twinbeat.toml: [[link]] 1:", '"periode_ms"', 'did you mean "period_ms"?'),
                        ((PERIOD, "periode_ms = 10\n"),)),
    "unknown table": Case(3, ("twinbeat.toml: top level:", '"timeing"', 'did you mean "timing"?'),
                          (("[[group]]", "[timeing]\n[[group]]"),)),
    "baud too slow": Case(3, ("[[link]] 1: baud = 9600 is too slow for period_ms = 10", "takes 63.54 ms",
                              "set baud = 230400 or more, or set period_ms = 159 or more"),
                          (("baud = 921600", "baud = 9600"),)),
    "two nodes with one name": Case(3, ("twinbeat.toml: line 9", 'two nodes with the name "gw-a"',
                                        "give every node a name of its own"), (("[node.gw-b]", "[node.gw-a]"),)),
    "names that differ in case": Case(3, ("[node.GW-A]", 'differs from node "gw-a" only in case', "another name"),
                                      (("[node.gw-b]", "[node.GW-A]"), ('["gw-a", "gw-b"]', '["gw-a"]'))),
}

KEY_CASES = {
    "missing": Case(4, ("pair.key: there is no key file; write one with: twinbeat keygen /",), prepare=no_key),
    "directory": Case(4, ("pair.key: this is a directory; name another key_file and write one with: twinbeat keygen",),
                      prepare=directory_as_key),
    "unreadable": Case(4, ("pair.key: this user may not read the key file; chown it to the agent's user",),
                       prepare=closed_key, options=without_privilege),
    "world-readable": Case(4, ("pair.key: everybody can read the key (mode 0644); run: chmod 600 /",),
                           prepare=open_key),
    "malformed": Case(4, ("pair.key: the key has 4 characters, not one line of 32 hex digits;", "keygen"),
                      prepare=short_key),
}

DEVICE_CASES = {
    "no crosslink": Case(5, ("link cross: /dev/ttyNONE: there is no such port; the",),
                         (("{gw-a-cross}", "/dev/ttyNONE"),)),
    "no relay board": Case(5, ('group "pump", output "relay#1" (serial-relay): port /dev/ttyNONE is not there',),
                           (("{gw-a-relay}", "/dev/ttyNONE"),)),
    "no tty": Case(5, ("link cross: /dev/null: this is no serial port; the",), (("{gw-a-cross}", "/dev/null"),)),
    "console as crosslink": Case(5, (f"link cross: {CONSOLE}: ", "is this machine's console", "; use the port"),
                                 (("{gw-a-cross}", CONSOLE),)),
    "console as relay": Case(5, (f"port {CONSOLE} is the system console", "; name the port that the relay board is on"),
                             (("{gw-a-relay}", CONSOLE),)),
    "crosslink busy": Case(5, ("link cross: ", "gw-a-cross: the port is in use by python", "(pid {pid})",
                               "stop it or use another port"), prepare=lambda bench: held(bench.folder / "gw-a-cross")),
    "relay board busy": Case(5, ('output "relay#1"', "gw-a-relay is in use by python", "(pid {pid})",
                                 "end that program or use another port"),
                             prepare=lambda bench: held(bench.folder / "gw-a-relay")),
    "hook missing": Case(5, ('group "pump", output "nowhere" (hook): start = /opt/nowhere does not exist',
                             "write its whole path"), (hook('["/opt/nowhere"]'),)),
    "hook not executable": Case(5, ('output "passwd" (hook): start = /etc/passwd is not executable: chmod +x',),
                                (hook('["/etc/passwd"]'),)),
}


def refused(bench: Bench, case: Case, *check_words: str) -> None:
    """The agent ends with one message, the code, and no output on; `twinbeat check` says the same."""
    with case.prepare(bench) or contextlib.nullcontext() as given:
        parts = tuple(part.replace("{pid}", str(given)) for part in case.parts)
        config = bench.config(*case.changes)
        code, lines = bench.agent(config, **case.options(bench)).ended()
        text = one_message(lines, *parts)
        assert code == case.code, text
        checked, out, errors = check(config, "--json", *check_words, **case.options(bench))
    assert checked == case.code
    if case.code == 3:
        assert (errors, out) == (f"twinbeat: {text}\n", "")
    else:
        assert errors == ""
        assert [" ".join(problem.split()) for problem in json.loads(out)["problems"]] == [text]
    bench.assert_nothing_on()


@pytest.mark.parametrize("name", FILE_CASES)
def test_a_file_that_is_wrong(bench: Bench, name: str) -> None:
    refused(bench, FILE_CASES[name])


@pytest.mark.parametrize("name", KEY_CASES)
def test_a_key_that_cannot_be_used(bench: Bench, name: str) -> None:
    if name == "unreadable" and os.geteuid() == 0:
        probe = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, timeout=LIMIT_S,
                               check=True, **without_privilege(bench))
        effective = int(re.findall(r"CapEff:\s*(\w+)", probe.stdout)[0], 16)
        if any(effective >> capability & 1 for capability in READ_ANYTHING):
            pytest.skip("this root cannot give up its right to read every file")
    refused(bench, KEY_CASES[name])


@pytest.mark.parametrize("name", DEVICE_CASES)
def test_a_device_that_cannot_be_used(bench: Bench, name: str) -> None:
    refused(bench, DEVICE_CASES[name], "--devices")


def test_a_gpio_line_in_use_names_its_holder(bench: Bench) -> None:
    case = Case(5, ("line GPIO17 (offset 17) of", 'gpiochip0 is in use by "spi0 CS0"', "take"),
                (gpio(bench),), options=with_pretended_gpio)
    refused(bench, case, "--devices")


def test_a_second_agent_of_the_same_node(bench: Bench) -> None:
    config = bench.config()
    first = bench.agent(config, known=False)
    pid = first.ask("ping")["pid"]
    code, lines = bench.agent(config, known=False).ended()
    one_message(lines, "bad-gw-a.lock: an agent for this node is already running", f"(pid {pid})", "stop it first")
    assert code == 7
    assert first.ask("ping")["pid"] == pid
    bench.assert_nothing_on()


# ---------------------------------------------------------------- what a running agent meets


def test_the_bench_sees_an_output_go_on(bench: Bench) -> None:
    agent = bench.agent(bench.config(("lonely_start_ms = 1500", "lonely_start_ms = 0")))
    agent.wait_line("CLAIMING -> ACTIVE")
    code, _ = agent.end()
    assert code == 0
    assert bench.orders["gw-a-relay"][0] is False and bench.orders["gw-a-relay"][-1] is False
    assert bench.orders["gw-a-relay"].count(True) == 1
    with pytest.raises(AssertionError):
        bench.assert_nothing_on()


def test_the_peer_speaks_another_protocol_version(bench: Bench) -> None:
    frame = Frame(source=1, incarnation=65537, stamp=1, pair_id=pair_id_of(PAIR), version=WIRE_VERSION + 1,
                  version_max=WIRE_VERSION + 2)
    agent = bench.agent(bench.config())
    bench.beacon = ("gw-a-cross", wrap(encode(frame, KEY)))
    agent.wait_line("protocol version")
    status = agent.wait_idle(IDLE_MS)
    assert status["peers"][0]["version_mismatch"] is True
    one_complaint(agent, "protocol version",
                  f"gw-b: speaks protocol version {WIRE_VERSION + 1}, this node {WIRE_VERSION}",
                  "install the same version of twinbeat on both gateways")
    assert agent.end()[0] == 0
    bench.assert_nothing_on()


def test_the_peer_runs_another_configuration(bench: Bench) -> None:
    bench.wired = True
    one = bench.agent(bench.config(), "gw-a")
    other = bench.agent(bench.config((PERIOD, "period_ms = 20\n"), name="other.toml"), "gw-b")
    digests = {agent.node: f"{agent.ask('ping')['config_digest']:04x}" for agent in (one, other)}
    for agent, peer in ((one, "gw-b"), (other, "gw-a")):
        agent.wait_line("another configuration")
        agent.wait_idle(IDLE_MS)
        one_complaint(agent, "another configuration", f"{peer}: runs another configuration ({digests[peer]}, this node "
                      f"{digests[agent.node]})", "compare what twinbeat check prints on both", "restart")
    for agent, name in ((one, "twinbeat.toml"), (other, "other.toml")):
        assert f"(configuration {digests[agent.node]})" in check(bench.folder / name, "--no-key")[1]
        assert agent.end()[0] == 0
    bench.assert_nothing_on()


def test_a_second_agent_of_the_same_node_elsewhere(bench: Bench) -> None:
    """Both have been in service before, and neither hears the real peer: they keep each other from starting."""
    bench.wired = True
    here = bench.agent(bench.config())
    there = bench.agent(bench.config(text=SWAPPED, name="there.toml"), run="there")
    for agent in (here, there):
        agent.wait_line("second agent")
        status = agent.wait_idle(IDLE_MS)
        assert any("second agent" in warning for warning in status["warnings"])
        one_complaint(agent, "second agent", "gw-a: a second agent of pair bad runs on another machine under this name",
                      "start it there with its own name (--node gw-b, or TWINBEAT_NODE)")
        assert agent.end()[0] == 0
    bench.assert_nothing_on()


def test_hooks_that_hang(bench: Bench) -> None:
    """The stop command at the start and the start command at the takeover: each ends at its deadline, is told once."""
    script = bench.folder / "hang"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(stat.S_IRWXU)
    changes = (hook(f'["{script}"]', str(script)), ("lonely_start_ms = 1500", "lonely_start_ms = 0"))
    agent = bench.agent(bench.config(*changes))
    agent.wait_line("an earlier agent may have left")
    what = ("group pump, output hang: ", f"{script} ran past its deadline and was ended after 3",
            "mend the command, or give it a longer deadline_ms")
    one_complaint(agent, "an earlier agent may have left", *what)
    agent.wait_line("start failed")
    status = agent.wait_status(lambda status: status["groups"][0]["state"] == "OUT")
    assert status["groups"][0]["barred_by"] == ["output fault"]
    one_complaint(agent, "start failed", *what)
    one_complaint(agent, "an output failed", "pump: ", "twinbeat in pump")
    assert agent.end()[0] == 0
    assert bench.orders["gw-a-relay"][-1] is False


# ---------------------------------------------------------------- brokers


def broker_lines(port: int, more: str = "") -> tuple[str, str]:
    return PERIOD, f'{PERIOD}\n[[link]]\ntype = "mqtt"\nname = "plant"\nbroker = "mqtt://127.0.0.1:{port}"\n{more}'


def drives_all_the_same(bench: Bench, config: Path, text: str, *parts: str) -> None:
    """Both agents say what is wrong with the broker, once; the crosslink carries the pair; one node drives."""
    bench.wired = True
    agents = [bench.agent(config, node) for node in ("gw-a", "gw-b")]
    for agent in agents:
        agent.wait_line(text)
    first = agents[0].wait_status(lambda status: bool(status["groups"][0]["driver"]))
    driver = first["groups"][0]["driver"]
    for agent in agents:
        status = agent.wait_status(lambda status: status["groups"][0]["driver"] == driver)
        links = {link["name"]: link for link in status["links"]}
        assert links["cross"]["up"] and not links["plant"]["up"]
        assert parts[0] in links["plant"]["broker"]["reason"]
        one_complaint(agent, 'broker "plant"', text, *parts)
    boards = {node: bench.orders[f"{node}-relay"] for node in ("gw-a", "gw-b")}
    assert [node for node, orders in boards.items() if True in orders] == [driver]
    for agent in reversed(agents):
        assert agent.end()[0] == 0


def test_nothing_listens_where_the_broker_should_be(bench: Bench) -> None:
    port = free_port()
    drives_all_the_same(bench, bench.config(broker_lines(port)), f'broker "plant" (127.0.0.1:{port}): ',
                        "nothing listens there", "is the broker running, and is the port right?")


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: no broker that refuses was tested")
def test_a_broker_that_refuses_the_password(bench: Bench) -> None:
    (bench.folder / "users").write_text("")
    password = bench.folder / "broker.password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    with running_broker(bench.folder, f"allow_anonymous false\npassword_file {bench.folder}/users\n") as broker:
        more = 'user = "twinbeat"\npassword_file = "broker.password"\n'
        drives_all_the_same(bench, bench.config(broker_lines(broker.port, more)),
                            f'broker "plant" (127.0.0.1:{broker.port}): ', "refused: ", "`user` and `password_file`")


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: no broker was tested")
def test_the_same_node_twice_at_one_broker(bench: Bench) -> None:
    with running_broker(bench.folder) as broker:
        config = bench.config(broker_lines(broker.port))
        here = bench.agent(config, known=False)
        here.wait_line("connected")
        bench.agent(bench.config(broker_lines(broker.port), text=SWAPPED, name="there.toml"), known=False, run="there")
        here.wait_line("another client")
        found = [text for text in here.complaints() if "another client" in text]
        # Some brokers say why they end the first connection, of others it can only be guessed.
        assert len(found) == 1 and found[0].startswith(f'broker "plant" (127.0.0.1:{broker.port}): '), here.lines
        assert "two agents run for the same node" in found[0] or "only one agent may run as gw-a" in found[0]
        assert here.ask("ping")["ok"]
    bench.assert_nothing_on()
