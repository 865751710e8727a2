"""The prompts of a step: a function of the seed and the step alone, so that a run can continue at any step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from cli.errors import OptionError
from train.config import Config
from vlm.names import DrawPrompts, drawn_prompts
from vlm.prompts.prompt import Prompt, apply_reading
from vlm.prompts.reading import Reading
from vlm.prompts.sources import PromptSet, prompt_set
from vlm.responses.fitting import BAD

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
    lines: tuple[str, ...] = ()
    """What was read, and how many prompts have pictures and answers."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of prompts that were left out, by reason."""

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
    if (draw := drawn_prompts(config.prompts)) is not None:
        if config.left_out:
            raise OptionError(f"`left_out` must be 0 for prompts that are drawn, got {config.left_out}; leave it out")
        held_out = _read(config, config.held_out_prompts or config.prompts, config.held_out)
        pool = partial(_drawn, draw, config)
        return PromptSource(
            held_out.prompts,
            pool,
            config.batch,
            config.seed,
            held_out.lines,
            {BAD: len(held_out.bad)} if held_out.bad else {},
        )
    read = _read(config, config.prompts)
    rest = read.prompts[: max(len(read.prompts) - config.left_out, 0)]
    lines, bad = tuple(read.lines), len(read.bad)
    if config.held_out_prompts is None:
        kept, rest = rest[: config.held_out], rest[config.held_out :]
    else:
        apart = _read(config, config.held_out_prompts, config.held_out)
        kept, lines = apart.prompts, (*lines, *(f"held-out {line}" for line in apart.lines))
        bad += len(apart.bad)
    _refuse_pool(config, rest)
    return PromptSource(kept, rest, config.batch, config.seed, lines, {BAD: bad} if bad else {})


def _read(config: Config, source: str, limit: int | None = None) -> PromptSet:
    return prompt_set(source, limit=limit, split=config.split, reading=config)


def _drawn(draw: DrawPrompts, reading: Reading, n: int, seed: int) -> list[Prompt]:
    return [apply_reading(prompt, reading) for prompt in draw(n, seed)]


def _refuse_pool(config: Config, pool: Sequence[Prompt]) -> None:
    if len(pool) < config.batch:
        raise OptionError(f"`batch` must be at most {len(pool)}, the prompts not held out, got {config.batch}")
    if config.has_rewards and (unknown := [prompt.prompt_id for prompt in pool if not prompt.answer]):
        raise OptionError(
            f"`prompts` must have answers for '{config.objective}', but {len(unknown)} have none, the first "
            f"{unknown[0]!r}: leave them out"
        )
