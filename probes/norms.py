"""How do the norms of the gradients, and the angles between them, change over a series of checkpoints?

    python -m probes.norms runs/student/checkpoint-0 runs/student/checkpoint-100 --teacher runs/teacher
    python -m probes.norms runs/student/checkpoint-* --teacher runs/teacher --prompts data.parquet --limit 32

The question of arXiv:2606.00564, Figure 7. Each checkpoint answers the same prompts with the same seed, on-policy, and
is measured as `python -m probes.angles` measures one: its own tokens in VDS bins of its own, gradients at tokens drawn
from each bin. All have one teacher: `--teacher`, or the one that the first checkpoint's pair.json names. Checkpoints
are taken in the order given; one whose tokenizer differs in vocabulary is refused before anything is measured.

Units are tokens, 16 a bin, a quarter of what `probes.angles` takes: enough for a mean over all bins, at a cost that
a series can bear. The gradient of a trajectory-bin costs as much, and its norm carries the weight 1/|tau|, so that it
would change with the length of the responses alone; a token's norm does not. `--metric adam` as for `probes.angles`,
each checkpoint by its own optimizer's state.

Reads the checkpoints, one at a time, and the teacher; writes a record (`record.json` and `norms`: by checkpoint, scope
and bin, and over `all` bins) with the picture `norm_dynamics` (png, svg), and prints the checkpoints over all bins. An
interrupted series continues where it stood.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
from jsonargparse.typing import PositiveInt

from cli.errors import OptionError
from cli.options import flag
from figures import norm_dynamics
from figures.style import save
from probes import corpus as corpora
from probes.corpus import Asked
from probes.grams import add_grams
from probes.metric import metric_of, optimizer_state
from probes.options import BinOptions, MetricOptions, OutputOptions, PairOptions, PromptOptions, UnitOptions, run_probe
from probes.summaries import norm_rows
from probes.tables import unit_rows
from probes.terminal import norm_table
from probes.units import choose_units
from records import Shards, read_record
from vlm.checkpoint import CheckpointError, LoadedModel, load_model
from vlm.optimizer_state import STATE
from vlm.pair import Pair, pair_of


@dataclass(frozen=True)
class SeriesUnitOptions(UnitOptions):
    """What is probed"""

    probe_per_bin: PositiveInt | Literal["all"] = flag(16, "units probed in each bin, drawn at random, or all")


@dataclass(frozen=True)
class _Series:
    """What the checkpoints have in common; the header's `student` lists what identifies each of them."""

    checkpoints: Sequence[str]
    options: PairOptions
    metric: MetricOptions
    teacher: LoadedModel
    asked: Asked
    header: Mapping[str, Any]

    @property
    def names(self) -> Sequence[str]:
        return self.header["pair"]["student"]

    def pair(self, number: int) -> Pair:
        return _beside(self.teacher, self.checkpoints[number], self.options)


def main(argv: Sequence[str] | None = None) -> int:
    groups = (PairOptions, PromptOptions, BinOptions, SeriesUnitOptions, MetricOptions, OutputOptions)
    return run_probe(__doc__, groups, measure, argv, series=True)


def measure(
    checkpoints: Sequence[str],
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    bin_options: BinOptions,
    unit_options: SeriesUnitOptions,
    metric_options: MetricOptions,
    output: OutputOptions,
) -> None:
    """Measure, record, print and draw."""
    began = time.monotonic()
    series = _load(checkpoints, pair_options, prompt_options, metric_options, bin_options, unit_options)
    with corpora.open_folder("norms", series.header, output) as writer:
        for number, name in enumerate(series.names):
            if not writer.has("norms", number):
                print(f"checkpoint {number + 1} of {len(series.names)}: {name}", file=sys.stderr)
                rows = _measured(series, number, prompt_options, bin_options, unit_options, writer.part(number))
                writer.add("norms", number, rows.assign(checkpoint=number, name=name))
        notes = corpora.run_notes(series.asked, series.teacher.device, began)
        writer.finish({"norms": writer.gather("norms")}, notes)
    record = read_record(writer.path, "norms")
    print(norm_table(record.tables["norms"], unit_options.scope))
    pictures = save(norm_dynamics.draw(record, unit_options.scope), writer.path / "norm_dynamics")
    print(f"record: {writer.path}\npicture: {pictures[0]}")


def _load(
    checkpoints: Sequence[str],
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    metric_options: MetricOptions,
    *others: Any,
) -> _Series:
    """Load every checkpoint once, so that one that does not fit is refused before any is measured."""
    _check_states(checkpoints, metric_options)
    first = corpora.load(checkpoints[0], pair_options)
    teacher, asked = first.teacher, corpora.ask(first, prompt_options)
    header = corpora.header("norms", first, asked, pair_options, prompt_options, metric_options, *others)
    known = [_identified(first, checkpoints[0], metric_options)]
    del first  # its weights, before the next are loaded
    for checkpoint in checkpoints[1:]:
        known.append(_identified(_beside(teacher, checkpoint, pair_options), checkpoint, metric_options))
    names, weights, states = (list(values) for values in zip(*known, strict=True))
    header["pair"]["student"], header["weights"]["student"] = names, weights
    if metric_options.metric == "adam":
        header["weights"]["optimizer_state"] = states
    return _Series(checkpoints, pair_options, metric_options, teacher, asked, header)


def _check_states(checkpoints: Sequence[str], options: MetricOptions) -> None:
    """Refuse checkpoints without an optimizer's state, where that is needed, and one state for several."""
    if options.optimizer_state is not None and len(checkpoints) > 1:
        raise OptionError(
            f"`optimizer_state` belongs to one checkpoint, got {len(checkpoints)};"
            f" leave it out and put the state of each beside its weights, as {STATE}"
        )
    for checkpoint in checkpoints:
        optimizer_state(checkpoint, options)


def _identified(pair: Pair, checkpoint: str, options: MetricOptions) -> tuple[str, str, str | None]:
    """The student's name, and the fingerprints of its weights and of its optimizer's state."""
    metric = metric_of(pair, checkpoint, options)
    return pair.student.name, pair.student.fingerprint, None if metric is None else metric.fingerprint


def _beside(teacher: LoadedModel, checkpoint: str, options: PairOptions) -> Pair:
    """Load a checkpoint and join it with the teacher of the series."""
    student = load_model(
        checkpoint,
        dtype=options.dtype,
        device=options.device,
        attention=options.attention,
        parameters=options.parameters,
    )
    try:
        return pair_of(student, teacher)
    except CheckpointError as error:
        raise CheckpointError(f"`checkpoints` {checkpoint} does not fit the first: {error}") from None


def _measured(
    series: _Series,
    number: int,
    prompt_options: PromptOptions,
    bin_options: BinOptions,
    unit_options: SeriesUnitOptions,
    shards: Shards,
) -> pd.DataFrame:
    """The rows of one checkpoint; its weights are held no longer than this call."""
    pair = series.pair(number)
    metric = metric_of(pair, series.checkpoints[number], series.metric)
    corpus = replace(corpora.collect(pair, series.asked, prompt_options, shards), metric=metric)
    tokens = corpora.token_table(corpus, bin_options.bins, shards)
    units = choose_units(
        tokens, unit_options.unit, unit_options.probe_per_bin, prompt_options.seed, normalised=unit_options.normalise
    )
    add_grams(corpus, corpus.pair.student.groups, units, shards, {"units": unit_rows})
    return norm_rows(tokens, shards.gather("units"), prompt_options.seed)


if __name__ == "__main__":
    sys.exit(main())
