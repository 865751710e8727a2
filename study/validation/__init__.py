"""Does a diagnosis predict what training does? Predictions against realised effects, over many pairs of models.

`reading` makes one table of both, `scores` and `policies` judge it, `page` writes `docs/validation.md`.
"""
