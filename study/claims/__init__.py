"""The scoreboard of the paper's claims: `python -m study.claims`."""
