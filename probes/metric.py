"""The metric that a probe multiplies gradients in: the plain one, or that of the checkpoint's optimizer."""

from pathlib import Path

from probes.options import MetricOptions
from vlm.optimizer_state import AdamMetric, adam_metric_of, state_file
from vlm.pair import Pair


def optimizer_state(checkpoint: str, options: MetricOptions | None) -> Path | None:
    """The file that the metric comes from, if it is Adam's."""
    if options is None or options.metric == "plain":
        return None
    return state_file(checkpoint, options.optimizer_state)


def metric_of(pair: Pair, checkpoint: str, options: MetricOptions | None) -> AdamMetric | None:
    """The metric of the student's gradients; none if it is the plain one."""
    state = optimizer_state(checkpoint, options)
    return None if state is None else adam_metric_of(pair.student.model, state)
