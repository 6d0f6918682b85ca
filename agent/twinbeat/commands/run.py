"""`twinbeat run`: the agent in the foreground."""
from __future__ import annotations

from typing import TYPE_CHECKING

from twinbeat.run import run_agent

if TYPE_CHECKING:
    import argparse

    from twinbeat_rt.gate import Gate


def main(arguments: argparse.Namespace, gate: Gate | None) -> int:
    """Run until told to stop. The gate was forked before this module was loaded."""
    return int(
        run_agent(
            config_path=arguments.config,
            node=arguments.node,
            run_dir=arguments.run_dir,
            state_dir=arguments.state_dir,
            gate=gate,
        )
    )
