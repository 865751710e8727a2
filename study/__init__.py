"""Compare training objectives: arms, runs over seeds, their effects, and the paper's claims.

From Python, with plain arguments:

    import study

    study.run(["initial", "standard", "vgs-lp"], seeds=[0, 1], steps=20, folder="runs/small")
    study.record("runs/small").effects
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
