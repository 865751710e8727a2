"""The responses of the report, token by token: colour, contrast, and the words shown for a token under the pointer."""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import LogNorm, to_hex

from figures.ribbon import VDS_RANGE_NATS, marked
from figures.style import INK
from records import Measurement
from records.columns import MARKS

_NORM = LogNorm(*VDS_RANGE_NATS, clip=True)


def colours(vds_nats: float) -> tuple[str, str]:
    """Return the colour of a token and that of its text; the colours of `figures.ribbon`."""
    rgba = colormaps["YlGnBu"](float(_NORM(max(vds_nats, VDS_RANGE_NATS[0]))))
    return to_hex(rgba), "#ffffff" if np.dot(rgba[:3], (0.299, 0.587, 0.114)) < 0.5 else INK


def key_steps() -> list[dict[str, str]]:
    """Return the steps of the key."""
    steps = [(value, *colours(value)) for value in (0.001, 0.01, 0.1, 1.0, 5.0)]
    return [{"text": f"{value:g}", "colour": colour, "ink": ink} for value, colour, ink in steps]


def responses(record: Measurement) -> list[dict[str, Any]]:
    """Return the responses of the table `pictures` in its order."""
    tokens = _tokens(record)
    rollouts = record.table("rollouts").set_index("rollout_id")
    shown = []
    for row in record.table("pictures").to_dict("records"):
        rollout = rollouts.loc[row["rollout_id"]]
        verdict = {True: "right", False: "wrong"}.get(rollout["correct"], "not judged")
        said = tokens[tokens["rollout_id"] == row["rollout_id"]].sort_values("position")
        png = base64.b64encode(row["picture"]).decode() if isinstance(row["picture"], bytes) else ""
        prompt = str(rollout["prompt"]).replace("<image>", " ").strip()
        asked = {"prompt": prompt, "answer": rollout["answer"], "verdict": verdict, "png": png}
        shown.append(asked | {"tokens": [_token(token) for token in said.to_dict("records")]})
    return shown


def _tokens(record: Measurement) -> pd.DataFrame:
    """Return the table `tokens` with angles and conflicts, where they were measured."""
    if record.has("units", "bins"):
        return marked(record, attached=False, threshold_deg=90.0)
    return record.table("tokens").assign(angle_deg=np.nan, conflict=False)


def _token(token: Mapping) -> dict[str, Any]:
    colour, ink = colours(token["vds_nats"])
    text = str(token["token_text"]).translate(MARKS).strip(" ") or "\u00b7"
    return {"text": text, "colour": colour, "ink": ink, "conflict": bool(token["conflict"]), "tip": _tip(text, token)}


def _tip(text: str, token: Mapping) -> str:
    """Return the words shown for a token."""
    names = {"VDS": "vds", "student's own": "student_vds"}
    names |= {loss: f"kl_{loss}" for loss in ("standard", "language", "visual")}
    parts = [f"{name} {token[f'{column}_nats']:.2g}" for name, column in names.items()]
    words = f"{text} \u00b7 bin {token['bin']} \u00b7 nats: {', '.join(parts)}"
    if math.isnan(token["angle_deg"]):
        return words
    return f"{words} \u00b7 language-visual angle {token['angle_deg']:.0f} degrees"
