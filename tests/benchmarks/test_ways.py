"""The ways that the benchmark compares compute one and the same thing."""

from pathlib import Path

import pytest
import torch

from tests import models
from tests.benchmarks.objects import answered
from tests.benchmarks.reference import Unrounded, error, untied
from tests.benchmarks.ways import WAYS, Job, Way


@pytest.fixture(scope="module")
def job(checkpoints: Path) -> Job:
    """A response of a random student in float64, four of its tokens probed."""
    pair = models.load(checkpoints, "float64")
    (job,) = answered(pair, models.scenes(1), per_response=4, max_response=7)
    return job


@pytest.mark.parametrize("way", [way for way in WAYS.values() if way.key != "a"], ids=lambda way: way.key)
def test_all_ways_agree(job: Job, way: Way) -> None:
    (job,) = untied([job]) if way.untied else [job]
    with Unrounded():
        expected = WAYS["a"].build(job.model, 1)(job)
        found = way.build(job.model, 3)(job)
    assert found.shape == (4, 5, 5)
    assert (expected.diagonal(dim1=1, dim2=2) > 0).all()
    assert error(found, expected) < (1e-9 if way.is_exact else 0.5)


def test_an_untied_copy_is_another_model(job: Job) -> None:
    (copy,) = untied([job])
    both = [dict(each.model.named_parameters()) for each in (job, copy)]
    assert both[1].keys() - both[0].keys() == {"lm_head.weight"}
    assert torch.equal(copy.image(job.positions), job.image(job.positions))
