"""Problems the tests share: random views, and a module small enough for a plain twin."""

import torch
from torch import Tensor, nn

from geometry import Cotangents, cotangents

VIEWS = ("student_image", "student_text", "teacher_image", "teacher_text")


def four_views(seed: int = 0, *shape: int, scale: float = 2.0) -> list[Tensor]:
    """Draw float64 logits of the four views, in the order of `VIEWS`; 5 tokens of 7 ids by default."""
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(*(shape or (5, 7)), generator=generator, dtype=torch.float64) for _ in VIEWS]


def shuffle(n: int, seed: int = 0) -> Tensor:
    """Draw an order of n things."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Draw float64 numbers of the standard normal distribution."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TinyStudent(nn.Module):
    """A tied-embedding language model that adds a projected picture to its first hidden state.

    Like the real models it has a weight with two contributions (the tied one), parameters that the text
    view does not reach (the vision ones), and one that no view reaches.
    """

    def __init__(self, n_ids: int = 6, width: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)

        def draw(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.tied = draw(n_ids, width)
        self.mix = draw(width, width)
        self.bias = draw(width)
        self.vision = draw(width, 3)
        self.vision_scale = draw(width)
        self.unused = draw(2)
        self.ids = torch.tensor([0, 3, 5, 3, 1])
        self.picture = torch.randn(3, generator=generator, dtype=torch.float64)

    def text_logits(self) -> Tensor:
        """Return `[T, V]` without the picture."""
        return self._logits(torch.zeros_like(self.bias))

    def image_logits(self) -> Tensor:
        """Return `[T, V]` with it."""
        return self._logits((self.vision @ self.picture).tanh() * self.vision_scale)

    def _logits(self, seen: Tensor) -> Tensor:
        hidden = (self.tied[self.ids] + seen).cumsum(dim=0)  # [T, width]
        return (hidden @ self.mix + self.bias).tanh() @ self.tied.T

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Return every parameter in one of three groups."""
        return {
            "vision": [self.vision, self.vision_scale, self.unused],
            "layer": [self.mix, self.bias],
            "head": [self.tied],
        }

    def teacher(self) -> list[Tensor]:
        """Return logits of a teacher's two views, near the student's and not equal to them."""
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            views = [self.image_logits(), self.text_logits()]
        return [v + 0.7 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for v in views]

    def cotangents(self) -> Cotangents:
        """Return the cotangents of this student under that teacher."""
        return cotangents(self.image_logits(), self.text_logits(), *self.teacher())
