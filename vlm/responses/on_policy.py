"""How far responses are from what a model would sample itself, by its own log-probabilities and by stated ones.

The surprise of a token is its -log p less the entropy of the distribution p that it is drawn from. Along responses that
a model samples its mean is 0, and its sum has the variance of -log p under p, added up over tokens: `z` is that sum in
standard deviations. Greedy answers have a negative surprise, those of another model mostly a positive one. Whoever
sampled may state log-probabilities: log p - log stated says how far the two are apart at each token.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from geometry import log_probs
from geometry.lm_head import CHUNK_BYTES, chunks
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.responses.halving import Batches
from vlm.responses.scoring import ResponseLogits, response_views
from vlm.responses.stored_rollouts import Stored
from vlm.views.view import View

Z_MOST = 4.0  # of a sum over tokens of responses that are the model's own
NEAR_NATS, KL_ON, KL_NEAR = 0.05, 0.01, 0.1  # thresholds of `word`, choices of this project
CLOSE = 0.1  # nats between two log-probabilities that are called close
_COPIES = 4  # of the log-probabilities of a chunk, in double precision, that live at a time
_LARGEST = 20.0  # a log-ratio in an estimate of KL: beyond it, its exponential says nothing more


@dataclass(frozen=True)
class Agreement:
    """How on-policy some responses are for a model.

    n_tokens: tokens in all.
    surprise_nats: mean of -log p of the tokens beyond the entropy.
    z: the same in standard deviations of its sum.
    n_stated: tokens whose log-probability is stated. Without any, the following are nan.
    log_ratio_nats: mean of log p - log stated.
    close_share: share of the stated tokens at which the two differ by at most 0.1 nats.
    kl_nats: estimate of KL(who sampled, model) a token, the mean of exp(r) - 1 - r with r = log p - log stated.
    """

    n_tokens: int
    surprise_nats: float
    z: float
    n_stated: int = 0
    log_ratio_nats: float = math.nan
    close_share: float = math.nan
    kl_nats: float = math.nan

    @property
    def word(self) -> str:
        """The worse of what the surprise and the stated numbers say: on-policy, nearly on-policy or off-policy."""
        far = 0 if abs(self.z) <= Z_MOST else 1 if abs(self.surprise_nats) <= NEAR_NATS else 2
        apart = sum(self.kl_nats > limit for limit in (KL_ON, KL_NEAR))  # of nan: 0
        return ("on-policy", "nearly on-policy", "off-policy")[max(far, apart)]

    def __str__(self) -> str:
        line = (
            f"{self.word} over {self.n_tokens} tokens: the student's -log p less its entropy is"
            f" {self.surprise_nats:+.3g} nats a token (z {self.z:.1f})"
        )
        if self.n_stated:
            line += (
                f"; compared with the stated log-probs: mean log-ratio {self.log_ratio_nats:+.3g} nats,"
                f" {100 * self.close_share:.0f} % of {self.n_stated} tokens within"
                f" {CLOSE:g}, KL {self.kl_nats:.3g} nats"
            )
        return line

    def numbers(self) -> dict[str, Any]:
        """Return the fields and the word, for a record."""
        return asdict(self) | {"word": self.word}


@torch.no_grad()
def agreement(
    loaded: LoadedModel, views: Sequence[View], responses: Sequence[Stored], n_ids: int, batch: int | Batches = 16
) -> Agreement:
    """Compare responses with what a model says of them under these views, over the ids that sampling draws from.

    Raises:
        NotFiniteError: the model's logits are not finite.
    """

    def work(part: slice) -> list[Tensor]:
        ids = [stored.rollout.token_ids for stored in responses[part]]
        made = zip(
            responses[part], response_views(loaded, [(view, view) for view in views[part]], ids, n_ids), strict=True
        )
        return [_columns(stored, logits, n_ids) for stored, logits in made]

    batches = batch if isinstance(batch, Batches) else Batches(batch, "batch")
    rows = [columns for _, done in batches.over(len(responses), work) for columns in done]
    surprise, variance, stated = torch.cat(rows).unbind(1)
    total, spread = float(surprise.sum()), math.sqrt(float(variance.sum()))
    z = total / spread if spread else math.copysign(math.inf, total) if abs(total) > NEAR_NATS else 0.0
    about = Agreement(len(surprise), total / len(surprise), z)
    ratios = stated[~stated.isnan()]
    if not len(ratios):
        return about
    held = ratios.clamp(max=_LARGEST)
    return Agreement(
        about.n_tokens,
        about.surprise_nats,
        z,
        len(ratios),
        float(ratios.mean()),
        float((ratios.abs() <= CLOSE).double().mean()),
        float((held.exp() - 1.0 - held).mean()),
    )


def _columns(stored: Stored, response: ResponseLogits, n_ids: int) -> Tensor:
    """Of each token, `[T, 3]`: -log p less the entropy, the variance of -log p under p, log p less what is stated.

    The last is nan where nothing is stated. Rows are taken some at a time, since a vocabulary is large.
    """
    ids = torch.tensor(stored.rollout.token_ids)
    listed = [math.nan] * len(ids) if stored.log_probs is None else stored.log_probs
    log_probs_stated = torch.tensor(listed, dtype=torch.float64)
    size = max(CHUNK_BYTES // (_COPIES * 8 * n_ids), 1)
    parts = [
        _of_rows(response.logits(rows)[0], ids[rows], log_probs_stated[rows]) for rows in chunks(len(ids), n_ids, size)
    ]
    return torch.cat(parts).cpu()


def _of_rows(logits: Tensor, ids: Tensor, stated: Tensor) -> Tensor:
    ids, stated = ids.to(logits.device), stated.to(logits.device)
    log_p = log_probs(logits).double()
    own, p = log_p.gather(1, ids[:, None])[:, 0], log_p.exp()
    held = log_p.masked_fill(log_p.isneginf(), 0.0)
    entropy = -(p * held).sum(dim=-1)
    variance = (p * held.square()).sum(dim=-1) - entropy.square()
    return torch.stack([-own - entropy, variance.clamp(min=0.0), own - stated], dim=1)
