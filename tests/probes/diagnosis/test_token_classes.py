"""Classes of tokens: what the rules make of a text, and shares that add up."""

import numpy as np
import pandas as pd
import pytest

from probes.diagnosis.token_classes import class_rows, classify
from records.tables.diagnosis import CLASSES


@pytest.mark.parametrize(
    ("tokens", "classes"),
    [
        (
            "<reason> there are two red shapes . </reason>",
            "format function function number content content format format",
        ),
        ("\\boxed{ 2 } <|im_end|>", "format answer format format"),
        (
            "\u0120\\ boxed {\\ frac { 1 }{ 2 }} so",
            "format format format answer format answer format answer format function",
        ),
        ("<rea son >", "format format format"),
        ("3.5 cm \u2192 \u0120The \u010a", "number content format function format"),
        ("\\boxed{ never closed", "format answer answer"),
    ],
)
def test_classes_of_tokens(tokens, classes):
    assert classify(tokens.split(" ")) == classes.split(" ")


def test_shares_of_classes_add_up():
    texts = ["<reason>", "two", "red", "\\boxed{", "2", "}"] * 2
    tokens = pd.DataFrame({"token_text": texts, "rollout_id": [0] * 6 + [1] * 6, "position": [*range(6)] * 2})
    tokens["has_image"] = tokens["rollout_id"] == 0
    columns = ("vds", "student_vds", "kl_standard", "kl_language", "kl_visual")
    rows = class_rows(tokens.assign(**{f"{name}_nats": np.arange(12.0) for name in columns}))
    assert rows["token_class"].tolist() == list(CLASSES) and rows["n_tokens"].tolist() == [3, 1, 1, 0, 1]
    assert rows["visual_share"].sum() == pytest.approx(1.0) and rows["visual_share"].iloc[1] == pytest.approx(4 / 15)
