"""How much does each response token depend on the picture, for the teacher and for the student?

    python -m probes.vds
    python -m probes.vds runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet --limit 200

The visual dependency score (arXiv:2606.00564, Eq. 12) and the three divergences of every token of the student's own
rollouts; no gradient is computed. Writes a record (`record.json`, `rollouts`, `tokens`) with the picture `vds` (png,
svg), and prints the quantiles.
"""

import sys
import time
from collections.abc import Sequence

import pandas as pd

from cli.tables import aligned
from figures import vds as picture
from figures.style import save
from probes import corpus as corpora
from probes.options import BinOptions, OutputOptions, PairOptions, PromptOptions, run_probe
from records import read_record

_COLUMNS = {
    "VDS": "vds_nats",
    "student": "student_vds_nats",
    "standard": "kl_standard_nats",
    "language": "kl_language_nats",
    "visual": "kl_visual_nats",
}
_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 0.99, 1.0)


def main(argv: Sequence[str] | None = None) -> int:
    groups = (PairOptions, PromptOptions, BinOptions, OutputOptions)
    return run_probe(__doc__, groups, measure, argv)


def measure(
    checkpoint: str,
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    bin_options: BinOptions,
    output: OutputOptions,
) -> None:
    """Measure, record, print and draw."""
    began = time.monotonic()
    asked = (checkpoint, pair_options, prompt_options, output, bin_options)
    with corpora.measuring("vds", *asked) as (corpus, writer):
        tokens = corpora.token_table(corpus, bin_options.bins, writer)
        tables = {"rollouts": corpora.rollout_table(corpus), "tokens": tokens}
        writer.finish(tables, corpora.notes(corpus, began))
    print(quantile_table(tokens))
    pictures = save(picture.draw(read_record(writer.path, "tokens")), writer.path / "vds")
    print(f"record: {writer.path}\npicture: {pictures[0]}")


def quantile_table(tokens: pd.DataFrame) -> str:
    """Quantiles over the tokens of prompts with a picture, in nats."""
    pictured = tokens[tokens["has_image"]]
    lines = [[f"{q:g}", *(f"{pictured[column].quantile(q):.2g}" for column in _COLUMNS.values())] for q in _QUANTILES]
    means = ["mean", *(f"{pictured[column].mean():.2g}" for column in _COLUMNS.values())]
    caption = f"Nats, quantiles over {len(pictured)} tokens of responses to a prompt with a picture."
    return f"{caption}\n{aligned([['quantile', *_COLUMNS], *lines, means])}"


if __name__ == "__main__":
    sys.exit(main())
