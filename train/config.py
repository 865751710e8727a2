"""The flags of a run: one frozen dataclass, its fields being the flags, and the presets that fill it.

    python -m train                                        # the bundled pair, vgs-lp, 100 steps
    python -m train --objective standard --seed 1
    python -m train --objective grpo+vgs-lp --rollouts-per-prompt 4
    python -m train --preset paper-2b --teacher FOLDER

A preset is what the flags are where they are not given.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, cast, get_args, get_type_hints

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cli.errors import OptionError
from geometry import Objective
from geometry.objectives import Average, Name, Preservation, Prior
from records import fingerprint
from train.presets import PRESETS, PUBLISHED_ETA

RewardName = Literal["grpo", "grpo+standard", "grpo+vgs-lp"]
"""Objectives with a reward, alone or mixed with a distillation loss (arXiv:2606.00564, Eq. 22)."""
ALPHA = 0.3
Tracker = Literal["tensorboard", "wandb", "trackio", "mlflow", "comet_ml", "aim", "clearml", "swanlab", "dvclive"]
"""What accelerate can log to."""
_STARTED = ("out", "resume", "override", "track")
"""Flags that say how a run is started and watched, not what comes of it."""


def flag(default: Any, text: str) -> Any:
    """A field with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Config:
    """What a run is made of."""

    preset: Literal["bundled", "paper-2b", "paper-4b", "paper-teacher"] = flag(
        "bundled", "what the other flags are by default"
    )
    student: str = flag("bundled", "folder or hub id of the student, or bundled")
    teacher: str | None = flag(None, "folder or hub id of the teacher (default: what the student's pair.json names)")
    prompts: str = flag("bundled", "bundled, a .jsonl or .parquet file, a datasets folder or a hub id")
    held_out_prompts: str | None = flag(None, "prompts to evaluate on (default: the first of --prompts)")
    held_out: PositiveInt = flag(200, "number of prompts to evaluate on")
    left_out: NonNegativeInt = flag(0, "number of prompts, the last of --prompts, that are kept for another evaluation")
    split: str = flag("train", "split of a datasets folder or hub id")
    text_view: Literal["drop", "blank", "other"] = flag("drop", "what replaces the picture in the text view")

    objective: Name | RewardName = flag("vgs-lp", "what the student is trained on")
    gamma: NonNegativeFloat = flag(2.0, "strength of the steering")
    lambda_: NonNegativeFloat = flag(0.01, "strength of the preservation term")
    quantile: float = flag(0.7, "quantile of VDS above which a token is preserved")
    quantile_scope: Literal["batch", "micro-batch"] = flag(
        "batch", "what the quantiles are of: the tokens of all processes in an update, or of a micro-batch alone"
    )
    prior: Prior = flag("detached", "whether the visual target follows the student's text view")
    vp: Preservation = flag("gated", "visual preservation: gated Eq. 11, or Eq. 21 as printed")
    eta: PositiveFloat | Literal["measured", "none"] | None = flag(
        None,
        "factor of the steered loss; measured: of each step's batch, one or two more backward passes"
        " (default: measured; with a reward none, as in Eq. 22)",
    )
    average: Average = flag("trajectory", "what the loss is the mean over")
    support: str = flag("full", "ids that losses are over: full, or topk:K, the teacher's K most probable and the rest")

    alpha: float = flag(ALPHA, "share of the distillation loss where it is mixed with a reward")
    match_norm: bool = flag(False, "grpo+standard: as long a distillation gradient as that of vgs-lp, in each step")
    rollouts: str | None = flag(None, "off-policy: .jsonl with responses to train on (default: the teacher's own)")

    steps: PositiveInt = flag(100, "number of steps: batches of rollouts")
    lr: PositiveFloat = flag(3e-4, "learning rate of AdamW, constant")
    weight_decay: NonNegativeFloat = flag(0.01, "weight decay of AdamW")
    clip_norm: PositiveFloat | Literal["none"] = flag(1.0, "greatest length of a step's gradient")
    batch: PositiveInt = flag(64, "prompts a step, over all processes")
    rollouts_per_prompt: PositiveInt = flag(1, "responses a prompt, at temperature 1")
    top_p: float = flag(1.0, "share of the most probable ids that responses are drawn from; below 1 for grpo alone")
    updates: PositiveInt = flag(1, "updates that the rollouts of a step are cut into, for objectives with a reward")
    max_response: PositiveInt = flag(64, "longest response, tokens")
    micro_batch: PositiveInt = flag(16, "responses a forward and backward pass; the gradient does not depend on it")
    generation_batch: PositiveInt = flag(64, "responses generated together")
    freeze_vision: bool = flag(False, "leave the vision tower as it is")
    gradient_checkpointing: bool = flag(False, "keep a layer's input alone, and run it again in the backward pass")
    lora_rank: NonNegativeInt = flag(0, "train adapters of this rank and no weights; 0 for the weights themselves")
    lora_targets: str | None = flag(
        None, "regular expression, which of the linear layers have adapters (default: all of attention and MLP)"
    )
    seed: NonNegativeInt = flag(0, "seed of the prompts and of the rollouts")

    evaluate_every: NonNegativeInt = flag(25, "steps between evaluations; 0 for none")
    geometry_every: NonNegativeInt = flag(25, "steps between measurements of the five gradients; 0 for none")
    checkpoint_every: PositiveInt = flag(25, "steps between checkpoints")
    dtype: Literal["float32", "bfloat16"] = flag("float32", "what models run in; the student's weights stay float32")
    device: Literal["cpu", "auto"] = flag("cpu", "cpu, or auto: what accelerate finds")

    out: str | None = flag(None, "folder of the run (default: runs/train-<objective>-<fingerprint>)")
    resume: bool = flag(False, "continue the run in --out, or begin it if there is none")
    override: bool = flag(False, "with --resume: continue although flags or weights have changed")
    track: Tracker | None = flag(None, "log the journal's numbers there, too; see train.trackers")

    def __post_init__(self) -> None:
        _ = self.training_objective  # refuses what makes no sense together
        if self.override and not self.resume:
            raise OptionError("`override` belongs to `resume`: give both or neither")
        published = PUBLISHED_ETA.get(self.preset)
        if (
            published is not None
            and self.eta == published
            and (self.objective not in ("vgs", "vgs-lp") or self.gamma != 2.0)
        ):
            raise OptionError(
                f"`eta` {published} of {self.preset} is published for vgs at gamma 2 alone; give --eta measured or none"
            )
        if isinstance(self.eta, float) and not self.steers:
            raise OptionError(f"`eta` must be measured or none for '{self.objective}' without steering, got {self.eta}")
        _ = self.top_k
        if self.quantile_scope != "batch" and not self.training_objective.is_gated:
            raise OptionError(
                f"`quantile_scope` must be batch for '{self.objective}', which has no gates; leave it out"
            )
        _refuse_rewards(self)
        _refuse_adapters(self)
        if self.rollouts is not None and self.objective != "off-policy":
            raise OptionError(f"`rollouts` belongs to off-policy: '{self.objective}' samples its own, leave it out")

    @property
    def has_rewards(self) -> bool:
        return self.objective in get_args(RewardName)

    @property
    def normalisation(self) -> float | Literal["measured", "none"]:
        """eta, or how it is found."""
        return self.eta if self.eta is not None else "none" if self.has_rewards else "measured"

    @property
    def training_objective(self) -> Objective:
        """The objective of `geometry`, eta not yet measured.

        Of a mix its distillation loss, or that whose norm is matched; of grpo alone the standard loss, to be recorded.
        """
        names = {f.name for f in fields(Objective)} - {"name", "eta"}
        shared = {name: value for name, value in asdict(self).items() if name in names}
        eta = self.eta if isinstance(self.eta, (int, float)) else 1.0
        mixed_in = "vgs-lp" if self.match_norm else self.objective.removeprefix("grpo").removeprefix("+") or "standard"
        try:
            return Objective(cast(Name, mixed_in), eta=eta, **shared)
        except ValueError as error:
            raise OptionError(str(error).replace(f"'{mixed_in}'", f"'{self.objective}'")) from None

    @property
    def top_k(self) -> int | None:
        """K of `support`; None for all ids."""
        if self.support == "full":
            return None
        kind, _, number = self.support.partition(":")
        if kind != "topk" or not number.isdecimal() or int(number) < 1:
            raise OptionError(f"`support` must be full or topk:K with K at least 1, got {self.support!r}; try topk:64")
        return int(number)

    @property
    def steers(self) -> bool:
        """Whether there is a steered term."""
        return self.training_objective.terms[1] is not None

    @property
    def measures_eta(self) -> bool:
        return self.normalisation == "measured" and self.steers

    @property
    def settings(self) -> dict[str, Any]:
        """What identifies the run: every flag but those that say how it is started."""
        stated = {name: value for name, value in asdict(self).items() if name not in _STARTED}
        return stated | {"eta": self.normalisation}

    @property
    def folder(self) -> str:
        return self.out or f"runs/train-{self.objective}-{fingerprint(self.settings)}"


def _refuse_rewards(config: Config) -> None:
    """Refuse what a reward needs and lacks, and what only a reward has use for."""
    name = config.objective
    if config.has_rewards and config.rollouts_per_prompt < 2:
        raise OptionError(
            f"`rollouts_per_prompt` must be at least 2 for '{name}', whose advantages compare the responses of a prompt"
        )
    if config.has_rewards and config.eta not in (None, "none"):
        raise OptionError(f"`eta` must be none for '{name}', Eq. 22 has none, got {config.eta}; leave it out")
    if not 0.0 <= config.alpha <= 1.0:
        raise OptionError(f"`alpha` must lie in [0, 1], got {config.alpha}; the paper's is {ALPHA}")
    if config.alpha != ALPHA and name not in ("grpo+standard", "grpo+vgs-lp"):
        raise OptionError(f"`alpha` belongs to grpo+standard and grpo+vgs-lp, '{name}' is no mix; leave it out")
    if config.match_norm and name != "grpo+standard":
        raise OptionError(f"`match_norm` belongs to grpo+standard, got '{name}'; leave it out")
    if not 0.0 < config.top_p <= 1.0:
        raise OptionError(f"`top_p` must lie in (0, 1], got {config.top_p}; 1 draws from all ids")
    if config.top_p < 1.0 and name != "grpo":
        raise OptionError(f"`top_p` must be 1 for '{name}', distillation is on-policy there alone, got {config.top_p}")
    if config.updates > 1 and not config.has_rewards:
        raise OptionError(f"`updates` must be 1 for '{name}', which does not correct for old rollouts; lower `batch`")
    if config.batch % config.updates:
        raise OptionError(f"`batch` must be a multiple of `updates`, got {config.batch} and {config.updates}")


def _refuse_adapters(config: Config) -> None:
    """Refuse what adapters make void, and what only they have use for."""
    if config.lora_targets is not None and not config.lora_rank:
        raise OptionError(f"`lora_targets` belongs to `lora_rank`, got {config.lora_targets!r} and rank 0: give both")
    if config.lora_rank and config.freeze_vision:
        raise OptionError("`freeze_vision` belongs to rank 0: adapters are in the language model alone, leave it out")


def parse(argv: Sequence[str] | None = None) -> Config:
    """Read the flags; the preset that they name fills in the rest."""
    chosen = _parser("bundled").parse_args(argv).preset
    parsed = _parser(chosen).parse_args(argv)
    return Config(**{f.name: getattr(parsed, _flag_name(f.name)) for f in fields(Config)})


def _parser(preset: str) -> ArgumentParser:
    parser = ArgumentParser(prog="python -m train", description="Distil a student on its own rollouts.")
    parser.add_argument("--config", action="config", help="YAML file with values for these flags")
    hints = get_type_hints(Config)
    for f in fields(Config):
        name = "--" + _flag_name(f.name).replace("_", "-")
        if hints[f.name] is bool:
            parser.add_argument(name, action="store_true", help=f.metadata["help"])
        else:
            default = PRESETS[preset].get(f.name, f.default)
            parser.add_argument(name, type=hints[f.name], default=default, help=f.metadata["help"])
    return parser


def _flag_name(field_name: str) -> str:
    return field_name.rstrip("_")  # `lambda` is a word of Python
