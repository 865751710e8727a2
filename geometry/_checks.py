"""Guards that several modules share. Each names the offending argument, what must hold, and the way out."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# One view's logits or log-probabilities, `[..., V]`. The axes are marked unbound (`_`) because `same_shape`
# checks them in every run, with a message, and not only where a type checker is installed.
Logits = Float[Tensor, "*_batch _V"]

Groups = Mapping[str, Sequence[nn.Parameter]]


def same_shape(**tensors: Tensor) -> torch.Size:
    """Return the one shape of the named tensors."""
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != reference.shape:
            raise ValueError(
                f"`{name}` must have the shape of `{first}`, got {tuple(tensor.shape)} and "
                f"{tuple(reference.shape)}. Slice every argument to the tokens and ids that all share."
            )
    return reference.shape


def same_logits(**views: Tensor) -> torch.Size:
    """Return the one shape `[..., V]` of the named views, of one id or more."""
    shape = same_shape(**views)
    if not shape or shape[-1] < 1:
        name = next(iter(views))
        raise ValueError(f"`{name}` must hold at least one id a token, got shape {tuple(shape)}. Keep the shared ids.")
    return shape


def same_mask(**views: Tensor) -> None:
    """Refuse views that mask (logit -inf) different ids: a ratio of two views has no value there."""
    (first, reference), *others = views.items()
    masked = reference.isneginf()
    for name, view in others:
        differ = int((view.isneginf() != masked).sum())
        if differ:
            raise ValueError(
                f"`{name}` must mask (-inf) the ids that `{first}` masks, got {differ} entries masked in one "
                "of the two only. Mask or slice every view alike."
            )


def same_length(**vectors: Tensor) -> int:
    """Return the one length of the named vectors, each `[T]`."""
    for name, vector in vectors.items():
        if vector.ndim != 1:
            raise ValueError(f"`{name}` must have one axis, got shape {tuple(vector.shape)}. Flatten it.")
    return same_shape(**vectors)[0]


def partition(groups: Groups) -> list[nn.Parameter]:
    """Return the parameters of all groups in order, each standing in one place only and trainable."""
    owner: dict[nn.Parameter, str] = {}
    for name, parameters in groups.items():
        for parameter in parameters:
            if parameter in owner:
                raise ValueError(
                    f"`groups` must hold a parameter once, got one of shape {tuple(parameter.shape)} "
                    f"in '{owner[parameter]}' and in '{name}'. List a tied weight in one group only."
                )
            if not parameter.requires_grad:
                raise ValueError(
                    f"`groups` must hold trainable parameters, got a frozen one of shape "
                    f"{tuple(parameter.shape)} in '{name}'. Leave it out or call requires_grad_()."
                )
            owner[parameter] = name
    if not owner:
        raise ValueError("`groups` must hold at least one parameter, got none. Name the layers to measure.")
    return list(owner)
