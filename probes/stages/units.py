"""The units whose gradients are measured: tokens, the bin of a trajectory, or the bin of the whole corpus.

A token unit has weight 1 at its token. Trajectory-bin and corpus-bin carry the weights of the loss (the mean over
trajectories, those with a picture, of the mean over tokens), so that the gradients of a trajectory's or the corpus's
bins add up to the gradient of its loss. A signed-bin gives the tokens of a trajectory's bin random signs: the mean of
its Gram matrix over the signs is the sum of the tokens' own, at the cost of one unit. The matrices of a bin's
signed-bins are added up and one angle is read from the sum: the pooled angle of the bin's tokens, not the mean of their
angles. `docs/units.md` says when each is wanted, and how far a draw of the signs is off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from geometry import Cotangents, token_lengths
from probes.settings import UnitOptions

PerBin = int | Literal["all"]


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

    def positions(self, number: int) -> Tensor:
        """Return the positions of a rollout's tokens that have a weight, ascending."""
        weights = self.weights.get(number)
        return torch.zeros(0, dtype=torch.long) if weights is None else weights.nonzero().squeeze(1)

    def weights_at(self, number: int, positions: Tensor, cotangents: Cotangents) -> Tensor:
        """Return the weights of a rollout's tokens at some positions; 0 where the unit has none.

        cotangents: of these tokens.
        """
        weights = self.weights.get(number)
        chosen = torch.zeros(len(positions)) if weights is None else weights[positions]
        return chosen / token_lengths(cotangents).cpu() if self.normalised else chosen


def choose_units(tokens: pd.DataFrame, options: UnitOptions, seed: int) -> list[Unit]:
    """Draw up to `options.per_bin` units from each bin, at random; there is one corpus-bin per bin."""
    chosen = _choose(tokens, options.unit, options.per_bin, seed)
    return [replace(unit, normalised=options.normalise) for unit in chosen]


def _choose(tokens: pd.DataFrame, kind: str, per_bin: PerBin, seed: int) -> list[Unit]:
    pictured = tokens.loc[tokens["bin"] >= 0, ["bin", "rollout_id", "position", "prompt_id"]]
    lengths = tokens.groupby("rollout_id")["position"].size()
    if kind == "corpus-bin":
        n_trajectories = pictured["rollout_id"].nunique()
        by_bin = enumerate(group for _, group in pictured.groupby("bin"))
        return [_corpus_bin(number, group, lengths, n_trajectories) for number, group in by_bin]
    keys = ["bin", "rollout_id", "position"] if kind == "token" else ["bin", "rollout_id"]
    candidates = pictured if kind == "token" else pictured[[*keys, "prompt_id"]].drop_duplicates()
    drawn = [_draw(group, per_bin, seed) for _, group in candidates.groupby("bin")]
    chosen = pd.concat(drawn).sort_values(["rollout_id", *keys[2:], "bin"])
    rows = chosen.itertuples(index=False)
    if kind == "token":
        return [_token(number, row, lengths) for number, row in enumerate(rows)]
    members = pictured[pictured["rollout_id"].isin(chosen["rollout_id"])]
    positions = members.groupby(["rollout_id", "bin"])["position"].apply(list)
    units = [_trajectory_bin(number, row, positions, lengths) for number, row in enumerate(rows)]
    return [_signed(unit, seed) for unit in units] if kind == "signed-bin" else units


def _draw(candidates: pd.DataFrame, per_bin: PerBin, seed: int) -> pd.DataFrame:
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
