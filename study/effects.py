"""What a study found: a record of its runs, and which differences between its arms count.

    python -m study.effects runs/study
    python -m study.effects runs/study --primary --out figures/gallery/study
    python -m study.effects figures/gallery/study --primary
    python -m study.effects runs/study --continue figures/gallery/study

Reads the complete runs of `python -m study`; writes the tables of `records.tables.study` and prints `effects`. The last
before the last judges a record again, from its own tables; the last adds runs to a record.

`study/rules.py` states the rule. Arms are compared by Welch's t over their seeds, unpaired. A difference that counts
makes an arm *better* or *worse* in accuracy, *higher* or *lower* in a loss. Arms are *equivalent* if two one-sided
tests put the difference inside the margin, else *undecided*. An arm with one seed is *not judged*.

With `--primary` the record is the one that the primary contrasts are about, and these are adjusted by Holm. All other
comparisons are exploratory and unadjusted.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import exit_code
from cli.one_line import one_line
from cli.options import Parser, flag, pick
from cli.shell import run_module
from cli.visible import print_out

if TYPE_CHECKING:  # pandas takes half a second, which --help has no use for
    import pandas as pd

    from records import Measurement


def collect(folder: str | Path, primary: bool = False) -> dict[str, "pd.DataFrame"]:
    """Read the complete runs of a study and return the tables of its record, by name.

    Args:
        folder: the folder that `study.run` filled.
        primary: whether the study is the one that the primary contrasts are about.

    Raises:
        RecordError: there is none, none that was trained, two answered other prompts, or a journal is broken.
    """
    import pandas as pd

    from records import RecordError, read_journal
    from records.journal_tables import Run, journal_tables
    from records.tables.study import VERDICTS
    from study.answers import ANSWERS, read_answers
    from study.arms import INITIAL
    from study.comparison import compare_arms

    answered = {path.parent: read_answers(path) for path in sorted(Path(folder).glob(f"*/{ANSWERS}"))}
    if not answered:
        raise RecordError(f"`{folder}` holds no complete run: make one with `{run_module('study', '--out', folder)}`")
    _refuse_other_prompts(answered)
    verdicts = pd.concat(answered.values(), ignore_index=True)[VERDICTS.names]
    trained = [(path, frame.iloc[0]) for path, frame in answered.items() if frame["arm"].iloc[0] != INITIAL]
    if not trained:
        raise RecordError(f"`{folder}` holds no arm that was trained: name some in `python -m study --arms`")
    tables = journal_tables([Run(str(row["arm"]), int(row["seed"]), read_journal(path)) for path, row in trained])
    return tables | {"verdicts": verdicts, "effects": compare_arms(tables["curves"], verdicts, primary)}


def record(folder: str | Path, out: str | Path | None = None, primary: bool = False) -> "Measurement":
    """Write the record of a study and return it with all its tables.

    Args:
        folder: the folder that `study.run` filled, or a record of a study, which is then judged again.
        out: folder of the record (default: the study's own `record`, or the record itself); a record that is there is
            replaced.
        primary: whether the study is the one that the primary contrasts are about.

    Raises:
        RecordError: see `collect`; or a record that is incomplete.
    """
    from records import read_record
    from records.record_json import RECORD

    folder = Path(folder)
    if (folder / RECORD).is_file():
        path, header, tables = Path(out or folder), read_record(folder).header, _judged_again(folder, primary)
    else:
        tables, header = _of_runs(folder, primary)
        path = Path(out or folder / "record")
    return _written(path, header, tables)


def _of_runs(folder: Path, primary: bool) -> tuple[dict[str, "pd.DataFrame"], dict[str, Any]]:
    """The tables and the header of the complete runs of a study."""
    from records import RecordError

    with one_line(f"`{folder}` must hold runs of `python -m study`", "train them again, or name another", RecordError):
        return collect(folder, primary), _header(folder)


def _judged_again(folder: Path, primary: bool) -> dict[str, "pd.DataFrame"]:
    """The tables of a record, with the differences between arms judged from the others."""
    from records import read_record
    from records.tables.study import EFFECTS, TABLES
    from study.comparison import compare_arms

    tables = dict(read_record(folder, *(name for name in TABLES if name != EFFECTS.name)).tables)
    return tables | {EFFECTS.name: compare_arms(tables["curves"], tables["verdicts"], primary)}


def grow(record: str | Path, folder: str | Path, primary: bool = False) -> "Measurement":
    """Add the complete runs of a study to a record of such runs, and judge all of them; return the record.

    Args:
        record: the folder of the record, which is replaced; begun if there is none.
        folder: the folder that `study.run` filled.
        primary: see `record`.

    Raises:
        RecordError: see `collect`; or the two do not fit, see `study.continued`.
    """
    from records import read_record
    from records.record_json import RECORD
    from records.tables.study import EFFECTS, TABLES
    from study.comparison import compare_arms
    from study.continued import joined_header, joined_tables

    path = Path(record)
    added, its_header = _of_runs(Path(folder), primary)
    if not (path / RECORD).is_file():
        return _written(path, its_header, added)
    held = read_record(path, *(name for name in TABLES if name != EFFECTS.name))
    header, tables = joined_header(held.header, its_header), joined_tables(held.tables, added)
    by_run = tables["verdicts"].groupby(["arm", "seed"])
    _refuse_other_prompts({path / f"{arm}-{seed}": rows for (arm, seed), rows in by_run})
    tables[EFFECTS.name] = compare_arms(tables["curves"], tables["verdicts"], primary)
    return _written(path, header, tables)


def _written(path: Path, header: Mapping[str, Any], tables: Mapping[str, "pd.DataFrame"]) -> "Measurement":
    from records import open_record, read_record
    from records.tables.study import TABLES

    with open_record(path, header, overwrite=True) as writer:
        writer.finish(tables, {})
    return read_record(path, *TABLES)


def _refuse_other_prompts(answered: Mapping[Path, "pd.DataFrame"]) -> None:
    """Arms are compared prompt by prompt."""
    from records import RecordError

    (first, asked), *others = ((path, set(frame["prompt_id"])) for path, frame in answered.items())
    for path, prompts in others:
        if prompts != asked:
            raise RecordError(f"`{path}` answered other prompts than `{first}`: repeat it with the same `--answers`")


def _header(folder: Path) -> dict[str, Any]:
    """What identifies the study: the flags of each run, and the weights that all began with."""
    from records import RecordError
    from records.run_folder import CONFIG, read_config
    from study.answers import ANSWERS
    from study.arms import ARMS

    complete = sorted(path.with_name(CONFIG) for path in folder.glob(f"*/{ANSWERS}"))
    configs = {path.parent.name: read_config(path) for path in complete if path.is_file()}
    for name, content in configs.items():
        arm, settings = name.rpartition("-")[0], content["settings"]
        own = {"objective": ARMS[arm]["objective"], "seed": int(name.rpartition("-")[2])} if arm in ARMS else {}
        if any(settings.get(field) != value for field, value in own.items()):
            raise RecordError(f"`{folder / name / CONFIG}` is of another run than {name}: put back what the run wrote")
    first = next(iter(configs.values()))
    pair = {"student": first["settings"]["student"], "teacher": first["settings"]["teacher"]}
    runs = {name: content["settings"] for name, content in configs.items()}
    return {"probe": "study", "pair": pair, "weights": first["weights"], "settings": {"runs": runs}}


SHOWN = ["arm", "against", "quantity", "where", "kind", "difference", "low", "high", "p", "detectable", "counts_as"]
"""The columns that are printed; the record has more."""


@dataclass(frozen=True)
class EffectsOptions:
    """Output"""

    out: str | None = flag(None, "folder of the record (default: STUDY/record, or the record itself)", short="FOLDER")
    continue_: str | None = flag(None, "a record that the runs of STUDY are added to", short="RECORD")
    primary: bool = flag(False, "the record is the one that the primary contrasts of study/rules.py are about")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the record and print what counts; return the exit code."""
    parser = Parser("study.effects", __doc__)
    parser.add_argument("study", type=str, help="what python -m study was given as --out, or a record")
    parser.add_options(EffectsOptions)
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _print_effects(parsed.study, pick(parsed, EffectsOptions)))


def _print_effects(folder: str, options: EffectsOptions) -> None:
    if options.continue_ is None:
        written = record(folder, options.out, options.primary)
    else:
        written = grow(options.continue_, folder, options.primary)
    print_out(written.effects[SHOWN].round(4).to_string(index=False))
    print_out(f"record: {written.path}")
    print_out(f"next: {run_module('figures', written.path or folder)}")


if __name__ == "__main__":
    sys.exit(main())
