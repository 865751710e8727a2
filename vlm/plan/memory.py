"""Memory by phase: what is held at the peak of each, part by part.

Every part is a tensor that the code makes, or a number of them; nothing is fitted. A pass is run on shapes
(`vlm.plan.passes`); what is done with logits is counted here, chunk by chunk as `geometry.lm_head.CHUNK_BYTES` has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from geometry.gramian.weight_gramians import GRADIENT_BYTES
from geometry.gramian.working_set import CPU_BYTES
from geometry.lm_head import CHUNK_BYTES
from geometry.token_scores import BLOCK_BYTES
from vlm.checkpoints.precision import DTYPES
from vlm.plan.costs import SAMPLING_BYTES, Costs, ViewName, quantised_bytes
from vlm.plan.outline import Outline
from vlm.plan.passes import Pass
from vlm.plan.student import short_numbers, trained_numbers
from vlm.plan.work import Settings, Work
from vlm.responses.held_views import HELD_BYTES
from vlm.views.encoding import KEPT_BYTES

BITS = {"int8": 8, "nf4": 4}
"""Of a number in the linear layers of a quantised teacher."""
READ_BYTES = 2 << 24
"""Two blocks of a file of weights, while its fingerprint is taken."""
BLOCKS = 16
"""Working tensors in which logits are compared, each of a block of tokens."""
VIEWS: tuple[ViewName, ViewName] = ("image", "text")


@dataclass(frozen=True)
class Need:
    """What a phase holds at its peak: bytes by part."""

    phase: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Memory:
    """What each phase takes with some settings.

    on_cpu: pictures that are kept, and the process itself, then count as well.
    """

    costs: Costs
    work: Work
    settings: Settings
    on_cpu: bool

    @property
    def batch(self) -> int:
        """Responses in a forward pass: no more than there are."""
        return min(self.settings.batch, self.work.n_responses)

    @property
    def micro_batch(self) -> int:
        """Responses in a pass of training."""
        return min(self.settings.micro_batch, self.work.per_step)

    def needs(self) -> list[Need]:
        """Return the peaks of the phases that happen."""
        ways = {
            "loading": self.loading,
            "rollouts": self.rollouts,
            "scoring": self.scoring,
            "gradients": self.gradients,
            "null": self.null,
            "training step": self.training_step,
        }
        return [Need(phase, self._held(phase) | ways[phase]()) for phase in self.work.phases]

    def _held(self, phase: str) -> dict[str, int]:
        """What is there in every phase: weights, and pictures that are kept."""
        trained = phase == "training step" or self.work.keeps_float32
        student = self.trained_weights(is_read=phase == "loading") if trained else self.weights("student")
        is_here = self.work.has_teacher and not self.settings.elsewhere
        teacher = self.weights("teacher") if is_here else 0
        weights = max(student, teacher) if self.settings.offload and not self.on_cpu else student + teacher
        if trained and self.settings.elsewhere:
            weights += self._copied_head()
        first = self.first_student() if self.on_cpu else 0
        prompts, kept = self.costs.prompts, 0
        if self.on_cpu and phase != "loading":
            kept = prompts.n_kept * min(prompts.n * prompts.pixel_bytes, KEPT_BYTES)
        others = {"first student": first, "pictures": kept}
        return {"weights": weights, **{name: size for name, size in others.items() if size}}

    def weights(self, side: str) -> int:
        """Bytes of a model's weights in its dtype."""
        outline: Outline = getattr(self.costs, side)
        if side == "teacher" and self.settings.teacher_dtype in BITS:
            return quantised_bytes(outline, BITS[self.settings.teacher_dtype])
        dtype = self.settings.teacher_dtype if side == "teacher" else self.settings.dtype
        return DTYPES[dtype].itemsize * outline.n_parameters

    def trained_weights(self, *, is_read: bool = False) -> int:
        """Bytes of the weights of a student that is trained: float32, frozen ones of adapted layers 16 bits if exact.

        is_read: while the checkpoint is loaded, before there are adapters.
        """
        short = 0 if is_read else short_numbers(self.costs.student, self.settings)
        return 4 * self.costs.student.n_parameters - 2 * short

    def first_student(self) -> int:
        """Bytes of the student before training in the machine's memory; with adapters the one that trains is it."""
        return self.weights("student") if self.work.has_prior and not self.settings.lora_rank else 0

    def _copied_head(self) -> int:
        """Bytes of the copy of a teacher's head that training keeps where the loss is."""
        teacher, dtype = self.costs.teacher, DTYPES.get(self.settings.teacher_dtype, DTYPES["bfloat16"])
        return dtype.itemsize * teacher.n_rows * teacher.width

    def loading(self) -> dict[str, int]:
        """What reading weights takes besides them."""
        return {"reading": READ_BYTES}

    def rollouts(self) -> dict[str, int]:
        """The cache at its longest with one step's tensors, or the pass over the prompts, whichever is more."""
        costs = self.costs.sampling(self.batch)
        rows = self.batch * self.costs.student.n_rows
        if costs.prompt.peak_bytes > costs.cache_bytes + costs.step.peak_bytes + SAMPLING_BYTES * rows:
            return {"pass over the prompts": costs.prompt.peak_bytes}
        return {"cache": costs.cache_bytes, "step": costs.step.peak_bytes, "sampling": SAMPLING_BYTES * rows}

    def scoring(self) -> dict[str, int]:
        """Hidden states of four views, and a pass of the last of them or chunks of logits, whichever is more."""
        hidden, busiest = 0, 0
        for outline in (self.costs.student, self.costs.teacher):
            for view in VIEWS:
                cost = self.costs.scoring(outline, view, self.batch)
                busiest = max(busiest, hidden + cost.forward.peak_bytes)
                hidden += cost.hidden_bytes
        logits = self._logits(4)
        if busiest > hidden + logits:
            return {"pass": busiest}
        return {"hidden states": hidden, "chunk of logits": logits}

    def gradients(self) -> dict[str, int]:
        """The graph of a view, the gradients of a chunk of units at the outputs of modules, and cotangents."""
        n, rows = self.work.probed_in_a_response, 4 * self.costs.student.n_ids
        graph = max((self.costs.graph(view) for view in VIEWS), key=lambda cost: cost.saved_bytes)
        a_unit = 2 * sum(self.costs.graph(view).output_bytes for view in VIEWS)
        units = max(min(n, CPU_BYTES // max(a_unit, 1)), 1)
        return {
            "hidden states": self._hidden(self.batch),
            "logits and cotangents": 9 * n * rows,
            "graph": graph.forward.live_bytes,
            "gradients at outputs": units * a_unit,
            "gradient of a weight": min(GRADIENT_BYTES, 16 * units * self._formed()),
        }

    def null(self) -> dict[str, int]:
        """Two gradients of the whole student, one of a weight to be added, and graphs of both views.

        Where the graphs of all responses fit into a bound of memory they are held.
        """
        size = DTYPES[self.settings.dtype].itemsize
        largest = max(p.numel() for p in self.costs.student.model.parameters())
        return {
            "two gradients": 2 * size * self.costs.student.n_parameters,
            "graphs": graph_bytes(self.costs) * (n_held(self.costs, self.work) or 1),
            "gradient of a weight": size * largest,
            "teacher's logits": 2 * 4 * self.costs.student.n_ids * min(self.work.n_probed // self.work.n_bins, 64),
        }

    def training_step(self) -> dict[str, int]:
        """AdamW's state and sums of gradients, beside the graph of a micro-batch with its gradients."""
        settings, student = self.settings, self.costs.student
        n_trained = trained_numbers(student, settings)
        passes = [self.costs.graph("image", self.micro_batch, settings)]
        if self.work.trains_text:
            passes.append(self.costs.graph("text", self.micro_batch, settings))
        else:
            passes.append(self.costs.scoring(student, "text", self.micro_batch))
        head = 0 if settings.lora_rank else 4 * student.n_rows * student.width
        activations = sum(cost.forward.live_bytes for cost in passes)
        forward = {
            "AdamW": 8 * n_trained,
            "sums of gradients": 4 * n_trained * self.work.n_gradients,
            "graph": activations,
            **_in_16_bits(settings, student),
            "backward": max(_beside(cost) for cost in passes),
        }
        loss = {
            **forward,
            "backward": 0,
            "head's gradient": head,
            "loss": self._logits(4 + self.work.has_prior) + 2 * passes[0].hidden_bytes,
        }
        n_held = self.work.n_gradients + (self.work.n_gradients > 1)  # several are combined into one more
        update = {"AdamW": 8 * n_trained, "sums of gradients": 4 * n_trained * n_held}
        return max((forward, loss, update), key=lambda parts: sum(parts.values()))

    def _formed(self) -> int:
        """Numbers of the largest matrix whose gradient is formed, as that is cheaper than products of its factors."""
        length = self.costs.prompts.image.tokens + self.costs.n_response
        shapes = [tuple(m.weight.shape) for m in self.costs.student.model.modules() if type(m) is nn.Linear]
        formed = [o * i for o, i in shapes if o * i * (4 * length + 208) < 6 * length * min(o, i) * (length + 34)]
        return max(formed, default=0)

    def _hidden(self, batch: int) -> int:
        models = (self.costs.student, self.costs.teacher)
        return sum(self.costs.scoring(model, view, batch).hidden_bytes for model in models for view in VIEWS)

    def _logits(self, n_views: int) -> int:
        """Logits of a chunk of tokens, and the working tensors in which they are compared."""
        n_ids = self.costs.student.n_ids
        tokens = min(max(CHUNK_BYTES // (4 * n_ids), 1), self.costs.n_response)
        block = min(max(BLOCK_BYTES // (4 * n_ids), 1), tokens) if self.on_cpu else tokens
        return 4 * n_ids * (n_views * tokens + BLOCKS * block)


def graph_bytes(costs: Costs) -> int:
    """Return the bytes of the graphs of both views of a response."""
    return sum(costs.graph(view).forward.live_bytes for view in VIEWS)


def n_held(costs: Costs, work: Work) -> int:
    """Return the number of responses whose graphs a null holds: all that are probed, or 0 where these do not fit."""
    n = min(work.n_responses, work.n_probed)
    return n if n * graph_bytes(costs) <= HELD_BYTES else 0


def _in_16_bits(settings: Settings, student: Outline) -> dict[str, int]:
    """The copies of float32 weights that passes in 16 bits make and keep."""
    if settings.dtype == "float32" or settings.lora_rank:
        return {}
    return {"weights in 16 bits": 2 * trained_numbers(student, settings)}


def _beside(cost: Pass) -> int:
    return 0 if cost.backward is None else cost.backward.peak_bytes
