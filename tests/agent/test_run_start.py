"""Starts that fail: one error with place and remedy, nothing switched on, nothing left behind."""
from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_fakes import FakeRuntime
from run_rig import Rig

from twinbeat.errors import ConfigError, DeviceError, KeyFileError, LinkError
from twinbeat.run import run_agent
from twinbeat_hardware.errors import OutputError


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


def no_outputs(rig: Rig) -> bool:
    return not rig.made or "start" not in rig.made[-1].calls


def test_no_gate(rig: Rig) -> None:
    rig.write()
    with pytest.raises(DeviceError, match="start the agent with: twinbeat run"):
        run_agent(gate=None, config_path=rig.config, node="gw-a")


def test_missing_key(rig: Rig) -> None:
    rig.key.unlink()
    with pytest.raises(KeyFileError):
        rig.start_only()
    assert not rig.made


def test_missing_password_file(rig: Rig) -> None:
    rig.links = '[[link]]\ntype = "mqtt"\nbroker = "mqtt://h"\nuser = "u"\npassword_file = "no.txt"\nmissed = 20\n'
    with pytest.raises(KeyFileError, match=r"password_file .*no.txt: No such file"):
        rig.start_only()
    assert not rig.made


def test_a_busy_udp_port(rig: Rig) -> None:
    rig.write()
    port = int(rig.config.read_text().split("127.0.0.1:")[1].split('"')[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        with pytest.raises(LinkError, match=rf'udp link "direct": 127.0.0.1 port {port}: the port is in use'):
            rig.write = lambda: None  # type: ignore[method-assign]
            rig.start_only()
    assert no_outputs(rig)


def test_an_output_that_cannot_be_opened(rig: Rig) -> None:
    rig.outputs = '[[group.output]]\ntype = "mock"\nfail = "open"\n'
    with pytest.raises(OutputError, match="mock"):
        rig.start_only()
    assert rig.rt.calls == []


def test_a_control_group_that_does_not_exist(rig: Rig) -> None:
    rig.agent_lines = 'control_group = "no-such-group"'
    with pytest.raises(ConfigError, match='control_group = "no-such-group"'):
        rig.start_only()
    assert no_outputs(rig)


def test_after_a_failed_start_the_lock_is_free_for_the_next(rig: Rig) -> None:
    rig.outputs = '[[group.output]]\ntype = "mock"\nfail = "open"\n'
    with pytest.raises(OutputError):
        rig.start_only()
    rig.gate.end()
    rig.outputs = '[[group.output]]\ntype = "mock"\n'
    assert rig.run(lambda: None) == 0


def test_a_start_that_fails_half_way_stops_the_real_time_part(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FakeRuntime) -> None:
        raise DeviceError("no heartbeat")

    monkeypatch.setattr(FakeRuntime, "heartbeat", broken)
    with pytest.raises(DeviceError, match="no heartbeat"):
        rig.start_only()
    assert rig.rt.calls[-1] == "fail"
