"""Opening what the file names: which link a fault belongs to, and when an adapter is judged."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from config_files import write
from run_fakes import FakeGate, FakeRuntime

from twinbeat import run_open
from twinbeat.config import load_config
from twinbeat.errors import DeviceError
from twinbeat.run_open import broker_options, open_ports


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
