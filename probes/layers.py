"""Where in the model do the gradients lie and meet: in which layers, and in attention, MLP or norms?

    python -m probes.layers                                    # the bundled pair
    python -m probes.layers runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.layers --unit trajectory-bin --scope language_model

The gradients of `python -m probes.angles` (the same tokens for the same flags), split by depth and kind of parameter:
vision tower, merger, embedding and head, attention, MLP and norms of each language layer, final norm. Of each group
and VDS bin, and over `all` bins: mean norms, the share of an objective's squared norm that lies in the group, and mean
angles with 95 % intervals over prompts. The language gradient is 0 in the vision part, so it has no angle there. No
null is measured: whether an angle near 90 degrees means something is for `probes.angles` to say.

Reads a student checkpoint and its teacher; writes a record (`record.json`, `rollouts`, `tokens`, `units`, `grams` by
group and `layers`) with the picture `layers` (png, svg), and prints the groups over all bins. `--scope` chooses the
groups that are printed and drawn; shares are of the whole model either way. `--metric adam` as for `probes.angles`.
"""

import sys
import time
from collections.abc import Sequence

from figures import layers as picture
from figures.style import save
from probes import corpus as corpora
from probes.grams import add_grams
from probes.options import BinOptions, MetricOptions, OutputOptions, PairOptions, PromptOptions, UnitOptions, run_probe
from probes.summaries import layer_rows
from probes.tables import gram_rows, unit_rows
from probes.terminal import layer_table
from probes.units import choose_units
from records import read_record
from vlm.families import parameter_kinds


def main(argv: Sequence[str] | None = None) -> int:
    groups = (PairOptions, PromptOptions, BinOptions, UnitOptions, MetricOptions, OutputOptions)
    return run_probe(__doc__, groups, measure, argv)


def measure(
    checkpoint: str,
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    bin_options: BinOptions,
    unit_options: UnitOptions,
    metric_options: MetricOptions,
    output: OutputOptions,
) -> None:
    """Measure, record, print and draw."""
    began = time.monotonic()
    asked = (checkpoint, pair_options, prompt_options, output, bin_options, unit_options)
    with corpora.measuring("layers", *asked, metric=metric_options) as (corpus, writer):
        tokens = corpora.token_table(corpus, bin_options.bins, writer)
        units = choose_units(
            tokens,
            unit_options.unit,
            unit_options.probe_per_bin,
            prompt_options.seed,
            normalised=unit_options.normalise,
        )
        kinds = parameter_kinds(corpus.pair.student.model)
        unreached = add_grams(corpus, kinds, units, writer, {"grams": gram_rows, "units": unit_rows})
        unit_table = writer.gather("units").sort_values(["scope", "unit_id"], ignore_index=True)
        grams = writer.gather("grams")
        tables = {
            "rollouts": corpora.rollout_table(corpus),
            "tokens": tokens,
            "units": unit_table,
            "grams": grams,
            "layers": layer_rows(unit_table, grams, prompt_options.seed),
        }
        writer.finish(tables, corpora.notes(corpus, began) | {"unreached": unreached})
    record = read_record(writer.path, "layers")
    print(layer_table(record.tables["layers"], unit_options.scope))
    pictures = save(picture.draw(record, unit_options.scope), writer.path / "layers")
    print(f"record: {writer.path}\npicture: {pictures[0]}")


if __name__ == "__main__":
    sys.exit(main())
