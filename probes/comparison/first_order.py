"""How much of a change was first-order: the losses that the way from one student to another foretells, and measured."""

from collections.abc import Sequence

import pandas as pd

from probes.comparison.sides import Comparison
from probes.corpus import Corpus
from probes.forecast import directions, steps
from records.tables.forecast import AFTER
from vlm.rollouts import Rollout


def first_order_tables(
    comparison: Comparison, rollouts: Sequence[Rollout], tokens: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The tables `step_changes` and `step_fits` of the whole way; both students are held.

    The derivative is taken at BEFORE, by one forward-mode pass along the difference of the weights.

    Raises:
        CheckpointError: the two have other parameters.
    """
    corpus = Corpus(comparison.pair("before"), comparison.asked, rollouts, comparison.options.prompts.batch)
    after, responses = comparison.pair("after").student, directions.half_of(tokens)
    rows = directions.change_rows(corpus, tokens, responses, steps.way_to(corpus, after), AFTER)
    taken = steps.way_taken(corpus, responses, after, rows)
    by_bin, fits = steps.step_rows(taken, tokens["bin"], comparison.options.bins.bins)
    return {"step_changes": by_bin, "step_fits": fits}
