"""Layers of language models, of plain functions: hidden states `[1, S, 8]` to others, and their parameters."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.geometry.problems import normal
from tests.geometry.sweep.walked import leaf

WIDTH, HEADS = 8, 4


@dataclass
class Made:
    """A layer, and the parameters that it has made so far."""

    apply: Callable[[Tensor], Tensor]
    parameters: list[nn.Parameter] = field(default_factory=list)


Layer = Callable[[int], Made]
"""Makes a layer from a seed."""


def rms(x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Normalise the last axis by its root mean square, and weigh it."""
    normal_x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
    return normal_x if weight is None else weight * normal_x


def weighed(function: Callable[[Tensor, Tensor], Tensor], *shape: int) -> Layer:
    """Return a layer with one parameter."""

    def made(seed: int) -> Made:
        weight = leaf(*shape, seed=seed)
        return Made(lambda x: function(x, weight), [weight])

    return made


def plain(function: Callable[[Tensor], Tensor]) -> Layer:
    """Return a layer without parameters."""
    return lambda seed: Made(function)


def rotated(x: Tensor, first: int = 0) -> Tensor:
    """Turn the pairs of the last axis of `[1, H, S, D]` by angles that grow with the place."""
    half = x.shape[-1] // 2
    angles = torch.arange(first, first + x.shape[-2]).double()[:, None] * normal(half, seed=60).abs()
    cosine, sine = (torch.cat([each, each], -1)[None, None] for each in (angles.cos(), angles.sin()))
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cosine + turned * sine


def partly_rotated(x: Tensor, n: int) -> Tensor:
    """Turn the first n entries of each head alone."""
    return torch.cat([rotated(x[..., :n]), x[..., n:]], -1)


def heads(x: Tensor, n: int) -> Tensor:
    """Part the last axis of `[1, S, d]` into n heads: `[1, n, S, d / n]`."""
    return x.view(1, -1, n, x.shape[-1] // n).transpose(1, 2)


def causal_mask(n: int) -> Tensor:
    """True where a query sees a key."""
    return torch.ones(n, n, dtype=torch.bool).tril()


def eager(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of plain operations."""
    scores = query @ key.mT * 0.7
    scores = scores + torch.zeros_like(scores).masked_fill(~causal_mask(scores.shape[-1]), -1e30)
    return scores.softmax(-1) @ value


def attention(mixed: Callable[[Tensor, Tensor, Tensor], Tensor], n_keys: int = HEADS, turn: int = 0) -> Layer:
    """Return a layer of attention with a residual and four matrices.

    mixed: what is done with queries, keys and values. n_keys: heads of keys. turn: entries of a head that are turned.
    """

    def made(seed: int) -> Made:
        d = WIDTH // HEADS * 2
        sizes = (HEADS * d, n_keys * d, n_keys * d)
        weights = [leaf(size, WIDTH, seed=seed + n) for n, size in enumerate(sizes)] + [
            leaf(WIDTH, HEADS * d, seed=seed + 3)
        ]

        def apply(x: Tensor) -> Tensor:
            query, key, value = (
                heads(F.linear(x, weight), n) for weight, n in zip(weights[:3], (HEADS, n_keys, n_keys), strict=True)
            )
            if turn:
                query, key = (rotated(each) if turn == d else partly_rotated(each, turn) for each in (query, key))
            result = mixed(0.3 * query, key, value).transpose(1, 2).reshape(1, -1, HEADS * d)
            return x + 0.3 * F.linear(result, weights[3])

        return Made(apply, weights)

    return made


def sdpa(**options: object) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return fused attention with these options; those that are functions get the length."""

    def mixed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        n = query.shape[2]
        return F.scaled_dot_product_attention(
            query, key, value, **{name: each(n) if callable(each) else each for name, each in options.items()}
        )

    return mixed


def windowed(n: int) -> Tensor:
    """A mask in which a query sees six keys."""
    return (causal_mask(n) & ~causal_mask(n).tril(-6))[None, None]


def added(n: int) -> Tensor:
    """A mask that is added to scores, with a bias for each head."""
    return normal(1, HEADS, n, n, seed=61).masked_fill(~causal_mask(n), -torch.inf)


def crossed(n_keys: int) -> Layer:
    """Return a layer of attention to keys and values of another sequence, all of which every place sees."""

    def made(seed: int) -> Made:
        key, value = leaf(1, HEADS, n_keys, 2, seed=seed), leaf(1, HEADS, n_keys, 2, seed=seed + 1)

        def apply(x: Tensor) -> Tensor:
            return x + F.scaled_dot_product_attention(heads(x, HEADS), key, value).transpose(1, 2).flatten(2)

        return Made(apply, [key, value])

    return made


ATTENTION: dict[str, Layer] = {
    "causal": attention(sdpa(is_causal=True)),
    "causal-scale": attention(sdpa(is_causal=True, scale=1.3)),
    "bool-mask": attention(sdpa(attn_mask=lambda n: causal_mask(n)[None, None])),
    "bool-mask-of-two-axes": attention(sdpa(attn_mask=causal_mask)),
    "sliding-window": attention(sdpa(attn_mask=windowed)),
    "float-mask": attention(sdpa(attn_mask=added, scale=0.5)),
    "grouped": attention(sdpa(is_causal=True, enable_gqa=True), 2),
    "grouped-one-key-head": attention(sdpa(attn_mask=added, enable_gqa=True), 1),
    "repeated-keys": attention(
        lambda q, k, v: sdpa(is_causal=True)(q, *(each.repeat_interleave(2, 1) for each in (k, v))), 2
    ),
    "expanded-keys": attention(
        lambda q, k, v: sdpa(is_causal=True)(
            q, *(each[:, :, None].expand(-1, -1, 2, -1, -1).reshape(q.shape) for each in (k, v))
        ),
        2,
    ),
    "rotary": attention(sdpa(is_causal=True), 2 * 2, turn=4),
    "partly-rotary": attention(sdpa(is_causal=True), turn=2),
    "key-norms": attention(lambda q, k, v: sdpa(is_causal=True)(rms(q), rms(k, normal(4, seed=62)), v)),
    "eager": attention(eager),
    "eager-grouped": attention(lambda q, k, v: eager(q, *(each.repeat_interleave(2, 1) for each in (k, v))), 2),
}

BY_PLACE: dict[str, Layer] = {
    "rms": weighed(rms, WIDTH),
    "rms-weight-right": weighed(lambda x, w: rms(x) * w, WIDTH),
    "rms-one-more": weighed(lambda x, w: rms(x) * (1.0 + w), WIDTH),
    "rms-plain": plain(rms),
    "rms-frozen": plain(lambda x: rms(x, normal(WIDTH, seed=63))),
    "rms-residual": weighed(lambda x, w: x + rms(x, w), WIDTH),
    "rms-twice": weighed(lambda x, w: rms(rms(x, w), w), WIDTH),
    "rms-core-used-twice": weighed(lambda x, w: (lambda core: core * w + core)(rms(x)), WIDTH),
    "rms-weight-of-one": weighed(rms, 1),
    "rms-of-heads": weighed(lambda x, w: rms(x.view(1, -1, 2, 4), w).flatten(2), 4),
    "layer-norm": weighed(lambda x, w: F.layer_norm(x, (WIDTH,), w, 2 * w), WIDTH),
    "layer-norm-plain": plain(lambda x: F.layer_norm(x, (WIDTH,))),
    "silu-gate": weighed(lambda x, w: F.silu(x @ w) * x, WIDTH, WIDTH),
    "gelu-gate-right": weighed(lambda x, w: x * F.gelu(x @ w, approximate="tanh"), WIDTH, WIDTH),
    "both-active": weighed(lambda x, w: F.silu(x @ w) * x.tanh(), WIDTH, WIDTH),
    "relu-squared": plain(lambda x: F.relu(x).square()),
    "relu-by-itself": plain(lambda x: (lambda r: r * r)(F.relu(x))),
    "gate-broadcast": weighed(lambda x, w: torch.sigmoid(x @ w) * x, WIDTH, 1),
    "gate-frozen": plain(lambda x: F.silu(x) * normal(WIDTH, seed=64)),
    "linear": weighed(F.linear, WIDTH, WIDTH),
    "linear-bias": weighed(lambda x, w: F.linear(x, w, w[0] * 2), WIDTH, WIDTH),
    "linear-two-axes": weighed(lambda x, w: F.linear(x[0], w).unsqueeze(0), WIDTH, WIDTH),
    "linear-four-axes": weighed(lambda x, w: F.linear(x.view(1, -1, 2, 4), w).flatten(2), 4, 4),
    "linear-of-a-flat-sequence": weighed(lambda x, w: (x.view(-1, WIDTH) @ w).view(1, -1, WIDTH), WIDTH, WIDTH),
    "places-by-a-table": weighed(lambda x, w: x * w[: x.shape[1]], 64, WIDTH),
    "one-for-all-places": weighed(lambda x, w: x / (w.square() + 1) - w, 1, WIDTH),
    "experts": weighed(lambda x, w: ((x @ w).softmax(-1).unsqueeze(-1) * x.unsqueeze(2)).sum(2), WIDTH, 3),
    "split": plain(lambda x: (lambda a, b: torch.cat([b, a.tanh()], -1))(*x.chunk(2, -1))),
    "split-unused": plain(lambda x: (lambda a, b, _: torch.cat([a, b * a], -1))(*x.split([4, 4, 0], -1))),
    "unbound": plain(lambda x: torch.stack(x.view(1, -1, 2, 4).unbind(2)[::-1], 2).flatten(2)),
    "unbound-unused": plain(lambda x: x + x.view(1, -1, 2, 4).unbind(2)[1].repeat(1, 1, 2)),
    "sliced": plain(lambda x: x + torch.cat([x[..., 1::2], x[..., ::2]], -1)),
    "mean": plain(lambda x: x - x.mean(-1, keepdim=True)),
    "padding": plain(lambda x: x.masked_fill((torch.arange(x.shape[1]) % 5 == 2)[None, :, None], 0.5)),
    "one-axis-less": plain(lambda x: torch.tanh(x[0])[None]),
    "cast": plain(lambda x: x.to(torch.float64, copy=True).clone()),
    "permuted": plain(lambda x: x.permute(2, 0, 1).tanh().permute(1, 2, 0)),
}
"""Layers in which a place depends on itself alone."""

BEFORE: dict[str, Layer] = {
    "cumsum": plain(lambda x: 0.2 * x.cumsum(1)),
    "shift": plain(lambda x: x + torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)),
    "convolution": weighed(lambda x, w: F.conv1d(F.pad(x.mT, (2, 0)), w).mT, WIDTH, WIDTH, 3),
    "pictures-put": plain(
        lambda x: x.masked_scatter(
            (torch.arange(x.shape[1]) % 7 == 1)[None, :, None].expand_as(x),
            x[:, torch.arange(x.shape[1]) % 7 == 0].tanh(),
        )
    ),
    "first-added": plain(lambda x: x + x[:, :1].tanh()),
    "crossed": crossed(5),
    "crossed-longer": crossed(40),
    "prompt-replaced": weighed(lambda x, w: torch.cat([w[None].tanh(), x[:, 2:]], 1), 2, WIDTH),
}
"""Others in which a place depends on those before it."""
LAYERS = ATTENTION | BY_PLACE | BEFORE
