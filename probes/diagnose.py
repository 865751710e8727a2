"""What would distillation of this student by this teacher do, and should it be steered? Before any GPU week.

    python -m probes.diagnose                                  # the bundled pair
    python -m probes.diagnose runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.diagnose CKPT --teacher CKPT --skip-geometry --skip-forecast      # no gradients: seconds

One set of on-policy responses of the student answers:

- Do the two fit: one tokenizer, the same preprocessing, prompts that both have room for?
- Does the teacher see: its visual dependency (VDS, arXiv:2606.00564, Eq. 12), and a content control, the divergence
  between the right picture and another prompt's of the same size. A teacher that reacts to the presence of a picture
  only has the first without the second. And does the student look?
- Where the gap lies: standard, visual and language loss by VDS bin and by class of token
  (`probes.diagnosis.token_classes`).
- How often are both right, with the picture and without it?
- How the gradients stand, against the null, q* detached and attached, by scope and part of the model, and how far the
  steered direction stands from the standard one.
- What a first step would do to held-out language (`probes.sensitivity`), and what the dtype costs.
- What a few real steps at your own rate (`--lr`) do: of standard distillation, then of settings of vgs-lp until
  one passes the trial (`probes.diagnosis.judging`). The weights are put back.

`probes.diagnosis.recommendation` makes of them a verdict and the recommended objective, gamma, lambda and prior, each
with its reason. The verdict is `steer`, `do not steer`, or `undecided` with the number of prompts or steps that would
decide; also `harmful` and `nothing to distil`. Only a setting that has passed the trial is recommended, so that
`--skip-forecast`, `--trial-steps 0` and 16-bit weights leave the verdict undecided. `probes.diagnosis.costs` says what
this cost and what a full run would. Writes a record (the tables of `probes.angles`, `probes.layers` and
`probes.sensitivity` and those of `docs/tables.md`), prints a summary, and draws `report.html` into the record's folder:
one file without a network, to be sent around. `train.yaml` beside it has the recommended flags with all that was
measured with: `python -m train --config RECORD/train.yaml` trains on them. Where the verdict is undecided the printed
command is this diagnosis with more prompts or steps, and there is no such file.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from cli.options import flag
from cli.visible import print_err
from probes import command, diagnosis, stages
from probes.probe import Plan, Probe, Tables
from probes.settings import BinOptions, PromptOptions, RunOptions, UnitOptions, WidePairOptions

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement

_TRAINS = "trains on it, with the settings that were measured"
_ASKS_AGAIN = "asks again, with what would decide"


@dataclass(frozen=True)
class DiagnosisOptions:
    """What is measured"""

    per_bin: PositiveInt = flag(16, "tokens of each bin whose gradients are measured, drawn at random")
    precision_check: NonNegativeInt = flag(
        10, "probed tokens measured again in float64 (float32 on a GPU), the pair loaded a second time; 0 for none"
    )
    sketch: PositiveInt | None = flag(
        None, "estimate the angles from so many random columns of wide weights, see `probes.angles` (default: exact)"
    )
    skip_geometry: bool = flag(False, "leave out the angles, and with them the precision check")
    skip_forecast: bool = flag(
        False, "leave out the forecast and the trial: the verdict then stays undecided unless the facts decide"
    )
    skip_accuracy: bool = flag(False, "leave out the greedy answers of both models with and without the picture")
    trial_steps: NonNegativeInt = flag(
        16,
        "real steps of AdamW that each setting is tried with before it is recommended; 0 for none. Held meanwhile: a"
        " copy of the student's weights, their gradient, and AdamW's state, four times the weights in all, and one copy"
        " more where the prior is frozen",
    )
    try_every: bool = flag(
        False, "go on with the trial after a setting has passed, and try those that a study trains (study.validation)"
    )
    lr: PositiveFloat = flag(
        3e-4,
        "rate of these steps: the one you are going to train with (arXiv:2606.00564 uses 1e-6 for its models; the"
        " default is that of `python -m train`)",
    )
    shown: NonNegativeInt = flag(4, "responses shown token by token, with their pictures, in the report")


def refuse(analyzer: "Analyzer", options: DiagnosisOptions, run_options: RunOptions) -> None:
    """Refuse a forecast with attention that has no derivative along a direction."""
    if not options.skip_forecast:
        stages.refuse_attention(analyzer)


def plan(analyzer: "Analyzer", options: DiagnosisOptions, run_options: RunOptions) -> Plan:
    """Return a header that also says how units are chosen, which pictures of them state."""
    return Plan(analyzer.header(PROBE, options, run_options, _units(options)))


def _units(options: DiagnosisOptions) -> UnitOptions:
    return UnitOptions(per_bin=options.per_bin, sketch=options.sketch)


def measure(analyzer: "Analyzer", options: DiagnosisOptions, run_options: RunOptions) -> Tables:
    """Return the tables of a diagnosis: what was measured, the findings, and what they recommend."""
    tables = _measured(analyzer, options)
    evidence = diagnosis.evidence_of(tables)
    advice = diagnosis.recommend(evidence)
    lr = options.lr if evidence.trial or options.lr != DiagnosisOptions.lr else None
    flags = diagnosis.training_flags(analyzer, advice, lr)
    analyzer.notes |= {**diagnosis.halves_notes(tables), diagnosis.TRAINING: flags}
    line, why = diagnosis.command_line(flags), [_TRAINS, *diagnosis.left_out(analyzer)]
    if advice.verdict == diagnosis.UNDECIDED:
        open_ = diagnosis.again(analyzer, evidence, (options, run_options), default_steps=DiagnosisOptions.trial_steps)
        advice, line, why = advice.needing(open_.more.words), open_.line(analyzer.checkpoint), [_ASKS_AGAIN]
        analyzer.notes[diagnosis.NEEDS] = open_.more.note
    not_asked = diagnosis.not_asked_rows(_not_asked(analyzer, options, tables))
    return {
        **tables,
        "findings": diagnosis.finding_table(analyzer, tables, evidence, not_asked, run_options),
        "recommendation": diagnosis.recommendation_table(advice, line, why),
    }


def _not_asked(analyzer: "Analyzer", options: DiagnosisOptions, tables: Tables) -> dict[str, str]:
    """What was left out, and why."""
    reasons = {}
    if options.skip_accuracy:
        reasons["accuracy with and without the picture"] = "`--skip-accuracy`"
    elif not len(tables["picture_answers"]):
        reasons["accuracy with and without the picture"] = "no prompt with a picture states an answer"
    if options.skip_geometry:
        reasons["how the gradients stand"] = "`--skip-geometry`: neither angles nor what the dtype costs"
    if options.skip_forecast:
        reasons["what a first step does"] = "`--skip-forecast`: gamma, lambda and prior come from the losses alone"
    if "trial" not in tables:
        reasons["what real steps do"] = f"{_why_untried(analyzer, options, tables)}: no setting was tried"
    return reasons


def _why_untried(analyzer: "Analyzer", options: DiagnosisOptions, tables: Tables) -> str:
    if options.skip_forecast:
        return "`--skip-forecast`"
    if "readings" not in tables:
        return "there is nothing to distil"
    return "`--trial-steps 0`" if not options.trial_steps else stages.TOO_FEW_BITS


def _measured(analyzer: "Analyzer", options: DiagnosisOptions) -> "dict[str, pd.DataFrame]":
    """Every table that needs the models, and the classes of tokens."""
    tokens = analyzer.tokens
    with analyzer.phase("content control"):
        content = stages.content_table(analyzer)
    tables = {"rollouts": stages.rollout_table(analyzer), "tokens": tokens, "content": content}
    if not options.skip_accuracy:
        with analyzer.phase("accuracy"):
            tables["picture_answers"] = stages.picture_answer_table(analyzer)
    if not options.skip_geometry:
        tables |= _geometry(analyzer, options)
    verdict = diagnosis.verdict_rule(diagnosis.evidence_of(tables)).verdict
    if not options.skip_forecast and verdict != diagnosis.NOTHING:  # else there is no direction
        tables |= _forecast(analyzer, tables, options)
    classes, pictures = diagnosis.class_rows(tokens), stages.picture_table(analyzer, options.shown)
    return {**tables, "token_classes": classes, "pictures": pictures}


def _geometry(analyzer: "Analyzer", options: DiagnosisOptions) -> "dict[str, pd.DataFrame]":
    """The angles by bin with their null, by depth and kind of parameter, and what the dtype costs."""
    with analyzer.phase("geometry"):
        units = stages.choose_units(analyzer.tokens, _units(options), analyzer.seed)
        rows = {"grams": stages.gram_rows, "units": stages.unit_rows}
        tables = stages.measure_gradients(analyzer, analyzer.kinds, units, rows, options.sketch)
        measured, null = (tables["units"], tables["grams"]), stages.measure_null(analyzer, units)
        tables["bins"] = stages.bin_rows(analyzer.tokens, *measured, null, analyzer.seed)
        tables["layers"] = stages.layer_rows(*measured, analyzer.seed)
        if options.sketch:
            tables["sketch_error"] = stages.sketch_errors(analyzer, analyzer.kinds, units, *measured)
    if options.precision_check and not stages.is_exact(analyzer.settled_options):
        with analyzer.phase("precision"):
            drawn = stages.sample_units(units, options.precision_check, 0)
            tables["precision"] = stages.check_precision(analyzer, drawn, tables["units"], "all", options.sketch)
    return tables


def _forecast(analyzer: "Analyzer", tables: Tables, options: DiagnosisOptions) -> "dict[str, pd.DataFrame]":
    """The forecast of a step, and the trial of real ones."""
    with analyzer.phase("forecast"):
        halves = stages.halves(analyzer.tokens, analyzer.seed)
        sensitivity, products = stages.measure_directions(analyzer, *halves)
        forecast = stages.forecast_tables(sensitivity, products, analyzer.bin_options.bins, analyzer.seed)
    made = {"sensitivity": sensitivity, "direction_products": products, **forecast}
    if options.trial_steps and not stages.can_step(analyzer):
        print_err(f"note: no step is tried: {stages.TOO_FEW_BITS}")
    elif options.trial_steps:
        settings = diagnosis.candidates(diagnosis.evidence_of({**tables, **made}))
        settings = diagnosis.compared(settings) if options.try_every else settings
        with analyzer.phase("trial"):
            ground = stages.Ground(analyzer, halves, stages.Pace(options.trial_steps, options.lr))
            made["trial"] = diagnosis.trial_table(ground, settings, every=options.try_every)
    return made


def summary(measured: "Measurement", options: DiagnosisOptions, run_options: RunOptions) -> str:
    """Return the findings and the recommendation."""
    return diagnosis.summary(measured)


PROBE = Probe(
    "diagnose",
    measure,
    summary,
    (WidePairOptions, PromptOptions, BinOptions),
    (DiagnosisOptions, RunOptions),
    measurement="Advice",
    refuse=refuse,
    plan=plan,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
