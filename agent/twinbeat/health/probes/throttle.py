"""Does the firmware of a Raspberry Pi report undervoltage or throttling now?"""
from __future__ import annotations

from pathlib import Path

from twinbeat.config_check import ThrottleCheck
from twinbeat.health.probe import Looker, Measured, os_reason, unavailable

FIRMWARE = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
HWMON = Path("/sys/class/hwmon")
SENSOR = "rpi_volt"
BITS = {"undervoltage": 1, "frequency-capped": 2, "throttled": 4, "soft-temperature-limit": 8}


class ThrottleProbe(Looker):
    """Reads the firmware's bits; where the kernel does not show them, the alarm of its voltage sensor alone."""

    def __init__(self, check: ThrottleCheck, firmware: Path = FIRMWARE, hwmon: Path = HWMON) -> None:
        self._faults = check.faults
        self._firmware = firmware
        self._hwmon = hwmon

    def measure(self) -> Measured:
        """Look once."""
        try:
            bits = int(self._firmware.read_text().strip().removeprefix("throttled="), 16)
        except FileNotFoundError:
            return self._alarm()
        except OSError as error:
            return unavailable(f"{self._firmware} cannot be read: {os_reason(error)}")
        except ValueError:
            return unavailable(f"{self._firmware} holds no hexadecimal number")
        return self._verdict(bits)

    def _alarm(self) -> Measured:
        """Without the bits: only undervoltage can be seen."""
        if "undervoltage" in self._faults:
            for sensor in sorted(self._hwmon.glob("hwmon*")):
                try:
                    if (sensor / "name").read_text().strip() == SENSOR:
                        alarms = [int(path.read_text()) for path in sensor.glob("in*_lcrit_alarm")]
                        if alarms:
                            return self._verdict(BITS["undervoltage"] if any(alarms) else 0)
                except (OSError, ValueError) as error:
                    return unavailable(f"{sensor} cannot be read: {error}")
        why = f"neither {self._firmware} nor a {SENSOR} sensor is here; is this a Raspberry Pi?"
        return unavailable(f"not available: {why}")

    def _verdict(self, bits: int) -> Measured:
        now = [name for name, bit in BITS.items() if bits & bit]
        bad = [name for name in now if name in self._faults]
        value = "firmware reports " + (", ".join(now) or "no fault")
        return Measured(not bad, value, f"must not be {' or '.join(self._faults)}", figure=bits & 15)
