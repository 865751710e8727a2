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
`records.tables.forecast`) with the picture `sensitivity` (png, svg), and prints changes by bin and the readings. Beside
the models one vector of the size of the weights is held; with `--check` several.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pandas as pd
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from cli.errors import OptionError
from cli.options import flag
from cli.progress import progress
from figures import sensitivity as picture
from figures.style import save
from probes import corpus as corpora
from probes.corpus import Corpus
from probes.forecast import directions, steps
from probes.forecast import tables as forecast
from probes.forecast.directions import Half
from probes.forecast.text import summary
from probes.metric import metric_of, optimizer_state
from probes.options import BinOptions, MetricOptions, OutputOptions, PairOptions, PromptOptions, run_probe
from records import RecordWriter, read_record
from records.tables.forecast import AFTER
from vlm.checkpoint import LoadedModel, check_vision, load_model, weights_fingerprint
from vlm.names import resolve


@dataclass(frozen=True)
class HalvedPromptOptions(PromptOptions):
    """Prompts and rollouts"""

    limit: PositiveInt = flag(128, "number of prompts; half of them make the directions")


@dataclass(frozen=True)
class StepOptions:
    """Steps"""

    check: bool = flag(False, "take steps of SGD and AdamW along vgs-lp, and measure what they change")
    check_gamma: NonNegativeFloat = flag(2.0, "strength of the steering in these steps")
    check_lambda: NonNegativeFloat = flag(0.01, "strength of the preservation in these steps")
    check_sgd_lr: tuple[PositiveFloat, ...] = flag((1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1), "rates of SGD")
    check_adamw_lr: tuple[PositiveFloat, ...] = flag((1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 1e-3), "rates of AdamW")
    after: str | None = flag(None, "a later checkpoint: how much of the way to it was first-order")


@dataclass(frozen=True)
class _Settings:
    """Every group of flags, in the order in which they are read."""

    pair: PairOptions
    prompts: PromptOptions
    bins: BinOptions
    steps: StepOptions
    metric: MetricOptions
    output: OutputOptions

    @property
    def groups(self) -> Sequence[Any]:
        """Those that belong to the record's header."""
        return self.pair, self.prompts, self.bins, self.steps, self.metric


def main(argv: Sequence[str] | None = None) -> int:
    groups = (PairOptions, HalvedPromptOptions, BinOptions, StepOptions, MetricOptions, OutputOptions)
    return run_probe(__doc__, groups, lambda checkpoint, *values: measure(checkpoint, _Settings(*values)), argv)


def measure(checkpoint: str, settings: _Settings) -> None:
    """Measure, record, print and draw."""
    began, n_bins, seed = time.monotonic(), settings.bins.bins, settings.prompts.seed
    with _measuring(checkpoint, settings) as (corpus, writer):
        tokens = corpora.token_table(corpus, n_bins, writer)
        halves = directions.halves(tokens, seed)
        sensitivity, products = _along_directions(corpus, tokens, halves, writer)
        way = _way(corpus, tokens, halves[1], settings)
        taken = _steps(corpus, tokens, halves, sensitivity, way, settings)
        means, gram = forecast.resampled_means(sensitivity, n_bins, seed), forecast.gram_of(products)
        tables = {
            "rollouts": corpora.rollout_table(corpus),
            "tokens": tokens,
            "sensitivity": pd.concat([sensitivity, *way], ignore_index=True),
            "direction_products": products,
            "forecast": forecast.forecast_rows(means),
            "steering": forecast.steering_rows(gram),
            "readings": forecast.reading_rows(means, gram),
        }
        writer.finish(tables | taken, corpora.notes(corpus, began) | _counts(corpus, halves))
    record = read_record(writer.path, *tables, *taken)
    print(summary(record))
    pictures = save(picture.draw(record), writer.path / "sensitivity")
    print(f"record: {writer.path}\npicture: {pictures[0]}")


@contextmanager
def _measuring(checkpoint: str, settings: _Settings) -> Iterator[tuple[Corpus, RecordWriter]]:
    """As `corpora.measuring`, with the later checkpoint in the header."""
    if settings.steps.check and settings.metric.metric == "adam":
        raise OptionError("`check` takes steps from a fresh optimizer, got --metric adam; leave one of the two out")
    optimizer_state(checkpoint, settings.metric)  # refuses, before anything is loaded
    after = settings.steps.after
    if after is not None:
        check_vision(resolve(after))
    pair = corpora.load(checkpoint, settings.pair)
    adam = metric_of(pair, checkpoint, settings.metric)
    asked = corpora.ask(pair, settings.prompts)
    opened = corpora.header("sensitivity", pair, asked, *settings.groups)
    if adam is not None:
        opened["weights"]["optimizer_state"] = adam.fingerprint
    if after is not None:
        opened["weights"]["after"] = weights_fingerprint(resolve(after))
    with corpora.open_folder("sensitivity", opened, settings.output) as writer:
        yield replace(corpora.collect(pair, asked, settings.prompts, writer), metric=adam), writer


def _along_directions(
    corpus: Corpus, tokens: pd.DataFrame, halves: tuple[Half, Half], writer: RecordWriter
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `sensitivity` and `direction_products`, a direction a shard."""
    first, second = halves
    with progress("directions", len(directions.PASSES)) as show:
        for shard, name in enumerate(directions.PASSES):
            if not writer.has("direction_products", shard):
                along = directions.descent(corpus, first, {name: 1.0})
                writer.add("sensitivity", shard, directions.change_rows(corpus, tokens, second, along, name))
                products = directions.products(corpus, first, along)
                writer.add("direction_products", shard, pd.DataFrame([products]))
            show(shard + 1)
    rows = directions.with_standard(writer.gather("sensitivity"))
    return rows, directions.product_rows(writer.gather("direction_products"))


def _way(corpus: Corpus, tokens: pd.DataFrame, half: Half, settings: _Settings) -> list[pd.DataFrame]:
    """The changes along the way to the later checkpoint, if there is one."""
    if settings.steps.after is None:
        return []
    way = steps.way_to(corpus, _later(settings))
    return [directions.change_rows(corpus, tokens, half, way, AFTER)]


def _steps(
    corpus: Corpus,
    tokens: pd.DataFrame,
    halves: tuple[Half, Half],
    sensitivity: pd.DataFrame,
    way: Sequence[pd.DataFrame],
    settings: _Settings,
) -> dict[str, pd.DataFrame]:
    """The tables of steps that are taken, or were; none unless asked for."""
    options = settings.steps
    found: list[steps.Steps] = []
    if options.check:
        terms = forecast.term_weights("detached", options.check_gamma, options.check_lambda)
        rates = {steps.SGD: options.check_sgd_lr, steps.ADAMW: options.check_adamw_lr}
        found.append(steps.steps_taken(corpus, halves, tokens, sensitivity, terms, rates))
    found += [steps.way_taken(corpus, halves[1], _later(settings), rows) for rows in way]
    if not found:
        return {}
    bins = tokens.loc[tokens["rollout_id"].isin(halves[1].numbers), "bin"]
    by_bin, fits = steps.step_rows(chain(*found), bins, settings.bins.bins)
    return {"step_changes": by_bin, "step_fits": fits}


def _later(settings: _Settings) -> LoadedModel:
    options = settings.pair
    return load_model(
        str(settings.steps.after), dtype=options.dtype, device=options.device, attention=options.attention
    )


def _counts(corpus: Corpus, halves: tuple[Half, Half]) -> dict[str, int]:
    prompts = [len({corpus.rollouts[number].prompt_id for number in half.numbers}) for half in halves]
    return {"prompts_of_directions": prompts[0], "prompts_of_forecast": prompts[1]}


if __name__ == "__main__":
    sys.exit(main())
