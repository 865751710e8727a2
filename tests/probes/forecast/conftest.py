"""The random pair in float64 with a few short responses, their tokens, and the two halves of the prompts."""

import pytest
from probes.corpus import Asked, Corpus
from probes.forecast import directions

from probes import corpus as corpora
from records import Shards
from tests import models
from vlm.rollouts import Sampling, generate
from vlm.views import text_views


@pytest.fixture(scope="module")
def corpus(checkpoints):
    pair, prompts = models.load(checkpoints, "float64"), models.scenes(8)
    views = text_views(prompts, "drop")
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    asked = Asked(by_id, dict(zip(by_id, views, strict=True)), {})
    return Corpus(pair, asked, generate(pair.student, prompts, Sampling(5)), batch=3)


@pytest.fixture(scope="module")
def tokens(corpus):
    return corpora.token_table(corpus, 3, Shards({}))


@pytest.fixture(scope="module")
def halves(tokens):
    return directions.halves(tokens, seed=0)
