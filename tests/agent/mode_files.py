"""Configuration files of the redundancy modes for tests: shared work, and two nodes with a spare."""
from __future__ import annotations

HOT_HOT = """\
[pair]
name = "hall-3"
key_file = "pair.key"
outage_budget_ms = 100

[node.gw-a]
serial.cross = "/dev/ttyAMA0"
udp.direct = "10.0.0.1:7400"

[node.gw-b]
serial.cross = "/dev/ttyAMA0"
udp.direct = "10.0.0.2:7400"

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

SPARE = """\
[pair]
name = "line-2"
key_file = "pair.key"
outage_budget_ms = 250

[node.gw-a]
serial.cross = "/dev/ttyAMA0"
serial.relay = "/dev/ttyAMA1"
udp.direct = "10.0.0.1:7400"

[node.gw-b]
serial.cross = "/dev/ttyAMA0"
udp.direct = "10.0.0.2:7400"

[node.gw-s]
spare = true
serial.relay = "/dev/ttyAMA1"
udp.direct = "10.0.0.3:7400"

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
