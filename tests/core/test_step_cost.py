"""The measuring loop of `bench` does the work that it claims to time. Nothing here looks at a clock."""
from __future__ import annotations

import pytest
from world import SERIAL, settings

from twinbeat_core.bench import run_pair
from twinbeat_core.errors import SettingsError
from twinbeat_core.model import State


def test_run_pair_reaches_one_driver_and_one_standby() -> None:
    seconds, first, second = run_pair(settings(0, links=(SERIAL,)), settings(1, links=(SERIAL,)), 5000)
    assert (first, second) == (State.ACTIVE, State.STANDBY)
    assert 1.0 < seconds < 60.0


def test_run_pair_is_the_same_every_time_and_grows_with_the_steps() -> None:
    pair = settings(0), settings(1)
    assert run_pair(*pair, 3000) == run_pair(*pair, 3000)
    assert run_pair(*pair, 3000)[0] < run_pair(*pair, 6000)[0]


def test_run_pair_without_steps_has_only_started() -> None:
    assert run_pair(settings(0), settings(1), 0) == (0.0, State.LISTEN, State.LISTEN)


def test_run_pair_refuses_bad_settings() -> None:
    with pytest.raises(SettingsError, match="drift_ppm = -5"):
        run_pair(settings(0, drift_ppm=-5), settings(1), 10)
