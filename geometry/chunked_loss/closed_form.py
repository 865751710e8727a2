"""An objective's loss and its gradients at the logits in closed form, in few passes over the ids.

The definitions of `decompose`, `coefficients` and `cotangents`, computed for large tensors: each view is normalised and
exponentiated once for all divergences and gradients, and nothing is chosen by a mask, which on a processor takes
twenty times as long as a product. A loss is linear in the divergences, so all reverse KLs at one view's logits share
one centring:

    gradient of sum_k w_k KL(p || q_k)  =  p (r - E_p[r]),    r = sum_k w_k (log p - log q_k).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry._checks import Logits
from geometry.decomposition import Decomposition
from geometry.divergence import NEAR
from geometry.four_views import FourViews
from geometry.loss import ObjectiveLoss
from geometry.objectives import Coefficients, Objective, Thresholds, coefficients

FLOOR, BEYOND = -1e30, 1e20
"""Log-probabilities below the first, those of masked ids, count as it, so that no difference of two is inf. Divergences
beyond the second are infinite: one view has no probability at all for an id that another one draws."""


class Workspace:
    """Working tensors under names, made once and used again from block to block.

    What is freed and allocated again a thousand times costs more than the arithmetic: the system takes its pages back.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def __call__(self, name: str, shape: torch.Size, like: Tensor) -> Tensor:
        """Return the tensor of this name, its content left from before, in the dtype of `like` or float32."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        held = self._held.get(name)
        if held is None or held.shape[1:] != shape[1:] or len(held) < len(like) or held.dtype != dtype:
            held = self._held[name] = torch.empty(shape, dtype=dtype, device=like.device)
        return held[: len(like)]


@dataclass(frozen=True)
class Distribution:
    """Log-probabilities and probabilities `[n, V]` of some tokens."""

    log: Tensor
    p: Tensor

    @classmethod
    def normalised(cls, logits: Logits, work: Workspace, name: str) -> "Distribution":
        """Normalise logits or log-probabilities; the result is held in `work` under `name`."""
        log, p = (work(f"{name}.{part}", logits.shape, logits) for part in ("log", "p"))
        log.copy_(logits)
        log -= log.amax(dim=-1, keepdim=True)
        total = torch.exp(log, out=p).sum(dim=-1, keepdim=True)
        log.sub_(total.log()).clamp_(min=FLOOR)
        return cls(log, p.div_(total))


@dataclass(frozen=True)
class FourDistributions:
    """Those of the four views, and the visual target from the student's prior or another."""

    p_image: Distribution
    p_text: Distribution
    q_image: Distribution
    q_text: Distribution
    target: Distribution

    @classmethod
    def normalised(cls, views: FourViews, work: Workspace) -> "FourDistributions":
        """Normalise the views; log-probabilities below `FLOOR` count as it."""
        p_image = Distribution.normalised(views.student_image, work, "p_image")
        p_text = Distribution.normalised(views.student_text, work, "p_text")
        q_image = Distribution.normalised(views.teacher_image, work, "q_image")
        q_text = Distribution.normalised(views.teacher_text, work, "q_text")
        own = views.prior_text is None
        prior = p_text if own else Distribution.normalised(views.prior, work, "prior")
        return cls(p_image, p_text, q_image, q_text, _target(prior, q_image, q_text, work))


@dataclass(frozen=True)
class TokenShares:
    """The shares `[n]` of some tokens in the loss, which of them follow a picture (None: all), and their VDS.

    The VDS in nats is None where it has not been measured before.
    """

    shares: Float[Tensor, " n"]
    has_image: Bool[Tensor, " n"] | None = None
    vds: Float[Tensor, " n"] | None = None

    def __getitem__(self, rows: slice) -> "TokenShares":
        has_image, vds = (None if part is None else part[rows] for part in (self.has_image, self.vds))
        return TokenShares(self.shares[rows], has_image, vds)


@dataclass(frozen=True)
class LogitGradients:
    """The gradients of a loss at the student's logits, `[n, V]`."""

    image: Tensor
    text: Tensor | None
    """None where the loss does not depend on the text view."""


def kl_of(a: Distribution, b: Distribution, work: Workspace) -> Float[Tensor, " n"]:
    """Return KL(a || b) of each token as `kl_nats` does, both branches computed everywhere and one kept.

    inf beyond `BEYOND`.
    """
    fall, clipped, near, is_near = (work(name, a.log.shape, a.log) for name in ("fall", "clipped", "near", "is_near"))
    torch.sub(b.log, a.log, out=fall)  # -r
    torch.clamp(fall, -NEAR, NEAR, out=clipped)
    torch.eq(fall, clipped, out=is_near)
    torch.expm1(clipped, out=near).sub_(clipped).clamp_(min=0.0).mul_(a.p).mul_(is_near)
    far = torch.sub(b.p, fall.add_(1.0).mul_(a.p), out=fall).mul_(is_near.neg_().add_(1.0))
    total = near.add_(far).sum(dim=-1)
    return total.masked_fill_(total > BEYOND, torch.inf)


def decomposition_of(
    views: FourDistributions, work: Workspace, vds: Float[Tensor, " n"] | None = None
) -> Decomposition:
    """Return what `decompose` returns, without a graph; `vds` is taken as it is if it has been measured."""
    return Decomposition(
        standard=kl_of(views.p_image, views.q_image, work),
        language=kl_of(views.p_text, views.q_text, work),
        visual=kl_of(views.p_image, views.target, work),
        vds=kl_of(views.q_image, views.q_text, work) if vds is None else vds.to(views.q_image.log),
        student_vds=kl_of(views.p_image, views.p_text, work),
    )


def loss_of(
    views: FourDistributions,
    objective: Objective,
    thresholds: Thresholds | None,
    tokens: TokenShares,
    work: Workspace,
) -> ObjectiveLoss:
    """Return what `objective_loss` returns, without a graph; the entropy is over the ids of these distributions."""
    parts = decomposition_of(views, work, tokens.vds)
    losses = {"standard": parts.standard, "language": parts.language, "visual": parts.visual}
    if "printed" in objective.terms:
        losses["printed"] = kl_of(views.p_text, views.target, work)
    if "forward" in objective.terms:
        losses["forward"] = kl_of(views.q_image, views.p_image, work)
    weights = coefficients(objective, parts.vds, thresholds, tokens.has_image).times(tokens.shares)
    loss = torch.stack([(getattr(weights, term) * losses[term]).sum() for term in objective.terms if term]).sum()
    return ObjectiveLoss(loss, parts, weights, entropy_of(views.p_image, work))


def entropy_of(a: Distribution, work: Workspace) -> Float[Tensor, " n"]:
    """Return the entropy of each token in nats."""
    return torch.mul(a.p, a.log, out=work("fall", a.log.shape, a.log)).sum(dim=-1).neg_()


def gradients_of(
    views: FourDistributions, weights: Coefficients, objective: Objective, work: Workspace
) -> LogitGradients:
    """Return the gradients of a loss with these weights at the student's logits, in `work`; each row sums to 0.

    The text view has none where the objective does not train it, or no token's loss depends on it.
    """
    w = {name: getattr(weights, name).unsqueeze(-1) for name in objective.terms if name}
    image = work("image", views.p_image.log.shape, views.p_image.log)
    _gradient(views.p_image, _present(w, standard=views.q_image, visual=views.target), work, image)
    if "forward" in w:  # d KL(q || p) / dz = p - q
        image += w["forward"] * (views.p_image.p - views.q_image.p)
    if not text_rows(weights, objective).any():
        return LogitGradients(image, None)
    text = work("text", views.p_text.log.shape, views.p_text.log)
    _gradient(views.p_text, _present(w, language=views.q_text, printed=views.target), work, text)
    if objective.target_follows:  # the shift of `cotangents`, for either divergence from q*
        for weight, a in _present(w, visual=views.p_image, printed=views.p_text):
            text += weight * (views.target.p - a.p)
    return LogitGradients(image, text)


def text_rows(weights: Coefficients, objective: Objective) -> Bool[Tensor, " n"]:
    """Return which tokens' losses depend on the student's text view: with a gate, few of them."""
    none = torch.zeros_like(weights.standard, dtype=torch.bool)
    if not objective.trains_text_view:
        return none
    follows = weights.visual != 0 if objective.target_follows else none
    return (weights.language != 0) | (weights.printed != 0) | follows


def _present(weights: Mapping[str, Tensor], **distributions: Distribution) -> list[tuple[Tensor, Distribution]]:
    """The weight `[n, 1]` and the distribution of each divergence that the objective has."""
    return [(weights[name], distribution) for name, distribution in distributions.items() if name in weights]


def _gradient(a: Distribution, terms: list[tuple[Tensor, Distribution]], work: Workspace, out: Tensor) -> None:
    """Write the gradient of sum_k w_k KL(a || b_k) at the logits of `a` into `out`."""
    out.zero_()
    product = work("fall", a.log.shape, a.log)
    for weight, b in terms:
        out += torch.sub(a.log, b.log, out=product).mul_(weight)
    out.sub_(torch.mul(a.p, out, out=product).sum(dim=-1, keepdim=True)).mul_(a.p)


def _target(prior: Distribution, q_image: Distribution, q_text: Distribution, work: Workspace) -> Distribution:
    """Eq. 10 as `target_of_log_probs` has it: a blind teacher's target is `prior` bit for bit."""
    dependency = torch.sub(q_image.log, q_text.log, out=work("fall", prior.log.shape, prior.log))
    blind = (dependency.amax(dim=-1) == 0) & (dependency.amin(dim=-1) == 0)
    target = Distribution.normalised(dependency.add_(prior.log), work, "target")
    if blind.any():
        target.log[blind], target.p[blind] = prior.log[blind], prior.p[blind]
    return target
