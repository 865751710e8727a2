"""The flags of a run: one frozen dataclass, its fields being the flags, and the presets that fill it.

    python -m train                                        # the bundled pair, vgs-lp, 100 steps
    python -m train --objective standard --seed 1
    python -m train --preset paper-2b --teacher FOLDER

A preset is what the flags are where they are not given.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_type_hints

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from geometry import Objective
from geometry.objectives import Average, Name, Preservation, Prior
from records import fingerprint


class ConfigError(ValueError):
    """Flags that make no sense together; the message is one line."""


def flag(default: Any, text: str) -> Any:
    """A field with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Config:
    """What a run is made of."""

    preset: Literal["bundled", "paper-2b", "paper-4b"] = flag("bundled", "what the other flags are by default")
    student: str = flag("bundled", "folder or hub id of the student, or bundled")
    teacher: str | None = flag(None, "folder or hub id of the teacher (default: what the student's pair.json names)")
    prompts: str = flag("bundled", "bundled, a .jsonl or .parquet file, a datasets folder or a hub id")
    held_out_prompts: str | None = flag(None, "prompts to evaluate on (default: the first of --prompts)")
    held_out: PositiveInt = flag(200, "number of prompts to evaluate on")
    split: str = flag("train", "split of a datasets folder or hub id")
    text_view: Literal["drop", "blank", "other"] = flag("drop", "what replaces the picture in the text view")

    objective: Name = flag("vgs-lp", "what the student is trained on")
    gamma: NonNegativeFloat = flag(2.0, "strength of the steering")
    lambda_: NonNegativeFloat = flag(0.01, "strength of the preservation term")
    quantile: float = flag(0.7, "quantile of VDS above which a token is preserved, over the step's whole batch")
    prior: Prior = flag("detached", "whether the visual target follows the student's text view")
    vp: Preservation = flag("gated", "visual preservation: gated Eq. 11, or Eq. 21 as printed")
    eta: PositiveFloat | Literal["measured", "none"] = flag(
        "measured", "factor of the steered loss; measured: of each step's batch, one or two more backward passes"
    )
    average: Average = flag("trajectory", "what the loss is the mean over")

    steps: PositiveInt = flag(100, "number of updates")
    lr: PositiveFloat = flag(3e-4, "learning rate of AdamW, constant")
    weight_decay: NonNegativeFloat = flag(0.01, "weight decay of AdamW")
    clip_norm: PositiveFloat | Literal["none"] = flag(1.0, "greatest length of a step's gradient")
    batch: PositiveInt = flag(64, "prompts a step, over all processes")
    rollouts_per_prompt: PositiveInt = flag(1, "responses a prompt: temperature 1, no truncation")
    max_response: PositiveInt = flag(64, "longest response, tokens")
    micro_batch: PositiveInt = flag(16, "responses a forward and backward pass; the gradient does not depend on it")
    generation_batch: PositiveInt = flag(64, "responses generated together")
    freeze_vision: bool = flag(False, "leave the vision tower as it is")
    seed: NonNegativeInt = flag(0, "seed of the prompts and of the rollouts")

    evaluate_every: NonNegativeInt = flag(25, "steps between evaluations; 0 for none")
    geometry_every: NonNegativeInt = flag(25, "steps between measurements of the five gradients; 0 for none")
    checkpoint_every: PositiveInt = flag(25, "steps between checkpoints")
    dtype: Literal["float32", "bfloat16"] = flag("float32", "what models run in; the student's weights stay float32")
    device: Literal["cpu", "auto"] = flag("cpu", "cpu, or auto: what accelerate finds")

    out: str | None = flag(None, "folder of the run (default: runs/train-<objective>-<fingerprint>)")
    resume: bool = flag(False, "continue the run in --out, or begin it if there is none")
    override: bool = flag(False, "with --resume: continue although flags or weights have changed")

    def __post_init__(self) -> None:
        _ = self.training_objective  # refuses what makes no sense together
        if self.override and not self.resume:
            raise ConfigError("`override` belongs to `resume`: give both or neither")
        published = _PUBLISHED_ETA.get(self.preset)
        if self.eta == published and (self.objective not in ("vgs", "vgs-lp") or self.gamma != 2.0):
            raise ConfigError(
                f"`eta` {published} of {self.preset} is published for vgs at gamma 2 alone; give --eta measured or none"
            )
        if isinstance(self.eta, float) and not self.steers:
            raise ConfigError(f"`eta` must be measured or none for '{self.objective}' without steering, got {self.eta}")

    @property
    def training_objective(self) -> Objective:
        """The objective of `geometry`, eta not yet measured."""
        names = {f.name for f in fields(Objective)} - {"name", "eta"}
        shared = {name: value for name, value in asdict(self).items() if name in names}
        eta = self.eta if isinstance(self.eta, (int, float)) else 1.0
        try:
            return Objective(self.objective, eta=eta, **shared)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    @property
    def steers(self) -> bool:
        """Whether there is a steered term."""
        return self.objective not in ("standard", "off-policy") and self.gamma > 0.0

    @property
    def measures_eta(self) -> bool:
        return self.eta == "measured" and self.steers

    @property
    def settings(self) -> dict[str, Any]:
        """What identifies the run: every flag but those that say how it is started."""
        return {name: value for name, value in asdict(self).items() if name not in ("out", "resume", "override")}

    @property
    def folder(self) -> str:
        return self.out or f"runs/train-{self.objective}-{fingerprint(self.settings)}"


_PUBLISHED_ETA = {"paper-2b": 0.41, "paper-4b": 0.36}
"""arXiv:2606.00564, Appendix: at gamma = 2 with visual steering."""


def _paper(size: str) -> dict[str, Any]:
    """The settings of arXiv:2606.00564, Tables 3, 4: a global batch of 512 rollouts, one epoch of 45,246 prompts.

    Rollouts a prompt are not stated; 4 is our choice. The teacher is not published: name one.
    """
    return {
        "student": f"Qwen/Qwen3-VL-{size.upper()}-Instruct",
        "prompts": "tomyoon2/OPD_train",
        "held_out_prompts": "tomyoon2/OPD_val",
        "steps": 353,
        "lr": 1e-6,
        "batch": 128,
        "rollouts_per_prompt": 4,
        "max_response": 2048,
        "micro_batch": 1,
        "eta": _PUBLISHED_ETA[f"paper-{size}"],
        "geometry_every": 0,
        "dtype": "bfloat16",
        "device": "auto",
    }


PRESETS: dict[str, dict[str, Any]] = {"bundled": {}, "paper-2b": _paper("2b"), "paper-4b": _paper("4b")}


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
