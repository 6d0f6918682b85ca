"""The compiled real-time part of twinbeat. `gate.fork_gate()` first, then `runtime.Runtime`.

Nothing is imported here: the gate must be forked before anything heavy is loaded.
"""
