"""The embedded broker in its own process: `python -m twinbeat.demo.amqtt_broker --port N --parent PID`."""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import logging
import signal
import sys
from typing import Any

from twinbeat.demo import procs


async def serve(port: int) -> None:
    """Until SIGTERM."""
    broker_class: Any = importlib.import_module("amqtt.broker").Broker
    broker = broker_class({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    })
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await broker.start()
    await stopped.wait()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(broker.shutdown(), 1.0)


def main() -> int:
    """Runs the broker until SIGTERM or the end of its parent."""
    parser = argparse.ArgumentParser(prog="twinbeat.demo.amqtt_broker")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    if not procs.die_with_parent(options.parent):
        return 1
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve(options.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
