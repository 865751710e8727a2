"""Forward passes of the two views and backward passes from their logits, for `gramian` and `null`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geometry.cotangents import Cotangents

Forward = Callable[[], Tensor]


@dataclass(frozen=True)
class Logits:
    """The student's logits `[T, V]` on each view, with their graph."""

    image: Tensor
    text: Tensor


def run_views(image_logits: Forward, text_logits: Forward, cotangents: Cotangents, n_weights: int) -> Logits:
    """Run each view once, one pass for both if they are the same callable, and check what comes back."""
    with torch.enable_grad():
        image = image_logits()
        text = image if text_logits is image_logits else text_logits()
    for name, logits in (("image_logits", image), ("text_logits", text)):
        if logits.shape != cotangents.visual.shape or logits.ndim != 2:
            raise ValueError(
                f"`{name}` must return logits `[T, V]` of the cotangents' shape, got {tuple(logits.shape)} "
                f"and {tuple(cotangents.visual.shape)}. Keep response tokens and shared vocabulary ids only."
            )
        if not logits.requires_grad:
            raise ValueError(f"`{name}` must return logits with a graph, got none. Run it without no_grad.")
    if n_weights != len(image):
        raise ValueError(
            f"`weights` must have one a token, got {n_weights} and {len(image)} tokens. Give unused ones 0."
        )
    return Logits(image, text)


def four_gradients(
    logits: Logits, cotangents: Cotangents, weights: Tensor, parameters: Sequence[nn.Parameter], batched: bool
) -> Iterator[Tensor]:
    """Yield for each parameter `[U, 4, *shape]`: of each row of `weights`, ordered as `BACKWARD`."""
    image = _pair_gradients(logits.image, (cotangents.visual, cotangents.prior), weights, parameters, batched)
    text = _pair_gradients(logits.text, (cotangents.language, cotangents.shift), weights, parameters, batched)
    return (torch.cat(pair, dim=1) for pair in zip(image, text, strict=True))


def gradient(outputs: Sequence[Tensor], seeds: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradient of `sum_o <seed_o, output_o>`, zeros for parameters not reached; keep the graph."""
    seeds = [seed.to(output) for seed, output in zip(seeds, outputs, strict=True)]
    found = torch.autograd.grad(outputs, parameters, seeds, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _pair_gradients(
    logits: Tensor,
    pair: tuple[Tensor, Tensor],
    weights: Tensor,
    parameters: Sequence[nn.Parameter],
    batched: bool,
) -> list[Tensor]:
    """Return for each parameter `[U, 2, *shape]`: of each row of `weights` for two cotangents."""
    seeds = torch.einsum("ut,ktv->uktv", weights.to(pair[0]), torch.stack(pair)).flatten(0, 1)  # [2U, T, V]
    if batched:
        found = torch.autograd.grad(
            logits, parameters, seeds.to(logits), retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        zeros = (p.new_zeros(1).expand(len(seeds), *p.shape) for p in parameters)
        gradients = [zero if g is None else g for g, zero in zip(found, zeros, strict=True)]
    else:
        by_seed = [gradient([logits], [seed], parameters) for seed in seeds]
        gradients = [torch.stack(parts) for parts in zip(*by_seed, strict=True)]
    return [g.unflatten(0, (len(weights), 2)) for g in gradients]
