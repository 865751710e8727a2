"""Ways of getting the Gram matrices of all five objectives at single tokens of a response; the last two are ours.

Each is built once for a model and then called with a `Job`, for `[U, 5, 5]` in float64:

    a  forward and backward for each of the five objectives of each token; float32 products of flattened gradients
    b  one forward a view that keeps its graph, a backward for each gradient; standard = visual + prior from here on
    c  the same with the backward passes of a chunk of tokens run as one (`is_grads_batched`)
    d  `torch.func.vjp` of `functional_call`, vmapped over a chunk's cotangents; the one operation without a batching
       rule, the backward of `masked_scatter` (the picture's place in the prompt), is left to vmap's loop
    e  TorchJD's autogram engine on a chunk's inner products; its engine refuses tied weights, so on an untied copy
    f  `geometry.Gramian`
    g  the same, the products of wide weights estimated (`--sketch 32`): no exact way

All but (a) are spared the head at tokens that are not probed, and the tokens behind the last that is. (b) to (d)
multiply in float32 within blocks of a weight's gradient and add up in float64.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from geometry import OBJECTIVES, Cotangents, Gram, Gramian, ProbedResponse, total
from geometry.gramian.backward import TEXT
from vlm.families import parameter_groups

Forward = Callable[[Tensor], Tensor]
Grams = Callable[["Job"], Tensor]
Pull = Callable[[Tensor], Sequence[Tensor | None]]
"""Takes cotangents `[C, U, V]` at a view's logits back to gradients `[C, *shape]` of the parameters."""

CHUNKS = (1, 2, 4, 8, 16)
SKETCH = 32
_BLOCK = 1 << 14
_VIEWS = (("visual", "prior"), ("language", "shift"))  # of the image and of the text view


@dataclass(frozen=True)
class Job:
    """One response of a model: its views, the cotangents of its tokens, and which of them are probed.

    image, text: run the model up to the last of the positions given, and return the logits `[n, V]` there.
    positions: `[U]`, ascending.
    """

    model: nn.Module
    image: Forward
    text: Forward
    cotangents: Cotangents
    positions: Tensor

    @property
    def length(self) -> int:
        """Tokens of the response."""
        return len(self.cotangents.visual)

    def at(self, positions: Tensor) -> "Job":
        """The same response with other tokens probed."""
        return replace(self, positions=positions)

    def seeds(self, objectives: Sequence[str], tokens: Tensor, like: Tensor) -> Tensor:
        """Cotangents `[2 C, U, V]` of these of the probed tokens, each at its own row of the logits."""
        found = like.new_zeros(len(tokens), len(objectives), *like.shape)
        for place, objective in enumerate(objectives):
            rows = getattr(self.cotangents, objective)[self.positions[tokens]]
            found[torch.arange(len(tokens)), place, tokens] = rows.to(like)
        return found.flatten(0, 1)


@dataclass(frozen=True)
class Way:
    """build: takes the model and a number of tokens a backward pass, for those ways that have one."""

    key: str
    name: str
    build: Callable[[nn.Module, int], Grams]
    chunked: bool = False
    untied: bool = False
    is_exact: bool = True


def plain(model: nn.Module, chunk: int) -> Grams:
    """(a)"""
    parameters = list(model.parameters())

    def gradient(job: Job, objective: str, position: int) -> Tensor:
        view = job.text if objective in TEXT else job.image
        logits = view(torch.arange(job.length))
        seed = torch.zeros_like(logits)
        seed[position] = getattr(job.cotangents, objective)[position].to(logits)
        found = torch.autograd.grad(logits, parameters, seed, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in found])

    def gram(job: Job, position: int) -> Tensor:
        gradients = torch.stack([gradient(job, objective, position) for objective in OBJECTIVES])
        return (gradients @ gradients.T).double()

    return lambda job: torch.stack([gram(job, position) for position in job.positions.tolist()])


def one_forward(model: nn.Module, chunk: int) -> Grams:
    """(b)"""
    parameters = list(model.parameters())

    def pull_back(logits: Tensor) -> Pull:
        def pull(seeds: Tensor) -> list[Tensor | None]:
            rows = [_autograd(logits, parameters, seed) for seed in seeds]
            return [None if parts[0] is None else torch.stack(parts) for parts in zip(*rows, strict=True)]

        return pull

    return lambda job: _by_chunks(job, [pull_back(view(job.positions)) for view in (job.image, job.text)], 1)


def batched(model: nn.Module, chunk: int) -> Grams:
    """(c)"""
    parameters = list(model.parameters())

    def pull_back(logits: Tensor) -> Pull:
        return lambda seeds: _autograd(logits, parameters, seeds, is_grads_batched=True)

    def grams(job: Job) -> Tensor:
        with _no_word_of_loops():
            return _by_chunks(job, [pull_back(view(job.positions)) for view in (job.image, job.text)], chunk)

    return grams


def functional(model: nn.Module, chunk: int) -> Grams:
    """(d)"""
    parameters = {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}

    def pull_back(view: Forward, positions: Tensor) -> Pull:
        called = _Called(model, view)
        pull = torch.func.vjp(lambda p: torch.func.functional_call(called, p, (positions,)), parameters)[1]
        return lambda seeds: list(torch.func.vmap(pull)(seeds)[0].values())

    def grams(job: Job) -> Tensor:
        with _no_word_of_loops():
            found = _by_chunks(job, [pull_back(view, job.positions) for view in (job.image, job.text)], chunk)
        _forget_places(model)
        return found

    return grams


def autogram(model: nn.Module, chunk: int) -> Grams:
    """(e): it forgets the graph with each call, so that a chunk needs a forward pass of its own."""
    from torchjd.autogram import Engine  # here, so that the other ways do without

    engine = Engine(model, batch_dim=None)

    def gram(job: Job) -> Tensor:
        logits = {view: forward(job.positions) for view, forward in zip(_VIEWS, (job.image, job.text), strict=True)}
        finite = {view: rows.masked_fill(rows.isneginf(), 0.0) for view, rows in logits.items()}
        products = [
            (getattr(job.cotangents, objective)[job.positions].to(rows) * rows).sum(-1)
            for view, rows in finite.items()
            for objective in view
        ]
        everything = engine.compute_gramian(torch.stack(products, dim=1).flatten())  # [4 C, 4 C]
        blocks = everything.unflatten(0, (-1, 4)).unflatten(2, (-1, 4))
        return blocks.diagonal(dim1=0, dim2=2).movedim(-1, 0).double()

    def grams(job: Job) -> Tensor:
        with _no_word_of_loops():
            return _of_objectives(torch.cat([gram(job.at(some)) for some in job.positions.split(chunk)]))

    return grams


def ours(model: nn.Module, chunk: int, sketch: int | None = None) -> Grams:
    """(f), and (g) with a sketch: the chunk is the engine's own."""
    engine = Gramian(model, parameter_groups(model), sketch=sketch)

    def grams(job: Job) -> Tensor:
        response = ProbedResponse(job.image, job.text, job.cotangents.at(job.positions), job.positions)
        return _of_objectives(total(engine.units(response, torch.eye(len(job.positions)))))

    return grams


WAYS = {
    way.key: way
    for way in (
        Way("a", "forward + backward a gradient", plain),
        Way("b", "one forward, a backward a gradient", one_forward),
        Way("c", "batched cotangents (`is_grads_batched`)", batched, chunked=True),
        Way("d", "`torch.func` vjp + vmap", functional, chunked=True),
        Way("e", "TorchJD autogram, untied copy", autogram, chunked=True, untied=True),
        Way("f", "`geometry.Gramian`", ours),
        Way("g", f"`geometry.Gramian`, sketch of {SKETCH} columns", partial(ours, sketch=SKETCH), is_exact=False),
    )
}


def _of_objectives(basis: Gram | Tensor) -> Tensor:
    """The Gram matrices `[C, 5, 5]` of `OBJECTIVES` from those of the basis."""
    gram = basis if isinstance(basis, Gram) else Gram(basis)
    products = [[torch.from_numpy(gram.product(a, b)) for b in OBJECTIVES] for a in OBJECTIVES]
    return torch.stack([torch.stack(row, dim=-1) for row in products], dim=-2)


class _Called(nn.Module):
    """A view as the forward of a module that holds its model, as `functional_call` wants it."""

    def __init__(self, model: nn.Module, view: Forward) -> None:
        super().__init__()
        self.model, self.view = model, view

    def forward(self, positions: Tensor) -> Tensor:
        return self.view(positions)


def _autograd(
    logits: Tensor, parameters: Sequence[Tensor], seeds: Tensor, is_grads_batched: bool = False
) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(
        logits, parameters, seeds, retain_graph=True, allow_unused=True, is_grads_batched=is_grads_batched
    )


def _by_chunks(job: Job, pulls: Sequence[Pull], chunk: int) -> Tensor:
    """The Gram matrices of the probed tokens, a chunk at a time, from a pull for each view."""
    like = torch.zeros(len(job.positions), job.cotangents.visual.shape[1], dtype=next(job.model.parameters()).dtype)
    grams = []
    for tokens in torch.arange(len(job.positions)).split(chunk):
        views = [pull(job.seeds(view, tokens, like)) for view, pull in zip(_VIEWS, pulls, strict=True)]
        grams.append(_products(len(tokens), *views))
    return _of_objectives(torch.cat(grams))


def _products(n_tokens: int, image: Sequence[Tensor | None], text: Sequence[Tensor | None]) -> Tensor:
    """`[C, 4, 4]` from the two views' gradients `[2 C, *shape]` of each parameter."""
    gram = torch.zeros(n_tokens, 4, 4, dtype=torch.float64)
    for of_image, of_text in zip(image, text, strict=True):
        parts = [part.reshape(n_tokens, 2, -1) for part in (of_image, of_text) if part is not None]
        rows = torch.cat(parts, dim=1)  # [C, 4, n], or [C, 2, n] where the text view does not reach
        gram[:, : rows.shape[1], : rows.shape[1]] += _inner_products(rows)
    return gram


def _inner_products(rows: Tensor) -> Tensor:
    """`[C, m, m]`: float32 within blocks, float64 across; one float32 product of long rows is off, and slower."""
    whole = rows.shape[2] // _BLOCK * _BLOCK
    blocks = rows[:, :, :whole].unflatten(2, (-1, _BLOCK)).movedim(2, 1)  # [C, blocks, m, block]
    rest = rows[:, :, whole:]
    return (blocks @ blocks.mT).double().sum(1) + (rest @ rest.mT).double()


@contextmanager
def _no_word_of_loops() -> Iterator[None]:
    """Silence vmap where an operation has no batching rule and is looped over."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def _forget_places(model: nn.Module) -> None:
    """Drop what Qwen3-VL notes of a prompt's places: `torch.func` leaves a dead wrapper there."""
    for module in model.modules():
        if hasattr(module, "rope_deltas"):
            module.rope_deltas = None  # type: ignore[assignment]
