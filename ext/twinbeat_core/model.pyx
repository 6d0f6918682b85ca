"""Enums of the core as Python sees them; the C types stand in model.pxd."""
