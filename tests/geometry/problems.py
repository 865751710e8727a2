"""Problems the tests share: random views, and a module small enough for a plain twin."""

import torch
from torch import Tensor, nn

from geometry import Cotangents, FourViews, Gram, ProbedResponse, cotangents

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

    def text_logits(self, positions: Tensor | None = None) -> Tensor:
        """Return `[n, V]` without the picture, at the positions; at all five by default."""
        return self._logits(torch.zeros_like(self.bias), positions)

    def image_logits(self, positions: Tensor | None = None) -> Tensor:
        """Return `[n, V]` with it."""
        return self._logits((self.vision @ self.picture).tanh() * self.vision_scale, positions)

    def _logits(self, seen: Tensor, positions: Tensor | None) -> Tensor:
        positions = torch.arange(len(self.ids)) if positions is None else positions
        hidden = (self.tied[self.ids[: positions[-1] + 1]] + seen).cumsum(dim=0)  # [T, width]
        return ((hidden @ self.mix + self.bias).tanh() @ self.tied.T)[positions]

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
        return cotangents(FourViews(self.image_logits(), self.text_logits(), *self.teacher()))


def response_of(student: "TinyStudent | ModuleStudent") -> ProbedResponse:
    """Return the student's response of five tokens, all of them probed."""
    return ProbedResponse(student.image_logits, student.text_logits, student.cotangents(), torch.arange(5))


def tensor(gram: Gram) -> Tensor:
    """Return the numbers of a Gram matrix."""
    return torch.from_numpy(gram.values)


class Doubled(nn.Linear):
    """A linear map with a forward of its own."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


class ModuleStudent(nn.Module):
    """A student made of modules: every way to use a weight that the factored engine tells apart.

    The embedding is the head; `twice` is called twice; `shared` is also used without its module; `doubled` has a
    forward of its own; `bilinear` is no linear map; `unused` no view reaches; pictures are cut into patches.
    """

    def __init__(self, *, tied: bool = True, bias: bool = True, n_pictures: int = 2) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.patches = nn.Conv2d(2, 4, kernel_size=2, stride=2, bias=bias)
        self.blur = nn.Conv2d(2, 2, kernel_size=3, padding=1)
        self.embedding = nn.Embedding(7, 4, padding_idx=6)
        self.place = nn.Embedding(9, 4)
        self.norm = nn.LayerNorm(4)
        self.twice = nn.Linear(4, 4, bias=bias)
        self.shared = nn.Linear(4, 4)
        self.doubled = Doubled(4, 4)
        self.bilinear = nn.Bilinear(4, 4, 4)
        self.unused = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        self.double()
        self.ids = torch.tensor([0, 3, 6, 5, 3, 1])
        self.pictures = normal(n_pictures, 2, 4, 4, seed=6) if n_pictures else None

    def text_logits(self, positions: Tensor | None = None) -> Tensor:
        """Return `[n, V]` of a prompt of one token and a response of five, without pictures."""
        return self._logits(torch.zeros_like(self.norm.bias), positions)

    def image_logits(self, positions: Tensor | None = None) -> Tensor:
        """Return `[n, V]` with them."""
        if self.pictures is None:
            return self.text_logits(positions)
        seen = self.patches(self.pictures + self.blur(self.pictures))
        return self._logits(seen.flatten(2).mean((0, 2)), positions)

    def _logits(self, seen: Tensor, positions: Tensor | None) -> Tensor:
        positions = torch.arange(5) if positions is None else positions
        ids = self.ids[: positions[-1] + 1]
        hidden = self.embedding(ids) + self.place(torch.arange(len(ids))) + seen
        hidden = self.norm(self._mixed(hidden))
        hidden = hidden + self.twice(self.twice(hidden).tanh())
        hidden = hidden + self._mixed(self.shared(hidden).tanh() @ self.shared.weight)
        hidden = hidden + self.bilinear(hidden, self.doubled(hidden)).tanh()
        return self.head(hidden[positions])

    @staticmethod
    def _mixed(hidden: Tensor) -> Tensor:
        return hidden.cumsum(dim=0) / torch.arange(1, len(hidden) + 1).unsqueeze(1)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Return a group for each module; a tied weight belongs to the embedding."""
        found: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            found.setdefault(name.split(".")[0], []).append(parameter)
        return found

    def cotangents(self) -> Cotangents:
        """Return cotangents under a teacher near this student."""
        with torch.no_grad():
            image, text = self.image_logits(), self.text_logits()
        return cotangents(FourViews(image, text, image + normal(5, 7, seed=7), text + normal(5, 7, seed=8)))
