"""What a pass of a model costs: a view of a batch, a step of sampling, a backward pass."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from vlm.checkpoints.foreign import naming
from vlm.plan.inputs import Shown
from vlm.plan.outline import Outline
from vlm.plan.shapes_only import Counts, ShapesOnly


@dataclass(frozen=True)
class Pass:
    """A pass forward, and backward if it has a graph.

    forward: live are the hidden states of the response, and what the graph keeps.
    backward: beside what the forward pass leaves; none without a graph.
    hidden_bytes: of the response's hidden states.
    output_bytes: of the outputs of all layers with a matrix, the head left out.
    """

    forward: Counts
    hidden_bytes: int
    backward: Counts | None = None
    output_bytes: int = 0

    def times(self, times: float) -> "Pass":
        """Return the cost of so many times as many rows."""
        backward = None if self.backward is None else self.backward.times(times)
        sizes = (int(size * times) for size in (self.hidden_bytes, self.output_bytes))
        hidden, outputs = sizes
        return Pass(self.forward.times(times), hidden, backward, outputs)

    def plus(self, other: "Pass") -> "Pass":
        """Return the sum, part by part."""
        both = self.backward is not None and other.backward is not None
        backward = self.backward.plus(other.backward) if both else None  # type: ignore[union-attr, arg-type]
        hidden, outputs = self.hidden_bytes + other.hidden_bytes, self.output_bytes + other.output_bytes
        return Pass(self.forward.plus(other.forward), hidden, backward, outputs)

    @property
    def saved_bytes(self) -> int:
        """What the graph keeps for the backward pass, the hidden states of the response besides."""
        return self.forward.live_bytes - self.hidden_bytes


def scoring_pass(outline: Outline, shown: Shown, batch: int, n_response: int) -> Pass:
    """Return the cost of a view of a batch without a graph, up to the hidden states of the response."""
    with torch.no_grad(), _on_shapes(outline) as run:
        hidden = _hidden(run, outline, shown.inputs(outline, batch, n_response), n_response)
        return Pass(replace(run.counts), hidden.nbytes)


def gradient_pass(
    outline: Outline, shown: Shown, batch: int, n_response: int, trained: Sequence[Tensor] | None = None
) -> Pass:
    """Return the cost of a view of a batch with a graph, and of one backward pass to `trained`, all weights by default.

    The head's own gradient is part of it: it comes with the loss.
    """
    weights = [p for p in outline.model.parameters() if p.requires_grad] if trained is None else list(trained)
    with torch.enable_grad(), _on_shapes(outline) as run:
        with _outputs(outline) as sizes:
            hidden = _hidden(run, outline, shown.inputs(outline, batch, n_response), n_response)
        forward, size = replace(run.counts), hidden.nbytes
        run.restart()
        outputs, seeds = [hidden], [torch.empty_like(hidden)]
        head = outline.head.weight
        if any(weight is head for weight in weights):
            outputs, seeds = [*outputs, head], [*seeds, torch.empty_like(head)]
        torch.autograd.grad(outputs, weights, seeds, allow_unused=True)
        backward = replace(run.counts, peak_bytes=run.counts.peak_bytes - forward.live_bytes)
    return Pass(forward, size, backward, sum(sizes))


@dataclass(frozen=True)
class SamplingCosts:
    """What sampling costs.

    prompt: the pass over the prompts, which fills the cache.
    step: the last token of each row, beside the cache.
    cache_bytes: keys and values of prompts and whole responses.
    """

    prompt: Counts
    step: Counts
    cache_bytes: int

    def times(self, times: float) -> "SamplingCosts":
        """Return the costs of so many times as many rows."""
        return SamplingCosts(self.prompt.times(times), self.step.times(times), int(self.cache_bytes * times))


def sampling_costs(outline: Outline, shown: Shown, batch: int, n_response: int) -> SamplingCosts:
    """Return what a batch of responses costs, one token after the other."""
    with torch.no_grad(), _on_shapes(outline) as run:
        inputs = shown.inputs(outline, batch)
        run.holds(*inputs.values())
        outline.model(**inputs, logits_to_keep=1, use_cache=True, past_key_values=DynamicCache())
        prompt = replace(run.counts)
    text = replace(shown, view=None, visual=0, uneven=False)
    with torch.no_grad(), _on_shapes(outline) as run:
        cache, inputs = DynamicCache(), text.inputs(outline, batch, n_response - 1)
        with _head_on_one_row(outline):
            outline.model(**inputs, logits_to_keep=1, use_cache=True, past_key_values=cache)
        held = run.counts.live_bytes
        run.restart()
        mask = torch.cat([inputs["attention_mask"], inputs["attention_mask"][:, -1:]], dim=1)
        ids, place = inputs["input_ids"][:, -1:], torch.full((batch, 1), mask.shape[1] - 1)
        outline.model(input_ids=ids, attention_mask=mask, position_ids=place, past_key_values=cache, use_cache=True)
        step = replace(run.counts, peak_bytes=run.counts.peak_bytes - held)
    return SamplingCosts(prompt, step, held)


@contextmanager
def _on_shapes(outline: Outline) -> Iterator[ShapesOnly]:
    """Run a model on shapes alone.

    Raises:
        CheckpointError: it fails, as one does whose config is not of its processor's pictures.
    """
    way_out = "its config and its processor's settings must be of one model"
    with naming(outline.name, "cannot be planned", way_out), ShapesOnly(outline.model) as run:
        yield run


def _hidden(run: ShapesOnly, outline: Outline, inputs: dict[str, Tensor], n_response: int) -> Tensor:
    """The hidden states of the response, as `vlm.responses.output_layer.handed` takes them."""
    run.holds(*inputs.values())
    length = inputs["input_ids"].shape[1]
    columns = torch.arange(length - n_response - 1, length - 1)
    with _head_on_one_row(outline) as taken:
        outline.model(**inputs, logits_to_keep=columns, use_cache=False)
    (hidden,) = taken
    return hidden if hidden.shape[1] == n_response else hidden[:, columns]


@contextmanager
def _head_on_one_row(outline: Outline) -> Iterator[list[Tensor]]:
    """Run the head on one row, and note what it was handed."""
    taken: list[Tensor] = []

    def take(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        taken.append(args[0])
        return (args[0][:, :1],)

    hook = outline.head.register_forward_pre_hook(take)
    try:
        yield taken
    finally:
        hook.remove()


@contextmanager
def _outputs(outline: Outline) -> Iterator[list[int]]:
    """Note the bytes of what each layer with a matrix gives out."""
    sizes: list[int] = []

    def note(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(output.nbytes)

    kinds = (nn.Linear, nn.Embedding, nn.Conv2d, nn.Conv3d)
    layers = [m for m in outline.model.modules() if isinstance(m, kinds) and m is not outline.head]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield sizes
    finally:
        for handle in handles:
            handle.remove()
