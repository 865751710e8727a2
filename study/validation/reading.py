"""From records to one table: what each diagnosis predicted of a setting, and what training with it did.

    FOLDER/pairs.csv            a row for each pair: its name, and what kind of pair it is
    FOLDER/NAME/diagnosis       a record of `python -m probes.diagnose --try-every`
    FOLDER/NAME/study           a record of `python -m study.effects`, or its table effects.csv alone
    PHASES                      instead of that, the record of `python -m study.phases`, which has many pairs by name

The table has a row for each pair and setting that was both tried and trained. Differences are from standard
distillation of the same pair; a realised loss is that of the upper bins on fixed responses after the last step. Those
of PHASES are over the seeds' differences, see `study.rules`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from cli.errors import UserError
from geometry.objective_settings import GAMMA, LAMBDA
from records import RecordError, read_record
from records.record_json import RECORD
from records.tables.forecast import PRIORS
from stats import N_BINS, bins_label, upper_bins
from study.arms import ARMS
from study.phases.read import read_phases

PAIRS: Final = "pairs.csv"
KEY: Final = ["pair", "gamma", "lambda", "prior"]
"""What names a row."""
LOSS: Final = "loss"
"""An endpoint: the standard loss of the upper bins, in nats."""
POINTS: Final = "points"
"""The other one: the accuracy on scenes that need the picture."""
COLUMNS: Final = [
    *KEY,
    "kind",
    "verdict",
    "advised",
    "trial",
    *(f"predicted{end}" for end in ("", "_low", "_high")),
    *(f"{endpoint}{end}" for endpoint in (LOSS, POINTS) for end in ("", "_low", "_high")),
]
"""The columns of the table; `trial` is the verdict of the setting, and `advised` says whether it is recommended."""
_UPPER: Final = bins_label(upper_bins(N_BINS))
_NUMBERS: Final = ("difference", "low", "high")
_EFFECTS: Final = ("arm", "against", "quantity", "where", *_NUMBERS)
_WHERE: Final[Mapping[str, tuple[str, str]]] = {LOSS: ("standard", _UPPER), POINTS: ("correct", "high")}


class NothingToValidate(UserError):
    """There is no pair with both records."""


def read_folder(folder: Path, phases: Path | None = None) -> pd.DataFrame:
    """Return the table of all pairs, with the columns `COLUMNS`.

    Args:
        folder: holds `pairs.csv` and a folder for each pair.
        phases: record of `study.phases`, for pairs without a record of a study.

    Raises:
        NothingToValidate: there is no pair with both records.
        RecordError: a record is broken.
    """
    index = folder / PAIRS
    if not index.is_file():
        raise NothingToValidate(f"`{index}` is missing: {HOW}")
    by_pair = _of_phases(phases)
    frames = []
    for row in _csv(index, ("pair", "kind"), dtype=str).to_dict("records"):
        place, pair = folder / row["pair"], row["pair"]
        effects = _of_study(place / "study") if (place / "study").is_dir() else by_pair.get(pair)
        if (place / "diagnosis").is_dir() and effects is not None:
            frames.append(pair_rows(pair, row["kind"], *_of_diagnosis(place / "diagnosis"), effects))
    if not frames:
        raise NothingToValidate(f"`{folder}` has no pair with both records: {HOW}")
    return pd.concat(frames, ignore_index=True)


HOW: Final = (
    "run `python -m probes.diagnose STUDENT --teacher TEACHER --try-every --out FOLDER/NAME/diagnosis` and"
    " `python -m study.effects STUDY --out FOLDER/NAME/study` for each pair, and list NAME and its kind in"
    f" FOLDER/{PAIRS} (columns pair, kind)"
)


def _of_diagnosis(place: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    diagnosis = read_record(place, "recommendation")
    return diagnosis.table("trial") if diagnosis.has("trial") else pd.DataFrame(), diagnosis.recommendation


def _of_study(place: Path) -> pd.DataFrame:
    """The table `effects` of a study, with differences of accuracy in points."""
    effects = _csv(place / "effects.csv", _EFFECTS)
    unit = (effects["quantity"] == "correct").map({True: 100.0, False: 1.0})
    return effects.assign(**{column: unit * effects[column] for column in _NUMBERS})


def _of_phases(phases: Path | None) -> dict[str, pd.DataFrame]:
    """The same of each pair of a record of `study.phases`, by the name of the pair."""
    if phases is None or not (phases / RECORD).is_file():
        return {}
    table = read_phases(phases, phases.parent / "suite")
    where = [dict(_WHERE.values()).get(quantity, _UPPER) for quantity in table["quantity"]]
    return {str(pair): rows for pair, rows in table.assign(where=where).groupby("pair")}


def _csv(path: Path, columns: Sequence[str], dtype: type | None = None) -> pd.DataFrame:
    """Read a table that must have these columns."""
    try:
        table = pd.read_csv(path, dtype=dtype)
    except (OSError, ValueError) as error:
        raise RecordError(f"`{path}` cannot be read ({type(error).__name__}): {HOW}") from None
    if missing := [name for name in columns if name not in table]:
        raise RecordError(f"`{path}` must have the column `{missing[0]}`, got {', '.join(map(str, table))}: {HOW}")
    return table


def pair_rows(
    pair: str, kind: str, trial: pd.DataFrame, recommendation: pd.DataFrame, effects: pd.DataFrame
) -> pd.DataFrame:
    """Return the rows of one pair, from the tables `trial`, `recommendation` and `effects`."""
    choice = dict(zip(recommendation["setting"], recommendation["choice"], strict=True))
    common = {"pair": pair, "kind": kind, "verdict": choice["verdict"]}
    both = predictions(trial).merge(realised(effects), on=KEY[1:]).assign(**common)
    advised = (choice["gamma"], choice["lambda"], choice["prior"])
    chosen = [(f"{row['gamma']:g}", f"{row['lambda']:g}", row["prior"]) == advised for row in both.to_dict("records")]
    return both.assign(advised=chosen)[COLUMNS]


def predictions(trial: pd.DataFrame) -> pd.DataFrame:
    """Return what a trial predicts: the difference of the standard loss of the upper bins, and the verdict."""
    names = {"against_standard_nats": "predicted"}
    names |= {f"against_standard_{end}_nats": f"predicted_{end}" for end in ("low", "high")}
    columns = [*KEY[1:], *names.values(), "trial"]
    if trial.empty:
        return pd.DataFrame(columns=columns)
    rows = trial[(trial["bin"] == "high") & (trial["loss"] == "standard") & (trial["verdict"] != "")]
    return rows.rename(columns=names | {"verdict": "trial"})[columns].reset_index(drop=True)


def realised(effects: pd.DataFrame) -> pd.DataFrame:
    """Return what training did: for each arm that a diagnosis could advise, the differences of both endpoints."""
    ours = effects[(effects["against"] == "standard") & effects["arm"].isin(SETTINGS)]
    rows = []
    for arm, members in ours.groupby("arm", sort=False):
        row: dict[str, object] = dict(zip(KEY[1:], SETTINGS[str(arm)], strict=True))
        for endpoint, (quantity, where) in _WHERE.items():
            one = members[(members["quantity"] == quantity) & (members["where"] == where)]
            values: Mapping = one.iloc[0].to_dict() if len(one) else {}
            names = {"difference": endpoint, "low": f"{endpoint}_low", "high": f"{endpoint}_high"}
            row |= {name: float(values.get(column, float("nan"))) for column, name in names.items()}
        rows.append(row)
    ends = [f"{endpoint}{end}" for endpoint in (LOSS, POINTS) for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*KEY[1:], *ends])


def _settings() -> dict[str, tuple[float, float, str]]:
    """Gamma, lambda and prior of each arm of a study that a diagnosis could advise, by its name."""
    settings = {}
    for name, flags in ARMS.items():
        if flags["objective"] in ("vgs", "vgs-lp") and set(flags) <= {"objective", "gamma", "lambda_", "prior"}:
            kept = flags.get("lambda_", LAMBDA) if flags["objective"] == "vgs-lp" else 0.0
            settings[name] = (float(flags.get("gamma", GAMMA)), float(kept), str(flags.get("prior", PRIORS[0])))
    return settings


SETTINGS: Final[Mapping[str, tuple[float, float, str]]] = _settings()
