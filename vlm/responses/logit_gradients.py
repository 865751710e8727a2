"""Reverse mode from gradients at the logits of both views, which exist for a chunk of tokens at a time.

Held are the graphs of a batch's forward passes, the gradients at its hidden states, and one of each parameter.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from geometry.lm_head import LMHead, LMHeadGradients, chunks
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.responses.finite import refuse_logits, whose
from vlm.responses.output_layer import head_of
from vlm.responses.scoring import view_hidden, view_logits
from vlm.views.view import View

Seeds = Callable[[int, slice, Tensor, Tensor], tuple[Tensor | None, Tensor | None]]
"""From the number of a response, some of its tokens and their logits `[n, V]` under the image and the text view: the
gradients at these; None for a view without one."""

VIEWS = ("image", "text")


class BackwardPass:
    """Carries gradients at the logits of a batch of responses back to parameters.

    trained: whether gradients come in at the logits of the image view, and at those of the text view.
    """

    def __init__(self, loaded: LoadedModel, parameters: Sequence[nn.Parameter], trained: tuple[bool, bool]) -> None:
        self._loaded, self._parameters, self._trained = loaded, list(parameters), trained

    def __call__(
        self, views: Sequence[tuple[View, View]], responses: Sequence[Sequence[int]], n_ids: int, seeds: Seeds
    ) -> list[Tensor | None]:
        """Return the gradient of each parameter; None where no gradient reaches it.

        Raises:
            NotFiniteError: the logits of a token are not finite.
        """
        try:
            hidden = {name: self._hidden(views, responses, place) for place, name in enumerate(VIEWS)}
            head = head_of(self._loaded, n_ids)
        except CheckpointError:  # not a linear map
            return self._of_whole(views, responses, n_ids, seeds)
        return self._of_hidden(views, responses, head, hidden, seeds)

    def _hidden(self, views: Sequence[tuple[View, View]], responses: Sequence[Sequence[int]], place: int) -> Tensor:
        with torch.set_grad_enabled(self._trained[place]):
            return torch.cat(view_hidden(self._loaded, [pair[place] for pair in views], responses))

    def _of_hidden(
        self,
        views: Sequence[tuple[View, View]],
        responses: Sequence[Sequence[int]],
        head: LMHead,
        hidden: dict[str, Tensor],
        seeds: Seeds,
    ) -> list[Tensor | None]:
        sums, start = LMHeadGradients(head, **hidden), 0
        for row, response in enumerate(responses):
            own = "image" if views[row][0] == views[row][1] else "text"
            for rows in chunks(len(response), head.n_ids):
                at = slice(start + rows.start, start + rows.stop)
                with torch.no_grad():
                    image, text = (self._checked(head.logits(hidden[name][at])) for name in ("image", own))
                    for name, seed, logits in zip(VIEWS, seeds(row, rows, image, text), (image, text), strict=True):
                        if seed is not None:
                            sums.add(name, at, head.before_cap(seed, logits))
            start += len(response)
        return self._arrived(hidden, sums)

    def _arrived(self, hidden: dict[str, Tensor], sums: LMHeadGradients) -> list[Tensor | None]:
        """What arrives at the parameters from the hidden states, and from the head itself."""
        traced = [name for name in VIEWS if name in sums.sums]
        arrived: Sequence[Tensor | None] = [None] * len(self._parameters)
        if traced:
            at = [sums.sums[name].to(hidden[name].dtype) for name in traced]
            arrived = torch.autograd.grad([hidden[name] for name in traced], self._parameters, at, allow_unused=True)
        own = {id(sums.sources[name]): sums.sums[name] for name in ("weight", "bias") if name in sums.sums}
        return [_added(g, own.get(id(p))) for p, g in zip(self._parameters, arrived, strict=True)]

    def _of_whole(
        self, views: Sequence[tuple[View, View]], responses: Sequence[Sequence[int]], n_ids: int, seeds: Seeds
    ) -> list[Tensor | None]:
        """The same where logits are made by the model itself, run again for each chunk of tokens."""
        total: list[Tensor | None] = [None] * len(self._parameters)
        for row, response in enumerate(responses):
            for rows in chunks(len(response), n_ids):
                logits = self._logits(views[row], response, n_ids, torch.arange(rows.start, rows.stop))
                image, text = (x.detach() for x in logits)
                at = seeds(row, rows, image, image if views[row][0] == views[row][1] else text)
                pairs = [(x, seed.to(x)) for x, seed in zip(logits, at, strict=True) if seed is not None]
                ends, come_in = [x for x, _ in pairs], [seed for _, seed in pairs]
                arrived = torch.autograd.grad(ends, self._parameters, come_in, allow_unused=True)
                total = [_added(a, b) for a, b in zip(total, arrived, strict=True)]
        return total

    def _logits(self, views: tuple[View, View], response: Sequence[int], n_ids: int, at: Tensor) -> list[Tensor]:
        checked = []
        for view, trained in zip(views, self._trained, strict=True):
            with torch.set_grad_enabled(trained):
                [logits] = view_logits(self._loaded, [view], [response], n_ids, [at])
            checked.append(self._checked(logits))
        return checked

    def _checked(self, logits: Tensor) -> Tensor:
        refuse_logits(logits, whose(self._loaded))
        return logits


def _added(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
