"""The strength of the steering at which half of its way is gone, from the angle between two gradients.

    angle(g_std, g_std + gamma g_vis)  grows with gamma from 0 to angle(g_std, g_vis)

Two vectors of the same length enclose equal angles with their sum, so that half of the last angle is reached where

    gamma |g_vis| = |g_std|.

Nothing here needs torch.
"""

import math

from geometry.gram import Gram


def halfway_gamma(gram: Gram, most: float = math.inf) -> float:
    """Return the smallest gamma that turns the standard gradient half of the way to the visual one, at most `most`.

    0 where one of the gradients is 0: there is nothing to turn, or nothing that turns it.

    Args:
        gram: of one pair of gradients, `"standard"` and `"visual"`.

    Raises:
        ValueError: a length is not finite, or unknown.
    """
    standard, visual = (float(gram.norm(name)) for name in ("standard", "visual"))
    if not (standard < math.inf and visual < math.inf):
        raise ValueError(
            f"`gram` must have gradients of known, finite lengths, got {standard} and {visual}. Measure another batch."
        )
    return min(standard / visual, most) if visual else 0.0
