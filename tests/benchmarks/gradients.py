"""Time the Gram matrices of a token's gradients against the plain way of getting them: `make bench`.

    python -m tests.benchmarks.gradients --tokens 24 --threads 1

The plain way is a forward and a backward pass for each objective and token, gradients flattened and multiplied in
float32. Both ways measure the same tokens of the bundled student in one run; the error is the largest difference to
float64, relative to the norms of the two gradients.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from geometry import BACKWARD, OBJECTIVES, Cotangents, Gramian, cotangents, five_from_four, total
from vlm.checkpoint import quiet
from vlm.pair import Pair, load_pair
from vlm.rollouts import Rollout, Sampling, generate
from vlm.scoring import ResponseView, score
from vlm.tiny.prompts import group_prompts
from vlm.views import image_view, text_view


class Response:
    """One response of the student, its two views and the cotangents of its tokens."""

    def __init__(self, pair: Pair, number: int) -> None:
        (prompt,) = group_prompts("high", number + 1, seed=2)[number:]
        (self.rollout,) = generate(pair.student, [prompt], Sampling(max_response=64))
        self.pair, self.views = pair, (image_view(prompt), text_view(prompt))
        self.cotangents = self._cotangents(self.rollout)
        self.image, self.text = (
            ResponseView(pair.student, view, self.rollout.token_ids, pair.support) for view in self.views
        )

    def _cotangents(self, rollout: Rollout) -> Cotangents:
        (scored,) = score(self.pair, [self.views[0]], [self.views[1]], [rollout])
        return cotangents(scored.student_image, scored.student_text, scored.teacher_image, scored.teacher_text)


def plain(response: Response, positions: Sequence[int]) -> Tensor:
    """Forward and backward for each gradient; float32 products of flattened gradients, `[U, 5, 5]`."""
    return torch.stack([_plain_gram(response, position) for position in positions])


def engine(response: Response, positions: Sequence[int]) -> Tensor:
    """`geometry.Gramian` over the whole model, `[U, 5, 5]`."""
    weights = torch.eye(len(response.rollout.token_ids))[list(positions)]
    model, groups = response.pair.student.model, response.pair.student.groups
    return total(Gramian(model, groups).units(response.image, response.text, response.cotangents, weights))


def _plain_gram(response: Response, position: int) -> Tensor:
    parameters = list(response.pair.student.model.parameters())
    rows = []
    for objective in BACKWARD:
        positions = torch.arange(len(response.rollout.token_ids))
        logits = response.image(positions) if objective in ("visual", "prior") else response.text(positions)
        seed = torch.zeros_like(logits)
        seed[position] = getattr(response.cotangents, objective)[position].to(logits)
        found = torch.autograd.grad(logits, parameters, seed, allow_unused=True)
        flat = [
            torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, found, strict=True)
        ]
        rows.append(torch.cat(flat))
    gradients = torch.stack(rows)
    return five_from_four((gradients @ gradients.T).double())


def timed(
    method: Callable[[Response, Sequence[int]], Tensor], work: Sequence[tuple[Response, list[int]]]
) -> tuple[float, Tensor]:
    """Seconds and Gram matrices of all tokens."""
    method(*work[0])  # warm up
    began = time.perf_counter()
    grams = torch.cat([method(response, positions) for response, positions in work])
    return time.perf_counter() - began, grams


def error(grams: Tensor, exact: Tensor) -> float:
    """Largest |dG_ab| / sqrt(G_aa G_bb)."""
    lengths = exact.diagonal(dim1=-2, dim2=-1).sqrt()
    return float(((grams - exact).abs() / (lengths[:, :, None] * lengths[:, None, :])).nan_to_num(0.0).max())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=24, help="tokens probed, eight a response")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    quiet()
    pair = load_pair("bundled")
    responses = [Response(pair, number) for number in range(max(options.tokens // 8, 1))]
    work = [(r, torch.linspace(0, len(r.rollout.token_ids) - 1, 8).int().tolist()) for r in responses]
    seconds = {method.__name__: timed(method, work) for method in (plain, engine)}
    pair.student.model.double()
    pair.teacher.model.double()
    exact = torch.cat([engine(response, positions) for response, positions in work])
    n_tokens = len(exact)
    print(f"{n_tokens} tokens, {len(OBJECTIVES)} objectives, {options.threads} threads")
    for name, (spent, grams) in seconds.items():
        print(f"{name}: {1000 * spent / n_tokens:.1f} ms a token, error {error(grams, exact):.1e}")
    print(f"ratio: {seconds['plain'][0] / seconds['engine'][0]:.1f}")


if __name__ == "__main__":
    main()
