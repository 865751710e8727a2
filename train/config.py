"""What the flags of a run mean together, which of them identify it, and what makes no sense.

Nothing here loads torch before a `Config` is made.
"""

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Final, Literal, cast, get_args

import geometry
from cli.errors import OptionError
from geometry.objective_settings import ALPHA, GAMMA, PUBLISHED_ETA, READ_BY, EtaScales, Name
from train.flags import GROUP_SIZE, OWN, Flags, RewardName
from vlm.prompts.reading import Reading

_STARTED: Final = (
    "out", "resume", "override", "track", "show_prompt", "dry_run", "allow_truncated", "timeout", "teacher_device",
    "device_map",
)  # fmt: skip
"""Flags that say how a run is started and watched, and where its teacher is; they do not change what it computes."""
STATED_IF_GIVEN: Final = (
    "left_out", "attention", "teacher_dtype", "lr_decay", "weight_average", *(f.name for f in fields(Reading)),
)  # fmt: skip
"""Flags that a run's config.json names only where they are given."""


@dataclass(frozen=True)
class Config(Flags):
    """The flags of a run.

    Raises:
        OptionError: flags that make no sense, alone or together.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_unread(self)
        _ = self.training_objective, self.top_k  # each refuses values of its own
        _refuse_eta(self)
        _refuse_values(self)

    @property
    def has_rewards(self) -> bool:
        """Whether responses are rewarded."""
        return self.objective in get_args(RewardName)

    @property
    def group_size(self) -> int:
        """Number of responses per prompt."""
        return self.rollouts_per_prompt or (GROUP_SIZE if self.has_rewards else 1)

    @cached_property
    def longest_response(self) -> int:
        """`max_response`, or what the student's context has room for.

        Raises:
            CheckpointError: it is left out, and the student is no checkpoint.
        """
        if self.max_response is not None:
            return self.max_response
        from vlm.responses.response_length import default_length_of  # here, as it loads torch

        return default_length_of(self.student)

    @property
    def normalisation(self) -> float | Literal["measured", "none"]:
        """eta, or how it is measured."""
        return self.eta if self.eta is not None else "none" if self.has_rewards else "measured"

    @property
    def what_eta_scales(self) -> EtaScales:
        """What eta multiplies: as in Eq. 18 with the eta that the paper states, unless something else is asked for."""
        published = PUBLISHED_ETA.get(self.preset.removeprefix("paper-"))
        return self.eta_scales or ("loss" if published is not None and self.eta == published else "steered")

    @property
    def training_objective(self) -> "geometry.Objective":
        """The objective of `geometry`, eta not yet measured.

        For a mix: its distillation loss, or the one whose norm is matched. For grpo: the standard loss, to be recorded.
        """
        names = {f.name for f in fields(geometry.Objective)} - {"name", "eta"}
        shared = {name: value for name, value in asdict(self).items() if name in names}
        eta = self.eta if isinstance(self.eta, (int, float)) else 1.0
        shared["eta_scales"] = self.what_eta_scales if self.objective in READ_BY["eta_scales"] else "steered"
        mixed_in = "vgs-lp" if self.match_norm else self.objective.removeprefix("grpo").removeprefix("+") or "standard"
        try:
            return geometry.Objective(cast(Name, mixed_in), eta=eta, **shared)
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

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, the first of which is 0."""
        decaying = self.steps * self.lr_decay
        return self.lr if not decaying else self.lr * min(1.0, (self.steps - step) / decaying)

    @property
    def steers(self) -> bool:
        """Whether the loss has a steered term."""
        return self.training_objective.terms[1] is not None

    @property
    def measures_eta(self) -> bool:
        """Whether eta is measured in each step."""
        return self.normalisation == "measured" and self.steers

    @property
    def settings(self) -> dict[str, Any]:
        """The flags that identify the run: all but those that say how it is started, and those of `STATED_IF_GIVEN`
        that were left out. `eta_scales` is stated where eta scales the whole loss."""
        defaults = {f.name: f.default for f in fields(self)}
        unset = {name for name in STATED_IF_GIVEN if getattr(self, name) == defaults[name]}
        stated = {k: v for k, v in asdict(self).items() if k not in _STARTED and k not in unset}
        stated.pop("eta_scales")
        if (scaled := self.training_objective.eta_scales) != "steered":
            stated["eta_scales"] = scaled
        resolved = {
            "dtype": self.precision,
            "device": "cpu" if self.is_on_cpu else "auto",
            "eta": self.normalisation,
            "max_response": self.longest_response,
            "rollouts_per_prompt": self.group_size,
        }
        return stated | resolved

    @property
    def is_on_cpu(self) -> bool:
        """Whether the models run on the CPU.

        Raises:
            CheckpointError: the device is not there.
        """
        if self.device == "cpu":
            return True
        from vlm.checkpoints.devices import device_of  # here, as it loads torch

        return device_of(self.device).type == "cpu"

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """The dtype of the models, what auto stands for in its place."""
        if self.dtype != "auto":
            return self.dtype
        if self.is_on_cpu:
            return "float32"
        from vlm.checkpoints.configs import readable
        from vlm.checkpoints.precision import own_dtype

        return "bfloat16" if own_dtype(readable(self.student).base) in ("bfloat16", "float16") else "float32"

    @property
    def folder(self) -> str:
        """The folder of the run."""
        from records import fingerprint  # here, as it loads pandas

        return self.out or f"runs/train-{self.objective}-{fingerprint(self.settings)}"


def _refuse_unread(config: Config) -> None:
    """Refuse a flag of the trainer that the objective does not read; `geometry.Objective` refuses its own."""
    for f in fields(config):
        value, readers = getattr(config, f.name), OWN.get(f.name)
        if readers and config.objective not in readers and value != f.default:
            raise OptionError(
                f"`{f.name}` belongs to {' and '.join(readers)}: '{config.objective}' does not read it, got {value};"
                " leave it out"
            )


def _refuse_eta(config: Config) -> None:
    """Refuse a factor of the loss where nothing is steered, and a published one where it was not published for."""
    name, eta = config.objective, config.eta
    published = PUBLISHED_ETA.get(config.preset.removeprefix("paper-"))
    is_published_for = name in ("vgs", "vgs-lp") and config.gamma == GAMMA
    if published is not None and eta == published and not is_published_for:
        raise OptionError(
            f"`eta` {published} of {config.preset} is published for vgs at gamma {GAMMA:g} alone;"
            " give --eta measured or none"
        )
    if config.has_rewards and eta not in (None, "none"):
        raise OptionError(f"`eta` must be none for '{name}', Eq. 22 has none, got {eta}; leave it out")
    if isinstance(eta, float) and not config.steers:
        raise OptionError(f"`eta` must be measured or none for '{name}' without steering, got {eta}")


def _refuse_values(config: Config) -> None:
    """Refuse values that are out of range, or that do not go together."""
    name = config.objective
    if config.override and not config.resume:
        raise OptionError("`override` belongs to `resume`: give both or neither")
    if config.quantile_scope != "batch" and not config.training_objective.is_gated:
        raise OptionError(f"`quantile_scope` must be batch for '{name}', which has no gates; leave it out")
    if config.has_rewards and config.group_size < 2:
        raise OptionError(
            f"`rollouts_per_prompt` must be at least 2 for '{name}', whose advantages compare the responses of a prompt"
        )
    if not 0.0 <= config.alpha <= 1.0:
        raise OptionError(f"`alpha` must lie in [0, 1], got {config.alpha}; the paper's is {ALPHA}")
    for share in ("lr_decay", "weight_average"):
        if not 0.0 <= getattr(config, share) <= 1.0:
            raise OptionError(f"`{share}` must lie in [0, 1], got {getattr(config, share)}; 0 leaves it out")
    if not 0.0 < config.top_p <= 1.0:
        raise OptionError(f"`top_p` must lie in (0, 1], got {config.top_p}; 1 draws from all ids")
    if config.batch % config.updates:
        raise OptionError(f"`batch` must be a multiple of `updates`, got {config.batch} and {config.updates}")
    if config.lora_targets is not None and not config.lora_rank:
        raise OptionError(f"`lora_targets` belongs to `lora_rank`, got {config.lora_targets!r} and rank 0: give both")
    if config.lora_rank and config.freeze_vision:
        raise OptionError("`freeze_vision` belongs to rank 0: adapters are in the language model alone, leave it out")
    if config.teacher_device is not None and config.device_map is not None:
        raise OptionError("`teacher_device` and `device_map` both say where the teacher is; leave one out")
