"""The whole rig with stand-in agents: trials, healing, and that nothing is left when it ends."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from twinbeat.demo import procs
from twinbeat.demo.agents import NODES, PairSettings, config_text
from twinbeat.demo.broker import find_broker
from twinbeat.demo.faults import FAULTS
from twinbeat.demo.helper import RigError
from twinbeat.demo.rig import Rig
from twinbeat.demo.trial import TrialRecord, Trials

STANDIN = [sys.executable, str(Path(__file__).with_name("standin.py"))]
needs_broker = pytest.mark.skipif(find_broker() is None, reason="no MQTT broker: install mosquitto or the demo extra")


def run_trials(directory: Path, fault: str, count: int, seconds: float = 0.3) -> tuple[Rig, Trials, list[TrialRecord]]:
    """Some trials with the stand-in agents; the rig is closed again."""
    rig = Rig(directory, PairSettings(), seed=1, agent_command=STANDIN)
    with rig:
        trials = Trials(rig, FAULTS[fault], count, seconds, 0.0, 1, use_sample_s=0.1)
        records = list(trials.records())
    return rig, trials, records


def takeover_once(record: TrialRecord) -> bool:
    """The other node drives, nobody ever together with it."""
    figures = record.figures
    return figures.driver == record.driver != figures.new_driver and figures.role_changes == 1 and not figures.no_driver


def untouched(record: TrialRecord) -> bool:
    """The role stayed where it was, without a break."""
    figures = record.figures
    return (figures.takeover_ms, figures.gap_ms, figures.role_changes, figures.dropouts) == (None, 0, 0, 0)


@needs_broker
@pytest.mark.parametrize(("fault", "expected"), [
    ("kill", takeover_once),
    ("stop", takeover_once),
    ("power", takeover_once),
    ("exit", takeover_once),
    ("handover", takeover_once),
    ("cut-mqtt", untouched),
    ("broker-restart", untouched),
    ("none", untouched),
])
def test_a_trial_of_each_fault(tmp_path: Path, fault: str, expected: Callable[[TrialRecord], bool]) -> None:
    rig, trials, (record,) = run_trials(tmp_path, fault, 1)
    assert expected(record), record.figures
    assert set(trials.use) == set(NODES)
    assert all(helper.process.poll() is not None for helper in rig.helpers.values())
    assert all(agent.pid is None and agent.gate_pid is None for agent in rig.agents.values())
    assert rig.broker.pid is None


@needs_broker
def test_both_on_at_once_is_seen(tmp_path: Path) -> None:
    """The stand-in knows one link only, so a cut of it makes two drivers."""
    _, _, (record,) = run_trials(tmp_path, "cut-serial", 1)
    assert record.figures.overlap_ms > 100
    assert record.figures.role_changes == 1


@needs_broker
def test_an_agent_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('the port is missing')"]
    rig = Rig(tmp_path, PairSettings(), agent_command=command)
    with pytest.raises(RigError, match="ended while it started: the port is missing"), rig:
        pytest.fail("it cannot have started")
    assert all(helper.process.poll() is not None for helper in rig.helpers.values())


def test_the_configuration_is_what_the_agents_read(tmp_path: Path) -> None:
    from twinbeat.config import load_config

    path = tmp_path / "twinbeat.toml"
    ports = {node: {"cross": f"/dev/{node}-cross", "relay": f"/dev/{node}-relay"} for node in NODES}
    path.write_text(config_text(PairSettings(5.0, "hold", 2.0), 18830, ports))
    config = load_config(path, NODES[1])
    assert [link.type for link in config.links] == ["serial", "mqtt"]
    assert config.links[0].period_ms == 5
    group = config.groups[0]
    assert (group.lone, group.prefer) == ("hold", tuple(NODES))
    assert group.release_ms == pytest.approx(2.0, abs=0.1)
    assert config.serial_path("cross") == f"/dev/{NODES[1]}-cross"


def test_cpu_time_and_memory_of_a_process_can_be_read() -> None:
    me = os.getpid()
    assert procs.cpu_ns(me) > 0
    assert (procs.rss_mib(me) or 0) > 1
    assert (procs.pss_mib(me) or 0) > 1
    assert procs.is_alive(me)
    assert not procs.is_stopped(me)
