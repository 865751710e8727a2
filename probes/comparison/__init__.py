"""The parts of `python -m probes.compare`: loading both sides, the tables of what changed, what is printed."""
