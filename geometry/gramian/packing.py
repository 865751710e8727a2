"""The positions at which a use of a weight has gradients at all: at the last layer a token has one alone.

Which uses are of this kind is seen once, in the first chunk, which asks the device. Later chunks rely on it, and a
flag that stays on the device says whether they were right to.
"""

from collections.abc import Hashable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.gramian.weight_gramians import Factors


class Packing:
    """Keeps of each unit the positions that have a gradient, where those are its own alone.

    always: also where they are more than half of all, so that what is packed does not depend on the chunk.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always
        self._at_own: dict[Hashable, bool] = {}
        self._missed: Tensor | None = None

    def packed(self, use: Hashable, factors: Factors, n_own: int) -> Factors:
        """Return the factors at the positions with a gradient, if there are few.

        use: identifies the use of a weight, over all chunks.
        n_own: at most so many tokens have a weight in a unit.
        """
        n_places = factors.outputs.shape[2]
        if n_own >= n_places if self._always else 2 * n_own > n_places:
            return factors
        if self._at_own.get(use) is False:
            return factors
        filled = _filled(factors.outputs)
        if use not in self._at_own:
            self._at_own[use] = int(filled.sum(-1).max()) <= n_own
            return self.packed(use, factors, n_own)
        missed = (filled.sum(-1) > n_own).any()
        self._missed = missed if self._missed is None else self._missed | missed
        places = filled.to(torch.int8).topk(n_own, dim=-1).indices  # those with a gradient, then some without
        outputs = factors.outputs.take_along_dim(places[:, None, :, None], dim=2)
        return Factors(factors.weight, factors.rows, factors.inputs[places], outputs)

    def was_right(self) -> bool:
        """Return whether no gradient was left out since the last call; if one was, nothing is packed from now on."""
        missed, self._missed = self._missed, None
        if missed is None or not bool(missed):
            return True
        self._at_own = dict.fromkeys(self._at_own, False)
        return False


def _filled(outputs: Float[Tensor, "U m S o"]) -> Bool[Tensor, "U S"]:
    return (outputs != 0).any(-1).any(1)
