"""The vocabulary of tables: objectives, angles and losses, and the columns that several tables share.

p is the student, q the teacher, I the picture, x the text of the prompt, and q* the target of the visual loss.
Gradients belong to five objectives: standard, language, visual, prior and shift. The standard gradient is visual +
prior, where visual holds q* fixed (detached). The attached visual gradient, where q* follows the student, is visual +
shift. `geometry.cotangents` has the formulas.
"""

from typing import Final

from geometry import OBJECTIVES as OBJECTIVES
from records.table import text, whole, yes_no

SCOPES: Final = ("all", "language_model")
INTERVAL: Final = ("mean", "low", "high")

ANGLE_WORDS: Final = {
    "angle_language_visual": "angle between the language and the visual gradient",
    "angle_standard_visual": "angle between the standard and the visual gradient",
    "angle_standard_language": "angle between the standard and the language gradient",
    "angle_language_visual_attached": "angle between the language and the attached visual gradient",
    "angle_standard_visual_attached": "angle between the standard and the attached visual gradient",
    "angle_prior_language": "angle between the prior and the language gradient",
}
"""The angles that are measured, each in words."""
ANGLES: Final = tuple(ANGLE_WORDS)
NULL_ANGLES: Final = ("angle_language_visual", "angle_language_visual_attached")
"""The angles that are compared with a null distribution."""
LAYER_ANGLES: Final = (
    "angle_language_visual",
    "angle_language_visual_attached",
    "angle_standard_visual",
    "angle_standard_language",
)
"""The angles by parameter group."""
POOLED_UNIT: Final = "signed-bin"
"""The kind of unit whose Gram matrices are added up in each bin before an angle is read from the sum."""
EFFECTIVE: Final = ("language", "visual")
"""The objectives whose effective number of units is counted."""

DIVERGENCE_WORDS: Final = {
    "vds": "VDS, the visual dependency of the teacher: KL(q(.|I,x) || q(.|x))",
    "student_vds": "visual dependency of the student: KL(p(.|I,x) || p(.|x))",
    "kl_standard": "standard loss: KL(p(.|I,x) || q(.|I,x))",
    "kl_language": "language loss: KL(p(.|x) || q(.|x))",
    "kl_visual": "visual loss: KL(p(.|I,x) || q*)",
}
"""The divergences of a token, each in words."""

MARKS: Final = str.maketrans({"\u0120": " ", "\u2581": " ", "\u010a": "\n"})
"""How vocabularies spell blanks and line breaks, and what they stand for."""

PROMPT_ID: Final = text("prompt_id", "Name of the prompt in its source")
ROLLOUT_ID: Final = whole("rollout_id", "Number of the response, from 0")
TASK: Final = text("task", "Task that the source names, else unknown")
DEPENDENCY: Final = text("dependency", "How far the answer depends on the picture: high, low, text or unknown")
HAS_IMAGE: Final = yes_no("has_image", "Whether the prompt shows a picture")
PROMPT: Final = text("prompt", "What the prompt says, each picture as <image>")
ANSWER: Final = text("answer", "Expected answer; empty if unknown")
POSITION: Final = whole("position", "Position of the token in the response, from 0")
TOKEN_ID: Final = whole("token_id", "Id of the token")
TOKEN_TEXT: Final = text("token_text", "The token as the vocabulary spells it")
BIN: Final = whole("bin", "VDS bin, 0 the least visual; -1 for a prompt without a picture")
NUMBERED_BIN: Final = whole("bin", "VDS bin, 0 the least visual")
BIN_LABEL: Final = text("bin", "VDS bin: its number, or all for the bins together")
PICTURED_BIN_LABEL: Final = text(
    "bin", "VDS bin: its number, all for the bins together, text for prompts without a picture"
)
SCOPE: Final = text("scope", "Parameters whose gradients count: all, or language_model")
GROUP: Final = text("group", "Parameter group, named by its part of the model")
PRIOR: Final = text(
    "prior", "q* in the steering term: held fixed (detached), followed (attached), or of the first student (frozen)"
)


def angle_statistic(unit: str) -> str:
    """Return what a bin's angle is for a kind of unit: the mean over units, or pooled (see `docs/units.md`).

    >>> angle_statistic("token"), angle_statistic("signed-bin")
    ('mean', 'pooled')
    """
    return "pooled" if unit == POOLED_UNIT else "mean"


def sentence(words: str) -> str:
    """Return words with their first letter as a capital."""
    return words[:1].upper() + words[1:]
