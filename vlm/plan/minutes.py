"""Time by phase: products, traffic and operations of its passes, at the rates of the device."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from geometry.gramian.working_set import CPU_BYTES
from vlm.checkpoints.precision import DTYPES
from vlm.plan.costs import Costs
from vlm.plan.memory import VIEWS, n_held
from vlm.plan.outline import Outline
from vlm.plan.rates import Rates
from vlm.plan.shapes_only import Counts
from vlm.plan.work import Settings, Work

BACKWARD = 4
"""Backward passes of a unit to the outputs of layers: visual and prior from the image view, language and shift from
the text view. One costs as much as a forward pass."""
UPDATE_PASSES = 12
"""Times that each trained number is read or written by an update: gradient, sum, both moments, weight."""


@dataclass(frozen=True)
class Minutes:
    """The time of each phase with some settings, seconds.

    corrections: by phase, what a real run of a few prompts took, as a multiple of what is reckoned for it.
    """

    costs: Costs
    work: Work
    settings: Settings
    rates: Rates
    corrections: Mapping[str, float]

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each phase that happens; a training step is one."""
        ways = {
            "loading": self._loading,
            "rollouts": lambda: self._sampled(self.work.n_responses, self.settings.batch),
            "scoring": lambda: self._scored(self.work.n_responses, self.settings.batch),
            "gradients": self._gradients,
            "null": self._null,
            "training step": self._step,
        }
        return {phase: ways[phase]() * self.corrections.get(phase, 1.0) for phase in self.work.phases}

    def _loading(self) -> float:
        """Files are hashed, weights are written; a slow disk takes longer."""
        models = (self.costs.student, self.costs.teacher) if self.work.has_teacher else (self.costs.student,)
        files = sum(DTYPES[outline.saved_in].itemsize * outline.n_parameters for outline in models)
        return files / self.rates.hashed_bytes + sum(2 * outline.weight_bytes for outline in models) / self.rates.bytes

    def _sampled(self, n: int, batch: int) -> float:
        batch = min(batch, n)
        costs, student = self.costs.sampling(batch), self.costs.student
        rows = batch * student.n_rows
        drawing = Counts(moved_bytes=80 * rows, n_ops=20)
        step = self.rates.seconds(costs.step, self._bytes(student)) + self.rates.seconds(drawing)
        n_steps = self._mean if self.work.steps_in_a_batch is None else self.work.steps_in_a_batch
        return -(-n // batch) * (self.rates.seconds(costs.prompt) + n_steps * step)

    def _scored(self, n: int, batch: int, both: bool = True) -> float:
        batch, share = min(batch, n), self._mean / self.work.max_response
        models = (self.costs.student, self.costs.teacher) if both else (self.costs.teacher,)
        passes = [self.costs.scoring(model, view, batch) for model in models for view in VIEWS]
        forward = sum(self.rates.seconds(cost.forward.times(share)) for cost in passes)
        return n / batch * forward + n * self._mean * self._logits_of_a_token(models)

    def _logits_of_a_token(self, models: tuple[Outline, ...]) -> float:
        """The heads of four views, and what their logits are compared with."""
        n_ids = self.costs.student.n_ids
        flops = sum(4 * n_ids * model.width for model in models)
        return self.rates.seconds(Counts(flops=flops, moved_bytes=60 * 4 * n_ids))

    def _gradients(self) -> float:
        """Forward passes of each chunk, backward passes and products of each unit, teacher's views of each response."""
        work, student = self.work, self.costs.student
        graphs = [self.costs.graph(view) for view in VIEWS]
        in_chunk = max(CPU_BYTES // max(2 * sum(graph.output_bytes for graph in graphs), 1), 1)
        n_chunks = max(work.n_probed / in_chunk, min(work.n_probed, work.n_responses))
        share = self._share_of_length
        forward = sum(self.rates.seconds(graph.forward.times(share)) for graph in graphs)
        products = self.rates.seconds(Counts(flops=_products(student, self._length)))
        head = self.rates.seconds(Counts(flops=2 * 4 * 4 * student.n_ids * student.width))
        return (
            n_chunks * forward
            + work.n_probed * (BACKWARD / 2 * forward + products + head)
            + self._scored(min(work.n_probed, work.n_responses), self.settings.batch)
        )

    def _null(self) -> float:
        """Forward passes of both views, for each pair or each held response; for each pair three gradients.

        Those of shift and language are of the text view.
        """
        pairs, held = self.work.n_probed, n_held(self.costs, self.work)
        share, runs = (1.0, held) if held else (self._share_of_length, pairs)
        seconds = pairs * self.rates.seconds(Counts(moved_bytes=6 * 8 * self.costs.student.n_parameters))
        for view in VIEWS:
            graph = self.costs.graph(view)
            assert graph.backward is not None
            forward, backward = (self.rates.seconds(part.times(share)) for part in (graph.forward, graph.backward))
            seconds += runs * forward + pairs * backward * (1 if view == "image" else 2)
        return seconds + self._scored(runs, self.settings.batch, both=False)

    def _step(self) -> float:
        """Rollouts, the teacher's views, the student's passes forward and back, and the update."""
        work, settings, student = self.work, self.settings, self.costs.student
        sampled = self._sampled(work.per_step, self.settings.batch)
        teacher = self._scored(work.per_step, settings.micro_batch, both=False)
        n_parts, share = work.per_step / settings.micro_batch, self._mean / work.max_response
        passes = 0.0
        for view in VIEWS:
            graph = self.costs.graph(view, settings.micro_batch, settings)
            assert graph.backward is not None
            has_graph = view == "image" or work.trains_text
            backward = work.n_gradients * self.rates.seconds(graph.backward.times(share)) if has_graph else 0.0
            passes += self.rates.seconds(graph.forward.times(share)) + backward
        if work.has_prior:
            prior = self.costs.scoring(student, "text", settings.micro_batch)
            passes += self.rates.seconds(prior.forward.times(share))
        loss = work.per_step * self._mean * self._logits_of_a_token((student, self.costs.teacher))
        update = self.rates.seconds(Counts(moved_bytes=4 * UPDATE_PASSES * student.n_parameters))
        return sampled + teacher + n_parts * passes + 2 * work.n_gradients * loss + update

    @property
    def _mean(self) -> float:
        return self.work.mean

    @property
    def _length(self) -> float:
        """Tokens of a prompt and half of a response: where a probed token stands, on average."""
        return self.costs.prompts.image.tokens + self._mean / 2

    @property
    def _share_of_length(self) -> float:
        return self._length / (self.costs.prompts.image.tokens + self.work.max_response)

    def _bytes(self, outline: Outline) -> int:
        return DTYPES[self.settings.dtype].itemsize * outline.n_parameters


def _products(outline: Outline, length: float) -> int:
    """FLOP of the inner products of a unit's gradients: from the factors or from the gradients, which is cheaper."""
    flops = 0.0
    for module in outline.model.modules():
        if isinstance(module, nn.Linear) and module is not outline.head:
            o, i = module.weight.shape
            flops += min(2 * BACKWARD * length * o * i, 2 * BACKWARD * length**2 * min(o, i))
    return int(flops)
