"""The simulator: the very core that the agents run, in virtual time, with faults that no bench can time.

`spec` says what a world is made of, `engine` (compiled) runs it and judges every step, `explore` (compiled) searches
all schedules within bounds. Everything else here describes worlds, chooses faults and tells people what came of it.
"""
