"""How often both models are right with the picture, and with the text view in its place: greedy answers, judged."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from cli.progress import progress
from records.tables.diagnosis import PICTURE_ANSWERS
from vlm.prompts.prompt import Prompt
from vlm.responses.evaluation import evaluate
from vlm.responses.rollouts import Sampling

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

SIDES = ("teacher", "student")


def answered_prompts(analyzer: "Analyzer") -> list[Prompt]:
    """Return the prompts that show a picture and state an answer."""
    return [prompt for prompt in analyzer.prompts.values() if prompt.has_image and prompt.answers]


def picture_answer_table(analyzer: "Analyzer") -> pd.DataFrame:
    """Return the table `picture_answers`: each model's greedy answer to each prompt, in both views."""
    prompts, shards, size = answered_prompts(analyzer), analyzer.shards, analyzer.prompt_options.batch
    if not prompts:
        return pd.DataFrame(columns=PICTURE_ANSWERS.names)
    parts = [
        (side, with_picture, prompts[start : start + size])
        for side in SIDES
        for with_picture in (True, False)
        for start in range(0, len(prompts), size)
    ]
    with progress("accuracy", len(parts)) as show:
        for shard, (side, with_picture, part) in enumerate(parts):
            if shards.due(shard, PICTURE_ANSWERS.name):
                shards.add(PICTURE_ANSWERS.name, shard, _rows(analyzer, side, with_picture, part))
            show(shard + 1)
    return shards.gather(PICTURE_ANSWERS.name)


def _rows(analyzer: "Analyzer", side: str, with_picture: bool, prompts: Sequence[Prompt]) -> pd.DataFrame:
    options, views = analyzer.prompt_options, analyzer.asked.text_views
    asked = list(prompts)
    if not with_picture:
        shown = [views[prompt.prompt_id] for prompt in prompts]
        asked = [
            replace(prompt, messages=view.messages, images=view.images)
            for prompt, view in zip(prompts, shown, strict=True)
        ]
    sampling = Sampling(options.longest_response, greedy=True, batch=options.batch)
    verdicts = evaluate(getattr(analyzer.pair, side), asked, sampling)
    columns = {"prompt_id": [prompt.prompt_id for prompt in prompts], "correct": [one.correct for one in verdicts]}
    return pd.DataFrame(columns).assign(side=side, with_picture=with_picture)[PICTURE_ANSWERS.names]
