"""Early warning tried on a real pair on this machine: a calm wire, then one whose loss creeps up, and what it costs.

    python -m twinbeat.warning.live --seconds 120

Two agents of the demo, a wire and a broker. The figures are those of this machine at this moment.
"""
from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twinbeat.demo import procs, rig
from twinbeat.demo.agents import NODES, Agent, PairSettings, config_text
from twinbeat.errors import DeviceError
from twinbeat.warning.trial import percentile

EVERY_S = 1.0
HORIZON_S = 600.0
"""The shortest there is: the trial shall end before the day does."""
CREEP = 2.0
"""The creeping loss takes so many times as long as the calm."""
LOSS_LIMIT_PERCENT = 20.0
FIRST_PERCENT, LAST_PERCENT = 0.1, 30.0
SETTLE_S = 5.0


class WatchedRig(rig.Rig):
    """The demo's rig whose agents have a [warning] table."""

    def __init__(self, directory: Path, predict: str, every_s: float) -> None:
        super().__init__(directory, PairSettings(), seed=1)
        horizon_s = HORIZON_S if every_s == EVERY_S else 3600
        self._table = f'\n[warning]\npredict = "{predict}"\nevery_s = {every_s:g}\nhorizon_s = {horizon_s:g}\n'

    def _start_agents(self, proxy_port: int) -> None:
        usual = config_text
        rig.config_text = lambda *words: usual(*words) + self._table  # type: ignore[attr-defined]
        try:
            super()._start_agents(proxy_port)
        finally:
            rig.config_text = usual  # type: ignore[attr-defined]


def cpu_percent(agents: list[Agent], seconds: float) -> float:
    """What the agents' workers use, in percent of one processor, each, over some seconds."""
    pids = [agent.pid for agent in agents if agent.pid is not None]
    begun_ns, begun_s = sum(procs.cpu_ns(pid) for pid in pids), time.monotonic()
    time.sleep(seconds)
    used_ns = sum(procs.cpu_ns(pid) for pid in pids) - begun_ns
    return used_ns / 1e7 / (time.monotonic() - begun_s) / len(pids)


def look(agents: list[Agent], seconds: float, seen: dict[str, list[float]]) -> list[str]:
    """Collect every figure once a sample for some seconds; the texts of the warnings that stood."""
    end_s, texts = time.monotonic() + seconds, set()
    while time.monotonic() < end_s:
        for agent in agents:
            answer = agent.control("warnings")
            for figure in answer.get("figures", []):
                seen.setdefault(figure["figure"], []).append(float(figure["value"]))
            texts |= {str(warning["text"]) for warning in answer.get("warnings", [])}
        time.sleep(EVERY_S)
    return sorted(texts)


def creep(watched: rig.Rig, agents: list[Agent], seconds: float) -> dict[str, Any]:
    """Raise the wire's loss by the same factor a second; when the first warning came, and at which loss."""
    begun_s = time.monotonic()
    first: dict[str, Any] = {"warned_after_s": None, "limit_after_s": None}
    while (passed_s := time.monotonic() - begun_s) < seconds:
        percent = FIRST_PERCENT * (LAST_PERCENT / FIRST_PERCENT) ** (passed_s / seconds)
        watched.wire(set={"loss": percent / 100})
        if first["limit_after_s"] is None and percent >= LOSS_LIMIT_PERCENT:
            first["limit_after_s"] = round(passed_s, 1)
        standing = [one for agent in agents for one in agent.control("warnings").get("warnings", [])
                    if str(one["figure"]).endswith(".loss")]
        if standing and first["warned_after_s"] is None:
            first |= {"warned_after_s": round(passed_s, 1), "loss_percent": round(percent, 2),
                      "text": str(standing[0]["text"])}
        time.sleep(EVERY_S)
    return first


def run(seconds: float) -> dict[str, Any]:
    """The whole trial: cost without and with early warning, a calm time, a creeping loss."""
    found: dict[str, Any] = {"seconds": seconds, "machine": {"cpus": procs.cpu_count(), "model": procs.cpu_model()}}
    for predict, every_s in (("off", 5.0), ("warn", 5.0), ("warn", EVERY_S)):
        with tempfile.TemporaryDirectory(prefix="twinbeat-warning-") as directory:
            with WatchedRig(Path(directory), predict, every_s) as watched:
                if watched.wait_steady() is None:
                    raise DeviceError("the pair did not become steady: nobody drives")
                agents = [watched.agents[node] for node in NODES]
                time.sleep(SETTLE_S)
                name = "off" if predict == "off" else f"every {every_s:g} s"
                found.setdefault("cpu_percent", {})[name] = round(cpu_percent(agents, seconds / 8), 3)
                if every_s != EVERY_S:
                    continue
                seen: dict[str, list[float]] = {}
                found["calm_warnings"] = look(agents, seconds, seen)
                found["figures"] = {key: {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99),
                                          "max": max(values)} for key, values in sorted(seen.items())}
                found["creeping_loss"] = creep(watched, agents, CREEP * seconds)
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m twinbeat.warning.live", description="Early warning on a pair.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long each part lasts (default 120)")
    print(json.dumps(run(parser.parse_args().seconds), indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
