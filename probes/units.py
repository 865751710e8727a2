"""The units whose gradients are measured: tokens, the bin of a trajectory, or the bin of the whole corpus.

A token unit has weight 1 at its token. Trajectory-bin and corpus-bin carry the weights of the loss (the mean over
trajectories, those with a picture, of the mean over tokens), so that the gradients of a trajectory's or the corpus's
bins add up to the gradient of its loss. A signed-bin gives the tokens of a trajectory's bin random signs: the mean of
its Gram matrix over the signs is the sum of the tokens' own, at the cost of one unit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from geometry import (
    Cotangents,
    DenseGradients,
    Gramian,
    UnitViews,
    cotangents,
    null_angles_deg,
    null_products,
    token_lengths,
    unit_gradients,
)
from probes.corpus import Corpus
from stats.pairs import chain_order
from vlm.checkpoint import LoadedModel
from vlm.families import scopes
from vlm.rollouts import Rollout
from vlm.scoring import FourViews, ResponseView
from vlm.views import View


@dataclass(frozen=True)
class Unit:
    """What one gradient belongs to.

    weights: for each rollout concerned, the weight of each of its tokens.
    normalised: whether each token's cotangents are divided by the length of its standard one.
    """

    unit_id: int
    kind: str
    bin: int
    prompt_id: str
    rollout_id: int
    position: int
    weights: Mapping[int, Tensor]
    normalised: bool = False

    @property
    def n_tokens(self) -> int:
        return sum(int((row != 0).sum()) for row in self.weights.values())

    def weights_of(self, number: int, cotangents: Cotangents) -> Tensor:
        """The weights of a rollout's tokens; 0 where the unit has none there."""
        lengths = token_lengths(cotangents).cpu()
        weights = self.weights.get(number, torch.zeros(len(lengths)))
        return weights / lengths if self.normalised else weights


def choose_units(
    tokens: pd.DataFrame, kind: str, per_bin: int | Literal["all"], seed: int, *, normalised: bool = False
) -> list[Unit]:
    """Draw up to `per_bin` units from each bin, at random; there is one corpus-bin a bin."""
    return [replace(unit, normalised=normalised) for unit in _choose(tokens, kind, per_bin, seed)]


def _choose(tokens: pd.DataFrame, kind: str, per_bin: int | Literal["all"], seed: int) -> list[Unit]:
    pictured = tokens[tokens["bin"] >= 0]
    lengths = tokens.groupby("rollout_id")["position"].size()
    if kind == "corpus-bin":
        n_trajectories = pictured["rollout_id"].nunique()
        by_bin = enumerate(group for _, group in pictured.groupby("bin"))
        return [_corpus_bin(number, group, lengths, n_trajectories) for number, group in by_bin]
    keys = ["bin", "rollout_id", "position"] if kind == "token" else ["bin", "rollout_id"]
    candidates = pictured[[*keys, "prompt_id"]].drop_duplicates()
    drawn = [_draw(group, per_bin, seed) for _, group in candidates.groupby("bin")]
    chosen = pd.concat(drawn).sort_values(["rollout_id", *keys[2:], "bin"])
    rows = chosen.itertuples(index=False)
    if kind == "token":
        return [_token(number, row, lengths) for number, row in enumerate(rows)]
    positions = pictured.groupby(["rollout_id", "bin"])["position"].apply(list)
    units = [_trajectory_bin(number, row, positions, lengths) for number, row in enumerate(rows)]
    return [_signed(unit, seed) for unit in units] if kind == "signed-bin" else units


def grams_by_rollout(
    corpus: Corpus, engine: Gramian, units: Sequence[Unit]
) -> Iterator[tuple[list[Unit], dict[str, Tensor]]]:
    """Yield, a rollout at a time, the units that lie in it and their Gram matrices `[U, 5, 5]` by group."""
    by_rollout: dict[int, list[Unit]] = {}
    for unit in units:
        by_rollout.setdefault(unit.rollout_id, []).append(unit)
    for number, members in by_rollout.items():
        scene = _Scene.of(corpus, corpus.rollouts[number])
        weights = torch.stack([unit.weights_of(number, scene.cotangents) for unit in members])
        yield members, engine.units(scene.image, scene.text, scene.cotangents, weights)


def sum_of_corpus_bins(
    corpus: Corpus, units: Sequence[Unit], groups: Mapping[str, Sequence[nn.Parameter]]
) -> DenseGradients:
    """The gradients of some corpus-bins, added up over rollouts; each rollout is run once for all of them."""
    gradients = DenseGradients(groups, metric=corpus.metric_factors)
    for number in sorted({number for unit in units for number in unit.weights}):
        rollout = corpus.rollouts[number]
        scene = _Scene.of(corpus, rollout)
        weights = torch.stack([unit.weights_of(number, scene.cotangents) for unit in units])
        gradients.add(unit_gradients(scene.image, scene.text, scene.cotangents, weights, groups))
    return gradients


def null_angles(corpus: Corpus, units: Sequence[Unit], seed: int) -> Iterator[dict[str, float | int | str]]:
    """Yield the angles of the empirical null: the language gradient of one unit against the visual of another's.

    A row a pair and scope: `bin`, `scope`, the angle with q* detached and attached, in degrees.
    """
    groups = corpus.pair.student.groups
    bins = np.array([unit.bin for unit in units], dtype=int)
    prompts = np.array([unit.prompt_id for unit in units], dtype=str)
    pairs = chain_order(bins, prompts, np.random.default_rng(seed))
    products = null_products(
        pairs, lambda number: _unit_views(corpus, units[number]), groups, metric=corpus.metric_factors
    )
    for (first, _), gram in zip(pairs.tolist(), products, strict=True):
        for scope, names in scopes(groups).items():
            detached, attached = null_angles_deg(gram, names).tolist()
            yield {"bin": int(bins[first]), "scope": scope, "detached_deg": detached, "attached_deg": attached}


def _draw(candidates: pd.DataFrame, per_bin: int | Literal["all"], seed: int) -> pd.DataFrame:
    if per_bin == "all" or len(candidates) <= per_bin:
        return candidates
    generator = np.random.default_rng([seed, int(candidates["bin"].iloc[0])])
    return candidates.iloc[np.sort(generator.choice(len(candidates), per_bin, replace=False))]


def _token(number: int, row: tuple, lengths: pd.Series) -> Unit:
    bin_, rollout, position, prompt = row
    weights = torch.zeros(lengths[rollout])
    weights[position] = 1.0
    return Unit(number, "token", bin_, prompt, rollout, position, {rollout: weights})


def _trajectory_bin(number: int, row: tuple, positions: pd.Series, lengths: pd.Series) -> Unit:
    bin_, rollout, prompt = row
    weights = torch.zeros(lengths[rollout])
    weights[positions[rollout, bin_]] = 1.0 / lengths[rollout]
    return Unit(number, "trajectory-bin", bin_, prompt, rollout, -1, {rollout: weights})


def _signed(unit: Unit, seed: int) -> Unit:
    """The same tokens with weights 1 and -1."""
    generator = torch.Generator().manual_seed(hash((seed, unit.rollout_id, unit.bin)) % 2**32)
    ((number, weights),) = unit.weights.items()
    signs = torch.randint(0, 2, weights.shape, generator=generator) * 2.0 - 1.0
    return replace(unit, kind="signed-bin", weights={number: torch.where(weights != 0, signs, 0.0)})


def _corpus_bin(number: int, group: pd.DataFrame, lengths: pd.Series, n_trajectories: int) -> Unit:
    weights: dict[int, Tensor] = {}
    for rollout, position in group[["rollout_id", "position"]].itertuples(index=False):
        row = weights.setdefault(rollout, torch.zeros(lengths[rollout]))
        row[position] = 1.0 / (lengths[rollout] * n_trajectories)
    return Unit(number, "corpus-bin", int(group["bin"].iloc[0]), "", -1, -1, weights)


@dataclass(frozen=True)
class _Scene:
    """A response in its two views of the student, and the cotangents of its tokens."""

    image: ResponseView
    text: ResponseView
    cotangents: Cotangents

    @classmethod
    def of(cls, corpus: Corpus, rollout: Rollout) -> "_Scene":
        (views,) = corpus.score([rollout])
        pair = corpus.pair
        image, text = (
            ResponseView(pair.student, view, rollout.token_ids, pair.n_ids) for view in corpus.views(rollout)
        )
        return cls(image, text, _cotangents(views))


def _cotangents(views: FourViews) -> Cotangents:
    return cotangents(views.student_image, views.student_text, views.teacher_image, views.teacher_text)


def _unit_views(corpus: Corpus, unit: Unit) -> UnitViews:
    """What the unit's gradients need; nothing is run behind its last token."""
    ((number, weights),) = unit.weights.items()
    rollout, pair = corpus.rollouts[number], corpus.pair
    positions = weights.nonzero().squeeze(1)
    image, text = corpus.views(rollout)

    def run(side: LoadedModel, view: View) -> ResponseView:
        return ResponseView(side, view, rollout.token_ids, pair.n_ids)

    with torch.no_grad():
        teacher_image, teacher_text = (run(pair.teacher, view)(positions) for view in (image, text))
    student_image, student_text = run(pair.student, image), run(pair.student, text)
    student = student_image, student_text
    return UnitViews(*student, teacher_image, teacher_text, positions, weights[positions], unit.normalised)
