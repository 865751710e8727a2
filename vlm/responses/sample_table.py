"""Some responses with the numbers of their tokens, to be read beside the curves of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from vlm.responses.response import Response
from vlm.responses.token_losses import Tokens

SHOWN = 8
"""Responses in a table."""


@dataclass(frozen=True)
class Sample:
    """A response. `tokens` spells each token with its VDS and its visual and language loss, in nats."""

    prompt_id: str
    prompt: str
    answer: str
    response: str
    n_tokens: int
    vds_nats: float
    """Mean over the tokens, as the losses."""
    visual_nats: float
    language_nats: float
    tokens: str


def samples(responses: Sequence[Response], tokens: Tokens, tokenizer: Any, n: int = SHOWN) -> list[Sample]:
    """Return the first `n` responses with the numbers of their tokens.

    tokens: of all responses, one response after the other.
    tokenizer: spells the tokens.
    """
    ends = [0, *accumulate(response.n_tokens for response in responses)]
    parts = [slice(start, stop) for start, stop in pairwise(ends)]
    return [_sample(one, tokens, part, tokenizer) for one, part in zip(responses[:n], parts[:n], strict=True)]


def _sample(response: Response, tokens: Tokens, part: slice, tokenizer: Any) -> Sample:
    vds, visual, language = (getattr(tokens, name)[part].double().tolist() for name in ("vds", "visual", "language"))
    spelled = tokenizer.convert_ids_to_tokens(list(response.rollout.token_ids))
    rows = zip(spelled, vds, visual, language, strict=True)
    prompt, n = response.prompt, response.n_tokens
    return Sample(
        prompt_id=prompt.prompt_id,
        prompt=prompt.text,
        answer=" or ".join(prompt.answers),
        response=response.rollout.text,
        n_tokens=n,
        vds_nats=sum(vds) / n,
        visual_nats=sum(visual) / n,
        language_nats=sum(language) / n,
        tokens=" ".join(f"{token} ({v:.3g}, {seen:.3g}, {said:.3g})" for token, v, seen, said in rows),
    )
