"""Every output driver against the one contract; a driver that cannot be present here skips with its reason."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hardware_benches as benches
import pytest

from twinbeat_hardware.contract import CHECKS, Bench, Check, ContractBroken, check_switching
from twinbeat_hardware.mock import MockOutput


def make_bench(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    def prepend_path(first: Path) -> None:
        monkeypatch.setenv("PATH", f"{first}:{os.environ['PATH']}")

    makers: dict[str, Callable[[], Bench]] = {
        "mock": benches.MockBench,
        "serial-relay": benches.SerialRelayBench,
        "hook": lambda: benches.HookBench(folder),
        "systemd": lambda: benches.SystemdBench(folder, prepend_path),
        "arbiter": benches.ArbiterBench,
        "gpio": lambda: benches.PretendGpioBench(folder, monkeypatch.setattr, active_low=False),
        "gpio-active-low": lambda: benches.PretendGpioBench(folder, monkeypatch.setattr, active_low=True),
        "gpio-real": benches.RealGpioBench,
    }
    return makers[kind]()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "kind", ["mock", "serial-relay", "hook", "systemd", "arbiter", "gpio", "gpio-active-low", "gpio-real"]
)
@pytest.mark.timeout(60)
def test_contract(kind: str, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make_bench(kind, tmp_path, monkeypatch)
    reason = bench.absent()
    if reason:
        pytest.skip(f"{bench.name}: {reason}")
    check(bench)


def test_contract_finds_a_stuck_contact() -> None:
    bench = benches.MockBench()
    make = bench.make

    def make_stuck() -> MockOutput:
        driver = make()
        assert isinstance(driver, MockOutput)
        driver.stuck = True
        return driver

    bench.make = make_stuck  # type: ignore[method-assign]
    with pytest.raises(ContractBroken):
        check_switching(bench)
