"""One node as a process of its own: the gate first, then the runtime, then lines of JSON both ways.

Started by the tests with its parameters as JSON in argv[1]; every message of the runtime goes to stdout as one
line, commands come over stdin.
"""
from __future__ import annotations

import twinbeat_rt.gate

GATE = twinbeat_rt.gate.fork_gate()

import json  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

from twinbeat_core import events  # noqa: E402
from twinbeat_core.model import CommandCode, LinkKind, Lone  # noqa: E402
from twinbeat_core.outputs import FastOutput  # noqa: E402
from twinbeat_core.settings import GroupSettings, LinkSettings, Settings  # noqa: E402
from twinbeat_rt.runtime import Runtime  # noqa: E402

KEY = bytes(range(16))


def settings(p: dict[str, Any]) -> Settings:
    """A pair with one or two links and one group; alone it takes over after a short while."""
    links = [LinkSettings(kind=LinkKind[kind], period_ms=p["period_ms"], rtt_ms=2, reask_ms=2) for kind in p["links"]]
    group = GroupSettings(lone=Lone.LONE_TAKEOVER, rank=(0, 1), release_ms=p["release_ms"])
    return Settings(
        node_count=2, self_node=p["node"], links=tuple(links), groups=(group,) * p["groups"],
        pair_id=p["pair_id"], config_digest=11, voters=(0, 1), check_ms=p["check_ms"], lonely_start_ms=100.0,
        stagger_ms=20.0, drift_ppm=p["drift_ppm"], third_voter="third_grant_ms" in p,
        third_grant_ms=p.get("third_grant_ms"),
    )


def plain(message: Any) -> dict[str, Any]:
    """A message as JSON can hold it."""
    found = {name: getattr(message, name) for name in message._fields}
    for name, value in found.items():
        if isinstance(value, bytes):
            found[name] = value.hex()
        elif hasattr(value, "name"):
            found[name] = value.name
    return {"type": type(message).__name__, **found}


def say(**line: Any) -> None:
    """One line to the test."""
    os.write(1, (json.dumps(line) + "\n").encode())


class Node:
    """The runtime with what the test asked for."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.rt = Runtime(GATE, settings(p).compile(), KEY, fifo=p["fifo"], lock_memory=p["fifo"],
                          zombie_ms=p["zombie_ms"], record_bytes=p["record_bytes"])
        if "hold_fd" in p:
            GATE.hold_fd(p["hold_fd"])
            os.close(p["hold_fd"])
        self.rt.set_outputs([self.output(i, o) for i, o in enumerate(p["outputs"])])
        for o in p["outputs"]:
            if o["fd"] >= 0:
                os.close(o["fd"])
        for link, fd in p["serial"].items():
            self.rt.set_serial(int(link), fd)
        for link, (fd, peers) in p["udp"].items():
            self.rt.set_udp(int(link), fd, [tuple(peer) for peer in peers])
        if "arbiter" in p:
            self.rt.set_arbiter(p["arbiter"], p["voter"], p["third_grant_ms"])
        warnings = self.rt.start(p["incarnation"], 0, False)
        say(type="Started", pid=os.getpid(), gate=GATE.pid, warnings=warnings)

    @staticmethod
    def output(index: int, o: dict[str, Any]) -> FastOutput:
        """An output that writes what it is given, 0x01 and 0x00 otherwise."""
        return FastOutput(
            name=f"out{index}", group=o.get("group", 0), kind=o.get("kind", "bytes"), fd=o["fd"],
            on=bytes.fromhex(o.get("on", "01")), off=bytes.fromhex(o.get("off", "00")), exit=o.get("exit", "off"),
            stop_argv=tuple(o.get("stop", ())),
        )

    def take(self, message: Any) -> None:
        """Epochs are persisted at once here; everything is shown to the test."""
        if type(message).__name__ == "PersistCeiling":
            self.rt.post(events.Persisted(0, message.epoch))
        say(**plain(message))

    def view(self) -> dict[str, Any]:
        """The runtime's view as JSON can hold it."""
        view: dict[str, Any] = self.rt.view()
        if view["arbiter"]:
            view["arbiter"]["told"] = view["arbiter"]["told"].hex()
        return view

    def obey(self, line: dict[str, Any]) -> bool:
        """One command of the test; False ends the process."""
        verb = line["do"]
        if verb == "command":
            posted = self.rt.post(events.Command(0, CommandCode[line["code"]], line.get("group", 0)))
            say(type="Posted", ok=posted)
        elif verb == "view":
            say(type="View", **self.view())
        elif verb == "save":
            say(type="Saved", bytes=self.rt.save_recording(line["path"]))
        elif verb == "freeze":
            select.select([0], [], [])      # the interpreter stands still until the next command
        elif verb == "flood":
            say(type="Flooded", ok=sum(self.rt.post(events.Sync(0, i)) for i in range(line["n"])))
        elif verb == "unplug":
            self.rt.set_serial(line["link"], -1)
        elif verb == "heed":
            signal.signal(signal.SIGUSR2, lambda *_: None)
            say(type="Heeded")
        elif verb == "plug":
            self.rt.set_serial(line["link"], os.open(line["path"], os.O_RDWR | os.O_NOCTTY))
            say(type="Plugged")
        elif verb == "arbiter":
            fd = os.open(line["path"], os.O_RDWR | os.O_NOCTTY) if line["path"] else -1
            try:
                self.rt.set_arbiter(fd, self.p.get("voter", 1), self.p.get("third_grant_ms", 100))
            except ValueError as error:
                say(type="Plugged", error=str(error))
            else:
                say(type="Plugged", error="")
        elif verb == "notices":
            say(type="Notices", found=[notice.hex() for notice in self.rt.death_notices(line["node"])])
        elif verb == "stop":
            self.rt.stop(planned=line.get("planned", True))
            say(type="Stopped", gate_alive=GATE.alive())
            return False
        return True

    def run(self) -> None:
        """Until the test says stop or goes away."""
        rest = b""
        while True:
            ready, _, _ = select.select([0, self.rt.notify_fd], [], [], 0.1)
            self.rt.heartbeat()
            for message in self.rt.poll():
                self.take(message)
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                if not all(self.obey(json.loads(line)) for line in lines):
                    return


if __name__ == "__main__":
    Node(json.loads(sys.argv[1])).run()
