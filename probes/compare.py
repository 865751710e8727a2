"""What changed between two students of one teacher, BEFORE and AFTER?

    python -m probes.compare bundled runs/try/last             # the bundled student and what training made of it
    python -m probes.compare BEFORE AFTER --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.compare BEFORE AFTER --probe-per-bin 0 --accuracy-prompts 1000     # no gradients
    python -m probes.compare BEFORE AFTER --first-order

Both students score the same tokens: responses of BEFORE (`--rollouts-of after`: of AFTER) to the same prompts, at
temperature 1. They are asked, with the difference of pairs and its 95 % interval over prompts:

- Losses: how far standard, language and visual loss and the student's own dependence on the picture moved, by the
  VDS of the token (arXiv:2606.00564, Eq. 12; the teacher's, so that both have the same bins).
- Angles: how far the gradients of the five objectives turned, at the same tokens drawn from each bin.
- Answers: greedy accuracy by what the question depends on and by task, how many answers were gained and lost, and
  some of those whose verdict changed, side by side.

With `--first-order`, for which both students are held: what the difference of the weights foretells of each loss to
first order, beside what was measured (`step_changes`, `step_fits`).

On tokens that AFTER would not have said its losses are off-policy: a fall of them is no proof of better responses,
which is what the answers are for. The teacher is `--teacher`, or the one that both or either of the two name in
pair.json. Reads the checkpoints, one at a time, and the teacher; writes a record (`record.json`, `rollouts`, and the
tables of `records/comparison.py`) with the pictures `before_after` and `changed_answers` (png, svg), and prints the
changes. An interrupted comparison continues where it stood.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cli.progress import progress
from figures import before_after, catalogue, changed_answers
from figures.style import save
from probes import corpus as corpora
from probes.comparison import changes
from probes.comparison.first_order import first_order_tables
from probes.comparison.sides import CompareOptions, Comparison, Flags, ModelOptions, load_both
from probes.comparison.text import summary
from probes.corpus import Corpus
from probes.grams import add_grams
from probes.options import BinOptions, OutputOptions, PromptOptions, run_probe
from probes.tables import unit_rows
from probes.units import Unit, choose_units
from records import RecordWriter, Shards, read_record
from records.comparison import SIDES
from vlm.checkpoint import LoadedModel
from vlm.evaluation import evaluate
from vlm.prompts import Prompt
from vlm.rollouts import Rollout, Sampling

ANSWERS_A_SHARD = 64


@dataclass(frozen=True)
class _Side:
    """What was measured of one student, and the responses and units it was measured at."""

    rollouts: Sequence[Rollout]
    probed: Sequence[Unit]
    unreached: Sequence[str]
    tokens: pd.DataFrame
    units: pd.DataFrame | None
    answers: pd.DataFrame | None


def main(argv: Sequence[str] | None = None) -> int:
    groups = (ModelOptions, PromptOptions, BinOptions, CompareOptions, OutputOptions)
    return run_probe(
        __doc__, groups, lambda both, *values: measure(both, Flags(*values[:-1]), values[-1]), argv, series=True
    )


def measure(checkpoints: Sequence[str], options: Flags, output: OutputOptions) -> None:
    """Measure, record, print and draw."""
    began = time.monotonic()
    comparison = load_both(checkpoints, options)
    with corpora.open_folder("compare", comparison.header, output) as writer:
        sides = _both(comparison, writer)
        tables = _tables(comparison, sides)
        if options.compare.first_order:
            sampled = sides[options.compare.rollouts_of]
            tables |= first_order_tables(comparison, sampled.rollouts, sampled.tokens)
        notes = corpora.run_notes(comparison.asked, comparison.teacher.device, began)
        writer.finish(tables, notes | {"unreached": list(sides["before"].unreached)})
    print(summary(tables, options.compare.scope))
    pictures = _drawn(writer.path, options.compare.scope)
    print(f"record: {writer.path}\npictures: {', '.join(map(str, pictures))}")


def _drawn(folder: Path, scope: str) -> list[Path]:
    """Draw the record, and the answers whose verdict changed if it holds some."""
    record = catalogue.picture("before_after").read(folder)
    pictures = save(before_after.draw(record, scope), folder / "before_after")[:1]
    if record.record["tables"].get("examples"):
        pictures += save(changed_answers.draw(read_record(folder, "examples")), folder / "changed_answers")[:1]
    return pictures


def _both(comparison: Comparison, writer: RecordWriter) -> dict[str, _Side]:
    """Measure first the side whose responses are scored, then the other at the same tokens and units."""
    sampled = comparison.options.compare.rollouts_of
    sides: dict[str, _Side] = {}
    for side in sorted(SIDES, key=lambda side: side != sampled):
        print(f"{side}: {comparison.checkpoints[side]}", file=sys.stderr)
        sides[side] = _measured(comparison, side, sides.get(sampled), writer.part(SIDES.index(side)))
    return sides


def _measured(comparison: Comparison, side: str, first: _Side | None, shards: Shards) -> _Side:
    """Measure one student; its weights are held no longer than this call.

    first: the side measured before it, if there is one.
    """
    options, pair = comparison.options, comparison.pair(side)
    corpus = (
        corpora.collect(pair, comparison.asked, options.prompts, shards)
        if first is None
        else Corpus(pair, comparison.asked, first.rollouts, options.prompts.batch)
    )
    tokens = corpora.token_table(corpus, options.bins.bins, shards)
    probed = _probed(tokens, options) if first is None else first.probed
    unreached, units = [], None
    if probed:
        unreached = add_grams(corpus, pair.student.groups, probed, shards, {"units": unit_rows})
        units = shards.gather("units").sort_values(["scope", "unit_id"], ignore_index=True)
    answers = _answers(pair.student, comparison.questions, options.prompts, shards) if comparison.questions else None
    return _Side(corpus.rollouts, probed, unreached, tokens, units, answers)


def _probed(tokens: pd.DataFrame, options: Flags) -> Sequence[Unit]:
    per_bin = options.compare.probe_per_bin
    return choose_units(tokens, "token", per_bin, options.prompts.seed) if per_bin else []


def _answers(member: LoadedModel, questions: Sequence[Prompt], options: PromptOptions, shards: Shards) -> pd.DataFrame:
    """A row a question: the greedy answer and whether it is right."""
    sampling = Sampling(options.max_response, greedy=True, batch=options.batch)
    with progress("answers", len(questions)) as show:
        for shard, start in enumerate(range(0, len(questions), ANSWERS_A_SHARD)):
            part = questions[start : start + ANSWERS_A_SHARD]
            if not shards.has("answers", shard):
                rows = [{"response": v.rollout.text, "correct": v.correct} for v in evaluate(member, part, sampling)]
                shards.add("answers", shard, pd.DataFrame(rows))
            show(start + len(part))
    return shards.gather("answers")


def _tables(comparison: Comparison, sides: Mapping[str, _Side]) -> dict[str, pd.DataFrame]:
    """The tables of the record; those of gradients and answers where these were asked for."""
    options, seed = comparison.options.compare, comparison.options.prompts.seed
    sampled, prompts = sides[options.rollouts_of], comparison.asked.prompts
    rows = [corpora.rollout_row(n, prompts[said.prompt_id], said) for n, said in enumerate(sampled.rollouts)]
    tokens = changes.token_changes(sampled.tokens, {side: sides[side].tokens for side in SIDES})
    tables = {
        "rollouts": pd.DataFrame(rows),
        "token_changes": tokens,
        "changes": changes.change_rows(tokens, seed),
    }
    units = {side: found.units for side, found in sides.items() if found.units is not None}
    if units:
        tables["unit_changes"] = changes.unit_changes(units)
        tables["angle_changes"] = changes.angle_change_rows(tables["unit_changes"], seed)
    answered = {side: found.answers for side, found in sides.items() if found.answers is not None}
    if answered:
        answers = changes.answer_rows(comparison.questions, answered)
        tables["answers"] = answers
        tables["accuracy_changes"] = changes.accuracy_rows(answers, seed)
        tables["examples"] = changes.example_rows(answers, comparison.questions, options.examples, seed)
    return tables


if __name__ == "__main__":
    sys.exit(main())
