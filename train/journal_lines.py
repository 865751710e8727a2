"""The journal line of an update: means over all tokens, and over those of each VDS bin."""

from collections.abc import Mapping

from records.journal_lines import LOSSES, StepLine
from stats import N_BINS
from train.batch import Batch
from train.outcome import Outcome
from vlm.responses.token_losses import Edges, binned, counts, edges_of, means


def step_line(step: int, batch: Batch, outcome: Outcome, seconds: Mapping[str, float], fixed: Edges | None) -> StepLine:
    """Return the line of an update.

    fixed: the inner edges of the bins of step 0; None in step 0 itself.
    """
    tokens = outcome.tokens
    own = [None] * (N_BINS - 1) if tokens is None else edges_of(tokens)
    fixed = own if fixed is None else fixed
    return StepLine(
        step=step,
        skipped=outcome.skipped,
        loss=outcome.loss,
        losses=dict.fromkeys(LOSSES) if tokens is None else means(tokens),
        losses_by_fixed_bin=binned(tokens, fixed),
        losses_by_step_bin=binned(tokens, own),
        edges_nats=own,
        tokens_by_fixed_bin=[0] * N_BINS if tokens is None else counts(tokens, fixed),
        response_tokens=float(batch.lengths.mean()),
        truncated_share=batch.truncated_share,
        reward=batch.reward,
        banned_mass=batch.banned_mass,
        entropy_nats=None if tokens is None else float(tokens.entropy.mean()),
        gradient_norm=outcome.gradient_norm,
        eta=outcome.eta,
        seconds={name: round(value, 4) for name, value in seconds.items()},
    )
