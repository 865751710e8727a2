"""The settings of an analyzer, by group."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cli.errors import OptionError
from cli.options import checked
from probes.settings import ANALYZER_OPTIONS, BinOptions, MetricOptions, PairOptions, PromptOptions
from vlm.checkpoints.optimizer_state import STATE, state_file


class Settings:
    """What an analyzer was made with."""

    _groups: dict[type[Any], Any]

    @property
    def pair_options(self) -> PairOptions:
        """The models."""
        return self._groups[PairOptions]

    @property
    def stated_prompt_options(self) -> PromptOptions:
        """The prompts and rollouts as they were asked for."""
        return self._groups[PromptOptions]

    @property
    def bin_options(self) -> BinOptions:
        """The bins."""
        return self._groups[BinOptions]

    @property
    def metric_options(self) -> MetricOptions:
        """The inner product."""
        return self._groups[MetricOptions]

    @property
    def seed(self) -> int:
        """Seed of the bundled scenes, the rollouts and the choice of probed tokens."""
        return self.stated_prompt_options.seed

    def refuse_missing_states(self, *checkpoints: str) -> None:
        """Refuse checkpoints without an optimizer's state where the metric needs one, and one state for several."""
        options, n = self.metric_options, len(checkpoints)
        if options.optimizer_state is not None and n > 1:
            raise OptionError(
                f"`optimizer_state` belongs to one checkpoint, got {n};"
                f" leave it out and put the state of each beside its weights, as {STATE}"
            )
        if options.metric == "adam":
            for checkpoint in checkpoints:
                state_file(checkpoint, options.optimizer_state)


def groups_of(options: Mapping[str, Any]) -> dict[type[Any], Any]:
    """Return the values of each group of an analyzer's options, checked.

    Raises:
        OptionError: an option is none of an analyzer's, or has a value that it does not admit.
    """
    names = {f.name for group in ANALYZER_OPTIONS for f in fields(group)}
    if unknown := sorted(set(options) - names):
        raise OptionError(f"`{unknown[0]}` is no option of an analyzer: it must be one of {', '.join(sorted(names))}")
    return {group: checked(group, options) for group in ANALYZER_OPTIONS}
