"""Small records and tables made for the scoreboard, with answers that are known."""

import numpy as np
import pandas as pd

from records import open_record
from study.claims.judging import CLAIMS, judge_claims
from study.claims.provenance import bundled_weights
from study.claims.sources import RecordFolder
from tests.figures.studies import header, study_tables

SCENES = 200


def reader(**tables):
    """A reader of tables that were never written."""
    return lambda name: tables[name]


def claim(start):
    """The claim whose title begins so."""
    [chosen] = [claim for claim in CLAIMS if claim.title.startswith(start)]
    return chosen


def judged(folder, *starts):
    """A folder of records, and the claims whose titles begin so (default: all), judged from them."""
    records = RecordFolder(folder)
    return judge_claims(records, [claim(start) for start in starts] or CLAIMS), records


def verdicts(shares, seeds=(0, 1, 2)):
    """Answers of arms to scenes of every group, of which a share is right: the same scenes first in every run."""
    rows = []
    for arm, share in shares.items():
        for seed in seeds:
            for group in ("high", "low", "text"):
                right = (np.arange(SCENES) + seed) % SCENES < share * SCENES
                found = {"arm": arm, "seed": seed, "group": group, "task": "colour", "correct": right}
                rows.append(pd.DataFrame(found | {"prompt_id": [f"{group}-{k}" for k in range(SCENES)]}))
    return pd.concat(rows, ignore_index=True).assign(n_tokens=20, truncated=False)


def write(folder, shares, seeds=(0, 1, 2), drop=()):
    """Write a study of arms with these shares of right answers, and everything else made up."""
    tables = study_tables(tuple(shares), seeds) | {"verdicts": verdicts(shares, seeds)}
    own = header(("standard",), seeds) | {"weights": dict(zip(("student", "teacher"), bundled_weights(), strict=True))}
    with open_record(folder, own) as writer:
        writer.finish({name: table for name, table in tables.items() if name not in drop}, {})


def by_seed(rows, arms=("a",), **columns):
    """Rows of a table of a study: one for each arm, seed and step of `rows[seed][step]`, other columns alike."""
    return pd.DataFrame(
        {"arm": arm, "seed": seed, "step": step, **found, **columns}
        for arm in arms
        for seed, steps in enumerate(rows)
        for step, found in enumerate(steps)
    )
