"""Where the agent's control socket is, found as the agent finds it but without reading the whole configuration."""
from __future__ import annotations

import os
import socket
import tomllib
from pathlib import Path
from typing import Any

from twinbeat.errors import AgentNotRunning, ConfigError

CONFIG_PATH = "/etc/twinbeat/twinbeat.toml"
RUN_DIR = "/run/twinbeat"


def find_socket(config: str | Path | None, node: str | None, run_dir: str | None) -> Path:
    """The socket's path by the configuration, else the only one in the run directory.

    The file may be readable to root alone while this user may ask the agent: then the run directory says it. Raises
    ConfigError, or AgentNotRunning where nothing says where to look.
    """
    path = Path(config) if config is not None else Path(CONFIG_PATH)
    if config is not None or os.access(path, os.R_OK):
        return of_config(path, node, run_dir)
    folder = Path(run_dir or os.environ.get("TWINBEAT_RUN_DIR") or RUN_DIR)
    found = sorted(folder.glob(f"*-{node}.sock" if node else "*.sock"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise AgentNotRunning(f"{folder}: no agent is running here; start it, or name its socket or its configuration")
    raise ConfigError(f"several agents run here ({', '.join(map(str, found))}); name the node or the socket")


def of_config(path: Path, node: str | None, run_dir: str | None) -> Path:
    """The socket that a configuration file leads to. Raises ConfigError."""
    tables = read(path)
    pair, nodes, agent = (tables.get(key) for key in ("pair", "node", "agent"))
    name = pair.get("name") if isinstance(pair, dict) else None
    if not isinstance(name, str) or not isinstance(nodes, dict):
        raise ConfigError(f"{path}: [pair] name or [node.NAME] is missing; look at it with: twinbeat check")
    own = node or os.environ.get("TWINBEAT_NODE") or socket.gethostname()
    if own not in nodes:
        raise ConfigError(f'{path}: there is no node "{own}"; the nodes are {", ".join(nodes)}: name one')
    said = agent.get("run_dir") if isinstance(agent, dict) else None
    folder = run_dir or os.environ.get("TWINBEAT_RUN_DIR") or said or RUN_DIR
    return Path(str(folder)) / f"{name}-{own}.sock"


def read(path: Path) -> dict[str, Any]:
    """A TOML file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; name another with config=") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from None
