"""The settings that probes share, as frozen dataclasses: a field is a flag and a keyword, its metadata the help."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from cli.errors import OptionError
from cli.options import flag
from stats import N_BINS
from vlm.prompts.reading import Reading

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]
TeacherDtype = Literal["auto", "float32", "bfloat16", "float16", "float64", "int8", "nf4"]
Sampler = Literal["transformers", "vllm"]
Scope = Literal["all", "language_model"]


DTYPE_HELP = "auto: float32 on the CPU, the checkpoint's own elsewhere"
DEVICE_HELP = "auto (an accelerator if there is one), cpu, cuda, cuda:1"


@dataclass(frozen=True)
class PairOptions:
    """The models"""

    teacher: str | None = flag(None, "folder or hub id of the teacher (default: what the student's pair.json names)")
    dtype: Dtype = flag("auto", f"the student's dtype; {DTYPE_HELP}")
    teacher_dtype: TeacherDtype | None = flag(
        None, "the teacher's dtype; int8 and nf4: 8 and 4 bits (extra quantised) (default: as --dtype)"
    )
    device: str = flag("auto", f"where the models run: {DEVICE_HELP}")
    teacher_device: str | None = flag(None, "where the teacher runs (default: where the student does)")
    device_map: Literal["auto"] | None = flag(
        None, "auto: the teacher's layers over all accelerators, and in memory where these are full"
    )
    offload: bool = flag(False, "keep one model on the device: the teacher waits in memory, the student while it runs")
    attention: str = flag("sdpa", "attention implementation: sdpa, eager, flash_attention_2 or another of transformers")
    parameters: str | None = flag(
        None, "regular expression: the student's parameters that are measured, by name (default: all)"
    )

    def __post_init__(self) -> None:
        chosen = [name for name in PLACING if getattr(self, name)]
        if len(chosen) > 1:
            raise OptionError(f"`{chosen[0]}` and `{chosen[1]}` both say where the teacher is; leave one out")
        if self.offload and self.teacher_dtype in ("int8", "nf4"):
            raise OptionError(f"`offload` moves whole weights, and {self.teacher_dtype} cannot move; leave one out")


PLACING = ("teacher_device", "device_map", "offload")
"""Fields of `PairOptions` that say where a model runs."""


@dataclass(frozen=True)
class WidePairOptions(PairOptions):
    """The models"""

    dtype: Dtype = flag(
        "float32", f"the student's dtype: first-order changes and steps are lost in 16 bits; {DTYPE_HELP}"
    )
    teacher_dtype: TeacherDtype | None = flag(
        "auto", "the teacher's dtype; auto: on a CPU the student's; int8 and nf4: 8 and 4 bits (extra quantised)"
    )


@dataclass(frozen=True)
class PromptOptions(Reading):
    """Prompts and rollouts"""

    prompts: str = flag(
        "bundled", "bundled, a .jsonl, .json or .parquet file, a datasets folder, a benchmark or a hub id"
    )
    split: str = flag("train", "split of a datasets folder or hub id (a benchmark: its own, unless another than train)")
    limit: PositiveInt = flag(64, "number of prompts")
    rollouts_per_prompt: PositiveInt = flag(1, "on-policy responses per prompt: temperature 1, no truncation")
    rollouts: str | None = flag(
        None, "a .jsonl or .parquet file with responses that are measured in place of sampled ones"
    )
    sampler: Sampler = flag("transformers", "what samples the responses; vllm: an extra, see docs/responses.md")
    max_response: PositiveInt | None = flag(
        None, "longest response, tokens (default: 1024, or an eighth of a context below 4096; bundled: 64)"
    )
    allow_truncated: bool = flag(False, "go on although more than 80 % of the responses are truncated")
    text_view: Literal["drop", "blank", "other"] = flag("drop", "what replaces the picture in the text view")
    batch: PositiveInt = flag(16, "responses per forward pass; the numbers do not depend on it")
    seed: NonNegativeInt = flag(0, "seed of the bundled scenes, the rollouts and the choice of probed tokens")

    @property
    def longest_response(self) -> int:
        """`max_response`, where it was asked for or has been replaced by that of the student."""
        assert self.max_response is not None
        return self.max_response


@dataclass(frozen=True)
class BinOptions:
    """Bins"""

    bins: PositiveInt = flag(N_BINS, "number of equal-frequency VDS bins")


@dataclass(frozen=True)
class MetricOptions:
    """The inner product"""

    metric: Literal["plain", "adam"] = flag(
        "plain", "of the gradients; adam: under the preconditioner of the checkpoint's optimizer"
    )
    optimizer_state: str | None = flag(
        None, "file with the state of Adam or AdamW (default: training.pt beside the weights)"
    )

    def __post_init__(self) -> None:
        if self.metric == "plain" and self.optimizer_state is not None:
            raise OptionError("`optimizer_state` is read for the metric adam only; add --metric adam or leave it out")


@dataclass(frozen=True)
class UnitOptions:
    """What is probed"""

    unit: Literal["token", "trajectory-bin", "corpus-bin", "signed-bin"] = flag(
        "token",
        "what one gradient belongs to; signed-bin: a trajectory's tokens in a bin with random signs, which estimate"
        " the pooled angle of all tokens in place of the mean angle over tokens (docs/units.md)",
    )
    per_bin: PositiveInt | Literal["all"] = flag(64, "units probed in each bin, drawn at random, or all")
    normalise: bool = flag(
        False, "divide each token's cotangents by the length of its standard one: tokens of a bin count alike"
    )
    scope: Scope = flag("all", "scope of the table and the picture; both are recorded")
    sketch: PositiveInt | None = flag(
        None,
        "estimate the gradients' products of weights that are wider than this from as many random combinations of"
        " their columns; the error is measured on about 16 units and stated (default: exact)",
    )

    def __post_init__(self) -> None:
        if self.sketch is not None and self.unit == "corpus-bin":
            raise OptionError(
                "`sketch` forms no gradients, and a corpus-bin's are held whole; leave it out or choose another `unit`"
            )


@dataclass(frozen=True)
class RunOptions:
    """The full run whose cost is estimated"""

    run_steps: PositiveInt = flag(353, "steps: 45,246 prompts once, 4 rollouts each, 512 a step")
    run_responses: PositiveInt = flag(512, "responses a step")
    run_length: NonNegativeInt = flag(0, "mean response length, tokens; 0 for what was measured")


@dataclass(frozen=True)
class OutputOptions:
    """Output"""

    out: str | None = flag(None, "folder of the record (default: runs/<probe>-<fingerprint>)")
    overwrite: bool = flag(False, "replace a record that is there")
    show_prompt: bool = flag(False, "print the first prompt as the model is given it, in both views, and end")
    dry_run: bool = flag(False, "print what it would take in memory and time, and end: no weights, nothing written")


NO_IDENTITY = (*PLACING, "allow_truncated")
"""Options that no number depends on: no record holds them."""
STATED_IF_GIVEN = {"sampler": "transformers", "sketch": None}
"""Options that a record's settings name only where they differ from this, so that older records stay as they are."""


def stated(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those of `STATED_IF_GIVEN` that are as usual."""
    return {name: value for name, value in settings.items() if (name, value) not in STATED_IF_GIVEN.items()}


ANALYZER_OPTIONS = (PairOptions, PromptOptions, BinOptions, MetricOptions)
"""What an `Analyzer` is made with; each probe has flags for those that it reads."""
