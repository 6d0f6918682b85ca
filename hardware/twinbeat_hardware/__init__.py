"""The outputs of twinbeat: drivers that open and check a device and say how the gate switches it."""
