"""The parts of `python -m probes.diagnose`: facts, findings and costs, the decision rule, what is printed."""
