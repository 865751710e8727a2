"""The parts of `python -m probes.sensitivity`: directions, what steps along them change, the forecast made of them."""
