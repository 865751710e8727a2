"""A student under its teacher on some prompts: models that load on first use, responses that are scored once."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import pandas as pd
from torch import Tensor, nn

from cli.errors import OptionError
from geometry import FourViews, TokenScores
from probes import sampling
from probes.models_of_analyzer import IN_MEMORY, Models
from probes.sampling import Asked
from probes.settings import Dtype, PairOptions
from probes.settings_of_analyzer import groups_of
from probes.stored_responses import StoredResponses
from records import Shards
from vlm.checkpoints.checkpoint import in_precision, model_in_memory, quiet
from vlm.checkpoints.pair import pair_of
from vlm.prompts.prompt import Prompt
from vlm.prompts.sources import PromptSet, prompt_set, read_prompts
from vlm.responses.fitting import Fitting, fitting
from vlm.responses.halving import Batches
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import score
from vlm.responses.stored_rows import Source
from vlm.responses.token_scores import read_by_chunk, token_scores
from vlm.responses.truncation import truncation
from vlm.responses.vllm_sampler import folder_of, refuse_missing_vllm
from vlm.views.view import View, image_view

R = TypeVar("R")


class Corpus(Models):
    """The responses of a student to some prompts, scored under its teacher, and what stages share besides.

    Args:
        student, rollouts, options: as in `probes.Analyzer`.

    shards: tables so far of the measurement that is going on, from which an interrupted one continues.
    notes: how it goes.
    continued: whether responses of an earlier run were read.
    stored: responses that are measured in place of sampled ones; None where they are sampled.
    """

    def __init__(self, student: str, *, rollouts: Source | None = None, **options: Any) -> None:
        quiet()
        self.checkpoint = str(student)
        options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        self._given_prompts = None if isinstance(options.get("prompts", ""), str) else options.pop("prompts")
        options |= {"rollouts": str(rollouts)} if isinstance(rollouts, (str, Path)) else {}
        self._groups = groups_of(options | ({"prompts": IN_MEMORY} if self._given_prompts is not None else {}))
        source = self.stated_prompt_options.rollouts if rollouts is None else rollouts
        self.stored = None if source is None else StoredResponses(source)
        self.shards: Shards = Shards()
        self.notes: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.continued = False
        self.weights_seen: list[int] | None = None
        self.refuse_missing_states(self.checkpoint)
        if self.stored is None and self.checkpoint != IN_MEMORY:
            self.vllm_folder  # noqa: B018  # refuses before anything large is read

    @classmethod
    def from_models(
        cls,
        *,
        student: nn.Module,
        teacher: nn.Module,
        processor: Any,
        teacher_processor: Any = None,
        **options: Any,
    ) -> Self:
        """Return an analyzer of models in memory, both put into eval mode, the teacher frozen.

        Args:
            student, teacher: as transformers' AutoModelForImageTextToText returns them.
            processor: of the student, and of the teacher unless it has its own.
            options: those of `Analyzer`; the student's parameters that require a gradient are measured. After a step
                of training make another analyzer: the responses and scores of this one are those of the old weights.

        Raises:
            UserError: the two have other tokens, or no parameter of the student requires a gradient.
        """
        analyzer = cls(IN_MEMORY, **options)
        loaded = model_in_memory(student, processor), model_in_memory(teacher, teacher_processor or processor)
        analyzer.__dict__["pair"], analyzer.__dict__["teacher"] = pair_of(*loaded), loaded[1]
        here: Any = {"dtype": loaded[0].dtype_name, "device": loaded[0].device.type}
        analyzer.__dict__["settled_options"] = replace(analyzer.pair_options, **here)
        analyzer.weights_seen = analyzer.weight_versions()
        if not analyzer.pair.student.groups:
            raise OptionError("`student` must have parameters that require a gradient, got none; call requires_grad_()")
        return analyzer

    # What is measured.

    @cached_property
    def prompt_set(self) -> PromptSet:
        """The prompts as they were read, and how."""
        return self._prompt_set(self.stated_prompt_options.limit)

    @property
    def source_prompts(self) -> list[Prompt]:
        """The prompts as they were read."""
        return self.prompt_set.prompts

    def first_prompts(self, limit: int) -> list[Prompt]:
        """Return up to `limit` prompts, whether or not they have room for a response."""
        return self._prompt_set(limit).prompts

    def _prompt_set(self, limit: int) -> PromptSet:
        options = self.stated_prompt_options
        if self._given_prompts is not None:
            return read_prompts(self._given_prompts, limit=limit, reading=options)
        return prompt_set(options.prompts, limit=limit, seed=options.seed, split=options.split, reading=options)

    @cached_property
    def asked(self) -> Asked:
        """The prompts that have room for a full response, and their text views."""
        return sampling.ask(self.pair, self.prompt_set, self.prompt_options)

    @cached_property
    def answered(self) -> Fitting:
        """The prompts that the student alone can read and has room for a full response to."""
        kept = self.that_fit(self.source_prompts).with_bad(len(self.prompt_set.bad))
        kept.say()
        return kept

    def that_fit(self, prompts: Sequence[Prompt]) -> Fitting:
        """Return those of `prompts` that the student alone can read and has room for a full response to."""
        return fitting((self.student,), prompts, self.prompt_options.longest_response, self.prompt_options)

    @property
    def prompts(self) -> Mapping[str, Prompt]:
        """The prompts that are measured, by `prompt_id`."""
        return self.asked.prompts

    @cached_property
    def rollouts(self) -> list[Rollout]:
        """The student's responses; a rollout's `rollout_id` in tables is its place here."""
        self.continued = self.continued or self.shards.continues("rollouts")
        prompts, student, options = list(self.prompts.values()), self.pair.student, self.prompt_options
        with self.phase("rollouts"):
            if self.stored is not None:
                return self.stored.to(prompts, student, self.pair.n_ids, options).rollouts
            rollouts = sampling.sample(student, prompts, options, self.shards, self.vllm_folder)
        truncation(rollouts, options.longest_response).settle(allowed=options.allow_truncated)
        return rollouts

    @property
    def vllm_folder(self) -> str | None:
        """The folder from which vLLM loads the student; None where transformers samples.

        Raises:
            OptionError, CheckpointError: vLLM is not installed, or cannot load the student.
        """
        if self.stated_prompt_options.sampler == "transformers":
            return None
        refuse_missing_vllm()
        if self.checkpoint == IN_MEMORY:
            raise OptionError("`sampler` vllm loads a checkpoint, got models in memory; leave it out")
        return folder_of(self.checkpoint)

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """The table `tokens`: every response token's divergences, entropy and bin."""
        self.rollouts  # noqa: B018  # timed by themselves
        self._compare_stored()
        with self.phase("scoring"):
            tokenizer, parts = self.pair.student.processor.tokenizer, self.cut()
            tokens = sampling.score_tokens(self.prompts, parts, self.token_scores, tokenizer, self.shards)
            return sampling.binned(tokens, self.bin_options.bins)

    def cut(self) -> list[Mapping[int, Rollout]]:
        """Return the responses by number, in the shards that processes share: a forward batch each."""
        return sampling.cut(self.rollouts, self.prompt_options.batch)

    def views(self, rollout: Rollout) -> tuple[View, View]:
        """Return the image view and the text view of a rollout's prompt."""
        return image_view(self.prompts[rollout.prompt_id]), self.asked.text_views[rollout.prompt_id]

    @cached_property
    def batches(self) -> Batches:
        """How many responses are in a forward pass; fewer from where memory has run out."""
        return Batches(self.prompt_options.batch, "batch")

    def token_scores(self, rollouts: Sequence[Rollout]) -> Iterator[TokenScores]:
        """Yield the divergences and the entropy of each rollout's tokens; logits exist for a few tokens at a time."""
        self._compare_stored()
        views = [self.views(rollout) for rollout in rollouts]
        return token_scores(self.pair, views, rollouts, batch=self.batches)

    def read_by_chunk(self, rollouts: Sequence[Rollout], read: Callable[[FourViews], R]) -> Iterator[list[R]]:
        """Yield for each rollout what `read` makes of the four views of its tokens, a few tokens at a time."""
        self._compare_stored()
        views = [self.views(rollout) for rollout in rollouts]
        return read_by_chunk(self.pair, views, rollouts, read, batch=self.batches)

    def score(self, rollouts: Sequence[Rollout], positions: Sequence[Tensor] | None = None) -> Iterator[FourViews]:
        """Yield the four views of each rollout; `positions` are the tokens whose logits are made, all by default."""
        self._compare_stored()
        views = [self.views(rollout) for rollout in rollouts]
        return score(self.pair, views, rollouts, batch=self.batches, positions=positions)

    def _compare_stored(self) -> None:
        """Say how on-policy responses from elsewhere are, unless that has been said of this student."""
        if self.stored is not None and self.pair.student.name not in self.stored.about:
            with self.phase("comparison of rollouts"):
                prompts, pair = list(self.prompts.values()), self.pair
                self.stored.compare(prompts, pair.student, pair.n_ids, self.prompt_options)

    # Others beside this one.

    def having(self, **changed: Any) -> Self:
        """Return an analyzer like this one with other attributes, such as `pair`, `metric`, `asked` or `shards`."""
        other = copy.copy(self)
        other.__dict__.update(changed)
        return other

    def apart(self) -> Self:
        """Return a copy under the same teacher whose student is held no longer than the copy."""
        self.teacher  # noqa: B018  # loaded once for all copies
        return self.having()

    def with_student(self, checkpoint: str, **changed: Any) -> Self:
        """Return an analyzer of another student on the same responses, if these are given, else on the same prompts.

        The weights load when they are needed.

        changed: settings that differ. The teacher is the same, loaded once for both, unless `teacher` is among them;
            None is the one that pair.json names.
        """
        options = {name: value for group in self._groups.values() for name, value in asdict(group).items()}
        options["max_response"] = self.prompt_options.longest_response
        if self._given_prompts is not None:
            options["prompts"] = self._given_prompts
        other = type(self)(checkpoint, **options | changed)
        other.stored = self.stored and self.stored.of_another_student()
        if "prompt_set" in self.__dict__ and other.prompt_options == self.prompt_options:
            other.__dict__["prompt_set"] = self.prompt_set
        if "teacher" not in changed:
            other.__dict__["teacher"] = self.teacher
        return other

    def in_dtype(self, dtype: Dtype) -> Self:
        """Return an analyzer of the same responses with both models in another dtype, beside those of this one."""
        options = replace(self.pair_options, dtype=dtype, teacher_dtype=dtype)
        twin = self.having(_groups=self._groups | {PairOptions: options})
        for loaded in ("settled_options", "pair", "teacher", "metric", "kinds", "_loaded_student"):
            twin.__dict__.pop(loaded, None)
        if self.checkpoint == IN_MEMORY:
            student, teacher = (in_precision(loaded, dtype) for loaded in self.pair.models)
            twin.__dict__["pair"] = replace(self.pair, student=student, teacher=teacher)
        return twin
