"""What would distillation of this student by this teacher do, and should it be steered? Before any GPU week.

    python -m probes.diagnose                                  # the bundled pair
    python -m probes.diagnose runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.diagnose CKPT --teacher CKPT --skip-geometry --skip-forecast      # no gradients: seconds

One set of on-policy responses of the student answers:

- Do the two fit: one tokenizer, the same preprocessing, prompts that both have room for?
- Does the teacher see: its visual dependency (VDS, arXiv:2606.00564, Eq. 12), and a content control, the divergence
  between the right picture and another prompt's of the same size. A teacher that reacts to the presence of a picture
  only has the first without the second. Likewise: does the student look?
- Where the gap lies: standard, visual and language loss by VDS bin and by class of token
  (`probes.diagnosis.token_classes`).
- How the gradients stand, against the null, q* detached and attached, by scope and part of the model.
- What a first step would do to held-out language (`probes.sensitivity`), and what the dtype costs.
- What a few real steps at your own rate (`--trial-lr`) do: of standard distillation, then of settings of vgs-lp until
  one passes the trial (`probes.diagnosis.trial`). The weights are put back.

`probes.diagnosis.decision` makes of them a verdict and the recommended objective, gamma, lambda and prior, each with
its reason; `probes.diagnosis.costs` what this cost and what a full run would. Writes a record (the tables of
`probes.angles`, `probes.layers` and `probes.sensitivity` and those of `records/diagnosis.py`), prints a summary, and
draws `report.html` into the record's folder: one file without a network, to be sent around.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

import pandas as pd
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from cli.options import flag
from figures import catalogue
from probes import corpus as corpora
from probes.comparison.changes import picture_png
from probes.corpus import Corpus
from probes.diagnosis import costs, findings
from probes.diagnosis.cases import NOTHING, case_of
from probes.diagnosis.content import content_table
from probes.diagnosis.costs import Clock, RunOptions
from probes.diagnosis.decision import recommend
from probes.diagnosis.draft import Choice
from probes.diagnosis.stages import forecast_tables, geometry_tables, halves_notes, precision_table, trial_table
from probes.diagnosis.text import command, summary
from probes.diagnosis.token_classes import class_rows
from probes.forecast.trial import Pace, can_step
from probes.options import BinOptions, OutputOptions, PairOptions, PromptOptions, UnitOptions, run_probe
from records import RecordWriter, read_record


@dataclass(frozen=True)
class DiagnosisOptions:
    """What is measured"""

    probe_per_bin: PositiveInt = flag(16, "tokens of each bin whose gradients are measured, drawn at random")
    precision_check: NonNegativeInt = flag(
        10, "probed tokens measured again in float64 (float32 on a GPU), the pair loaded a second time; 0 for none"
    )
    skip_geometry: bool = flag(False, "leave out the angles, and with them the precision check")
    skip_forecast: bool = flag(
        False, "leave out the forecast and the trial: gamma and lambda then come from the losses alone"
    )
    trial_steps: NonNegativeInt = flag(
        16,
        "real steps of AdamW that each setting is tried with before it is recommended; 0 for none. Held meanwhile: a"
        " copy of the student's weights, their gradient, and AdamW's state, four times the weights in all",
    )
    trial_lr: PositiveFloat = flag(
        3e-4,
        "rate of these steps: the one you are going to train with (arXiv:2606.00564 uses 1e-6 for its models; the"
        " default is that of `python -m train`)",
    )
    shown: NonNegativeInt = flag(4, "responses shown token by token, with their pictures, in the report")


def main(argv: Sequence[str] | None = None) -> int:
    groups = (PairOptions, PromptOptions, BinOptions, DiagnosisOptions, RunOptions, OutputOptions)
    return run_probe(__doc__, groups, measure, argv)


def measure(
    checkpoint: str,
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    bin_options: BinOptions,
    options: DiagnosisOptions,
    run_options: RunOptions,
    output: OutputOptions,
) -> None:
    """Measure, decide, record, print and draw."""
    began, clock, seed = monotonic(), Clock(), prompt_options.seed
    units = UnitOptions(probe_per_bin=options.probe_per_bin)
    header = (pair_options, prompt_options, bin_options, options, run_options, units)
    with _measuring(checkpoint, clock, output, *header) as (corpus, writer):
        tables = _measured(corpus, checkpoint, pair_options, bin_options.bins, seed, options, clock, writer)
        facts = findings.facts_of(tables)
        n_prompts = sum(prompt.has_image for prompt in corpus.asked.prompts.values())
        rows = [*_compatibility(corpus), *findings.finding_rows(tables, facts, n_prompts, seed)]
        rows += costs.cost_rows(corpus, clock, run_options)
        tables["findings"] = pd.DataFrame(rows)
        choices = recommend(facts)
        tried_lr = facts.trial.lr if facts.trial else None
        if line := command(choices, checkpoint, pair_options.teacher, tried_lr):
            choices.append(Choice("command", line, "trains on it"))
        tables["recommendation"] = pd.DataFrame([asdict(choice) for choice in choices])
        writer.finish(tables, corpora.notes(corpus, began) | halves_notes(tables))
    record = read_record(writer.path, *tables)
    print(summary(record))
    [page] = catalogue.picture("report").write(record, writer.path)
    print(f"record: {writer.path}\nreport: {page}")


@contextmanager
def _measuring(
    checkpoint: str,
    clock: Clock,
    output: OutputOptions,
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    *others: Any,
) -> Iterator[tuple[Corpus, RecordWriter]]:
    """As `corpora.measuring`, against the clock."""
    with clock.phase("loading"):
        pair = corpora.load(checkpoint, pair_options)
        asked = corpora.ask(pair, prompt_options)
    opened = corpora.header("diagnose", pair, asked, pair_options, prompt_options, *others)
    with corpora.open_folder("diagnose", opened, output) as writer:
        clock.continued = writer.has("rollouts", 0)
        with clock.phase("rollouts"):
            corpus = corpora.collect(pair, asked, prompt_options, writer)
        yield corpus, writer


def _measured(
    corpus: Corpus,
    checkpoint: str,
    pair_options: PairOptions,
    n_bins: int,
    seed: int,
    options: DiagnosisOptions,
    clock: Clock,
    writer: RecordWriter,
) -> dict[str, pd.DataFrame]:
    """Every table that needs the models, and the classes of tokens."""
    with clock.phase("scoring"):
        tokens = corpora.token_table(corpus, n_bins, writer)
    with clock.phase("content control"):
        content = content_table(corpus, writer)
    tables = {"rollouts": corpora.rollout_table(corpus), "tokens": tokens, "content": content}
    if not options.skip_geometry:
        with clock.phase("geometry"):
            units, found = geometry_tables(corpus, tokens, options.probe_per_bin, seed, writer)
        tables |= found
        if options.precision_check:
            with clock.phase("precision"):
                checked = precision_table(
                    corpus, checkpoint, pair_options, tokens, units, found["units"], options.precision_check
                )
            tables |= {} if checked is None else {"precision": checked}
    if not options.skip_forecast and case_of(findings.facts_of(tables)).verdict != NOTHING:  # else no direction
        tables |= _of_steps(corpus, tables, n_bins, seed, options, clock, writer)
    return tables | {"token_classes": class_rows(tokens), "pictures": _pictures(corpus, tokens, options.shown)}


def _of_steps(
    corpus: Corpus,
    tables: findings.Tables,
    n_bins: int,
    seed: int,
    options: DiagnosisOptions,
    clock: Clock,
    writer: RecordWriter,
) -> dict[str, pd.DataFrame]:
    """The forecast of a step, and the trial of real ones."""
    tokens = tables["tokens"]
    with clock.phase("forecast"):
        found = forecast_tables(corpus, tokens, n_bins, seed, writer)
    if options.trial_steps and not can_step(corpus):
        print("note: no step is tried: 16-bit weights lose small ones; add --dtype float32", file=sys.stderr)
    elif options.trial_steps:
        facts, pace = findings.facts_of({**tables, **found}), Pace(options.trial_steps, options.trial_lr)
        with clock.phase("trial"):
            found["trial"] = trial_table(corpus, tokens, facts, n_bins, seed, pace, writer)
    return found


def _compatibility(corpus: Corpus) -> list[findings.Row]:
    """That the pair was loaded says most; what is left is worth a word."""
    question, pair, left_out = "do the two fit", corpus.pair, sum(corpus.asked.left_out.values())
    warnings = "; ".join(pair.warnings) or "no difference in template or preprocessing"
    rows = [
        findings.finding(question, "ids that both hold", "", pair.support, verdict="one tokenizer"),
        findings.finding(
            question, "warnings", "", len(pair.warnings), verdict="see" if pair.warnings else "", reason=warnings
        ),
    ]
    reason = ", ".join(f"{name}: {n}" for name, n in corpus.asked.left_out.items() if n)
    return [*rows, findings.finding(question, "prompts left out", "", left_out, reason=reason)]


def _pictures(corpus: Corpus, tokens: pd.DataFrame, n: int) -> pd.DataFrame:
    """The table `pictures`: responses with the most visual dependency in all, one a task as far as there are tasks."""
    pictured = tokens[tokens["bin"] >= 0]
    totals = pictured.groupby("rollout_id")["vds_nats"].sum().sort_values(ascending=False, kind="stable")
    prompts = {number: corpus.asked.prompts[corpus.rollouts[number].prompt_id] for number in totals.index}
    seen: dict[str, int] = {}
    ranked = []
    for place, number in enumerate(totals.index):
        seen[prompts[number].task] = seen.get(prompts[number].task, -1) + 1
        ranked.append((seen[prompts[number].task], place, number))
    chosen = [number for _, _, number in sorted(ranked)[:n]]
    rows = [(number, prompts[number].prompt_id, picture_png(prompts[number].images)) for number in chosen]
    return pd.DataFrame(rows, columns=["rollout_id", "prompt_id", "picture"])


if __name__ == "__main__":
    sys.exit(main())
