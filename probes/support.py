"""What does it cost to know the teacher at K ids only?

    python -m probes.support
    python -m probes.support runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --top-k 8 32 128

A teacher behind a server gives the log-probabilities of a few ids. Here each token of the student's own responses is
scored over all ids, and over the K that the teacher's image view holds most probable with one bucket for the rest (see
`geometry.topk`). By VDS bin: the mean of each divergence over both, the mean absolute difference, and the share of
tokens that stay in their bin where bins, and so the gates of the objectives, are made of the VDS over K.

Standard, language and VDS can only shrink; the visual loss may grow, for its target is made of the buckets. Writes a
record (`record.json`, `rollouts`, `support_tokens`, `support.csv`) and prints the table.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jsonargparse.typing import PositiveInt

from cli.errors import exit_code
from cli.options import parser_for, pick
from cli.progress import progress
from cli.tables import aligned
from geometry import Decomposition, decompose, equal_frequency_bins, top_ids, topk_log_probs
from probes import corpus as corpora
from probes.corpus import Corpus
from probes.options import BinOptions, OutputOptions, PairOptions, PromptOptions
from records import Shards
from records.tables.support import COMPARED
from vlm.rollouts import Rollout
from vlm.scoring import FourViews

ALL, TEXT = "all", "text"
TOP_K = (8, 32, 128)
_FIELDS = {"vds": "vds", "kl_standard": "standard", "kl_language": "language", "kl_visual": "visual"}
_TITLES = {"vds": "VDS", "kl_standard": "standard", "kl_language": "language", "kl_visual": "visual"}


@dataclass(frozen=True)
class SupportOptions:
    """The numbers of ids that the teacher is known at, ascending"""

    top_k: tuple[int, ...]


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_for("probes.support", __doc__, (PairOptions, PromptOptions, BinOptions, OutputOptions))
    words = f"numbers of ids that the teacher is known at (default: {' '.join(map(str, TOP_K))})"
    parser.add_argument("--top-k", nargs="+", type=PositiveInt, default=list(TOP_K), help=words)
    parsed = parser.parse_args(argv)
    return exit_code(
        lambda: measure(
            parsed.checkpoint,
            pick(parsed, PairOptions),
            pick(parsed, PromptOptions),
            pick(parsed, BinOptions),
            SupportOptions(tuple(sorted({int(k) for k in parsed.top_k}))),
            pick(parsed, OutputOptions),
        )
    )


def measure(
    checkpoint: str,
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    bin_options: BinOptions,
    support_options: SupportOptions,
    output: OutputOptions,
) -> None:
    """Measure, record and print."""
    began = time.monotonic()
    asked = (checkpoint, pair_options, prompt_options, output, bin_options, support_options)
    with corpora.measuring("support", *asked) as (corpus, writer):
        tokens = token_table(corpus, support_options.top_k, bin_options.bins, writer)
        rows = support_rows(tokens)
        tables = {"rollouts": corpora.rollout_table(corpus), "support_tokens": tokens, "support": rows}
        writer.finish(tables, corpora.notes(corpus, began))
    print(support_table(rows))
    print(f"record: {writer.path}")


def token_table(corpus: Corpus, top_k: Sequence[int], n_bins: int, writer: Shards) -> pd.DataFrame:
    """Score every response token over all ids and over each K, and bin those whose prompt has a picture."""
    size = corpora.SHARD * 2
    with progress("scoring", len(corpus.rollouts)) as show:
        for shard, start in enumerate(range(0, len(corpus.rollouts), size)):
            part = corpus.rollouts[start : start + size]
            if not writer.has("support_tokens", shard):
                scored = enumerate(zip(part, corpus.score(part), strict=True), start)
                frames = [_tokens(corpus, number, rollout, views, top_k) for number, (rollout, views) in scored]
                writer.add("support_tokens", shard, pd.concat(frames, ignore_index=True))
            show(start + len(part))
    tokens = writer.gather("support_tokens")
    binned = [binned_tokens(rows, n_bins) for _, rows in tokens.groupby("top_k")]
    return pd.concat(binned, ignore_index=True)


def compared(views: FourViews, top_k: int | None) -> Decomposition:
    """Return the divergences of a response's tokens over all ids, or over the teacher's `top_k` and their tail."""
    logits = (views.student_image, views.student_text, views.teacher_image, views.teacher_text)
    if top_k is None:
        return decompose(*logits)
    ids = top_ids(views.teacher_image, top_k)
    return decompose(*(topk_log_probs(view, ids) for view in logits))


def binned_tokens(tokens: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    """Add `bin` and `bin_top` to the tokens of one K; -1 where the prompt has no picture."""
    found = tokens.assign(bin=-1, bin_top=-1)
    shown = tokens["has_image"]
    for column, source in (("bin", "vds_full_nats"), ("bin_top", "vds_top_nats")):
        vds = torch.from_numpy(tokens.loc[shown, source].to_numpy(copy=True))
        found.loc[shown, column] = equal_frequency_bins(vds, n_bins, key=torch.arange(len(vds))).numpy()
    return found


def support_rows(tokens: pd.DataFrame) -> pd.DataFrame:
    """A row a K and bin from the table `support_tokens`."""
    rows = [
        {"top_k": top_k, "bin": bin_, **_means(inside)}
        for top_k, members in tokens.groupby("top_k")
        for bin_, inside in _by_bin(members)
    ]
    return pd.DataFrame(rows)


def support_table(rows: pd.DataFrame) -> str:
    """Means over all ids, then for each K the means and, after +-, the mean absolute differences."""
    titles = ["ids", "bin", "tokens", *_TITLES.values(), "same bin %"]
    first = rows[rows["top_k"] == rows["top_k"].min()]
    lines = [
        ["all", *_counted(row), *(f"{row[f'{n}_full_mean_nats']:.2g}" for n in COMPARED), ""] for row in _rows(first)
    ]
    for row in _rows(rows):
        cells = [f"{row[f'{n}_top_mean_nats']:.2g} +-{row[f'{n}_difference_mean_nats']:.1g}" for n in COMPARED]
        same = "" if row["bin"] == TEXT else f"{100 * row['same_bin_share']:.1f}"
        lines.append([str(row["top_k"]), *_counted(row), *cells, same])
    caption = (
        "Mean divergences in nats over all ids, and over the teacher's most probable ids and their tail +- the mean"
        " absolute difference."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def _tokens(corpus: Corpus, number: int, rollout: Rollout, views: FourViews, top_k: Sequence[int]) -> pd.DataFrame:
    """A row a K and token of one response, not yet binned."""
    prompt = corpus.asked.prompts[rollout.prompt_id]
    about = {"prompt_id": prompt.prompt_id, "rollout_id": number, "has_image": prompt.has_image}
    full = _columns(compared(views, None), "full")
    frames = []
    for k in top_k:
        columns = full | _columns(compared(views, k), "top")
        frames.append(pd.DataFrame({**about, "position": range(len(rollout.token_ids)), "top_k": k, **columns}))
    return pd.concat(frames, ignore_index=True)


def _columns(parts: Decomposition, support: str) -> dict:
    return {f"{n}_{support}_nats": getattr(parts, field).double().cpu().numpy() for n, field in _FIELDS.items()}


def _means(inside: pd.DataFrame) -> dict[str, float]:
    full, top = (inside[[f"{n}_{support}_nats" for n in COMPARED]].to_numpy() for support in ("full", "top"))
    found: dict[str, float] = {"n_tokens": len(inside)}
    for place, name in enumerate(COMPARED):
        found[f"{name}_full_mean_nats"] = full[:, place].mean()
        found[f"{name}_top_mean_nats"] = top[:, place].mean()
        found[f"{name}_difference_mean_nats"] = abs(top[:, place] - full[:, place]).mean()
    shown = inside[inside["bin"] >= 0]
    return found | {"same_bin_share": (shown["bin_top"] == shown["bin"]).mean()}


def _by_bin(tokens: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tokens of each bin, those of all bins, and those in none, if any."""
    shown = tokens["bin"] >= 0
    for bin_, inside in tokens[shown].groupby("bin"):
        yield str(bin_), inside
    yield ALL, tokens[shown]
    if not shown.all():
        yield TEXT, tokens[~shown]


def _rows(rows: pd.DataFrame) -> list[dict]:
    return rows.to_dict("records")


def _counted(row: dict) -> list[str]:
    return [row["bin"], str(row["n_tokens"])]


if __name__ == "__main__":
    sys.exit(main())
