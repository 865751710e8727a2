"""The tokens that the explorer lists for a bin: text in its context, numbers, and the picture of the prompt."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from figures.explorer.sums import LOSSES, STEPPED
from figures.web.visible import visible
from records import Measurement
from records.columns import MARKS

LISTED: Final = 30
"""Tokens of a bin at most, without those that have a picture."""
CONTEXT: Final = 6
"""Tokens shown before a token, and half as many behind it."""
PROMPT: Final = 300
"""Characters of a prompt."""


def token_lists(record: Measurement) -> dict[str, Any]:
    """Return `bins`: tokens by label of their bin, those with pictures first; and `prompts` by rollout.

    Without a picture, tokens follow by how much they move the losses of their bin. A token of a response that made the
    step has no predicted change.
    """
    tokens, pictures = _with_changes(record), _pictures(record)
    tokens = tokens.assign(pictured=tokens["rollout_id"].isin(pictures.keys()))
    texts = {number: _texts(rows) for number, rows in tokens.groupby("rollout_id", sort=False)}
    lists = {}
    for number, rows in tokens.groupby("bin"):
        chosen = pd.concat([rows[rows["pictured"]], rows[~rows["pictured"] & rows["weight"].notna()].head(LISTED)])
        listed = [_token(row, texts[row["rollout_id"]]) for row in chosen.to_dict("records")]
        lists["text" if int(str(number)) < 0 else str(number)] = {"of": len(rows), "tokens": listed}
    used = {token["rollout"] for one in lists.values() for token in one["tokens"]}
    return {"bins": lists, "prompts": _prompts(record, used, pictures)}


def _with_changes(record: Measurement) -> pd.DataFrame:
    """The tokens with their change `[losses, directions]` and its size, the greatest first; missing in one half."""
    sensitivity = record.table("sensitivity")
    tables = [sensitivity[sensitivity["direction"] == name] for name in STEPPED]
    values = np.stack([table[[f"d_{loss}_nats" for loss in LOSSES]].to_numpy() for table in tables], axis=2)
    at = tables[0][["rollout_id", "position"]].reset_index(drop=True)
    at = at.assign(place=np.arange(len(at)), weight=np.abs(values[:, :, :2]).max(axis=(1, 2)))
    joined = record.table("tokens").merge(at, on=["rollout_id", "position"], how="left", validate="1:1")
    changes = [None if np.isnan(place) else values[int(place)] for place in joined["place"]]
    return joined.assign(changes=changes).sort_values("weight", ascending=False, kind="stable")


def _texts(rows: pd.DataFrame) -> dict[int, str]:
    """The texts of a response's tokens by position, as they may be shown."""
    said = rows["token_text"].astype(str).str.translate(MARKS)
    return dict(zip(rows["position"].tolist(), map(visible, said), strict=True))


def _token(row: Mapping[Any, Any], texts: Mapping[int, str]) -> dict[str, Any]:
    at = row["position"]
    before = "".join(texts.get(place, "") for place in range(at - CONTEXT, at))
    behind = "".join(texts.get(place, "") for place in range(at + 1, at + 1 + CONTEXT // 2))
    changes = None if row["changes"] is None else [[_short(value) for value in loss] for loss in row["changes"]]
    words = {"text": texts[at].strip(" ") or "\u00b7", "before": before, "behind": behind}
    return words | {"rollout": int(row["rollout_id"]), "vds": _short(row["vds_nats"]), "changes": changes}


def _short(value: float) -> float:
    """A number with five digits."""
    return float(f"{value:.5g}")


def _pictures(record: Measurement) -> dict[int, str]:
    """The pictures that the record holds, by rollout, in base64."""
    rows = record.table("pictures").to_dict("records") if record.has("pictures") else []
    there = [row for row in rows if isinstance(row["picture"], bytes)]
    return {int(row["rollout_id"]): base64.b64encode(row["picture"]).decode() for row in there}


def _prompts(record: Measurement, used: set[int], pictures: Mapping[int, str]) -> dict[str, Any]:
    if not record.has("rollouts"):
        return {}
    rows = record.table("rollouts")
    shown = rows[rows["rollout_id"].isin(used)].to_dict("records")
    return {str(row["rollout_id"]): _prompt(row, pictures.get(int(row["rollout_id"]), "")) for row in shown}


def _prompt(row: Mapping[Any, Any], png: str) -> dict[str, str]:
    words = visible(str(row["prompt"]).replace("<image>", " ").strip())
    return {"words": words if len(words) <= PROMPT else f"{words[: PROMPT - 1]}\u2026", "png": png}
