"""The flags of a run: one frozen dataclass whose fields are the flags, and which objectives read which.

A preset replaces the defaults of the flags that are not typed. Nothing here loads torch, so that `--help` and a wrong
flag are answered at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cli.options import flag
from geometry.objective_settings import (
    ALPHA,
    GAMMA,
    LAMBDA,
    QUANTILE,
    READ_BY,
    Average,
    EtaScales,
    Name,
    Preservation,
    Prior,
)
from vlm.prompts.reading import Reading

RewardName = Literal["grpo", "grpo+standard", "grpo+vgs-lp"]
"""Objectives with a reward, alone or mixed with a distillation loss (arXiv:2606.00564, Eq. 22)."""
Tracker = Literal["tensorboard", "wandb", "trackio", "mlflow", "comet_ml", "aim", "clearml", "swanlab", "dvclive"]
"""Trackers that accelerate can log to."""
TeacherDtype = Literal["auto", "float32", "bfloat16", "float16", "float64", "int8", "nf4"]
GROUP_SIZE: Final = 4  # responses per prompt where a reward compares them
OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "alpha": ("grpo+standard", "grpo+vgs-lp"),
    "eta_scales": READ_BY["eta_scales"],
    "match_norm": ("grpo+standard",),
    "rollouts": get_args(Name),
    "top_p": ("grpo",),
    "updates": get_args(RewardName),
}
"""For each flag of the trainer that not every objective reads, the objectives that read it."""
FLAGS_READ_BY: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (*by, "grpo+vgs-lp") if "vgs-lp" in by else by for name, by in READ_BY.items()},
    "quantile_scope": (*READ_BY["quantile"], "grpo+vgs-lp"),
    "eta": READ_BY["eta"],
    **OWN,
}
"""For each flag that not every objective reads, the objectives that read it; `match_norm` reads what vgs-lp reads."""


@dataclass(frozen=True)
class Flags(Reading):
    """The flags of a run, as they were typed."""

    preset: Literal["bundled", "paper-2b", "paper-4b", "paper-teacher"] = flag(
        "bundled", "fills the flags that are not typed", group="Models"
    )
    student: str = flag("bundled", "folder or hub id of the student, or bundled")
    teacher: str | None = flag(None, "folder or hub id of the teacher (default: the one in the student's pair.json)")

    dtype: Literal["auto", "float32", "bfloat16"] = flag(
        "auto",
        "what the models run in; the student's weights stay float32; auto: float32 on the CPU, elsewhere bfloat16 for a"
        " student that was saved in 16 bits",
        group="Devices and dtypes",
    )
    device: str = flag("auto", "where the models run: auto (an accelerator if there is one), cpu, cuda, cuda:1")
    attention: str = flag("sdpa", "attention implementation: sdpa, eager, flash_attention_2 or another of transformers")
    teacher_dtype: TeacherDtype | None = flag(
        None,
        "what the teacher is held and run in; auto: float32 on the CPU, elsewhere what it was saved in; int8, nf4: 8,"
        " 4 bits (extra quantised) (default: as --dtype)",
    )
    teacher_device: str | None = flag(None, "where the teacher runs (default: where the student does)")
    device_map: Literal["auto"] | None = flag(
        None,
        "auto spreads the teacher's layers over all accelerators, and over memory where these are full; one process",
    )

    prompts: str = flag(
        "bundled",
        "bundled, a .jsonl, .json or .parquet file, a datasets folder, a benchmark or a hub id",
        group="Prompts",
    )
    split: str = flag("train", "split of a datasets folder or hub id (a benchmark: its own, unless another than train)")
    held_out_prompts: str | None = flag(None, "prompts to evaluate on (default: the first of --prompts)")
    held_out: PositiveInt = flag(200, "number of prompts to evaluate on")
    left_out: NonNegativeInt = flag(0, "number of prompts, the last of --prompts, that are kept for another evaluation")
    text_view: Literal["drop", "blank", "other"] = flag("drop", "what replaces the picture in the text view")

    objective: Name | RewardName = flag(
        "vgs-lp", "the loss; a flag with [names] is read by these objectives alone", group="Objective"
    )
    gamma: NonNegativeFloat = flag(GAMMA, "strength of the steering")
    lambda_: NonNegativeFloat = flag(LAMBDA, "strength of the preservation term")
    quantile: float = flag(QUANTILE, "quantile of VDS above which a token is preserved")
    quantile_scope: Literal["batch", "micro-batch"] = flag(
        "batch", "tokens whose VDS gives the quantiles: those of an update in all processes, or of one micro-batch"
    )
    prior: Prior = flag(
        "detached",
        "whose language prior is in the visual target: the present student's, held fixed (detached) or followed"
        " (attached), or that of the student before training (frozen)",
    )
    vp: Preservation = flag("gated", "visual preservation: gated Eq. 11, or Eq. 21 as printed")
    eta: PositiveFloat | Literal["measured", "none"] | None = flag(
        None,
        "factor of the steered loss; measured on each step's batch: one or two more backward passes"
        " (default: measured; with a reward none, as in Eq. 22)",
    )
    eta_scales: EtaScales | None = flag(
        None,
        "what eta multiplies: the steered loss alone, or the whole loss with its preservation term, as in Eq. 18"
        " (default: steered; loss with the published eta of paper-2b and paper-4b)",
    )
    average: Average = flag("trajectory", "whether the loss is a mean over responses or over tokens")
    support: str = flag(
        "full", "ids in the divergences: full, or topk:K, the teacher's K most probable ids and one bucket for the rest"
    )

    alpha: float = flag(ALPHA, "share of the distillation loss in the mix", group="Mix with a reward")
    match_norm: bool = flag(
        False, "a control: the distillation gradient of grpo+standard, scaled to the norm of vgs-lp's in each step"
    )
    updates: PositiveInt = flag(1, "updates per step; the rollouts of a step are cut into as many parts")

    batch: PositiveInt = flag(64, "prompts per step, over all processes", group="Rollouts")
    rollouts_per_prompt: PositiveInt | None = flag(
        None, f"responses per prompt, at temperature 1 (default: 1; with a reward {GROUP_SIZE})"
    )
    max_response: PositiveInt | None = flag(
        None, "longest response, tokens (default: 1024, or an eighth of a context below 4096; bundled: 64)"
    )
    allow_truncated: bool = flag(False, "go on although more than 80 % of the responses are truncated")
    top_p: float = flag(1.0, "responses are drawn from the most probable ids with this share of the probability")
    rollouts: str | None = flag(
        None,
        "a .jsonl or .parquet file with responses to train on, off-policy whatever the objective (default: sampled by"
        " the student; by the teacher for off-policy)",
    )

    steps: PositiveInt = flag(100, "number of steps, each with its own rollouts", group="Optimizer")
    lr: PositiveFloat = flag(3e-4, "learning rate of AdamW, constant unless lr_decay is set")
    lr_decay: float = flag(0.0, "share of the steps, the last ones, over which the rate falls linearly to 0")
    weight_decay: NonNegativeFloat = flag(0.01, "weight decay of AdamW")
    clip_norm: PositiveFloat | Literal["none"] = flag(1.0, "largest norm of a step's gradient")

    micro_batch: PositiveInt = flag(
        16,
        "responses per forward and backward pass, halved where memory runs out; the gradient does not depend on it",
        group="Memory",
    )
    generation_batch: PositiveInt = flag(64, "responses that are generated together, halved where memory runs out")
    gradient_checkpointing: bool = flag(False, "keep only the inputs of layers; run them again in the backward pass")

    lora_rank: NonNegativeInt = flag(
        0,
        "rank of adapters that are trained in place of the weights; 0 for none",
        group="Adapters and frozen weights",
    )
    lora_targets: str | None = flag(
        None, "regular expression: linear layers and experts that get adapters (default: all of attention and MLP)"
    )
    freeze_vision: bool = flag(False, "do not train the vision tower")

    evaluate_every: NonNegativeInt = flag(25, "steps between evaluations; 0: none", group="Evaluation and checkpoints")
    geometry_every: NonNegativeInt = flag(25, "steps between measurements of the five gradients; 0: none")
    checkpoint_every: PositiveInt = flag(25, "steps between checkpoints")
    weight_average: float = flag(
        0.0, "share of the steps, the last ones, whose weights are averaged into the checkpoint averaged; 0: none"
    )

    seed: NonNegativeInt = flag(0, "seed of the prompts and of the rollouts", group="Run")
    out: str | None = flag(None, "folder of the run (default: runs/train-<objective>-<fingerprint>)")
    resume: bool = flag(False, "continue the run in --out, or begin it if there is none")
    override: bool = flag(False, "with --resume: continue although flags or weights have changed")
    show_prompt: bool = flag(False, "print the first prompt as the student is given it, in both views, and end")
    dry_run: bool = flag(False, "print what the run would take in memory and time, and end: nothing is written")
    timeout: PositiveFloat = flag(2.0, "longest wait of a process for another, hours; then the run ends")
    track: Tracker | None = flag(None, "also log the journal's numbers to this tracker; see train.trackers")
