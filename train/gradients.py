"""The five gradients of a step's batch, for the journal: `vlm.responses.batch_gradients`, over all processes.

Each is that of the batch's mean loss, with the weights a token has in the step.
"""

import time

from geometry import Gram
from records.journal_lines import GeometryLine
from train.batch import Batch
from train.learner import Learner
from vlm.responses.batch_gradients import BatchGradients, grams_of, readings


def geometry_line(learner: Learner, step: int, batch: Batch) -> GeometryLine:
    """Measure the gradients of the global batch at the present weights."""
    began = time.perf_counter()
    read = readings(batch_grams(learner, batch))
    return GeometryLine(
        step=step,
        **vars(read),
        seconds=round(time.perf_counter() - began, 4),
    )


def batch_grams(learner: Learner, batch: Batch) -> dict[str, Gram]:
    """Return the Gram matrix of the gradients by parameter group."""
    pair, accelerator = learner.pair, learner.accelerator
    gradients = BatchGradients(pair.student, pair.n_ids, learner.parameters, learner.passes, accelerator.autocast)
    for part in batch.parts:
        gradients.add(part)
    whole = {parameter: accelerator.reduce(one, "sum") for parameter, one in gradients.sums.items()}
    return grams_of(pair.student, whole)
