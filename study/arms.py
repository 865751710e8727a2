"""The arms of a study: by name, the flags of `python -m train` in which a run differs from the others.

Every arm sees as many rollouts in a step. Arms with a reward draw four for each prompt, and so see a quarter of the
prompts. eta is left out of all arms except one. Under Adam a constant eta has no effect while no clip binds, and with
the clip it does. An eta that is measured in each step weighs the steps against each other.
"""

from collections.abc import Mapping
from typing import Any

from cli.errors import OptionError
from geometry.objective_settings import PUBLISHED_ETA
from train.presets import PRESETS

Flags = Mapping[str, Any]

SHARED: Flags = {"eta": "none", "evaluate_every": 50, "checkpoint_every": 50}
"""The same for all arms, whatever the preset says."""
STEPS, BATCH = 150, 64
"""What a preset without them means."""
_GROUPS_OF_FOUR: Flags = {"rollouts_per_prompt": 4}

OBJECTIVES: Mapping[str, Flags] = {
    "standard": {"objective": "standard"},
    "vgs-lp": {"objective": "vgs-lp"},
    "vgs": {"objective": "vgs"},
    "vgs-gamma-1": {"objective": "vgs", "gamma": 1.0},
    "vgs-frozen": {"objective": "vgs", "prior": "frozen"},
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
"""Other strengths, for Figures 5 and 8. They include what `probes.diagnose` recommends for the bundled pair, and
language preservation alone."""
FACTORS: Mapping[str, Flags] = {
    "vgs-lp-unclipped": {"objective": "vgs-lp", "clip_norm": "none"},
    "vgs-lp-unclipped-eta": {"objective": "vgs-lp", "clip_norm": "none", "eta": PUBLISHED_ETA["2b"]},
}
"""Two arms that differ in a constant factor of the loss."""
ARMS: Mapping[str, Flags] = {**OBJECTIVES, **STRENGTHS, **FACTORS}
INITIAL = "initial"
"""The arm that is not trained."""


def arm_flags(arm: str, seed: int, flags: Flags) -> dict[str, Any]:
    """Return the flags of one run, fields of `train.config.Config`.

    flags: those that all arms share, before the arm's own. A preset among them fills in what is missing.

    Raises:
        OptionError: no arm of this name, or a number of rollouts that the arm cannot draw four for each prompt.
    """
    if arm != INITIAL and arm not in ARMS:
        raise OptionError(f"`arms` must be of {', '.join((INITIAL, *ARMS))}, got {arm!r}")
    shared = {"steps": STEPS, **PRESETS[flags.get("preset", "bundled")], **SHARED, **flags}
    own = dict(ARMS.get(arm, {}))
    if per_prompt := own.get("rollouts_per_prompt"):
        rollouts = shared.get("batch", BATCH) * shared.get("rollouts_per_prompt", 1)
        if rollouts % per_prompt:
            raise OptionError(f"`batch` must give a multiple of {per_prompt} rollouts for arm '{arm}', got {rollouts}")
        own["batch"] = rollouts // per_prompt
    return {**shared, **own, "seed": seed}
