"""Lengths of gradients and the angles between them, read from Gram matrices.

A Gram matrix `G_kl = <g_k, g_l>` of `m` gradients, in float64, holds all that is shown here. Matrices of 5
are in the order of `OBJECTIVES`: standard, language, visual, prior, shift.
"""

from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

Gram = Float[Tensor, "*batch m m"]

_ATTACHED = ((1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0, 1.0))


def norms(gram: Gram) -> Float64[Tensor, "*batch m"]:
    """Return |g_k| for each gradient."""
    return gram.double().diagonal(dim1=-2, dim2=-1).clamp_min(0.0).sqrt()


def cosines(gram: Gram) -> Float64[Tensor, "*batch m m"]:
    """Return <g_k, g_l> / (|g_k| |g_l|), within [-1, 1]; nan where a norm is 0."""
    length = norms(gram)
    length = length.where(length > 0, torch.nan)
    cosine = (gram.double() / length.unsqueeze(-1) / length.unsqueeze(-2)).clamp(-1.0, 1.0)
    itself = torch.eye(gram.shape[-1], dtype=torch.bool, device=gram.device)
    return torch.where(itself, (length / length).unsqueeze(-1), cosine)


def angles_deg(gram: Gram) -> Float64[Tensor, "*batch m m"]:
    """Return the angle between each two gradients, 0 to 180 degrees; nan, not 90, where a norm is 0.

    Good to about 1e-6 degrees at 0 and 180, where the cosine is flat, and to rounding elsewhere.
    """
    return cosines(gram).arccos().rad2deg()


def attached(gram: Float[Tensor, "*batch 5 5"]) -> Float64[Tensor, "*batch 3 3"]:
    """Return the Gram matrix of (standard, language, visual + shift): q* follows the student."""
    combine = torch.tensor(_ATTACHED, dtype=torch.float64, device=gram.device)
    return combine @ gram.double() @ combine.mT


def eta(
    gram: Float[Tensor, "*batch 5 5"], gamma: float, *, steer: Literal["visual", "language"] = "visual"
) -> Float64[Tensor, "*batch"]:
    """Return the factor that gives the steered gradient the length of the standard one.

        eta(gamma) = |g_std| / |g_std + gamma g_s|        (arXiv:2606.00564, Eq. 15, 20, 23)

    with g_s the visual (detached) or the language gradient. **Inert under Adam**, which a constant factor
    on the loss does not change; it acts under SGD and against terms that it does not multiply, and a
    binding gradient clip takes it away again. The published constants, at gamma = 2: 0.41 for Qwen3-VL-2B
    and 0.36 for 4B.

    inf where the steered gradient alone is 0, nan where the standard one is 0 too.
    """
    s = {"language": 1, "visual": 2}[steer]
    g = gram.double()
    steered = g[..., 0, 0] + 2.0 * gamma * g[..., 0, s] + gamma**2 * g[..., s, s]
    return norms(g)[..., 0] / steered.clamp_min(0.0).sqrt()
