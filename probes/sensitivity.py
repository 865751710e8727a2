"""What would one optimizer step do, before it is taken?

    python -m probes.sensitivity                               # the bundled pair
    python -m probes.sensitivity runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.sensitivity --check                       # take steps of SGD and AdamW, and compare
    python -m probes.sensitivity bundled --after runs/try/last # how much of a training's change was first-order
    python -m probes.sensitivity runs/train/last --metric adam

The prompts are parted in two halves at random. From the responses to the first come directions: the gradients of the
mean loss of each objective (standard, language, visual, prior, shift, and language where VDS exceeds its quantile
Q_0.7, the preservation of arXiv:2606.00564, Eq. 16). Along each of them one forward-mode pass over the other half gives
the first-order change of every token's losses: what a step does to prompts that did not make it. Visual is
differentiated in total, its target q* moving with the student's text view, and with the target held.

gamma and lambda only combine directions, so that the whole grid of steps of vgs-lp follows, by VDS bin: standard +
gamma visual + lambda gated language, q* detached or attached. Two readings are drawn from it: the gamma from which the
language loss of the upper three tenths of the bins rises, and the least lambda that stops it.

Sampling is not differentiated: losses are those of the same responses before and after the step. Changes are per unit
of the learning rate of plain descent (theta -= lr g); how far that reaches, `--check` measures. `--metric adam`: of a
step preconditioned by the second moments in the checkpoint's `training.pt`, see `probes.angles`.

Reads a student checkpoint and its teacher; writes a record (`record.json`, `rollouts`, `tokens` and the tables of
`docs/tables.md`) with the picture `sensitivity` (png, svg), and prints changes by bin and the readings. Beside the
models one vector of the size of the weights is held; with `--check` several.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from cli.errors import OptionError
from cli.options import flag
from cli.tables import aligned
from geometry.objective_settings import GAMMA, LAMBDA
from probes import command, stages
from probes.probe import Plan, Probe, Tables
from probes.settings import BinOptions, MetricOptions, PromptOptions, WidePairOptions
from records.tables.forecast import FIRST_ORDER

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement
    from probes.stages import Half
    from vlm.checkpoints.checkpoint import LoadedModel

_ALONG = {"standard": "std", "visual": "vis", "language": "lang"}
_SHOWN_GAMMAS = (1.0, GAMMA, 4.0)


@dataclass(frozen=True)
class HalvedPromptOptions(PromptOptions):
    """Prompts and rollouts"""

    limit: PositiveInt = flag(128, "number of prompts; half of them make the directions")


@dataclass(frozen=True)
class StepOptions:
    """Steps"""

    check: bool = flag(False, "take steps of SGD and AdamW along vgs-lp, and measure what they change")
    check_gamma: NonNegativeFloat = flag(GAMMA, "strength of the steering in these steps")
    check_lambda: NonNegativeFloat = flag(LAMBDA, "strength of the preservation in these steps")
    check_sgd_lr: Sequence[PositiveFloat] = flag((1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1), "rates of SGD")
    check_adamw_lr: Sequence[PositiveFloat] = flag((1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 1e-3), "rates of AdamW")
    after: str | None = flag(None, "a later checkpoint: how much of the way to it was first-order")


def refuse(analyzer: "Analyzer", options: StepOptions) -> None:
    """Refuse a fresh optimizer's steps in the metric of another, and a later checkpoint that is none."""
    from vlm.checkpoints.checkpoint import check_vision

    if options.check and analyzer.metric_options.metric == "adam":
        raise OptionError("`check` takes steps from a fresh optimizer, got --metric adam; leave one of the two out")
    if options.after is not None:
        check_vision(options.after)
    stages.refuse_attention(analyzer)


def plan(analyzer: "Analyzer", options: StepOptions) -> Plan:
    """Return a header that also says which later checkpoint the step is compared with."""
    from vlm.checkpoints.checkpoint import fingerprints

    header = analyzer.header(PROBE, options)
    if options.after is not None:
        header["weights"]["after"], header["setup"]["after"] = fingerprints(options.after)
    return Plan(header)


def measure(analyzer: "Analyzer", options: StepOptions) -> Tables:
    """Return the tables of a record of what a step would do."""
    first, second = halves = stages.halves(analyzer.tokens, analyzer.seed)
    sensitivity, products = stages.measure_directions(analyzer, first, second)
    forecast = stages.forecast_tables(sensitivity, products, analyzer.bin_options.bins, analyzer.seed)
    later = None if options.after is None else analyzer.with_student(options.after).student
    way = [] if later is None else [_way(analyzer, second, later)]
    numbers = {"prompts_of_directions": first, "prompts_of_forecast": second}
    analyzer.notes |= {name: stages.n_prompts(analyzer, half) for name, half in numbers.items()}
    return {
        "rollouts": stages.rollout_table(analyzer),
        "tokens": analyzer.tokens,
        "sensitivity": stages.joined_rows([sensitivity, *way]),
        "direction_products": products,
        **forecast,
        **_steps(analyzer, halves, sensitivity, way, later, options),
    }


def _way(analyzer: "Analyzer", half: "Half", later: "LoadedModel") -> "pd.DataFrame":
    """The changes along the way to the later checkpoint."""
    return stages.change_rows(analyzer, half, stages.way_to(analyzer, later), stages.AFTER)


def _steps(
    analyzer: "Analyzer",
    halves: "tuple[Half, Half]",
    sensitivity: "pd.DataFrame",
    way: "Sequence[pd.DataFrame]",
    later: "LoadedModel | None",
    options: StepOptions,
) -> Tables:
    """The tables of steps that are taken, or were; none unless asked for."""
    taken = []
    if options.check:
        terms = stages.steered(options.check_gamma, options.check_lambda)
        rates = {stages.SGD: options.check_sgd_lr, stages.ADAMW: options.check_adamw_lr}
        taken.append(stages.steps_taken(analyzer, halves, sensitivity, terms, rates))
    if later is not None:
        taken += [stages.way_taken(analyzer, halves[1], later, rows) for rows in way]
    return stages.step_tables(analyzer, halves[1], chain(*taken)) if taken else {}


def summary(measured: "Measurement", options: StepOptions) -> str:
    """Return changes by bin, the readings, and how far first order reaches."""
    parts = [
        bin_table(measured.sensitivity, measured.tokens),
        *reading_lines(measured.readings, measured.steering),
    ]
    if "step_fits" in measured.record["tables"]:
        parts.append(step_table(measured.step_fits))
    return "\n".join(parts)


def bin_table(sensitivity: "pd.DataFrame", tokens: "pd.DataFrame") -> str:
    """Mean changes of language and visual loss along three directions, by bin."""
    pictured = sensitivity[sensitivity["bin"] >= 0]
    parts = {str(bin_): rows for bin_, rows in pictured.groupby("bin")} | {"all": pictured}
    titles = ["bin", "tokens", *(f"{loss} by {name}" for loss in ("language", "visual") for name in _ALONG.values())]
    lines = []
    for bin_, rows in parts.items():
        means = rows.groupby("direction")[["d_language_nats", "d_visual_nats"]].mean()
        n_tokens = int((rows["direction"] == "standard").sum())
        cells = [_signed(means[f"d_{loss}_nats"][name]) for loss in ("language", "visual") for name in _ALONG]
        lines.append([bin_, str(n_tokens), *cells])
    n_first = tokens["rollout_id"].nunique() - sensitivity["rollout_id"].nunique()
    caption = (
        f"First-order change (nats a unit of the learning rate) of the language and of the visual loss, its target"
        f" moving along,\non {sensitivity['rollout_id'].nunique()} responses, by a step along the gradient of each loss"
        f" over {n_first} others; negative: the loss falls.\nSampling is not differentiated: the responses stay."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def reading_lines(readings: "pd.DataFrame", steering: "pd.DataFrame") -> list[str]:
    """What gamma and lambda do to the language loss of the upper bins."""
    lines = ["Language loss of the upper three tenths of the bins (high), under standard + gamma visual + lambda LP:"]
    titles = [
        "q*",
        "rises from gamma",
        *(f"lambda at gamma {gamma:g}" for gamma in _SHOWN_GAMMAS),
        f"eta at gamma {GAMMA:g}",
    ]
    rows = []
    for prior, group in readings.groupby("prior", sort=False):
        rise = group[group["reading"] == "gamma_rise"].iloc[0]
        stops = group[group["reading"] == "lambda_stop"]
        of_prior = steering[(steering["prior"] == prior) & (steering["gamma"] == GAMMA)]
        cells = [_with_interval(stops[stops["gamma"] == gamma].iloc[0]) for gamma in _SHOWN_GAMMAS]
        rows.append([str(prior), _with_interval(rise), *cells, f"{of_prior['eta'].iloc[0]:.2f}"])
    note = (
        "lambda: the least that stops the rise, without eta; with standard + gamma visual multiplied by eta, eta times"
        " it. In brackets 95 % over prompts."
    )
    return [*lines, aligned([titles, *rows]), note]


def step_table(fits: "pd.DataFrame") -> str:
    """Predicted and measured over the bins, one row for each step and loss."""
    titles = ["step", "rate", "loss", "slope", "correlation", "relative error", ""]
    lines = []
    for row in fits.to_dict("records"):
        rate = "" if math.isnan(row["lr"]) else f"{row['lr']:g}"
        verdict = "first order" if row["relative_error"] <= FIRST_ORDER else ""
        cells = (f"{row['slope']:.3f}", f"{row['correlation']:.3f}", f"{row['relative_error']:.2g}")
        lines.append([row["step"], rate, row["loss"], *cells, verdict])
    caption = (
        f"Measured on predicted change over the bins; first order: off by at most {FIRST_ORDER:g} of what was measured."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def _with_interval(row: "pd.Series") -> str:
    return f"{_number(row['estimate'])} ({_number(row['low'])} to {_number(row['high'])})"


def _number(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2g}"


def _signed(value: float) -> str:
    return f"{value:+.1e}" if abs(value) < 0.01 else f"{value:+.3f}"


PROBE = Probe(
    "sensitivity",
    measure,
    summary,
    (WidePairOptions, HalvedPromptOptions, BinOptions, MetricOptions),
    (StepOptions,),
    refuse=refuse,
    plan=plan,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
