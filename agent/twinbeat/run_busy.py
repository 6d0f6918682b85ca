"""A thread that keeps the interpreter busy, for the demonstration that decisions do not depend on it."""
from __future__ import annotations

import gc
import json
import threading

ITEMS = 20000


def start_busy_thread() -> threading.Thread:
    """Start it; it ends with the process. Asked for by TWINBEAT_DEMO_BUSY=1, never by a configuration."""
    thread = threading.Thread(target=burn, name="twinbeat-busy", daemon=True)
    thread.start()
    return thread


def burn() -> None:
    """Long calls into the interpreter that hold its lock: big documents and full collections, without end."""
    document = [{"number": number, "text": f"item {number}", "more": [number] * 5} for number in range(ITEMS)]
    while True:
        json.loads(json.dumps(document))
        gc.collect()
