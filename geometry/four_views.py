"""The four views of a response: student `p` and teacher `q`, each with the image and without it.

Scoring yields them, and `decompose`, `cotangents` and `objective_loss` take them. A fifth, the text view of another
student, may take the place of the student's own in the visual target.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from geometry._checks import Logits, same_mask, same_shape
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
    prior_text: Logits | None = None
    """The prior in the visual target, such as that of the student before training; None for `student_text`."""

    @property
    def named(self) -> dict[str, Tensor]:
        """The tensors that are there, by name, in the order of the fields."""
        return {name: view for name, view in vars(self).items() if view is not None}

    @property
    def each(self) -> tuple[Tensor, ...]:
        """The tensors that are there, in the order of the fields."""
        return tuple(self.named.values())

    @property
    def prior(self) -> Tensor:
        """The prior in the visual target."""
        return self.student_text if self.prior_text is None else self.prior_text

    def map(self, function: Callable[[Tensor], Tensor]) -> "FourViews":
        """Return the views that `function` makes of these."""
        return FourViews(**{name: function(view) for name, view in self.named.items()})

    def log_probs(self) -> "FourViews":
        """Return normalised views, in float32 or better.

        Raises:
            ValueError: the shapes differ, or the views mask (-inf) different ids.
        """
        same_shape(**self.named)
        same_mask(**self.named)
        return self.map(log_probs)
