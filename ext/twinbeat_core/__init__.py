"""The core of twinbeat: who drives. No clock, no I/O, no randomness: events in, effects out, time as an argument.

Import from the modules: `failover` (the state machine's face), `settings`, `events`, `wire`, `timing`,
`table`, `model` (enums) and `errors`.
"""
