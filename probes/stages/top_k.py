"""Tokens scored over all ids, and over the K that the teacher holds most probable."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from cli.progress import progress
from geometry import Decomposition, FourViews, decompose, top_ids, topk_log_probs
from probes.sampling import bins_of
from records.tables.support import COMPARED
from vlm.responses.rollouts import Rollout

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

ALL, TEXT = "all", "text"
_FIELDS = {"vds": "vds", "kl_standard": "standard", "kl_language": "language", "kl_visual": "visual"}


def score_at_top_k(analyzer: "Analyzer", top_k: Sequence[int]) -> pd.DataFrame:
    """Return the table `support_tokens`: each token scored over all ids and over each K, and binned by both."""
    shards = analyzer.shards
    with progress("scoring", len(analyzer.rollouts)) as show:
        for shard, part in enumerate(analyzer.cut()):
            if shards.due(shard, "support_tokens"):
                read = analyzer.read_by_chunk(list(part.values()), lambda views: _supports(views, top_k))
                scored = zip(part.items(), read, strict=True)
                frames = [_tokens(analyzer, number, rollout, chunks, top_k) for (number, rollout), chunks in scored]
                shards.add("support_tokens", shard, pd.concat(frames, ignore_index=True))
            show(max(part) + 1)
    tokens = shards.gather("support_tokens")
    binned = [binned_tokens(rows, analyzer.bin_options.bins) for _, rows in tokens.groupby("top_k")]
    return pd.concat(binned, ignore_index=True)


def _supports(views: FourViews, top_k: Sequence[int]) -> list[Decomposition]:
    """The divergences over all ids, then over each K."""
    return [compared(views, k) for k in (None, *top_k)]


def compared(views: FourViews, top_k: int | None) -> Decomposition:
    """Return the divergences of a response's tokens over all ids, or over the teacher's `top_k` and their tail."""
    if top_k is None:
        return decompose(views)
    ids = top_ids(views.teacher_image, top_k)
    return decompose(views.map(lambda view: topk_log_probs(view, ids)))


def binned_tokens(tokens: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    """Add `bin` and `bin_top` to the tokens of one K; -1 where the prompt has no picture.

    Raises:
        OptionError: there are more bins than tokens.
    """
    binned = tokens.assign(bin=-1, bin_top=-1)
    shown = tokens["has_image"]
    for column, source in (("bin", "vds_full_nats"), ("bin_top", "vds_top_nats")):
        binned.loc[shown, column] = bins_of(tokens.loc[shown, source], n_bins)
    return binned


def support_rows(tokens: pd.DataFrame) -> pd.DataFrame:
    """Return one row per K and bin from the table `support_tokens`."""
    rows = [
        {"top_k": top_k, "bin": bin_, **_means(inside)}
        for top_k, members in tokens.groupby("top_k")
        for bin_, inside in _by_bin(members)
    ]
    return pd.DataFrame(rows)


def _tokens(
    analyzer: "Analyzer",
    number: int,
    rollout: Rollout,
    chunks: Sequence[Sequence[Decomposition]],
    top_k: Sequence[int],
) -> pd.DataFrame:
    """Return one row per K and token of one response, not yet binned."""
    over_all, *over_top = (Decomposition.joined(parts) for parts in zip(*chunks, strict=True))
    prompt = analyzer.prompts[rollout.prompt_id]
    about = {"prompt_id": prompt.prompt_id, "rollout_id": number, "has_image": prompt.has_image}
    full = _columns(over_all, "full")
    frames = []
    for k, parts in zip(top_k, over_top, strict=True):
        columns = full | _columns(parts, "top")
        frames.append(pd.DataFrame({**about, "position": range(len(rollout.token_ids)), "top_k": k, **columns}))
    return pd.concat(frames, ignore_index=True)


def _columns(parts: Decomposition, support: str) -> dict:
    return {f"{n}_{support}_nats": getattr(parts, field).double().cpu().numpy() for n, field in _FIELDS.items()}


def _means(inside: pd.DataFrame) -> dict[str, float]:
    full, top = (inside[[f"{n}_{support}_nats" for n in COMPARED]].to_numpy() for support in ("full", "top"))
    row: dict[str, float] = {"n_tokens": len(inside)}
    for place, name in enumerate(COMPARED):
        row[f"{name}_full_mean_nats"] = full[:, place].mean()
        row[f"{name}_top_mean_nats"] = top[:, place].mean()
        row[f"{name}_difference_mean_nats"] = abs(top[:, place] - full[:, place]).mean()
    shown = inside[inside["bin"] >= 0]
    return row | {"same_bin_share": (shown["bin_top"] == shown["bin"]).mean()}


def _by_bin(tokens: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tokens of each bin, those of all bins, and those in none, if any."""
    shown = tokens["bin"] >= 0
    for bin_, inside in tokens[shown].groupby("bin"):
        yield str(bin_), inside
    yield ALL, tokens[shown]
    if not shown.all():
        yield TEXT, tokens[~shown]
