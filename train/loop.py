"""A run from its first step to its last, and from wherever it was killed.

    runs/NAME/config.json     the flags and the fingerprints of the weights that it began with
    runs/NAME/metrics.jsonl   the journal, see `records.journal`
    runs/NAME/held_out.json   the fixed rollouts that evaluations score
    runs/NAME/last, best      checkpoints that probes read

The weights are read from `last`, adapters from its training state, so that a run that continues goes through the same
steps, bit by bit on a CPU, as one that was never stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin

from cli.errors import OptionError, Stopped
from records import RecordError
from records.files import write_json
from records.journal import JournalWriter
from records.journal_lines import StepLine
from train import checkpoint, trackers
from train.adapters import Adapters
from train.batch import Batch, batches_of_step, joined
from train.checkpoint import Progress, Teacher
from train.config import Config
from train.evaluation import evaluation_line, headline
from train.folder import opened
from train.gradients import geometry_line
from train.journal_lines import step_line
from train.learner import Learner, Stopwatch, most
from train.offline_rollouts import read_offline_rollouts
from train.prompts import PromptSource, prompt_source, step_seed
from train.rollouts import Response, sample
from train.sharding import asked_for, shard, whole_state
from train.step import together, update
from train.student import made_ready
from vlm.checkpoint import load_model, quiet
from vlm.names import resolve
from vlm.pair import Pair, load_pair, pair_of, teacher_of
from vlm.rollouts import Rollout
from vlm.views import text_views

HELD_OUT = "held_out.json"
PATIENCE = 3
"""Steps in a row without a finite gradient after which a run stops."""


class TrainingError(Stopped):
    """A run that cannot go on; the message is one line."""


@dataclass
class Run:
    """What is at hand while a run goes on; the journal and the fixed rollouts on the main process alone."""

    folder: Path
    learner: Learner
    source: PromptSource
    teacher: Teacher
    progress: Progress
    adapters: Adapters | None = None
    journal: JournalWriter | None = None
    fixed: Sequence[Response] = ()

    @property
    def config(self) -> Config:
        return self.learner.config


def train(config: Config) -> Path:
    """Train, or continue, and return the run's folder.

    Raises:
        OptionError, RecordError, CheckpointError, PromptError: what was asked for cannot be done.
        TrainingError: losses or gradients have not been finite for `PATIENCE` steps.
    """
    quiet()
    folder = Path(config.folder)
    accelerator = Accelerator(
        cpu=config.device == "cpu",
        mixed_precision="bf16" if config.dtype == "bfloat16" else "no",
        **trackers.logging(config, folder),
    )
    if config.batch < accelerator.num_processes * config.updates:
        least = accelerator.num_processes * config.updates
        raise OptionError(f"`batch` must be at least {least}, a prompt a process and update, got {config.batch}")
    plugin = asked_for(accelerator, config)
    source = prompt_source(config)
    pair = load_pair(config.student, config.teacher, teacher_dtype=config.dtype, device=str(accelerator.device))
    pair, adapters = made_ready(pair, config)
    if config.rollouts is not None:
        source = replace(source, given=read_offline_rollouts(config, source.pool, pair))
    with opened(folder, config, pair, accelerator), trackers.tracked(accelerator, config, folder):
        run = prepare(folder, config, source, pair, accelerator, adapters, plugin)
        for _ in range(run.progress.step, config.steps):
            advance(run)
        _save(run)
        _evaluate(run)
    return folder


def prepare(
    folder: Path,
    config: Config,
    source: PromptSource,
    pair: Pair,
    accelerator: Accelerator,
    adapters: Adapters | None = None,
    plugin: FullyShardedDataParallelPlugin | None = None,
) -> Run:
    """Return the run as it was after its last checkpoint, or as it is before its first step.

    pair: as `made_ready` returns it, with its adapters.
    plugin: how the student is to be sharded, if it is.
    """
    if adapters is None and (folder / checkpoint.LAST).exists():
        student = load_model(str(folder / checkpoint.LAST), device=str(accelerator.device))
        pair, _ = made_ready(pair_of(student, pair.teacher), config)
    sharding = None if plugin is None else shard(pair.student, accelerator, plugin)
    trained = [parameter for parameter in pair.student.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.lr, weight_decay=config.weight_decay)
    progress = checkpoint.restore(folder, pair.student, optimizer, adapters)
    for group in optimizer.param_groups:  # as the flags say, also where they were overridden
        group |= {"lr": config.lr, "weight_decay": config.weight_decay}
    learner = Learner(pair, config, optimizer, accelerator, source.given, sharding)
    run = Run(folder, learner, source, _teacher(config, pair), progress, adapters)
    with learner.whole():
        if accelerator.is_main_process:
            run.journal = JournalWriter(folder, progress.step)
            run.fixed = _fixed_rollouts(run)
    accelerator.wait_for_everyone()  # else one might write a checkpoint that another takes for an old one
    return run


def advance(run: Run) -> None:
    """Take one step, with the evaluation and measurement that are due before it and the checkpoint after it."""
    config, progress = run.config, run.progress
    step = progress.step
    _evaluate(run)
    watch = Stopwatch(run.learner.accelerator.device)
    batches = batches_of_step(run.learner, run.source.at(step), step_seed(config.seed, step), watch)
    if config.geometry_every and step % config.geometry_every == 0 and batches[0].thresholds is not None:
        _write(run, geometry_line(run.learner, step, batches[0]))
    outcome = together([update(run.learner, batch, watch) for batch in batches])
    batch = joined(batches)
    if run.journal is not None:
        line = step_line(step, batch, outcome, watch.seconds, _first_edges(run.journal))
        _write(run, line)
        _say(line, config.steps)
    progress.step += 1
    progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if outcome.skipped else 0
    if progress.skipped_in_a_row == PATIENCE:
        raise TrainingError(_give_up(run, step, batch))
    if progress.step % config.checkpoint_every == 0:
        _save(run)


def _evaluate(run: Run) -> None:
    """Evaluate where it is due; a better student than all before becomes `best`."""
    every, step = run.config.evaluate_every, run.progress.step
    if not every or (step % every and step != run.config.steps):
        return
    found = None
    with run.learner.whole():
        if run.learner.accelerator.is_main_process:
            line = evaluation_line(run.learner, step, run.source.held_out, run.fixed)
            _write(run, line)
            shares = ", ".join(f"{group} {100 * share:.1f} %" for group, share in line.accuracy.items())
            print(f"step {step}: held-out accuracy {shares}", flush=True)
            found = headline(line)
    better = found is not None and (run.progress.best is None or found > run.progress.best)
    if most(run.learner.accelerator, int(better)):
        _save(run, best=found)


def _save(run: Run, best: float | None = None) -> None:
    """Write a checkpoint; one with a new best accuracy is kept as `best`."""
    learner = run.learner
    student, optimizer, is_main = learner.pair.student, learner.optimizer, learner.accelerator.is_main_process
    whole = None if learner.sharding is None else whole_state(student.model, optimizer, kept=is_main)
    if is_main:
        folder = checkpoint.save(run.folder, student, run.teacher, optimizer, run.progress, run.adapters, whole)
        if best is not None:
            checkpoint.keep_as_best(run.folder, folder)
        checkpoint.prune(run.folder)
        run.progress.best = run.progress.best if best is None else best
    learner.accelerator.wait_for_everyone()


def _write(run: Run, line: Any) -> None:
    if run.journal is not None:
        run.journal.append(line)
        trackers.log(run.learner.accelerator, line)


def _first_edges(journal: JournalWriter) -> Sequence[float | None] | None:
    """The edges of the bins that stay the same all through the run: those of step 0, unless it had none."""
    edges = (line.edges_nats for line in journal.lines if isinstance(line, StepLine))
    return next((found for found in edges if any(edge is not None for edge in found)), None)


def _say(line: StepLine, steps: int) -> None:
    if line.skipped:
        print(f"step {line.step}: loss or gradient not finite, weights left as they were", flush=True)
    elif line.step % 10 == 0 or line.step + 1 == steps:
        losses = ", ".join(f"{name} {value:.4f}" for name, value in line.losses.items() if value is not None)
        print(f"step {line.step} of {steps}: {losses} nats a token, {sum(line.seconds.values()):.1f} s", flush=True)


def _give_up(run: Run, step: int, batch: Batch) -> str:
    """Save this process's responses of the step, to be looked into, and say so."""
    path = run.folder / f"not-finite-{step:06d}-{run.learner.accelerator.process_index}.json"
    write_json(path, {"step": step, "rollouts": [asdict(response.rollout) for response in batch.responses]})
    return f"loss or gradient not finite in {PATIENCE} steps in a row, the last {step}: its responses are in {path}"


def _teacher(config: Config, pair: Pair) -> Teacher:
    named = config.teacher or teacher_of(resolve(config.student))
    name = str(Path(named).resolve()) if Path(named).is_dir() else named
    return Teacher(name, pair.teacher.fingerprint)


def _fixed_rollouts(run: Run) -> list[Response]:
    """The first student's own responses to the held-out prompts; sampled before the first step, then read back."""
    path, prompts = run.folder / HELD_OUT, run.source.held_out
    if not path.is_file():
        with run.learner.accelerator.autocast():
            sampled = sample(run.learner.pair.student, run.config, prompts, run.config.seed)
        write_json(path, {"rollouts": [asdict(response.rollout) for response in sampled]})
    by_id = dict(zip((prompt.prompt_id for prompt in prompts), prompts, strict=True))
    texts = dict(zip(by_id, text_views(prompts, run.config.text_view), strict=True))
    rows = json.loads(path.read_bytes())["rollouts"]
    if {row["prompt_id"] for row in rows} != set(by_id):
        raise RecordError(f"`{path}` has rollouts of other prompts: hold out the same ones, or choose another `--out`")
    rollouts = [Rollout(**row | {"token_ids": tuple(row["token_ids"])}) for row in rows]
    return [Response(by_id[r.prompt_id], texts[r.prompt_id], r) for r in rollouts]
