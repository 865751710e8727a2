"""The training objectives by name: the settings that each one reads, and the published values. Needs no torch.

`geometry.objectives` states what each objective computes.
"""

from collections.abc import Mapping
from typing import Final, Literal

Name = Literal["standard", "off-policy", "vgs", "vgs-lp", "adaptive", "language-steering"]
Prior = Literal["detached", "attached", "frozen"]
Preservation = Literal["gated", "printed"]
Average = Literal["trajectory", "token"]
EtaScales = Literal["steered", "loss"]

_STEERED: Final = ("vgs", "vgs-lp", "adaptive", "language-steering")
_PRESERVED: Final = ("vgs-lp", "adaptive", "language-steering")
READ_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "gamma": _STEERED,
    "eta": _STEERED,
    "prior": _STEERED,
    "lambda_": _PRESERVED,
    "quantile": _PRESERVED,
    "low_quantile": ("adaptive",),
    "vp": ("language-steering",),
    "preservation_alone": _PRESERVED,
    "eta_scales": _PRESERVED,
}
"""For each field of `geometry.Objective` that not every objective reads, the objectives that read it."""

GAMMA: Final = 2.0
"""Strength of the steering in arXiv:2606.00564."""
LAMBDA: Final = 0.01
"""Strength of the preservation term in arXiv:2606.00564."""
QUANTILE: Final = 0.7
"""Quantile of the VDS above which a token is preserved, arXiv:2606.00564, Eq. 16, 21, 24."""
LOW_QUANTILE: Final = 0.4
"""Quantile of the VDS up to which the adaptive objective does not steer, arXiv:2606.00564, Eq. 24."""
ALPHA: Final = 0.3
"""Share of the distillation loss in a mix with a reward, arXiv:2606.00564, Eq. 22."""
PUBLISHED_ETA: Final[Mapping[str, float]] = {"2b": 0.41, "4b": 0.36}
"""eta by the size of the student, at gamma = 2 with visual steering: arXiv:2606.00564, Appendix."""
