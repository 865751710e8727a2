"""What is taken backward from the logits for each unit: the objectives' cotangents, weighed by the unit's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from geometry.cotangents import Cotangents
from geometry.gram import BASIS

_CANCELS = 0.125  # of the longer part: a shorter sum of visual and prior gets a backward pass of its own


@dataclass(frozen=True)
class Seeds:
    """The seeds of U units at n columns of a response, and which units have standard in the place of prior.

    standard = visual + prior, and where the two nearly cancel, rounding is all that is left of their sum. There the
    second row of a unit is standard itself, and prior = standard - visual.

    weights, columns, direct: on the CPU, so that nothing of the device is asked.
    """

    weights: Float[Tensor, "U n"]
    cotangents: Cotangents
    columns: Int[Tensor, " n"]
    direct: Bool[Tensor, " U"]

    def names(self, objectives: Sequence[str]) -> tuple[str, ...]:
        """Return the cotangents that a view needs: its objectives, and standard where a unit has it."""
        return (*objectives, "standard") if "prior" in objectives and bool(self.direct.any()) else tuple(objectives)

    def at_logits(self, name: str, like: Tensor) -> Float[Tensor, "n V"]:
        """Return a cotangent at the columns, in the precision of `like`."""
        return getattr(self.cotangents, name)[self.columns].to(like)

    def chosen(self, objectives: Sequence[str]) -> Int[Tensor, "U m"]:
        """Return the place in `names` of each unit's rows."""
        places = torch.arange(len(objectives)).repeat(len(self.weights), 1)
        if "prior" in objectives:
            places[self.direct, objectives.index("prior")] = len(objectives)
        return places

    def spread(self, rows: Float[Tensor, "k n d"], objectives: Sequence[str]) -> Float[Tensor, "Um n d"]:
        """Return the rows `names` at the columns for each unit, weighed: `[U * m, n, d]`."""
        weights = self.weights.to(rows)[:, None, :, None]
        return (rows[self.chosen(objectives)] * weights).flatten(0, 1)

    def at_places(
        self, rows: Float[Tensor, "k n o"], places: Int[Tensor, "U s"], objectives: Sequence[str]
    ) -> Float[Tensor, "U m s o"]:
        """Return the rows `names` at some of the columns for each unit, weighed."""
        weights = self.weights.take_along_dim(places, dim=1).to(rows)[:, None, :, None]
        return rows[self.chosen(objectives)[:, :, None], places[:, None, :]] * weights

    def at_own(self, places: Int[Tensor, "U s"], objectives: Sequence[str], like: Tensor) -> Float[Tensor, "U m s V"]:
        """Return the cotangents at some of the columns for each unit, weighed."""
        at = self.columns[places]
        rows = torch.stack([getattr(self.cotangents, name)[at].to(like) for name in self.names(objectives)])
        units = torch.arange(len(at))[:, None]
        weights = self.weights.take_along_dim(places, dim=1).to(like)[:, None, :, None]
        return rows[self.chosen(objectives), units] * weights

    def of_view(self, objectives: Sequence[str], like: Tensor) -> Float[Tensor, "Um n V"]:
        """Return the seeds of a view at its logits: `[U * m, n, V]`."""
        return self.spread(torch.stack([self.at_logits(name, like) for name in self.names(objectives)]), objectives)

    def in_basis(self, gram: Float64[Tensor, "U 4 4"]) -> Float64[Tensor, "U 4 4"]:
        """Return the Gram matrices of `BASIS` from those of what was taken backward."""
        change = torch.eye(len(BASIS), dtype=gram.dtype).repeat(len(gram), 1, 1)
        change[self.direct, BASIS.index("prior"), BASIS.index("visual")] = -1.0
        change = change.to(gram.device)
        return change @ gram @ change.mT


def cancelling(weights: Float[Tensor, "U n"], cotangents: Cotangents) -> Bool[Tensor, " U"]:
    """Return for which units visual and prior nearly cancel at the logits; asks the device once."""
    names = ("standard", "visual", "prior")
    squares = torch.stack([getattr(cotangents, name).norm(dim=-1) for name in names]).cpu().double().square()  # [3, n]
    standard, visual, prior = (weights.double().square() @ squares.T).sqrt().T
    return standard < _CANCELS * torch.maximum(visual, prior)
