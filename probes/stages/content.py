"""Does this picture matter, or only that there is one? The same responses with another prompt's picture.

Each prompt is shown the picture of the next one, in a ring, whose pictures have the same sizes and another content:
the inputs then differ in nothing but what is seen. The divergence between the two, for teacher and student, is 0 for a
model that reacts to the presence of a picture only, however large its visual dependency is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from cli.progress import progress
from records.tables.diagnosis import CONTENT
from vlm.prompts.prompt import Prompt
from vlm.views.view import image_view

if TYPE_CHECKING:
    from probes.analyzer import Analyzer


def partners(prompts: Sequence[Prompt]) -> dict[str, Prompt]:
    """By `prompt_id`, the prompt whose pictures are shown instead; those without a partner are missing."""
    by_size: dict[tuple[tuple[int, int], ...], list[Prompt]] = {}
    for prompt in prompts:
        if prompt.has_image:
            by_size.setdefault(tuple(image.size for image in prompt.images), []).append(prompt)
    rows = {}
    for members in by_size.values():
        seen = [_digest(prompt) for prompt in members]
        for place, prompt in enumerate(members):
            ring = [(place + step) % len(members) for step in range(1, len(members))]
            if (other := next((number for number in ring if seen[number] != seen[place]), None)) is not None:
                rows[prompt.prompt_id] = members[other]
    return rows


def content_table(analyzer: "Analyzer") -> pd.DataFrame:
    """Return the table `content`: the tokens of the responses whose prompt has a partner."""
    writer, size = analyzer.shards, analyzer.prompt_options.batch
    paired = partners(list(analyzer.prompts.values()))
    shown = {name: replace(image_view(analyzer.prompts[name]), images=paired[name].images) for name in paired}
    swapped = analyzer.having(asked=replace(analyzer.asked, text_views=shown))
    numbers = [number for number, rollout in enumerate(analyzer.rollouts) if rollout.prompt_id in paired]
    if not numbers:
        return pd.DataFrame(columns=list(CONTENT.names))
    with progress("other pictures", len(numbers)) as show:
        for shard, start in enumerate(range(0, len(numbers), size)):
            part = numbers[start : start + size]
            if writer.due(shard, "content"):
                writer.add("content", shard, _rows(swapped, part, paired))
            show(start + len(part))
    return writer.gather("content")


def _rows(swapped: "Analyzer", numbers: Sequence[int], paired: dict[str, Prompt]) -> pd.DataFrame:
    """Where the text view is the partner's picture, the visual dependency is what the picture's content changes."""
    rollouts = [swapped.rollouts[number] for number in numbers]
    frames = []
    for number, rollout, scores in zip(numbers, rollouts, swapped.token_scores(rollouts), strict=True):
        parts = scores.parts
        columns = {
            "prompt_id": rollout.prompt_id,
            "partner_id": paired[rollout.prompt_id].prompt_id,
            "rollout_id": number,
            "position": range(len(rollout.token_ids)),
            "teacher_nats": parts.vds.double().cpu().numpy(),
            "student_nats": parts.student_vds.double().cpu().numpy(),
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _digest(prompt: Prompt) -> str:
    return hashlib.sha256(b"".join(image.load().tobytes() for image in prompt.images)).hexdigest()
