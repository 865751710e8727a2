"""Differences that arXiv:2606.00564 publishes, in points of accuracy over all of its benchmarks, one seed each.

They say how large an effect a study should be able to find. Its smaller student has 2 billion parameters. Where
its figures are the only source, numbers are read from them and good to about 0.1. The paper has no arm with a frozen
prior and none at lambda 1; visual steering at gamma 2 stands in for them.
"""

from collections.abc import Mapping
from typing import Final

VISUAL: Final = 2.36
"""Visual steering at gamma 2 and lambda 0.01 over standard (Table 1: 46.10 and 43.74)."""

EFFECTS: Final[Mapping[tuple[str, str], float]] = {
    ("standard", "initial"): 12.42,
    ("vgs-lp", "initial"): 14.78,
    ("vgs", "standard"): VISUAL,
    ("vgs-frozen", "standard"): VISUAL,
    ("vgs-lp", "standard"): VISUAL,
    ("vgs-lp-lambda-1", "standard"): VISUAL,
    ("vgs-lp-lambda-1", "vgs-lp-gamma-0-lambda-1"): VISUAL,
    ("vgs-lp-gamma-1", "standard"): 1.26,  # Figure 8 (a)
    ("vgs-lp-gamma-3", "standard"): 2.76,
    ("vgs-lp-gamma-4", "standard"): 2.76,
    ("vgs-lp-lambda-0.1", "standard"): 0.66,  # Figure 8 (b), the student with 4 billion parameters
    ("language-steering", "standard"): -0.74,  # Figure 5
    ("language-steering-gamma-1", "standard"): -1.24,
    ("language-steering-gamma-3", "standard"): -1.24,
    ("vgs-lp", "language-steering"): 3.1,
    ("adaptive", "standard"): 2.79,  # Table 5
    ("adaptive", "vgs-lp"): 0.43,
    ("grpo+standard", "grpo"): 0.58,  # Table 2
    ("grpo+vgs-lp", "grpo"): 2.37,
    ("grpo+vgs-lp", "grpo+standard"): 1.79,
}
"""The first arm minus the second."""
