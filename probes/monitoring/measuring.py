"""What a monitor measures at a step: losses and gradients on fixed responses, losses on the present student's own."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from geometry import Decomposition, TokenScores
from probes.analyzer import Analyzer
from probes.sampling import token_rows
from records.journal_lines import EvaluationLine, GeometryLine, LanguageRise
from stats import N_BINS, bootstrap_interval, upper_bins
from vlm.responses.angles_against_null import against_null
from vlm.responses.batch_gradients import BatchGradients, grams_of, over_scopes, readings
from vlm.responses.halving import Batches
from vlm.responses.response import Response, has_image
from vlm.responses.rollouts import Rollout, Sampling, generate
from vlm.responses.sample_table import Sample, samples
from vlm.responses.scored_batch import ScoredBatch, batch_scores, scored_batch
from vlm.responses.token_losses import Tokens, binned, bins_of, edges_of, means
from vlm.responses.truncation import truncation
from vlm.responses.undisturbed import undisturbed

UPPER = list(upper_bins(N_BINS))


@dataclass(frozen=True)
class Measured:
    """What was measured at a step.

    tokens: the table `tokens` of the fixed responses.
    samples: some of the student's own responses.
    """

    evaluation: EvaluationLine
    geometry: GeometryLine
    tokens: pd.DataFrame
    samples: Sequence[Sample]

    @property
    def step(self) -> int:
        """The number of updates before."""
        return self.evaluation.step


class Bench:
    """A student and its teacher, and the responses on which the student is measured again and again.

    Args:
        analyzer: of the two models in memory, with its prompts and settings.
        rollouts: the fixed responses; None samples them now.
        gamma: strength of the steering that eta is of.
        null_responses: how many responses are compared with unrelated ones; 0 for none.
    """

    def __init__(
        self, analyzer: Analyzer, rollouts: Sequence[Rollout] | None, gamma: float, null_responses: int
    ) -> None:
        self._analyzer, self._gamma, self._null_responses = analyzer, gamma, null_responses
        self._pair, self._passes = analyzer.pair, Batches(analyzer.prompt_options.batch, "batch")
        with undisturbed(*self._models):
            self.rollouts = list(analyzer.rollouts if rollouts is None else rollouts)
            self._batch = scored_batch(self._pair, self._responses(self.rollouts), self._passes)

    def measure(self, step: int, first: pd.DataFrame | None) -> Measured:
        """Measure the present weights; modes, gradients and random numbers stay as they were.

        first: the tokens of the first measurement; None where this is the first.

        Raises:
            NotFiniteError: logits of the student, or divergences, are not finite.
        """
        with undisturbed(*self._models):
            began = time.perf_counter()
            scores = batch_scores(self._pair, self._batch, self._passes)
            on_fixed = tokens_of(self._batch, scores)
            edges = edges_of(on_fixed)
            bins = bins_of(on_fixed, edges).cpu()
            rows = self._rows(scores, bins)
            own = scored_batch(self._pair, self._responses(self._sampled()), self._passes)
            on_own = tokens_of(own, batch_scores(self._pair, own, self._passes))
            evaluation = EvaluationLine(
                step=step,
                losses=means(on_fixed),
                losses_by_bin=binned(on_fixed, edges),
                own_losses=means(on_own),
                own_losses_by_bin=binned(on_own, edges),
                own_response_tokens=sum(response.n_tokens for response in own.responses) / len(own.responses),
                accuracy={},
                answers={},
                seconds=round(time.perf_counter() - began, 4),
                truncated_share=truncation(response.rollout for response in own.responses).share,
                language_rise=language_rise(rows if first is None else first, rows, self._analyzer.seed),
            )
            geometry = self._geometry(step, bins)
            return Measured(evaluation, geometry, rows, samples(own.responses, on_own, self._tokenizer))

    @property
    def _models(self) -> list[torch.nn.Module]:
        return [loaded.model for loaded in self._pair.models]

    @property
    def _tokenizer(self) -> Any:
        return self._pair.student.processor.tokenizer

    def _responses(self, rollouts: Sequence[Rollout]) -> list[Response]:
        asked = self._analyzer.asked
        return [Response(asked.prompts[r.prompt_id], asked.text_views[r.prompt_id], r) for r in rollouts]

    def _sampled(self) -> list[Rollout]:
        """The present student's responses to the same prompts, from the same random numbers as the fixed ones."""
        options = self._analyzer.prompt_options
        sampling = Sampling(options.longest_response, options.rollouts_per_prompt, options.seed, batch=options.batch)
        prompts = list(self._analyzer.prompts.values())
        return generate(self._pair.student, prompts, sampling, batches=self._passes)

    def _rows(self, scores: TokenScores, bins: Tensor) -> pd.DataFrame:
        """The table `tokens` of the fixed responses."""
        parts = zip(self._batch.responses, _each(scores, self._batch.responses), strict=True)
        frames = [
            token_rows(response.prompt, response.rollout, of_response, self._tokenizer).assign(rollout_id=number)
            for number, (response, of_response) in enumerate(parts)
        ]
        return pd.concat(frames, ignore_index=True).assign(bin=bins.numpy())

    def _geometry(self, step: int, bins: Tensor) -> GeometryLine:
        began, pair = time.perf_counter(), self._pair
        trained = [parameter for parameter in pair.student.model.parameters() if parameter.requires_grad]
        gradients = BatchGradients(pair.student, pair.n_ids, trained, self._passes, nullcontext)
        with torch.enable_grad():
            gradients.add(self._batch)
        grams = grams_of(pair.student, gradients.sums)
        read = readings(grams)
        return GeometryLine(
            step=step,
            **vars(read),
            gamma=self._gamma,
            eta=float(over_scopes(grams)["all"].eta(self._gamma)),
            against_null=self._against_null(bins) if self._null_responses else None,
            seconds=round(time.perf_counter() - began, 4),
        )

    def _against_null(self, bins: Tensor) -> Mapping[str, Any]:
        """Angles and their nulls by scope, tokens and angle: over all tokens of a response, and those of upper bins."""
        responses, seed = self._batch.responses[: self._null_responses], self._analyzer.seed
        each = bins.split([response.n_tokens for response in self._batch.responses])[: self._null_responses]
        upper = torch.tensor(UPPER)
        weights = {
            "all": [(one >= 0).double() / len(one) for one in each],
            "upper": [torch.isin(one, upper).double() / len(one) for one in each],
        }
        by_tokens = {
            tokens: against_null(self._pair, responses, some, self._passes, seed) for tokens, some in weights.items()
        }
        scopes = {scope for measured in by_tokens.values() for scope in measured}
        return {
            scope: {
                tokens: {angle: asdict(one) for angle, one in measured[scope].items()}
                for tokens, measured in by_tokens.items()
                if scope in measured
            }
            for scope in sorted(scopes)
        }


def tokens_of(batch: ScoredBatch, scores: TokenScores) -> Tokens:
    """Return the losses of a batch's tokens."""
    parts = scores.parts
    shown = has_image(batch.responses, parts.vds.device).to(parts.vds)
    return Tokens(parts.standard, parts.language, parts.visual, parts.vds, scores.entropy, shown)


def language_rise(first: pd.DataFrame, now: pd.DataFrame, seed: int) -> LanguageRise:
    """Return how far the language loss of the tokens of the upper bins has risen; both tables have the same tokens."""
    upper = now["bin"].isin(UPPER).to_numpy()
    before, after = (rows["kl_language_nats"].to_numpy()[upper] for rows in (first, now))
    if not upper.any():
        return LanguageRise(None, None, None, None)
    rise = bootstrap_interval(after - before, now["prompt_id"].to_numpy(str)[upper], seed=seed)
    numbers = float(np.mean(before)), rise.estimate, rise.low, rise.high
    return LanguageRise(*(number if math.isfinite(number) else None for number in numbers))


def _each(scores: TokenScores, responses: Sequence[Response]) -> list[TokenScores]:
    """Cut the scores of a batch into those of its responses."""
    ends = [0, *accumulate(response.n_tokens for response in responses)]
    parts = {name: getattr(scores.parts, name) for name in Decomposition.__dataclass_fields__}
    return [
        TokenScores(Decomposition(**{name: values[a:b] for name, values in parts.items()}), scores.entropy[a:b])
        for a, b in pairwise(ends)
    ]
