"""The parts of a diagnosis that need gradients: geometry with null, forecast and trial of steps, precision check."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cli.errors import OptionError
from cli.progress import progress
from probes.corpus import Corpus
from probes.diagnosis.decision import candidates
from probes.diagnosis.facts import Facts
from probes.diagnosis.trial import PASSES, tried_of
from probes.forecast import directions
from probes.forecast import tables as forecast
from probes.forecast.trial import Ground, Pace, Setting, trial_rows
from probes.grams import add_grams
from probes.options import MetricOptions, PairOptions
from probes.precision import exact_corpus, precision_rows, reference_options, sample
from probes.summaries import layer_rows
from probes.tables import bin_rows, gram_rows, unit_rows
from probes.units import Unit, choose_units, null_angles
from records import RecordWriter
from records.tables.forecast import PRIORS
from vlm.families import parameter_kinds


def geometry_tables(
    corpus: Corpus, tokens: pd.DataFrame, per_bin: int, seed: int, writer: RecordWriter
) -> tuple[list[Unit], dict[str, pd.DataFrame]]:
    """The probed tokens, and the tables `units`, `grams`, `bins` (with the null) and `layers`."""
    chosen = choose_units(tokens, "token", per_bin, seed)
    add_grams(
        corpus, parameter_kinds(corpus.pair.student.model), chosen, writer, {"grams": gram_rows, "units": unit_rows}
    )
    units = writer.gather("units").sort_values(["scope", "unit_id"], ignore_index=True)
    grams, null = writer.gather("grams"), _null(corpus, chosen, seed, writer)
    bins = bin_rows(tokens, units, grams, null, seed)
    return chosen, {"units": units, "grams": grams, "bins": bins, "layers": layer_rows(units, grams, seed)}


def forecast_tables(corpus: Corpus, tokens: pd.DataFrame, n_bins: int, seed: int, writer: RecordWriter) -> dict:
    """The tables of `probes.sensitivity`, without steps that are taken."""
    first, second = directions.halves(tokens, seed)
    with progress("forecast", len(directions.PASSES)) as show:
        for shard, name in enumerate(directions.PASSES):
            if not writer.has("direction_products", shard):
                along = directions.descent(corpus, first, {name: 1.0})
                writer.add("sensitivity", shard, directions.change_rows(corpus, tokens, second, along, name))
                writer.add("direction_products", shard, pd.DataFrame([directions.products(corpus, first, along)]))
            show(shard + 1)
    sensitivity = directions.with_standard(writer.gather("sensitivity"))
    products = directions.product_rows(writer.gather("direction_products"))
    means, gram = forecast.resampled_means(sensitivity, n_bins, seed), forecast.gram_of(products)
    with np.errstate(invalid="ignore"):  # eta of two gradients that are 0
        return {
            "sensitivity": sensitivity,
            "direction_products": products,
            "forecast": forecast.forecast_rows(means),
            "steering": forecast.steering_rows(gram),
            "readings": forecast.reading_rows(means, gram),
        }


def trial_table(
    corpus: Corpus, tokens: pd.DataFrame, facts: Facts, n_bins: int, seed: int, pace: Pace, writer: RecordWriter
) -> pd.DataFrame:
    """The table `trial`: standard distillation, then the candidates in their order until one passes."""
    ground = Ground(corpus, directions.halves(tokens, seed), pace)
    known = tokens.loc[tokens["rollout_id"].isin(ground.halves[1].numbers), ["prompt_id", "bin"]]
    known = known.reset_index(drop=True)
    steered = [Setting(*candidate) for candidate in candidates(facts)]
    standard = Setting(0.0, 0.0, steered[0].prior if steered else PRIORS[0])
    frames: list[pd.DataFrame] = []
    with progress("trial", 1 + len(steered)) as show:
        of_standard = _taken(ground, standard, known, 0, writer)
        frames.append(trial_rows(standard, pace, of_standard, of_standard, n_bins, seed).assign(verdict=""))
        for shard, setting in enumerate(steered, start=1):
            show(shard)
            changes = _taken(ground, setting, known, shard, writer)
            rows = trial_rows(setting, pace, changes, of_standard, n_bins, seed)
            frames.append(rows.assign(verdict=(verdict := tried_of(rows).verdict)))
            if verdict == PASSES:
                break
        show(1 + len(steered))
    return pd.concat(frames, ignore_index=True)


def halves_notes(tables: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """How many prompts made the directions of the forecast, and on how many others it speaks."""
    if "sensitivity" not in tables:
        return {}
    n_all, n_second = (tables[name]["prompt_id"].nunique() for name in ("tokens", "sensitivity"))
    return {"prompts_of_directions": n_all - n_second, "prompts_of_forecast": n_second}


def precision_table(
    corpus: Corpus,
    checkpoint: str,
    options: PairOptions,
    tokens: pd.DataFrame,
    units: list[Unit],
    table: pd.DataFrame,
    n: int,
) -> pd.DataFrame | None:
    """The table `precision`; none where the measurement is in the reference dtype already."""
    try:
        reference_options(options)
    except OptionError:
        return None
    exact = exact_corpus(corpus, checkpoint, options, MetricOptions())
    return precision_rows(exact, tokens, sample(units, n, 0), table, "all")


def _null(corpus: Corpus, units: list[Unit], seed: int, writer: RecordWriter) -> pd.DataFrame:
    """The angles of unrelated tokens, a bin a shard."""
    bins = sorted({unit.bin for unit in units})
    columns = ["bin", "scope", "detached_deg", "attached_deg"]
    with progress("null", len(bins)) as show:
        for done, bin_ in enumerate(bins, start=1):
            if not writer.has("null", bin_):
                rows = list(null_angles(corpus, [unit for unit in units if unit.bin == bin_], seed + bin_))
                writer.add("null", bin_, pd.DataFrame(rows, columns=columns))
            show(done)
    return writer.gather("null")


def _taken(ground: Ground, setting: Setting, known: pd.DataFrame, shard: int, writer: RecordWriter) -> pd.DataFrame:
    """The changes by a setting's steps, a row a token; those steps may have been taken by an interrupted run."""
    if not writer.has("trial", shard):
        writer.add("trial", shard, known.join(ground.changes(setting)).assign(shard=shard))
    rows = writer.gather("trial")
    return rows[rows["shard"] == shard].reset_index(drop=True)
