"""Forecasts made up from a seed: changes of tokens along directions, the directions' products, and tried steps."""

import io

import numpy as np
import pandas as pd
from PIL import Image

from records import open_record, read_record
from records.tables.diagnosis import TRIED
from records.tables.forecast import CHANGED, DIRECTIONS
from tests.figures.test_vds import tokens_frame
from tests.records.synthetic import HEADER

HOSTILE = (
    "</script><script>alert('x')</script> \u2028\u2029 \u202egnp\u2066 \x00\x1b[31m <img src=x onerror=alert(1)>"
    " \"'`{{ 7 * 7 }}"
)
"""Text as nobody means well: ends of scripts, line ends of JavaScript, signs that reorder, quotes, a template."""
N_BINS, N_PROMPTS = 4, 24


def png():
    out = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(out, "PNG")
    return out.getvalue()


def sensitivity_frame(tokens, draw):
    """The changes of the tokens of rollouts with an odd number; standard is the sum of visual and prior."""
    held = tokens[tokens["rollout_id"] % 2 == 1]
    scale = 10.0 ** (held["bin"].to_numpy() - 3.0)[:, None]
    values = {name: draw.normal(size=(len(held), len(CHANGED))) * scale for name in DIRECTIONS}
    values["standard"] = values["visual"] + values["prior"]
    at = held[["prompt_id", "rollout_id", "position", "bin"]].reset_index(drop=True)
    columns = [f"d_{loss}_nats" for loss in CHANGED]
    frames = [pd.concat([at, pd.DataFrame(values[name], columns=columns)], axis=1) for name in DIRECTIONS]
    return pd.concat(
        [frame.assign(direction=name) for name, frame in zip(DIRECTIONS, frames, strict=True)], ignore_index=True
    )


def products_frame(draw):
    vectors = {name: draw.normal(size=9) for name in DIRECTIONS}
    vectors["standard"] = vectors["visual"] + vectors["prior"]
    rows = [(a, b, float(vectors[a] @ vectors[b])) for a in DIRECTIONS for b in DIRECTIONS]
    return pd.DataFrame(rows, columns=["direction_a", "direction_b", "product"])


def trial_frame(settings=((0.0, 0.0, "detached", ""), (3.25, 0.5, "frozen", "passes"))):
    """Standard, and a setting that passes, in two groups of bins."""
    rows = []
    for gamma, lambda_, prior, verdict in settings:
        for bin_ in ("high", "all"):
            for place, loss in enumerate(TRIED):
                change = {"change_nats": -0.5 - gamma / 8 - place / 8, "low_nats": -2.0, "high_nats": 0.5}
                against = {"against_standard_nats": -gamma, "margin_nats": 0.25}
                ends = {"against_standard_low_nats": -gamma - 1, "against_standard_high_nats": 1 - gamma}
                known = {"gamma": gamma, "lambda": lambda_, "prior": prior, "steps": 4, "lr": 3e-4, "n_tokens": 2}
                rows.append(known | {"bin": bin_, "loss": loss, "verdict": verdict} | change | against | ends)
    return pd.DataFrame(rows)


def rollouts_frame(prompt=HOSTILE):
    columns = {"prompt_id": [f"p{i}" for i in range(N_PROMPTS)], "task": "t", "dependency": "high", "has_image": True}
    said = {"prompt": f"<image>{prompt}", "response": "x", "answer": "<b>2</b>", "correct": True}
    return pd.DataFrame({"rollout_id": range(N_PROMPTS), **columns, **said, "n_tokens": 10, "truncated": False})


def tables(seed=0, trial=True):
    draw, tokens = np.random.default_rng(seed), tokens_frame(10 * N_PROMPTS)
    tokens["bin"] = np.where(tokens["has_image"], np.arange(len(tokens)) // 3 % N_BINS, -1)
    tokens.loc[tokens["position"] == 3, "token_text"] = HOSTILE
    found = {
        "tokens": tokens,
        "sensitivity": sensitivity_frame(tokens, draw),
        "direction_products": products_frame(draw),
        "rollouts": rollouts_frame(),
        "pictures": pd.DataFrame({"rollout_id": [1, 2], "prompt_id": ["p1", "p2"], "picture": [png(), None]}),
    }
    return found | ({"trial": along(trial_frame(), found["sensitivity"])} if trial else {})


def along(trial, sensitivity):
    """Turn the trial's changes to the side on which standard distillation is predicted to move the losses."""
    standard = sensitivity[(sensitivity["direction"] == "standard") & (sensitivity["bin"] >= 0)]
    side = np.sign(standard[[f"d_{loss}_nats" for loss in TRIED]].to_numpy().mean())
    return trial.assign(**{name: -side * trial[name] for name in ("change_nats", "low_nats", "high_nats")})


def write(folder, **asked):
    """Write a record of a forecast of four bins, and read it."""
    content = tables(**asked)
    settings = HEADER["settings"] | {"bins": N_BINS}
    with open_record(folder, HEADER | {"probe": "probes.sensitivity", "settings": settings}) as writer:
        writer.finish(content, {"prompts_of_directions": 12, "prompts_of_forecast": 12})
    return read_record(folder, *content)
