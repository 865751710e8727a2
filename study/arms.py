"""The arms of a study: by name, the flags of `python -m train` in which a run differs from the others."""

from collections.abc import Mapping
from typing import Any

from geometry.objective_settings import PUBLISHED_ETA

Flags = Mapping[str, Any]

_GROUPS_OF_FOUR: Flags = {"batch": 16, "rollouts_per_prompt": 4}

OBJECTIVES: Mapping[str, Flags] = {
    "standard": {"objective": "standard"},
    "vgs-lp": {"objective": "vgs-lp"},
    "vgs": {"objective": "vgs"},
    "vgs-gamma-1": {"objective": "vgs", "gamma": 1.0},
    "vgs-lp-attached": {"objective": "vgs-lp", "prior": "attached"},
    "language-steering": {"objective": "language-steering"},
    "adaptive": {"objective": "adaptive"},
    "language-steering-printed": {"objective": "language-steering", "vp": "printed"},
    "off-policy": {"objective": "off-policy"},
    "grpo": {"objective": "grpo", **_GROUPS_OF_FOUR},
    "grpo+standard": {"objective": "grpo+standard", **_GROUPS_OF_FOUR},
    "grpo+standard-matched": {"objective": "grpo+standard", "match_norm": True, **_GROUPS_OF_FOUR},
    "grpo+vgs-lp": {"objective": "grpo+vgs-lp", **_GROUPS_OF_FOUR},
}
"""Every objective, at the published strengths."""
STRENGTHS: Mapping[str, Flags] = {
    "vgs-lp-gamma-1": {"objective": "vgs-lp", "gamma": 1.0},
    "vgs-lp-gamma-3": {"objective": "vgs-lp", "gamma": 3.0},
    "vgs-lp-gamma-3.25": {"objective": "vgs-lp", "gamma": 3.25},
    "vgs-lp-gamma-4": {"objective": "vgs-lp", "gamma": 4.0},
    "vgs-lp-lambda-0.1": {"objective": "vgs-lp", "lambda_": 0.1},
    "vgs-lp-lambda-1": {"objective": "vgs-lp", "lambda_": 1.0},
    "vgs-lp-gamma-3.25-lambda-1": {"objective": "vgs-lp", "gamma": 3.25, "lambda_": 1.0},
    "vgs-lp-gamma-0-lambda-1": {"objective": "vgs-lp", "gamma": 0.0, "lambda_": 1.0},
    "language-steering-gamma-1": {"objective": "language-steering", "gamma": 1.0},
    "language-steering-gamma-3": {"objective": "language-steering", "gamma": 3.0},
}
"""Other strengths, for Figures 5 and 8: what `probes.diagnose` recommends for the bundled pair, and
language preservation alone, among them."""
FACTORS: Mapping[str, Flags] = {
    "vgs-lp-unclipped": {"objective": "vgs-lp", "clip_norm": "none"},
    "vgs-lp-unclipped-eta": {"objective": "vgs-lp", "clip_norm": "none", "eta": PUBLISHED_ETA["2b"]},
}
"""The same update but for a constant factor on its loss."""
ARMS: Mapping[str, Flags] = {**OBJECTIVES, **STRENGTHS, **FACTORS}
INITIAL = "initial"
"""The arm that is not trained."""
