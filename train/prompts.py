"""The prompts of a step: a function of the seed and the step alone, so that a run can continue at any step."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from cli.errors import OptionError
from train.config import Config
from vlm.names import DrawPrompts, drawn_prompts
from vlm.prompts import Prompt
from vlm.sources import load_prompts

FIRST_SEED = 1_000_000  # of training scenes and rollouts: those of evaluations lie below
STEPS_A_SEED = 1_000_000


@dataclass(frozen=True)
class PromptSource:
    """Prompts to train on, none of them held out."""

    held_out: Sequence[Prompt]
    pool: Sequence[Prompt] | DrawPrompts
    """All prompts, or a function that draws new ones in each step."""
    batch: int
    seed: int

    def at(self, step: int) -> list[Prompt]:
        """Return the prompts of a step: those of a pool once per epoch, without the rest that fills no batch."""
        if callable(self.pool):
            return self.pool(self.batch, step_seed(self.seed, step))
        steps_an_epoch = len(self.pool) // self.batch
        epoch, place = divmod(step, steps_an_epoch)
        order = list(range(len(self.pool)))
        Random(f"{self.seed}/{epoch}").shuffle(order)
        return [self.pool[index] for index in order[place * self.batch : (place + 1) * self.batch]]


def step_seed(seed: int, step: int) -> int:
    """Return the seed of a step's scenes and rollouts."""
    return FIRST_SEED + STEPS_A_SEED * seed + step


def prompt_source(config: Config) -> PromptSource:
    """Load the prompts that a run names.

    Raises:
        OptionError: too few prompts for a batch, or one without the answer that a reward needs.
    """
    draw = drawn_prompts(config.prompts)
    if draw and config.left_out:
        raise OptionError(f"`left_out` must be 0 for prompts that are drawn, got {config.left_out}; leave it out")
    pool = [] if draw else load_prompts(config.prompts, split=config.split, reading=config)
    pool = pool[: max(len(pool) - config.left_out, 0)]
    apart = config.held_out_prompts or (config.prompts if draw else None)
    if apart is None:
        held_out, pool = pool[: config.held_out], pool[config.held_out :]
    else:
        held_out = load_prompts(apart, limit=config.held_out, split=config.split, reading=config)
    if draw:
        return PromptSource(held_out, draw, config.batch, config.seed)
    if len(pool) < config.batch:
        raise OptionError(f"`batch` must be at most {len(pool)}, the prompts not held out, got {config.batch}")
    if config.has_rewards and (unknown := [prompt.prompt_id for prompt in pool if not prompt.answer]):
        raise OptionError(
            f"`prompts` must have answers for '{config.objective}', but {len(unknown)} have none, the first "
            f"{unknown[0]!r}: leave them out"
        )
    return PromptSource(held_out, pool, config.batch, config.seed)
