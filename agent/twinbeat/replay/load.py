"""Recordings from files, and the names of what they hold by number."""
from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

from twinbeat.config import Config, load_config
from twinbeat.errors import ConfigError
from twinbeat.run_words import Names
from twinbeat_core.errors import SettingsError
from twinbeat_core.model import LinkKind
from twinbeat_core.settings import Settings
from twinbeat_rt.offline import parameters_of
from twinbeat_rt.recording import Recording, RecordingError, read_recording

KINDS: dict[int, str] = {
    int(LinkKind.LINK_SERIAL): "serial",
    int(LinkKind.LINK_MQTT): "mqtt",
    int(LinkKind.LINK_UDP): "udp",
}


def load(path: str) -> Recording:
    """Read a recording. RecordingError with one sentence for whatever is wrong with the file."""
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            raise RecordingError(f"{path}: this is a directory; name the recordings in it: {path.rstrip('/')}/*.tbr")
        if not stat.S_ISREG(mode):
            raise RecordingError(f"{path}: no regular file; name a recording (*.tbr)")
        return read_recording(path)
    except FileNotFoundError:
        raise RecordingError(
            f"{path}: there is no such file; the agent keeps recordings in its state directory under recordings/"
        ) from None
    except PermissionError:
        raise RecordingError(f"{path}: this user may not read it; run as root or as the agent's user") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise RecordingError("the name of a recording holds a zero character; no file is called like that") from None


def settings_of(recording: Recording) -> Settings:
    """The parameters of a recording's node; `grant_max_ms` is None where it is what the others make it."""
    found = replace(parameters_of(recording.settings), grant_max_ms=None)
    try:
        derived = found.compile().grant_max_ms
    except SettingsError as error:
        raise RecordingError(f"its settings contradict each other, so they are none of a real agent: {error}") from None
    given = recording.settings.grant_max_ms
    return found if abs(derived - given) < 1e-6 else replace(found, grant_max_ms=given)


class Naming:
    """The names in use and what is to be said about them."""

    def __init__(self, names: Names, warning: str = "") -> None:
        self.names = names
        self.warning = warning


def read_config(path: str | None) -> Config | None:
    """The configuration that gives the names; None without one. Raises ConfigError."""
    return None if path is None else load_config(path, any_node=True)


def naming(config: Config | None, settings: Settings) -> Naming:
    """Names from the configuration; without one, numbers as the recording has them.

    Raises ConfigError when the file has other counts than the recording.
    """
    if config is None:
        kinds = [KINDS.get(int(link.kind), "unknown") for link in settings.links]
        return Naming(Names(
            node=f"node {settings.self_node}",
            nodes=[f"node {number}" for number in range(settings.node_count)],
            groups=[f"group {number}" for number in range(len(settings.groups))],
            links=[f"{number} ({kind})" for number, kind in enumerate(kinds)],
        ))
    have = (len(config.node_names), len(config.links), len(config.groups))
    want = (settings.node_count, len(settings.links), len(settings.groups))
    if have != want:
        raise ConfigError(
            f"{config.path}: {_counted(*have)}, but the recording is of {_counted(*want)}; name the file that this "
            "agent ran with, or leave --config out"
        )
    names = Names(
        node=config.node_names[settings.self_node],
        nodes=config.node_names,
        groups=[group.name for group in config.groups],
        links=[config.link_name(number) for number in range(len(config.links))],
    )
    if (config.digest, config.pair_id) == (settings.config_digest, settings.pair_id):
        return Naming(names)
    return Naming(names, (
        f"the agent ran with another configuration ({settings.config_digest:04x}) than {config.path} "
        f"({config.digest:04x}): its names may belong to other things"
    ))


def _counted(nodes: int, links: int, groups: int) -> str:
    parts = ((nodes, "node"), (links, "link"), (groups, "group"))
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in parts)
