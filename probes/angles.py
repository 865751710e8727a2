"""At which angles do the language, visual and standard gradients stand, and how does that change with VDS?

    python -m probes.angles                                    # the bundled pair, about a minute
    python -m probes.angles runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.angles --unit trajectory-bin --probe-per-bin all --scope language_model
    python -m probes.angles --dtype bfloat16 --precision-check 100
    python -m probes.angles runs/train/last --metric adam

The analysis of arXiv:2606.00564, Section 3.2 and Figure 3: on-policy rollouts of the student, the visual dependency of
every response token (Eq. 12), equal-frequency bins, and at tokens drawn from each bin the exact gradients of the five
objectives. Reads a student checkpoint and its teacher; writes a record (`record.json`, `rollouts`, `tokens`, `units`,
`grams` and `bins`; `bin_grams` of corpus-bins, `precision` where it is checked) with the picture `angle_bins` (png,
svg), and prints the table of the bins.

`--metric adam` measures the same gradients, and the null, in the inner product in which Adam steps: the product of
each entry over sqrt(v) + eps, with v the bias-corrected second moment in the checkpoint's `training.pt`, which `python
-m train` writes, or in another optimizer's state, `--optimizer-state FILE` (see `vlm.optimizer_state`).
"""

import sys
import time
from collections.abc import Sequence

import pandas as pd

from cli.progress import progress
from figures import angle_bins
from figures.style import save
from probes import corpus as corpora
from probes.corpus import Corpus
from probes.grams import add_grams
from probes.options import (
    BinOptions,
    CheckOptions,
    MetricOptions,
    OutputOptions,
    PairOptions,
    PromptOptions,
    UnitOptions,
    run_probe,
)
from probes.precision import exact_corpus, precision_rows, reference_options, sample, summary
from probes.tables import bin_rows, gram_rows, unit_rows
from probes.terminal import angle_table
from probes.units import Unit, choose_units, null_angles
from records import RecordWriter, read_record


def main(argv: Sequence[str] | None = None) -> int:
    groups = (PairOptions, PromptOptions, BinOptions, UnitOptions, MetricOptions, CheckOptions, OutputOptions)
    return run_probe(__doc__, groups, measure, argv)


def measure(
    checkpoint: str,
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    bin_options: BinOptions,
    unit_options: UnitOptions,
    metric_options: MetricOptions,
    check_options: CheckOptions,
    output: OutputOptions,
) -> None:
    """Measure, record, print and draw."""
    began, seed = time.monotonic(), prompt_options.seed
    if check_options.precision_check:
        reference_options(pair_options)  # refuses, before anything is loaded
    asked = (checkpoint, pair_options, prompt_options, output, bin_options, unit_options, check_options)
    with corpora.measuring("angles", *asked, metric=metric_options) as (corpus, writer):
        tokens = corpora.token_table(corpus, bin_options.bins, writer)
        units = choose_units(
            tokens, unit_options.unit, unit_options.probe_per_bin, seed, normalised=unit_options.normalise
        )
        groups = corpus.pair.student.groups
        unreached = add_grams(corpus, groups, units, writer, {"grams": gram_rows, "units": unit_rows})
        _add_null(corpus, units, seed, writer)
        tables = {"rollouts": corpora.rollout_table(corpus), "tokens": tokens, **_gathered(tokens, writer, seed)}
        if check_options.precision_check:
            drawn = sample(units, check_options.precision_check, seed)
            exact = exact_corpus(corpus, checkpoint, pair_options, metric_options)
            checked = precision_rows(exact, tokens, drawn, tables["units"], unit_options.scope)
            tables["precision"] = checked
            print(summary(checked, str(exact.pair.student.model.dtype).removeprefix("torch.")))
        writer.finish(tables, corpora.notes(corpus, began) | {"unreached": unreached})
    record = read_record(writer.path, "bins")
    print(angle_table(record.tables["bins"], unit_options.scope))
    pictures = save(angle_bins.draw(record, unit_options.scope), writer.path / "angle_bins")
    print(f"record: {writer.path}\npicture: {pictures[0]}")


def _gathered(tokens: pd.DataFrame, writer: RecordWriter, seed: int) -> dict[str, pd.DataFrame]:
    """The tables that follow from the shards."""
    units = writer.gather("units").sort_values(["scope", "unit_id"], ignore_index=True)
    grams = writer.gather("grams")
    bins = bin_rows(tokens, units, grams, writer.gather("null"), seed)
    products = {"bin_grams": writer.gather("bin_grams")} if units["unit"].eq("corpus-bin").any() else {}
    return {"units": units, "grams": grams, "bins": bins, **products}


def _add_null(corpus: Corpus, units: Sequence[Unit], seed: int, writer: RecordWriter) -> None:
    """Measure the null a bin a shard; a corpus-bin has no second unit to be compared with."""
    bins = sorted({unit.bin for unit in units})
    columns = ["bin", "scope", "detached_deg", "attached_deg"]
    with progress("null", len(bins)) as show:
        for done, bin_ in enumerate(bins, start=1):
            if not writer.has("null", bin_):
                members = [unit for unit in units if unit.bin == bin_ and unit.kind != "corpus-bin"]
                rows = list(null_angles(corpus, members, seed + bin_))
                writer.add("null", bin_, pd.DataFrame(rows, columns=columns))
            show(done)


if __name__ == "__main__":
    sys.exit(main())
