"""The divergences and the entropy of response tokens, from logits that are compared a few tokens at a time.

Equal to `decompose` and the entropy by definition, in a tenth of the time and of the memory on large vocabularies: each
view is normalised and exponentiated once for all divergences, in working tensors that are used again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import torch
from jaxtyping import Float
from torch import Tensor

from geometry._checks import same_mask, same_shape
from geometry.chunked_loss.closed_form import FourDistributions, Workspace, decomposition_of
from geometry.decomposition import Decomposition
from geometry.four_views import FourViews
from geometry.lm_head import cuts

BLOCK_BYTES = 1 << 20
"""Size of one float32 view of the tokens that a processor compares at a time; about sixteen such tensors are held.
Other devices compare all tokens at once."""

FLOOR, BEYOND = -1e30, 1e20
"""Log-probabilities below the one count as it, and divergences beyond the other as infinite."""


@dataclass(frozen=True)
class TokenScores:
    """The numbers of each response token, `[T]`, in nats."""

    parts: Decomposition
    entropy: Float[Tensor, " _T"]
    """Entropy of p(. | tau_<t, I, x), the student with the picture."""

    @classmethod
    def joined(cls, several: Sequence["TokenScores"]) -> "TokenScores":
        """Return the scores of several stretches of tokens, one after the other."""
        parts = Decomposition.joined([scores.parts for scores in several])
        return cls(parts, torch.cat([scores.entropy for scores in several]))


@torch.no_grad()
def token_scores(views: FourViews) -> TokenScores:
    """Return the divergences and the entropy of each token from logits `[T, V]`, in float32 or better.

    A divergence is inf where one view has no probability at all for an id that another one draws.

    Raises:
        ValueError: the shapes differ, or the views mask (-inf) different ids.
    """
    n_tokens, n_ids = same_shape(**views.named)
    on_cpu = views.student_image.device.type == "cpu"
    size = max(BLOCK_BYTES // (4 * n_ids), 1) if on_cpu else max(n_tokens, 1)
    widest = views.student_image.dtype
    for view in views.each:
        widest = torch.promote_types(widest, view.dtype)
    work = Workspace()
    blocks = (views.map(itemgetter(rows)).map(lambda view: view.to(widest)) for rows in cuts(n_tokens, size))
    return TokenScores.joined([_scores(block, work) for block in blocks])


def _scores(views: FourViews, work: Workspace) -> TokenScores:
    same_mask(**views.named)
    distributions = FourDistributions.normalised(views, work, FLOOR)
    own = distributions.p_image
    entropy = -torch.mul(own.p, own.log, out=work("fall", own.log.shape, own.log)).sum(dim=-1)
    parts = vars(decomposition_of(distributions, work))
    return TokenScores(Decomposition(**{name: _infinite(values) for name, values in parts.items()}), entropy)


def _infinite(values: Tensor) -> Tensor:
    return values.masked_fill(values > BEYOND, torch.inf)
