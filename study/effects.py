"""What a study found: a record of its runs, and which differences between its arms count.

    python -m study.effects runs/study
    python -m study.effects runs/study --out figures/gallery/study

Reads the complete runs of `python -m study`; writes the tables of `records.tables.study` and prints `effects`.

The rule, set before the study was run. An arm is *better* (*worse*) than another in accuracy if the difference, for
each prompt the mean over seeds, has a 95 % bootstrap interval over prompts above (below) 0 and the same sign in all
seeds. It is *lower* (*higher*) in a loss if the difference on the fixed rollouts after the last step has the same sign
in all seeds and is at least twice its standard error over seeds. Anything else is *no difference*; one seed is *not
judged*.
"""

import json
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


def collect(folder: str | Path) -> dict[str, "pd.DataFrame"]:
    """Read the complete runs of a study and return the tables of its record, by name.

    Raises:
        RecordError: there is none, none that was trained, two answered other prompts, or a journal is broken.
    """
    import pandas as pd

    from records import RecordError, read_journal
    from records.journal_tables import Run, journal_tables
    from records.tables.study import VERDICTS
    from study.answers import ANSWERS
    from study.arms import INITIAL
    from study.comparison import compare_arms

    answered = {path.parent: pd.read_parquet(path) for path in sorted(Path(folder).glob(f"*/{ANSWERS}"))}
    if not answered:
        raise RecordError(f"`{folder}` holds no complete run: make one with `{run_module('study', '--out', folder)}`")
    _refuse_other_prompts(answered)
    verdicts = pd.concat(answered.values(), ignore_index=True)[VERDICTS.names]
    trained = [(path, frame.iloc[0]) for path, frame in answered.items() if frame["arm"].iloc[0] != INITIAL]
    if not trained:
        raise RecordError(f"`{folder}` holds no arm that was trained: name some in `python -m study --arms`")
    tables = journal_tables([Run(str(row["arm"]), int(row["seed"]), read_journal(path)) for path, row in trained])
    return tables | {"verdicts": verdicts, "effects": compare_arms(tables["curves"], verdicts)}


def record(folder: str | Path, out: str | Path | None = None) -> "Measurement":
    """Write the record of a study and return it with all its tables.

    Args:
        folder: the folder that `study.run` filled.
        out: folder of the record (default: the study's own `record`); a record that is there is replaced.

    Raises:
        RecordError: see `collect`.
    """
    from records import RecordError, open_record, read_record
    from records.tables.study import TABLES

    with one_line(f"`{folder}` must hold runs of `python -m study`", "train them again, or name another", RecordError):
        tables, header = collect(folder), _header(Path(folder))
    path = Path(out) if out else Path(folder) / "record"
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
    from train.folder import CONFIG

    configs = {path.parent.name: json.loads(path.read_bytes()) for path in sorted(folder.glob(f"*/{CONFIG}"))}
    first = next(iter(configs.values()))
    pair = {"student": first["settings"]["student"], "teacher": first["settings"]["teacher"]}
    runs = {name: content["settings"] for name, content in configs.items()}
    return {"probe": "study", "pair": pair, "weights": first["weights"], "settings": {"runs": runs}}


@dataclass(frozen=True)
class EffectsOptions:
    """Output"""

    out: str | None = flag(None, "folder of the record (default: STUDY/record)", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the record and print what counts; return the exit code."""
    parser = Parser("study.effects", __doc__)
    parser.add_argument("study", type=str, help="the folder that python -m study was given as --out")
    parser.add_options(EffectsOptions)
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _print_effects(parsed.study, pick(parsed, EffectsOptions)))


def _print_effects(folder: str, options: EffectsOptions) -> None:
    written = record(folder, options.out)
    print_out(written.effects.round(4).to_string(index=False))
    print_out(f"record: {written.path}")
    print_out(f"next: {run_module('figures', written.path or folder)}")


if __name__ == "__main__":
    sys.exit(main())
