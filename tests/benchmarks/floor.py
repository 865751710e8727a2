"""Count the fewest FLOPs that exact Gram matrices of some tokens need when they are computed from factors.

Three parts, for U tokens and the two views, each with two objectives:

    forward    each view once, up to the last token; the head at the U tokens
    backward   for each token, view and objective one pass to the inputs of the weights, over the positions up to the
               token alone: each product with a weight costs what it costs forward, each attention twice that (its
               two products have four on the way back)
    products   for each token and weight the cheaper of two ways, with S positions that have a gradient in a view:
               gradients  `2 m S o i` for each use, and `2 o i` for each of the ten inner products of four gradients
               factors    for each pair of uses `2 S T i` of inputs (once for all tokens), `2 m S T o` to move the
                          outputs of one to the positions of the other, and `2 m p T o` for their products

The backward passes are those of whole layers: a way that goes through the last one at a token's own row alone, as
`geometry.Gramian` does, saves more than it counts, and can come below it.

No pass is taken to the inputs of patches, which are pixels. A lookup of ids multiplies nothing by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.counting import ATTENTION, PATCHES, Cost

OBJECTIVES = 2  # of a view
_PAIRS = 10  # of four gradients


@dataclass(frozen=True)
class Rows:
    """One use of a weight by one token: in how many rows it has a gradient.

    view: the name of the view. is_lookup: whether the weight is looked up by ids.
    """

    view: str
    n: int
    is_lookup: bool = False


@dataclass(frozen=True)
class Token:
    """What one token needs.

    forward: of each view, what it costs to run it up to this token, its head at this token alone.
    uses: of each weight `(o, i)`, by its name.
    """

    forward: Mapping[str, Cost]
    uses: Mapping[str, tuple[tuple[int, int], Sequence[Rows]]]


def floor(forward: int, tokens: Sequence[Token]) -> Mapping[str, int]:
    """Return the FLOPs of each part; `forward` are those of the two views up to the last token."""
    return {
        "forward": forward,
        "backward": sum(_backward(cost) for token in tokens for cost in token.forward.values()),
        "products": sum(cheaper(shape, rows, len(tokens)) for token in tokens for shape, rows in token.uses.values()),
    }


def _backward(forward: Cost) -> int:
    return OBJECTIVES * (forward.total - forward.part(PATCHES) + forward.part(ATTENTION))


def cheaper(shape: tuple[int, int], uses: Sequence[Rows], n_tokens: int) -> int:
    """Return the FLOPs of one weight's Gram matrix for one token; inputs are shared by all tokens."""
    gradients = sum(2 * OBJECTIVES * use.n * shape[0] * shape[1] for use in uses if not use.is_lookup)
    gradients += 2 * _PAIRS * shape[0] * shape[1]
    pairs = [(one, two) for number, one in enumerate(uses) for two in uses[number:]]
    return min(gradients, sum(_factors(shape, one, two, n_tokens) for one, two in pairs))


def _factors(shape: tuple[int, int], one: Rows, two: Rows, n_tokens: int) -> int:
    m = OBJECTIVES
    few, many = sorted((one.n, two.n))
    o, i = shape
    if one.is_lookup and two.is_lookup:
        return 2 * m * m * few * i
    if one.is_lookup or two.is_lookup:
        return 2 * m * few * many * i + 2 * m * m * few * many
    return 2 * few * many * i // n_tokens + 2 * m * few * many * o + 2 * m * m * few * o
