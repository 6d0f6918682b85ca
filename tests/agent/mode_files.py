"""Configuration files of the redundancy modes for tests: shared work, and two nodes with a spare."""
from __future__ import annotations

from config_files import head

HOT_HOT = head("hall-3", 100, {"gw-a": ("cross",), "gw-b": ("cross",)}) + """\
[[link]]
type = "udp"
address = "direct"

[[link]]
type = "serial"
port = "cross"

[[group]]
name = "poll"
mode = "hot-hot"
shards = 8

[[group.output]]
type = "hook"
start = ["/bin/poll", "--shard", "{shard}", "--of={shard}/8"]
stop = ["/bin/poll", "stop"]
release_ms = 12

[[group.output]]
type = "mock"
"""

SPARE = head(
    "line-2", 250, {"gw-a": ("cross", "relay"), "gw-b": ("cross",), "gw-s": ("relay",)}, spare="gw-s"
) + """\
[[link]]
type = "udp"
address = "direct"

[[link]]
type = "serial"
port = "cross"
between = ["gw-a", "gw-b"]

[[link]]
type = "mqtt"
broker = "mqtt://broker.plant"

[[group]]
name = "press"
mode = "hot-spare"
prefer = ["gw-a", "gw-s"]

[[group.output]]
type = "serial-relay"
port = "relay"
board = "lcus-1"
release_ms = 8

[[group]]
name = "lights"

[[group.output]]
type = "mock"
"""
OVERLAP = HOT_HOT.replace("shards = 8", "overlap = true")
