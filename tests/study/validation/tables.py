"""Synthetic tables of predictions and outcomes whose scores are known by hand."""

import pandas as pd

from study.validation.reading import COLUMNS, LOSS, POINTS

WIDTH = {"predicted": 0.2, LOSS: 0.05, POINTS: 1.0}


def row(pair, kind="language", **values):
    """One row; `predicted`, `loss` and `points` are made into intervals of a fixed half width."""
    common = {"gamma": 2.0, "lambda": 0.01, "prior": "detached", "verdict": "do not steer", "advised": False}
    common |= {"trial": "undecided", "predicted": 0.0, LOSS: 0.0, POINTS: 0.0} | values
    for name, half in WIDTH.items():
        common |= {f"{name}_low": common[name] - half, f"{name}_high": common[name] + half}
    return common | {"pair": pair, "kind": kind}


def table(*rows):
    return pd.DataFrame(rows)[COLUMNS]


def line(n, slope=1.0, kinds=("language", "vision")):
    """`n` pairs of one setting each, whose realised loss is `slope` times what was predicted, -0.3 upward."""
    made = []
    for number in range(n):
        predicted = -0.3 + 0.1 * number
        made.append(row(f"p{number:02}", kinds[number % 2], predicted=predicted, **{LOSS: slope * predicted}))
    return table(*made)
