"""The training objectives of arXiv:2606.00564 as weights a token over one decomposition: Eq. 1-4 and 13-25.

    loss = sum_t share_t sum_k coefficient_k,t divergence_k,t

| name | loss of a token |
|---|---|
| off-policy | KL(q(.|I,x) || p(.|I,x)), on the teacher's responses, Eq. 1 |
| standard | standard, Eq. 2-4 |
| vgs | eta (standard + gamma visual), Eq. 13-14 |
| vgs-lp | eta (standard + gamma visual) + lambda LP, LP = 1[VDS > Q_0.7] language, Eq. 16-18 |
| adaptive | the same with gamma_t = 0, gamma / 2 or gamma between and beyond the quantiles Q_0.4, Q_0.7, Eq. 24-25 |
| language-steering | eta (standard + gamma language) + lambda VP, Eq. 19, 21 |
| vds-weighted | eta w standard, w = min(VDS / mean VDS, `MOST_WEIGHT`); a rival of steering, not in the paper |

Where this departs from the paper or fills a gap:
1. q* is held fixed (`prior="detached"`): the student's language prior in it is a constant. `"attached"` lets it follow
   the student. `"frozen"` puts the prior of the student before training in its place.
2. VP is 1[VDS > Q_0.7] visual (`vp="gated"`). Eq. 21 as printed (`"printed"`), 1[VDS > Q_0.7] KL(p(.|x) || q*), is not
   0 where the student equals the teacher, and with q* held fixed it drives the text view to collapse.
3. gamma_t belongs to a token; Eq. 24 as printed has losses of trajectories inside the sum over tokens.
4. eta multiplies (standard + gamma steered) and not lambda's term (`eta_scales="steered"`): Eq. 15, 20 and 23 define it
   as the ratio of the lengths of the standard and the steered gradient, and lambda's term is in neither. Eq. 18 as
   printed multiplies the whole of Eq. 17, lambda's term too (`"loss"`).
5. At tokens of prompts without an image the two views are equal. There visual and the gates are 0, and language is
   standard: its weight is given to standard, so that the text view is not needed. There w is 1.
"""

import math
from dataclasses import dataclass, fields
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.bins import vds_quantile
from geometry.divergence import at_least_float32
from geometry.objective_settings import (
    GAMMA,
    LAMBDA,
    LOW_QUANTILE,
    MOST_WEIGHT,
    QUANTILE,
    READ_BY,
    Average,
    EtaScales,
    Name,
    Preservation,
    Prior,
)

_TERMS: dict[str, tuple[str, str | None, str | None]] = {  # weighed by 1, by gamma, by lambda
    "standard": ("standard", None, None),
    "off-policy": ("forward", None, None),
    "vgs": ("standard", "visual", None),
    "vgs-lp": ("standard", "visual", "language"),
    "adaptive": ("standard", "visual", "language"),
    "language-steering": ("standard", "language", "visual"),
    "vds-weighted": ("standard", None, None),
}


@dataclass(frozen=True)
class Thresholds:
    """The VDS that the gates compare with, in nats; a token passes if its own is greater."""

    low: float
    """Q_0.4, arXiv:2606.00564, Eq. 24."""
    high: float
    """Q_0.7, arXiv:2606.00564, Eq. 16, 21, 24."""
    mean: float = 0.0
    """The mean, which weights by VDS are divided by; 0 where no token depends on the picture."""

    def __post_init__(self) -> None:
        if math.isnan(self.low) or math.isnan(self.high):
            raise ValueError(
                f"`low` and `high` must be numbers, got {self.low} and {self.high}. Take `Objective.thresholds`."
            )


@dataclass(frozen=True)
class Objective:
    """What a student is trained on.

    Raises:
        ValueError: a field is out of its range, or is set though the objective does not read it.
    """

    name: Name
    gamma: float = GAMMA
    """Strength of the steering."""
    lambda_: float = LAMBDA
    """Strength of the preservation term, LP or VP."""
    quantile: float = QUANTILE
    """Quantile of VDS above which a token is preserved, and steered in full."""
    low_quantile: float = LOW_QUANTILE
    """Quantile of VDS up to which the adaptive objective does not steer."""
    prior: Prior = "detached"
    """Whose text view is in q*: the student's present one, as a constant or followed, or that before training."""
    vp: Preservation = "gated"
    """Visual preservation: the gated Eq. 11, or Eq. 21 as printed."""
    average: Average = "trajectory"
    """How `token_shares` weighs the tokens of a batch."""
    eta: float = 1.0
    """Factor of the steered loss, see `geometry.Gram.eta`. Inert under Adam except for lambda's term that it spares."""
    preservation_alone: bool = False
    """Leave out all but lambda's term, whose gradient is needed apart from the others to measure eta."""
    eta_scales: EtaScales = "steered"
    """Whether eta multiplies the steered loss alone, or the whole loss as in Eq. 18."""

    def __post_init__(self) -> None:
        _refuse_values(self)
        _refuse_unread(self)

    @property
    def terms(self) -> tuple[str | None, str | None, str | None]:
        """The divergences that are weighed by 1, by gamma and by lambda; none where that is 0."""
        base, steered, kept = _TERMS[self.name]
        kept = ("printed" if kept == "visual" and self.vp == "printed" else kept) if self.lambda_ else None
        return (None, None, kept) if self.preservation_alone else (base, steered if self.gamma else None, kept)

    @property
    def is_gated(self) -> bool:
        """Whether the weights depend on VDS."""
        _, steered, kept = self.terms
        return kept is not None or self.name == "vds-weighted" or (self.name == "adaptive" and steered is not None)

    @property
    def trains_image_view(self) -> bool:
        """Whether any gradient goes through the student's image view."""
        return bool({"standard", "forward", "visual"} & set(self.terms))

    @property
    def trains_text_view(self) -> bool:
        """Whether any gradient goes through the student's text view; else it can be run without a graph."""
        return bool({"language", "printed"} & set(self.terms)) or self.target_follows

    @property
    def target_follows(self) -> bool:
        """Whether any gradient goes through q*."""
        return self.prior == "attached" and bool({"visual", "printed"} & set(self.terms))

    @property
    def needs_prior(self) -> bool:
        """Whether the loss needs the text view of the student before training."""
        return self.prior == "frozen" and bool({"visual", "printed"} & set(self.terms))

    def check_prior(self, is_there: bool) -> None:
        """Refuse a loss without the prior that it needs, or with one that it does not read.

        Raises:
            ValueError: the prior is missing, or there is one too many.
        """
        if self.needs_prior and not is_there:
            raise ValueError(
                "`prior` must be given for an objective with prior 'frozen', got None. Give the text view of the"
                " student before training."
            )
        if is_there and not self.needs_prior:
            raise ValueError(
                f"`prior` must be left out for '{self.name}' with prior '{self.prior}', got one. Leave it out, or take"
                " prior='frozen'."
            )

    def thresholds(self, vds: Float[Tensor, " _T"]) -> Thresholds:
        """Return the quantiles and the mean of the VDS of a batch's tokens, prompts without an image left out.

        Of no tokens at all they are inf: no gate opens.
        """
        if not len(vds):
            return Thresholds(math.inf, math.inf)
        low, high = (float(vds_quantile(vds, q)) for q in (self.low_quantile, self.quantile))
        return Thresholds(low, high, float(vds.double().mean()))


@dataclass(frozen=True)
class Coefficients:
    """What each divergence of a token is weighed by, `[T]`."""

    standard: Float[Tensor, "*T"]
    language: Float[Tensor, "*T"]
    visual: Float[Tensor, "*T"]
    printed: Float[Tensor, "*T"]
    """Of KL(p(.|x) || q*), arXiv:2606.00564, Eq. 21 as printed."""
    forward: Float[Tensor, "*T"]
    """Of KL(q(.|I,x) || p(.|I,x)), arXiv:2606.00564, Eq. 1."""

    def times(self, shares: Float[Tensor, "*T"]) -> "Coefficients":
        """Return the coefficients multiplied by the tokens' shares, in the precision of the coefficients."""
        return Coefficients(**{f.name: getattr(self, f.name) * shares.to(self.standard) for f in fields(self)})


def coefficients(
    objective: Objective,
    vds: Float[Tensor, "*T"],
    thresholds: Thresholds | None = None,
    has_image: Bool[Tensor, "*T"] | None = None,
) -> Coefficients:
    """Return what the objective weighs each token's divergences by (arXiv:2606.00564, Eq. 1-4, 13-25).

    Args:
        vds: visual dependency of the tokens, in nats.
        thresholds: of the global batch, see `Objective.thresholds`; not needed unless `objective.is_gated`.
        has_image: whether the token's prompt has an image; all by default.

    Returns:
        nan at a gate whose token has an image and a VDS of nan.

    Raises:
        ValueError: the thresholds are missing, or those of the adaptive objective are in the wrong order.
    """
    base, steered, kept = objective.terms
    pictured = torch.ones_like(vds) if has_image is None else has_image.to(vds)
    weights = {field.name: torch.zeros_like(vds) for field in fields(Coefficients)}
    if base:
        weights[base] += objective.eta * _weight(objective, vds, thresholds, pictured)
    if steered:
        steering = objective.eta * _gamma(objective, vds, thresholds)
        weights[steered] += torch.where(pictured > 0, steering, 0.0)
        if steered == "language":
            weights["standard"] += steering * (1.0 - pictured)
    if kept:
        gate = _gate(vds, _given(thresholds, objective).high)
        strength = objective.lambda_ * (objective.eta if objective.eta_scales == "loss" else 1.0)
        weights[kept] += torch.where(pictured > 0, strength * gate, 0.0)
    return Coefficients(**weights)


def _weight(objective: Objective, vds: Tensor, thresholds: Thresholds | None, pictured: Tensor) -> Tensor:
    """What each token's standard loss is weighed by: 1, or VDS by its mean if the objective is weighted by it."""
    if objective.name != "vds-weighted" or not (mean := _given(thresholds, objective).mean):
        return torch.ones_like(vds)
    return torch.where(pictured > 0, (vds / mean).clamp(max=MOST_WEIGHT), 1.0)


def _gamma(objective: Objective, vds: Tensor, thresholds: Thresholds | None) -> Tensor:
    """The steering strength of each token; for the adaptive objective Eq. 24-25."""
    if objective.name != "adaptive":
        return torch.full_like(vds, objective.gamma)
    edges = _given(thresholds, objective)
    if edges.low > edges.high:
        raise ValueError(f"`thresholds.low` must be at most `high`, got {edges.low} and {edges.high}. Swap them.")
    return 0.5 * objective.gamma * (_gate(vds, edges.low) + _gate(vds, edges.high))


def _gate(vds: Tensor, threshold: float) -> Tensor:
    """1 where the VDS is above the threshold, 0 where it is not, nan where it is nan; compared in float32 or better."""
    return (at_least_float32(vds) > threshold).to(vds).masked_fill(vds.isnan(), torch.nan)


def _given(thresholds: Thresholds | None, objective: Objective) -> Thresholds:
    if thresholds is None:
        raise ValueError(
            f"`thresholds` must be given for '{objective.name}', got None. Take `objective.thresholds(vds)` over the "
            "tokens of the global batch."
        )
    return thresholds


def _refuse_values(objective: Objective) -> None:
    choices = {"name": Name, "prior": Prior, "vp": Preservation, "average": Average, "eta_scales": EtaScales}
    for field, kind in choices.items():
        if getattr(objective, field) not in get_args(kind):
            raise ValueError(f"`{field}` must be one of {get_args(kind)}, got {getattr(objective, field)!r}. Name one.")
    for field in ("gamma", "lambda_"):
        if not 0.0 <= getattr(objective, field) < math.inf:
            raise ValueError(f"`{field}` must be at least 0, got {getattr(objective, field)}. Give 0 to leave it out.")
    if not 0.0 < objective.eta < math.inf:
        raise ValueError(f"`eta` must be positive and finite, got {objective.eta}. Give 1.0 for no normalisation.")
    if not 0.0 <= objective.low_quantile <= 1.0 or not 0.0 <= objective.quantile <= 1.0:
        quantiles = objective.low_quantile, objective.quantile
        raise ValueError(
            f"`low_quantile` and `quantile` must lie in [0, 1], got {quantiles}. The paper's are "
            f"{LOW_QUANTILE} and {QUANTILE}."
        )
    if objective.preservation_alone and not objective.lambda_:
        raise ValueError("`preservation_alone` needs a `lambda_` above 0, got 0. Give one, or train the whole.")
    if objective.name == "adaptive" and objective.low_quantile > objective.quantile:
        raise ValueError(
            f"`low_quantile` must be at most `quantile`, got {objective.low_quantile} and {objective.quantile}. "
            "Swap them."
        )


def _refuse_unread(objective: Objective) -> None:
    """Refuse a setting that would have no effect; a strength of 0 asks for none."""
    for field in fields(objective):
        value, readers = getattr(objective, field.name), READ_BY.get(field.name, get_args(Name))
        switched_off = field.name in ("gamma", "lambda_") and value == 0.0
        if objective.name not in readers and value != field.default and not switched_off:
            raise ValueError(
                f"`{field.name}` must be left at {field.default!r} for '{objective.name}', which does not read it, "
                f"got {value!r}. It belongs to {', '.join(readers)}."
            )
