"""What is to be done, and with which settings: what a plan is made for."""

from dataclasses import dataclass

from vlm.plan.inputs import Shown

PHASES = ("loading", "rollouts", "scoring", "gradients", "null", "training step")
"""Parts of a measurement or a run, in order."""


@dataclass(frozen=True)
class Prompts:
    """The prompts as a model is shown them, and how many there are.

    image, text: the longest in each view.
    pixel_bytes: of the pictures of one prompt, as processors make and keep them.
    n_kept: how often these are kept: once for processors that agree, else once for each.
    """

    image: Shown
    text: Shown
    n: int
    pixel_bytes: int = 0
    n_kept: int = 1


@dataclass(frozen=True)
class Settings:
    """What can be changed for a plan to fit.

    batch: responses in a forward pass; micro_batch: in one of training.
    dtype, teacher_dtype: of the weights; int8 is for the teacher alone.
    offload: the model that does not run waits in the machine's memory.
    elsewhere: the teacher's weights are on other devices, which this plan does not look at.
    max_pixels: of a picture; None where the lengths of the prompts have it in them.
    """

    batch: int = 16
    micro_batch: int = 16
    dtype: str = "float32"
    teacher_dtype: str = "float32"
    offload: bool = False
    elsewhere: bool = False
    gradient_checkpointing: bool = False
    lora_rank: int = 0
    freeze_vision: bool = False
    max_pixels: int | None = None


@dataclass(frozen=True)
class Work:
    """How much is to be done.

    phases: those that happen, of `PHASES`.
    n_responses: sampled and scored, of up to `max_response` tokens.
    mean_response: tokens, for the time; None for `max_response`.
    steps_in_a_batch: tokens of the longest response of a batch, on average; None for the mean.
    n_probed: tokens whose gradients are measured.
    n_gradients: gradients that a step of training sums apart.
    per_step: responses of a step of training.
    n_steps: of training.
    keeps_float32: whether the student's weights are float32 in every phase, whatever the dtype, as a trainer has them.
    has_prior: whether a step of training reads the text view of the student before training, too. Unless it has
        adapters, that is another copy of it in the machine's memory.
    """

    phases: tuple[str, ...]
    n_responses: int
    max_response: int
    mean_response: float | None = None
    steps_in_a_batch: float | None = None
    n_probed: int = 640
    n_bins: int = 10
    n_gradients: int = 1
    trains_text: bool = True
    per_step: int = 64
    n_steps: int = 1
    keeps_float32: bool = False
    has_prior: bool = False

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher takes part."""
        return not {"loading", "rollouts"}.issuperset(self.phases)

    @property
    def mean(self) -> float:
        """Tokens of a response, for the time."""
        return self.max_response if self.mean_response is None else self.mean_response

    @property
    def probed_in_a_response(self) -> int:
        """Probed tokens that one response has, at most: as many as it is long."""
        share = -(-self.n_probed // max(self.n_responses, 1))
        return max(min(2 * share, self.max_response), 1)
