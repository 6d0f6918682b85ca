"""The command `twinbeat`.

Nothing but `sys` is imported before the gate is forked: what is loaded first is copied into the gate's
memory and stays there for as long as it lives. `twinbeat run` therefore forks first and reads its own
command line afterwards.
"""
import sys

GATE_STOP_MS = 2000


def main(argv: "list[str] | None" = None) -> int:
    """Run a command line and return its exit code. No traceback reaches the user."""
    words = sys.argv[1:] if argv is None else argv
    gate = None
    failure = None
    if words[:1] == ["run"] and "-h" not in words and "--help" not in words:
        try:
            import twinbeat_rt.gate

            gate = twinbeat_rt.gate.fork_gate()
        except Exception as error:  # noqa: BLE001 - reported below, once there is something to report with
            failure = error
    try:
        from twinbeat.cli_dispatch import dispatch

        return dispatch(words, gate, failure)
    finally:
        if gate is not None:
            gate.end(GATE_STOP_MS)
