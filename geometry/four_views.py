"""The four views of a response: student `p` and teacher `q`, each with the image and without it.

Scoring yields them, and `decompose`, `cotangents` and `objective_loss` take them.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

from torch import Tensor

from geometry._checks import Logits, same_logits, same_mask
from geometry.divergence import log_probs


@dataclass(frozen=True)
class FourViews:
    """Logits or log-probabilities `[T, V]` of one response's tokens, over the same ids.

    Leading batch axes are allowed.
    """

    student_image: Logits
    """p(. | tau_<t, I, x)."""
    student_text: Logits
    """p(. | tau_<t, x)."""
    teacher_image: Logits
    """q(. | tau_<t, I, x)."""
    teacher_text: Logits
    """q(. | tau_<t, x)."""

    @property
    def each(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four tensors in the order of the fields."""
        return self.student_image, self.student_text, self.teacher_image, self.teacher_text

    def map(self, function: Callable[[Tensor], Tensor]) -> "FourViews":
        """Return the views that `function` makes of these."""
        return FourViews(*map(function, self.each))

    def log_probs(self) -> "FourViews":
        """Return normalised views, in float32 or better.

        Raises:
            ValueError: the shapes differ, there is no id, or the views mask (-inf) different ids.
        """
        named = {field.name: view for field, view in zip(fields(self), self.each, strict=True)}
        same_logits(**named)
        same_mask(**named)
        return self.map(log_probs)
