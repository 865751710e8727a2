"""How cotangents pass each kind of node of a graph: the same for any number of them at once.

A rule gets a node of autograd's graph and the cotangents at its results, and returns those at its inputs. Derivatives
of elementwise functions are asked of the node itself, once for all cotangents.
"""

from collections.abc import Mapping

from geometry.gramian.sweep import entrywise, masks, products, shapes, sums
from geometry.gramian.sweep.attention import attention
from geometry.gramian.sweep.node import Rule

RULES: Mapping[str, Rule] = entrywise.RULES | sums.RULES | shapes.RULES | products.RULES | masks.RULES
"""By the name of the node."""

_ATTENTION = "ScaledDotProduct"


def rule_of(name: str) -> Rule | None:
    """Return the rule of a kind of node; none where only the node itself can take cotangents through."""
    return attention if name.startswith(_ATTENTION) else RULES.get(name)
