"""Flags of a run that make no sense, alone or together: each is refused by name, with the way out."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from cli.errors import OptionError
from geometry.objective_settings import ALPHA, GAMMA, PUBLISHED_ETA

if TYPE_CHECKING:
    from train.config import Config


def refuse_unread(config: "Config", own: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a flag of the trainer that the objective does not read; `geometry.Objective` refuses its own.

    own: by flag, the objectives that read it.
    """
    for f in fields(config):
        value, readers = getattr(config, f.name), own.get(f.name)
        if readers and config.objective not in readers and value != f.default:
            raise OptionError(
                f"`{f.name}` belongs to {' and '.join(readers)}: '{config.objective}' does not read it, got {value};"
                " leave it out"
            )


def refuse_eta(config: "Config") -> None:
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


def refuse_values(config: "Config") -> None:
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
