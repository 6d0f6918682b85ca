"""Opening what the file names: which link a fault belongs to, and when an adapter is judged."""
from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from config_files import write
from mode_files import HOT_HOT, SPARE
from run_fakes import FakeGate, FakeRuntime

from twinbeat import run_open
from twinbeat.config import load_config
from twinbeat.errors import DeviceError
from twinbeat.run_open import broker_options, open_outputs, open_ports


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The order of what is done with a port; the port itself is /dev/null."""
    order: list[str] = []

    def open_it(path: str, baud: int) -> int:
        order.append(f"open {path} {baud}")
        return os.open(os.devnull, os.O_RDWR)

    def judge(path: str, period_ms: float) -> str | None:
        order.append(f"judge {path} {period_ms:g}")
        return f"{path} is a USB adapter"

    monkeypatch.setattr(run_open, "serial_opener", lambda gate_pid: open_it)
    monkeypatch.setattr(run_open, "usb_warning_of", judge)
    return order


def runtime() -> FakeRuntime:
    return FakeRuntime(FakeGate())


def test_an_adapter_is_judged_after_it_was_opened_with_low_latency(tmp_path: Path, opened: list[str]) -> None:
    rt = runtime()
    serials, warnings = open_ports(load_config(write(tmp_path), "gw-a"), rt, 1, lambda call: None)
    assert opened == ["open /dev/ttyAMA0 921600", "judge /dev/ttyAMA0 10"]
    assert warnings == ["link cross: /dev/ttyAMA0 is a USB adapter"]
    assert list(serials) == [0] and [link for link, _ in rt.ports] == [0]
    os.close(rt.ports[0][1])


def test_a_port_that_cannot_be_used_names_its_link(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, period_ms: float) -> str | None:
        raise DeviceError(f"{path}: the USB adapter holds received bytes back")

    monkeypatch.setattr(run_open, "usb_warning_of", refuse)
    with pytest.raises(DeviceError, match=r"^link cross: /dev/ttyAMA0: the USB adapter holds"):
        open_ports(load_config(write(tmp_path), "gw-a"), runtime(), 1, lambda call: None)


def test_a_broker_is_found_where_the_file_says(tmp_path: Path) -> None:
    (options, context), = broker_options(load_config(write(tmp_path), "gw-a")).values()
    assert (options.host, options.port, options.tls, context) == ("broker.plant", 1883, False, None)


# ---------------------------------------------------------------- three nodes


class Peers(FakeRuntime):
    """Remembers to whom a UDP link sends."""

    def set_udp(self, link: int, fd: int, peers: list[tuple[str, int]]) -> None:
        self.peers = peers
        os.close(fd)


@pytest.mark.parametrize(("node", "cables"), [("gw-a", [1]), ("gw-b", [1]), ("gw-s", [])])
def test_links_are_opened_where_they_end(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch, node: str, cables: list[int]
) -> None:
    """A UDP link reaches both others; a cable is opened by the two that it joins and by nobody else."""
    monkeypatch.setattr("twinbeat.links.udp.open_udp", lambda name, address: os.open(os.devnull, os.O_RDWR))
    cfg = load_config(write(tmp_path, SPARE), node)
    rt = Peers(FakeGate())
    serials, _ = open_ports(cfg, rt, 1, lambda call: None)
    addresses = {name: (f"10.0.0.{number}", 7400) for number, name in enumerate(cfg.nodes, start=1)}
    assert rt.peers == [addresses[name] for name in cfg.nodes if name != node]
    assert list(serials) == [link for link, _ in rt.ports] == cables
    assert len(opened) == 2 * len(cables)
    for _, fd in rt.ports:
        os.close(fd)


@pytest.mark.parametrize(("node", "groups"), [("gw-a", [0, 1]), ("gw-b", [1]), ("gw-s", [0])])
def test_outputs_are_opened_where_they_may_be_driven(tmp_path: Path, node: str, groups: list[int]) -> None:
    text = SPARE.replace('type = "serial-relay"\nport = "relay"\nboard = "lcus-1"\nrelease_ms = 8', 'type = "mock"')
    outputs = open_outputs(load_config(write(tmp_path, text), node))
    assert sorted(driver.place.group for driver in outputs.drivers) == groups
    outputs.close()


def test_the_hooks_of_every_shard_are_its_own(tmp_path: Path) -> None:
    outputs = open_outputs(load_config(write(tmp_path, HOT_HOT.replace("/bin/poll", "/bin/true")), "gw-a"))
    assert sorted(outputs.slow) == list(range(8))
    assert [hook.place.group_name for hook in (outputs.slow[shard][0] for shard in range(8))] == [
        f"poll.{shard}" for shard in range(8)
    ]
    assert [hook.spec.start[2] for hook in (outputs.slow[shard][0] for shard in range(8))] == list("01234567")
    outputs.drop_descriptors()
    outputs.close()


def test_where_one_output_cannot_be_opened_none_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors and drivers of those before it are closed, whatever the fault is."""
    given: list[int] = []
    closed: list[int] = []

    def build(_spec: Any, place: Any) -> Any:
        def open_it() -> Any:
            if len(given) == 3:
                raise KeyboardInterrupt
            given.append(os.open(os.devnull, os.O_RDWR))
            return SimpleNamespace(fd=given[-1])

        return SimpleNamespace(open=open_it, close=lambda: closed.append(place.group))

    monkeypatch.setattr(run_open, "build_output", build)
    with pytest.raises(KeyboardInterrupt):
        open_outputs(load_config(write(tmp_path, HOT_HOT), "gw-a"))
    assert closed == [0, 0, 1]
    for fd in given:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
