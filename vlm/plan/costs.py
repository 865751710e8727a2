"""The costs of all passes that a pair makes, each run on shapes once and scaled to any batch.

The costs of a pass are proportional to its batch. Exceptions are its number of operations and, in a backward pass, the
gradients of weights. A batch of one has no mask, so batches of one and two are run, for backward passes also of three.
The costs of larger ones follow.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from vlm.plan.inputs import Shown
from vlm.plan.outline import Outline
from vlm.plan.passes import Pass, SamplingCosts, gradient_pass, sampling_costs, scoring_pass
from vlm.plan.student import as_trained
from vlm.plan.work import Prompts, Settings

Key = tuple[object, ...]
ViewName = Literal["image", "text"]
SAMPLING_BYTES = 32
"""For each row and id while a token is drawn, on top of the logits in the model's dtype: those in float32, and with
banned ids left out; probabilities and their sums in float64; and what is handed back, twice."""


@dataclass
class Costs:
    """Costs of the passes of a pair on some prompts.

    n_response: tokens of each response.
    """

    student: Outline
    teacher: Outline
    prompts: Prompts
    n_response: int
    _passes: dict[Key, Pass] = field(default_factory=dict)
    _sampling: dict[Key, SamplingCosts] = field(default_factory=dict)

    def scoring(self, outline: Outline, view: ViewName, batch: int) -> Pass:
        """Return the cost of a view of a batch without a graph."""

        def run(n: int) -> Pass:
            return scoring_pass(outline, self._shown(view), n, self.n_response)

        key = ("scoring", outline is self.teacher, str(outline.dtype), self._shown(view).tokens, view)
        return self._scaled(key, run, batch)

    def sampling(self, batch: int) -> SamplingCosts:
        """Return the cost of sampling a batch of responses."""
        n = min(batch, 2)
        key = (str(self.student.dtype), self.prompts.image.tokens, n)
        if key not in self._sampling:
            self._sampling[key] = sampling_costs(self.student, self.prompts.image, n, self.n_response)
        return self._sampling[key].times(batch / n)

    def graph(self, view: ViewName, batch: int = 1, settings: Settings | None = None) -> Pass:
        """Return the cost of a view with its graph, and of a backward pass to what is trained.

        settings: of training; None for gradients of all weights.
        """
        trained = settings and (settings.gradient_checkpointing, settings.lora_rank, settings.freeze_vision)

        def run(n: int) -> Pass:
            if settings is None:
                return gradient_pass(self.student, self._shown(view), n, self.n_response)
            with as_trained(self.student, settings) as (student, weights):
                return gradient_pass(student, self._shown(view), n, self.n_response, weights)

        return self._scaled(("graph", str(self.student.dtype), self._shown(view).tokens, view, trained), run, batch)

    def _shown(self, view: ViewName) -> Shown:
        return self.prompts.image if view == "image" else self.prompts.text

    def _scaled(self, key: Key, run: Callable[[int], Pass], batch: int) -> Pass:
        """The cost at a batch above two, on the line through those at two and three: gradients of weights have no
        batch."""
        if batch <= 2:
            return self._run(key, run, batch)
        two = self._run(key, run, 2)
        three = self._run(key, run, 3) if two.backward is not None else None
        if three is None:
            return two.times(batch / 2)
        return two.times(3 - batch).plus(three.times(batch - 2))

    def _run(self, key: Key, run: Callable[[int], Pass], batch: int) -> Pass:
        if (*key, batch) not in self._passes:
            self._passes[*key, batch] = run(batch)
        return self._passes[*key, batch]


def quantised_bytes(outline: Outline, bits: int) -> int:
    """Return the bytes of a model whose linear layers, except the head, hold each number in `bits` bits."""
    linear = [module for module in outline.model.modules() if isinstance(module, nn.Linear)]
    packed = {module.weight: module.weight.numel() for module in linear if module is not outline.head}
    others = [p for p in outline.model.parameters() if p not in packed]
    return sum(packed.values()) * bits // 8 + sum(p.numel() * 2 for p in others)
