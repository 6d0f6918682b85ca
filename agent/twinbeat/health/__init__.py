"""The health of a node: checks, what they come to, and what the core is told. Loaded where checks are configured."""
