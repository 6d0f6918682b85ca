"""The faults: how each is injected, how it is healed, and what twinbeat promises about it."""
from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from twinbeat.demo import procs, switchboard
from twinbeat.demo.agents import PairSettings
from twinbeat.demo.helper import RigError
from twinbeat.demo.layout import GROUP, MODES
from twinbeat.demo.rig import Rig
from twinbeat.demo.voters import KINDS

AFTER_RESUME_S = 0.5      # how long a resumed worker is watched before the trial goes on
HANDOVER_TIMEOUT_S = 6.0
PAIR_ALONE = ("hot-warm",)
TAKEN_OVER = ("hot-warm", "hot-hot", "hot-spare")


@dataclass(frozen=True)
class Fault:
    """One kind of fault. `inject(rig, driver, loss_percent)` returns the stamp of the fault in nanoseconds.

    Outside of hot-warm `driver` is the node that it strikes.
    """

    name: str
    words: str                                  # what happens; {driver} and {other} are filled in
    inject: Callable[[Rig, str, float], int]
    heal: Callable[[Rig, str], None]
    moves_role: bool                            # the other node is expected to take over
    default_trials: int
    default_seconds: float = 0.0                # how long it lasts, where it does not end with the takeover
    stays_silent: bool = False                  # no notice can come: with lone = "hold" nobody may take over
    needs: tuple[str, ...] = ()                 # the third voters of which one must be there
    opens_contacts: bool = False                # an arbiter that gates the outputs lets go of all of them meanwhile
    moves_gated: bool = False                   # the role moves where an arbiter gates the outputs
    modes: tuple[str, ...] = MODES              # where it makes sense
    not_there: str = ""                         # why it makes none elsewhere

    def moves(self, settings: PairSettings) -> bool:
        """Whether the other node is expected to take over."""
        return self.moves_role or (settings.gated and self.moves_gated)

    def double_allowed(self, settings: PairSettings) -> bool:
        """Whether two drivers at once are outside of what twinbeat promises."""
        if self.name == "freeze":    # the frozen gate holds its output, and only an arbiter in the output path opens it
            return not settings.gated
        return self.name == "cut-all" and settings.lone == "takeover" and settings.third_voter is None

    def undriven_allowed(self, settings: PairSettings) -> bool:
        """Whether nobody driving is what the configuration asks for, or all that can be."""
        if settings.third_voter is None:
            return settings.lone == "hold" and self.stays_silent
        return settings.gated and self.opens_contacts


def _cut(places: list[int], on: bool) -> dict[int, bool]:
    return dict.fromkeys(places, on)


SERIAL = [switchboard.wire_cut(node) for node in range(switchboard.NODES)]
MQTT = [switchboard.mqtt_cut(node) for node in range(switchboard.NODES)]


def _kill(rig: Rig, driver: str, _loss: float) -> int:
    return rig.inject(signals=[(rig.agents[driver].pid, signal.SIGKILL)])


def _stop(rig: Rig, driver: str, _loss: float) -> int:
    return rig.inject(signals=[(rig.agents[driver].pid, signal.SIGSTOP)])


def _resume(rig: Rig, driver: str) -> None:
    rig.inject(signals=[(rig.agents[driver].pid, signal.SIGCONT)])
    time.sleep(AFTER_RESUME_S)


def _power(rig: Rig, driver: str, _loss: float) -> int:
    agent = rig.agents[driver]
    # The gate first: it is the one that would still say something about the worker's death.
    at_ns = rig.inject(flags={switchboard.dark(rig.nodes.index(driver)): True},
                       signals=[(agent.gate_pid, signal.SIGKILL), (agent.pid, signal.SIGKILL)])
    rig.power_gone(driver, at_ns)
    return at_ns


def _power_back(rig: Rig, driver: str) -> None:
    rig.agents[driver].kill()
    rig.power_back(driver)
    rig.restart_agent(driver)


def _freeze(rig: Rig, driver: str, _loss: float) -> int:
    agent = rig.agents[driver]
    return rig.inject(signals=[(agent.gate_pid, signal.SIGSTOP), (agent.pid, signal.SIGSTOP)])


def _thaw(rig: Rig, driver: str) -> None:
    agent = rig.agents[driver]
    rig.inject(signals=[(agent.gate_pid, signal.SIGCONT), (agent.pid, signal.SIGCONT)])
    time.sleep(AFTER_RESUME_S)


def _voter_kill(rig: Rig, _driver: str, _loss: float) -> int:
    return rig.inject(signals=[(rig.voter.pid if rig.voter else None, signal.SIGKILL)])


def _voter_back(rig: Rig, _driver: str) -> None:
    rig.start_voter()


def _voter_restart(rig: Rig, driver: str, loss: float) -> int:
    at_ns = _voter_kill(rig, driver, loss)
    rig.start_voter()
    return at_ns


def _voter_unplug(rig: Rig, _driver: str, _loss: float) -> int:
    return rig.cut_voter(True)


def _voter_plug(rig: Rig, _driver: str) -> None:
    rig.cut_voter(False)


def _voter_cable(rig: Rig, driver: str, _loss: float) -> int:
    return rig.inject(flags={switchboard.voter_cut(rig.nodes.index(driver)): True})


def _voter_cable_back(rig: Rig, driver: str) -> None:
    rig.inject(flags={switchboard.voter_cut(rig.nodes.index(driver)): False})


def _exit(rig: Rig, driver: str, _loss: float) -> int:
    return rig.inject(signals=[(rig.agents[driver].pid, signal.SIGTERM)])


def _restart(rig: Rig, driver: str) -> None:
    rig.restart_agent(driver)


def _handover(rig: Rig, driver: str, _loss: float) -> int:
    at_ns = procs.now_ns()
    asked = {"group": GROUP} if rig.settings.single else {"all": True}
    answer = rig.agents[driver].control("handover", HANDOVER_TIMEOUT_S, **asked)
    if not answer.get("ok"):
        raise RigError(f"{driver} refused the handover: {answer.get('error')}")
    return at_ns


def _cut_serial(rig: Rig, _driver: str, _loss: float) -> int:
    return rig.inject(flags=_cut(SERIAL, True))


def _cut_mqtt(rig: Rig, _driver: str, _loss: float) -> int:
    at_ns = rig.inject(flags=_cut(MQTT, True))
    rig.proxy(resume=True)
    return at_ns


def _cut_all(rig: Rig, _driver: str, _loss: float) -> int:
    at_ns = rig.inject(flags=_cut(SERIAL + MQTT, True))
    rig.proxy(resume=True)
    return at_ns


def _uncut(rig: Rig, _driver: str) -> None:
    rig.inject(flags=_cut(SERIAL + MQTT, False))
    rig.proxy(resume=True)


def _partition(rig: Rig, driver: str, _loss: float) -> int:
    return rig.partition(driver, True)


def _rejoin(rig: Rig, driver: str) -> None:
    rig.partition(driver, False)


def _broker_restart(rig: Rig, _driver: str, _loss: float) -> int:
    at_ns = procs.now_ns()
    rig.restart_broker()
    return at_ns


def _loss(rig: Rig, _driver: str, loss_percent: float) -> int:
    return rig.set_loss(loss_percent)


def _lossless(rig: Rig, _driver: str) -> None:
    rig.set_loss(0)


def _nothing(_rig: Rig, _driver: str, _loss: float) -> int:
    return procs.now_ns()


def _leave(_rig: Rig, _driver: str) -> None:
    return


FAULTS: dict[str, Fault] = {fault.name: fault for fault in (
    Fault("kill", "the agent of {driver} is killed (SIGKILL)", _kill, _restart, True, 5),
    Fault("stop", "the agent of {driver} freezes (SIGSTOP)", _stop, _resume, True, 5, stays_silent=True),
    Fault("freeze", "worker and gate of {driver} freeze (SIGSTOP)", _freeze, _thaw, True, 3, stays_silent=True,
          modes=PAIR_ALONE, not_there="what it shows is the arbiter that gates the outputs"),
    Fault("power", "{driver} loses power", _power, _power_back, True, 5, stays_silent=True),
    Fault("exit", "the agent of {driver} is stopped as planned (SIGTERM)", _exit, _restart, True, 5),
    Fault("handover", "{driver} is told to hand over", _handover, _leave, True, 5,
          modes=TAKEN_OVER, not_there="every node drives, so there is nobody to hand over to"),
    Fault("cut-serial", "every serial cable is cut", _cut_serial, _uncut, False, 3, 2.0),
    Fault("cut-mqtt", "the network to the broker is cut", _cut_mqtt, _uncut, False, 3, 2.0),
    Fault("cut-all", "every serial cable and the network are cut at once", _cut_all, _uncut, False, 3, 2.0, True,
          modes=("hot-warm", "hot-hot", "overlap"), not_there="then no node may drive; one of three nodes "
          "is cut off with --fault partition"),
    Fault("partition", "every link of {driver} is cut", _partition, _rejoin, True, 3, 1.0, modes=("hot-spare",),
          not_there="it needs a third node; a pair is cut in two with --fault cut-all"),
    Fault("voter-kill", "the third voter is killed (SIGKILL)", _voter_kill, _voter_back, False, 2, 2.0,
          needs=KINDS, opens_contacts=True, modes=PAIR_ALONE),
    Fault("voter-restart", "the third voter is killed and starts again", _voter_restart, _leave, False, 2, 6.0,
          needs=KINDS, opens_contacts=True, modes=PAIR_ALONE),
    Fault("voter-unplug", "the third voter is unplugged from both gateways", _voter_unplug, _voter_plug, False, 2, 2.0,
          needs=KINDS, opens_contacts=True, modes=PAIR_ALONE),
    Fault("cut-voter", "the cable between {driver} and the arbiter is cut", _voter_cable, _voter_cable_back, False, 2,
          2.0, needs=("arbiter",), moves_gated=True, modes=PAIR_ALONE),
    Fault("broker-restart", "the MQTT broker restarts", _broker_restart, _leave, False, 3, 2.0),
    Fault("loss", "frames are lost at random on all links", _loss, _lossless, False, 1, 20.0),
    Fault("none", "nothing happens", _nothing, _leave, False, 1, 10.0),
)}
