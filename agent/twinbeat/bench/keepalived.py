"""keepalived at its shortest interval, measured like the demo: killed, frozen, stopped, under loss, and its cost.

What counts as its output is the virtual address: on while the kernel of a node has it. Same injector, same clock, same
evaluation as for twinbeat.
"""
from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twinbeat.bench.netlab import INTERFACE, NODES, VIRTUAL, AddressWatch, Lab, tool
from twinbeat.demo import procs
from twinbeat.demo.helper import Helper, RigError
from twinbeat.demo.measure import TrialFigures, evaluate, summary
from twinbeat.demo.setup import SetUp
from twinbeat.demo.switchboard import Switchboard
from twinbeat.demo.timeline import Timeline

ADVERT_S = 0.01
PRIORITY = {NODES[0]: 200, NODES[1]: 199}
UP_TIMEOUT_S = 10.0
SETTLE_S = 1.2            # a backup that has settled: several master-down times and its start
TAKEOVER_TIMEOUT_S = 3.0
AFTER_S = 0.2
END_TIMEOUT_S = 5.0
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "planned": signal.SIGTERM}


def unavailable() -> str | None:
    """Why keepalived cannot be measured here; None when it can."""
    if tool("keepalived") is None:
        return "keepalived is not installed"
    if tool("ip") is None:
        return "the ip command is not installed (iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    return None


def config_text(node: str, interval_s: float) -> str:
    """One VRRPv3 instance that holds the virtual address."""
    return (
        f"global_defs {{\n  router_id {node}\n  vrrp_version 3\n  vrrp_garp_master_repeat 1\n"
        "  vrrp_garp_master_delay 0\n}\n"
        f"vrrp_instance pair {{\n  interface {INTERFACE}\n  virtual_router_id 71\n  state BACKUP\n"
        f"  priority {PRIORITY[node]}\n  advert_int {interval_s:g}\n  nopreempt\n"
        f"  virtual_ipaddress {{\n    {VIRTUAL}/32 dev {INTERFACE}\n  }}\n}}\n")


def descendants(pid: int) -> list[int]:
    """A process and all its children, grandchildren and so on."""
    found = [pid]
    for known in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{known}/task"):
                text = Path(f"/proc/{known}/task/{task}/children").read_text()
                found += [int(child) for child in text.split()]
    return found


class Keepalived(SetUp):
    """Both daemons in the lab, and what their address did."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lab = Lab()
        self.timeline = Timeline(NODES)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        Switchboard(directory / "switchboard", create=True)
        self.injector = Helper("injector", "twinbeat.demo.inject", ["--board", str(directory / "switchboard")],
                               directory / "injector.log")
        self.watch: AddressWatch | None = None
        self._children: dict[str, set[int]] = {node: set() for node in NODES}    # adopted when their parent is killed

    def _start(self) -> None:
        procs.set_subreaper(True)
        self.injector.wait_ready()
        self.lab.__enter__()
        self.watch = AddressWatch(self.lab, self.timeline.add)
        self.watch.start()

    def close(self) -> None:
        """Ends both daemons and the lab."""
        for node in list(self.daemons):
            self.end(node)
        if self.watch is not None:
            self.watch.close()
            self.watch = None
        self.lab.close()
        self.injector.close()
        procs.set_subreaper(False)

    def start(self, node: str) -> None:
        """Starts one daemon."""
        config = self.directory / f"{node}.conf"
        config.write_text(config_text(node, ADVERT_S))
        pid_files = [self.directory / f"{node}.pid", self.directory / f"{node}-vrrp.pid"]
        for path in pid_files:
            path.unlink(missing_ok=True)
        words = [tool("ip") or "ip", "netns", "exec", self.lab.names[node], tool("keepalived") or "keepalived",
                 "--dont-fork", "--log-console", "--use-file", str(config), "--vrrp",
                 "--pid", str(pid_files[0]), "--vrrp_pid", str(pid_files[1])]
        with open(self.directory / f"{node}.log", "ab") as log:
            self.daemons[node] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log,
                                                  stderr=subprocess.STDOUT, start_new_session=True)

    def pids(self, node: str) -> list[int]:
        """The daemon's processes, itself first."""
        found = descendants(self.daemons[node].pid)
        self._children[node].update(found[1:])
        return found

    def end(self, node: str) -> None:
        """SIGKILL to all processes of one daemon, and its address taken away."""
        daemon = self.daemons.pop(node, None)
        if daemon is None:
            return
        children = self._children[node] | set(descendants(daemon.pid)[1:])
        for pid in [daemon.pid, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait()
        deadline = time.monotonic() + END_TIMEOUT_S
        while any(procs.is_alive(pid) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in children:
            procs.reap(pid)
        self._children[node] = set()
        self.lab.take_address(node)

    def bring_up(self, master: str) -> None:
        """Both anew: `master` holds the address, the other has settled as its backup."""
        backup = next(node for node in NODES if node != master)
        for node in NODES:
            self.end(node)
        self.timeline.wait(lambda levels: not any(levels.values()), 1.0)
        self.start(master)
        if not self.timeline.wait(lambda levels: levels[master], UP_TIMEOUT_S):
            log = (self.directory / f"{master}.log").read_text(errors="replace").strip().splitlines()
            raise RigError(f"keepalived did not take its address: {log[-1] if log else 'it said nothing'}")
        self.start(backup)
        time.sleep(SETTLE_S)

    def trial(self, kind: str, master: str, chance: random.Random) -> TrialFigures:
        """One fault of the daemon that holds the address."""
        self.bring_up(master)
        time.sleep(chance.uniform(0, 4 * ADVERT_S))
        pids = self.pids(master)
        victims = pids[:1] if kind == "planned" else pids
        self.injector.request(watch=pids)
        fault_ns = self.injector.request(signals=[[pid, int(SIGNALS[kind])] for pid in victims])["at_ns"]
        self.timeline.wait(lambda levels: any(on for node, on in levels.items() if node != master), TAKEOVER_TIMEOUT_S)
        time.sleep(AFTER_S)
        end_ns = procs.now_ns()
        self.injector.request(forget=pids)
        return evaluate(self.timeline.since(fault_ns), fault_ns, end_ns, end_ns)

    def trials(self, kind: str, count: int) -> dict[str, Any]:
        """`count` trials, the roles changing each time."""
        chance = random.Random(count)
        return {"trials": count, **summary([self.trial(kind, NODES[number % 2], chance) for number in range(count)])}

    def loss(self, percent: int, seconds: float) -> dict[str, Any]:
        """Steady with random loss of packets."""
        self.bring_up(NODES[0])
        from_ns = procs.now_ns()
        self.lab.set_loss(percent)
        time.sleep(seconds)
        end_ns = procs.now_ns()
        self.lab.set_loss(0)
        return {"seconds": seconds, **summary([evaluate(self.timeline.since(from_ns), from_ns, end_ns, end_ns)])}

    def cost(self, seconds: float) -> dict[str, Any]:
        """CPU and memory of the master when nothing happens."""
        self.bring_up(NODES[0])
        pids = self.pids(NODES[0])
        from_ns, before = procs.now_ns(), sum(procs.cpu_ns(pid) for pid in pids)
        time.sleep(seconds)
        used = sum(procs.cpu_ns(pid) for pid in pids) - before
        return {"cpu_percent": round(100 * used / (procs.now_ns() - from_ns), 2),
                "rss_mib": round(sum(procs.rss_mib(pid) or 0 for pid in pids), 1),
                "pss_mib": round(sum(procs.pss_mib(pid) or 0 for pid in pids), 1)}


def measure(directory: Path, trials: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything the table has a column for, by name; what failed is left out and said."""
    found: dict[str, Any] = {}
    with Keepalived(directory) as daemons:
        for kind in SIGNALS:
            say(f"keepalived: {kind}, {trials} trials")
            found[kind] = daemons.trials(kind, trials)
        say("keepalived: cost")
        found["cost"] = daemons.cost(min(seconds, 20.0))
        if tool("nft") is None:
            say("keepalived: no loss rows, the nft command is not installed (nftables)")
            return found
        for percent in (10, 30):
            say(f"keepalived: {percent} % loss, {seconds:g} s")
            found[f"loss-{percent}"] = daemons.loss(percent, seconds)
    return found
