"""Records of gradients built from the vectors themselves, so that lengths and angles are known."""

from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

from records import ANGLES, open_record, read_record
from records.columns import OBJECTIVES
from tests.records.synthetic import HEADER, bins_frame

GROUPS = ("vision_tower", "layer_00", "embedding_head")
WORDS = ("<reason>", "it", "is", "\n", "$5$", "\u4e2d", "blue")
N_ROLLOUTS = 4


def vectors(draw, scale=1.0):
    """Five gradients of 6 entries with standard = visual + prior."""
    language, visual, prior, shift = draw.normal(size=(4, 6)) * scale
    return np.stack([visual + prior, language, visual, prior, shift])


def gram_row(unit_id, group, gram):
    pairs = combinations_with_replacement(range(len(OBJECTIVES)), 2)
    entries = {f"gram_{OBJECTIVES[a]}_{OBJECTIVES[b]}": gram[a, b] for a, b in pairs}
    return {"unit_id": unit_id, "group": group} | entries


def token_rows():
    """Four responses of the same words; the last is of a prompt without a picture."""
    draw = np.random.default_rng(0)
    rows = []
    for rollout in range(N_ROLLOUTS):
        seen = rollout < N_ROLLOUTS - 1
        for position, word in enumerate(WORDS):
            row = {"prompt_id": f"p{rollout}", "rollout_id": rollout, "dependency": "high" if seen else "text"}
            row |= {"has_image": seen, "position": position, "token_id": 1, "token_text": word}
            row |= {"vds_nats": 10 ** draw.uniform(-6, 1), "student_vds_nats": 0.1, "bin": position % 3 if seen else -1}
            rows.append(row | {f"kl_{name}_nats": 0.1 for name in ("standard", "language", "visual")})
    return pd.DataFrame(rows)


def write_geometry(folder, unit="token"):
    """Write a record with all tokens but the first of a response measured, and the gradients of each."""
    draw = np.random.default_rng(1)
    tokens, units, grams, found = token_rows(), [], [], {}
    measured = tokens[tokens["has_image"] & (tokens["position"] > 0)]
    for unit_id, token in enumerate(measured.to_dict("records")):
        found[unit_id] = {group: vectors(draw, 10.0 ** token["bin"]) for group in GROUPS}
        grams += [gram_row(unit_id, group, g @ g.T) for group, g in found[unit_id].items()]
        for scope in ("all", "language_model"):
            row = {"unit_id": unit_id, "unit": unit, "n_tokens": 1, "scope": scope}
            row |= {name: token[name] for name in ("prompt_id", "rollout_id", "position", "bin")}
            row |= {f"norm_{name}": 1.0 for name in OBJECTIVES}
            units.append(row | {f"{angle}_deg": draw.uniform(60, 160) for angle in ANGLES})
    rollouts = pd.DataFrame(
        {
            "rollout_id": range(N_ROLLOUTS),
            "prompt_id": [f"p{i}" for i in range(N_ROLLOUTS)],
            "task": "colour",
            "dependency": "high",
            "has_image": True,
            "prompt": "<image> what $colour$ is it?",
            "response": "".join(WORDS),
            "answer": "blue",
            "correct": [True, False, True, True],
            "n_tokens": len(WORDS),
            "truncated": False,
        }
    )
    frames = {"rollouts": rollouts, "tokens": tokens, "units": pd.DataFrame(units), "grams": pd.DataFrame(grams)}
    with open_record(folder, HEADER) as writer:
        writer.finish(frames | {"bins": bins_frame()}, {})
    return read_record(folder, "rollouts", "tokens", "units", "grams", "bins"), found
