"""The GPIO driver against chips in memory: first level, polarity, and every way in which a line is not to be had."""
from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import hardware_benches as benches
import pytest
from pretend_gpiod import Hardware, Line

from twinbeat_core.outputs import FastOutput
from twinbeat_hardware.errors import OutputBusyError, OutputError, OutputMissingError, OutputPermissionError
from twinbeat_hardware.gpio import GpioOutput
from twinbeat_hardware.output import OutputPlace
from twinbeat_hardware.spec import GpioSpec

CHIP = "pinctrl-rp1"


@pytest.fixture
def hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hardware:
    return benches.pretend_hardware(tmp_path, monkeypatch.setattr, chips=2)


def line_of(hardware: Hardware, offset: int) -> Line:
    return next(iter(hardware.chips.values()))[1][offset]


def open_spec(place: OutputPlace, **keys: object) -> FastOutput:
    return GpioOutput(GpioSpec(**({"chip": CHIP, "line": "GPIO17"} | keys)), place).open()  # type: ignore[arg-type]


def refused(place: OutputPlace, kind: type[OutputError], **keys: object) -> str:
    with pytest.raises(kind) as caught:
        open_spec(place, **keys)
    text = str(caught.value)
    assert text.startswith('group "pump", output "') and "\n" not in text
    assert caught.value.exit_code == 5
    return text


@pytest.mark.parametrize("line", ["GPIO17", 17, "17"])
@pytest.mark.parametrize("chip", [CHIP, "gpiochip0", "path"])
def test_chip_and_line_go_by_any_of_their_names(
    hardware: Hardware, place: OutputPlace, tmp_path: Path, chip: str, line: str | int
) -> None:
    fast = open_spec(place, chip=str(tmp_path / "gpiochip0") if chip == "path" else chip, line=line)
    assert line_of(hardware, 17).used()
    assert line_of(hardware, 17).consumer == "twinbeat:pump-7/pump"
    os.close(fast.fd)
    assert not line_of(hardware, 17).used()


@pytest.mark.parametrize("active_low", [False, True])
def test_the_first_level_is_off_and_the_bits_are_logical(
    hardware: Hardware, place: OutputPlace, active_low: bool
) -> None:
    fast = open_spec(place, active_low=active_low)
    line = line_of(hardware, 17)
    assert line.history == [active_low]  # off is the high level where on is the low one
    hardware.set_values(fast.fd, fast.gpio_on, fast.gpio_mask)
    hardware.set_values(fast.fd, fast.gpio_off, fast.gpio_mask)
    assert line.history == [active_low, not active_low, active_low]
    assert (fast.kind, fast.gpio_mask, fast.gpio_on, fast.gpio_off) == ("gpio", 1, 1, 0)
    os.close(fast.fd)


def test_read_back_senses_the_other_line_with_its_own_polarity(hardware: Hardware, place: OutputPlace) -> None:
    driver = GpioOutput(
        GpioSpec(chip=CHIP, line="GPIO17", readback="GPIO27", readback_active_low=True, exit="hold"), place
    )
    fast = driver.open()
    line_of(hardware, 27).high = False
    assert driver.read_back() is True
    line_of(hardware, 27).high = True
    assert driver.read_back() is False
    assert fast.readback is False and fast.exit == "hold"
    driver.close()
    assert line_of(hardware, 17).used() and not line_of(hardware, 27).used()
    os.close(fast.fd)


def test_read_back_of_the_line_itself_is_left_to_the_gate(hardware: Hardware, place: OutputPlace) -> None:
    driver = GpioOutput(GpioSpec(chip=CHIP, line=17, readback="self"), place)
    fast = driver.open()
    assert fast.readback is True
    assert driver.read_back() is None
    os.close(fast.fd)


def test_the_consumer_fits_the_kernels_field(hardware: Hardware) -> None:
    place = OutputPlace(group=0, group_name="ü" * 40, node="a", pair="p")
    driver = GpioOutput(GpioSpec(chip=CHIP, line=17), place)
    os.close(driver.open().fd)
    assert 29 <= len(driver.consumer.encode()) <= 31


def test_a_missing_chip_lists_those_present(hardware: Hardware, place: OutputPlace, tmp_path: Path) -> None:
    text = refused(place, OutputMissingError, chip="pinctrl-bcm2835")
    assert 'chip = "pinctrl-bcm2835" is not there' in text
    assert f'{tmp_path}/gpiochip0 "pinctrl-rp1" (28 lines)' in text and '"expander-1" (28 lines)' in text
    assert "/dev/gpiochip77 does not exist" in refused(place, OutputMissingError, chip="/dev/gpiochip77")
    assert "cannot be opened: Inappropriate ioctl" in refused(place, OutputMissingError, chip="/dev/null")


def test_a_machine_without_chips_says_so(hardware: Hardware, place: OutputPlace, tmp_path: Path) -> None:
    for path in tmp_path.glob("gpiochip*"):
        path.unlink()
    assert "this machine has no GPIO chip at all" in refused(place, OutputMissingError)


def test_two_names_of_one_chip_are_one_chip(hardware: Hardware, place: OutputPlace, tmp_path: Path) -> None:
    (tmp_path / "gpiochip4").symlink_to(tmp_path / "gpiochip0")
    os.close(open_spec(place).fd)


def test_a_label_that_fits_two_chips_is_refused(hardware: Hardware, place: OutputPlace, tmp_path: Path) -> None:
    second = str(tmp_path / "gpiochip1")
    hardware.chips[second] = (CHIP, hardware.chips[second][1])
    text = refused(place, OutputError)
    assert "gpiochip0 and " in text and "write the path of the right one" in text


def test_a_chip_that_may_not_be_opened_names_the_group(hardware: Hardware, place: OutputPlace, tmp_path: Path) -> None:
    hardware.closed_paths = set(hardware.chips)
    assert "add it to the group gpio" in refused(place, OutputPermissionError)
    path = str(tmp_path / "gpiochip0")
    assert f"{path} may not be opened by this user" in refused(place, OutputPermissionError, chip=path)


def test_an_unknown_line_gets_the_nearest_names(hardware: Hardware, place: OutputPlace) -> None:
    text = refused(place, OutputMissingError, line="gpio71")
    assert 'line = "gpio71" is not a line of pinctrl-rp1 (28 lines); nearest: ' in text and "GPIO1" in text
    assert "it has GPIO0, GPIO1, " in refused(place, OutputMissingError, line="RELAY")
    for line in next(iter(hardware.chips.values()))[1]:
        line.name = ""
    assert "its lines have no names: write an offset" in refused(place, OutputMissingError)


@pytest.mark.parametrize("line", [28, "28"])
def test_an_offset_beyond_the_chip_names_its_range(hardware: Hardware, place: OutputPlace, line: str | int) -> None:
    assert "line = 28: pinctrl-rp1 has 28 lines, 0 to 27" in refused(place, OutputMissingError, line=line)


def test_a_name_that_two_lines_have_is_refused(hardware: Hardware, place: OutputPlace) -> None:
    line_of(hardware, 3).name = "GPIO17"
    assert 'line = "GPIO17" names offsets 3, 17' in refused(place, OutputError)


def test_a_line_in_use_names_its_holder(hardware: Hardware, place: OutputPlace) -> None:
    line_of(hardware, 17).kernel_consumer = "spi0 CS0"
    text = refused(place, OutputBusyError)
    assert 'line GPIO17 (offset 17) of ' in text and 'is in use by "spi0 CS0"' in text
    line_of(hardware, 17).kernel_consumer = ""
    first = open_spec(place)
    assert 'is in use by "twinbeat:pump-7/pump": another agent or another output' in refused(place, OutputBusyError)
    os.close(first.fd)
    line_of(hardware, 17).refuse_errno = errno.EBUSY  # taken after it was looked at
    assert "is in use by somebody who gave no name" in refused(place, OutputBusyError)


def test_what_the_kernel_refuses_is_told(hardware: Hardware, place: OutputPlace) -> None:
    line_of(hardware, 17).input_only = True
    text = refused(place, OutputError, readback="GPIO27")
    assert "line 17 of " in text and "was refused by the kernel: Invalid argument" in text
    assert not line_of(hardware, 27).used(), "the sensing line is held after a failed open"


def test_a_sensing_line_that_is_the_driven_one_is_refused(hardware: Hardware, place: OutputPlace) -> None:
    assert "are the same line" in refused(place, OutputError, readback=17)
    assert 'readback = "GPIO99" is not a line' in refused(place, OutputMissingError, readback="GPIO99")


def test_a_missing_or_old_gpiod_is_named(
    hardware: Hardware, place: OutputPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", type(sys)("gpiod"))
    assert "is version 1, which lacks the interface" in refused(place, OutputMissingError)
    monkeypatch.setitem(sys.modules, "gpiod", None)
    assert "the Python package gpiod is not installed: pip install 'gpiod>=2'" in refused(place, OutputMissingError)


def test_the_pretended_module_has_the_shape_of_the_real_one() -> None:
    gpiod = pytest.importorskip("gpiod")
    settings = gpiod.LineSettings(
        direction=gpiod.line.Direction.OUTPUT, active_low=True, output_value=gpiod.line.Value.INACTIVE
    )
    assert settings.active_low and not bool(settings.output_value)
    assert isinstance(gpiod.LineRequest.fd, property)
    assert {"get_info", "get_line_info", "request_lines"} <= set(dir(gpiod.Chip))
    with pytest.raises(OSError):
        gpiod.Chip("/dev/null")
