"""A run from its first step to its last, and from wherever it was killed.

Within a step the evaluation comes first, then the rollouts, the measurement of the gradients, the update, the line of
the journal and the checkpoint. `train.run` has what is loaded before the first step, `train.folder` what is written.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

from cli.errors import NotWritten, Stopped
from cli.progress import Show, say
from cli.signals import Asked, Interrupted, stops_when_asked
from cli.visible import print_err
from geometry.memory import is_out_of_memory
from records.files import write_json
from records.journal import JournalWriter
from records.journal_lines import Line, StepLine
from train import automatic, checkpoint, trackers
from train.batch import Batch, batches_of_step, joined
from train.config import Config
from train.evaluation import accuracy_words, evaluation_line, headline
from train.folder import opened
from train.gradients import geometry_line
from train.journal_lines import step_line
from train.learner import Stopwatch, most
from train.outcome import together
from train.progress import show_step, shown, silent
from train.prompts import step_seed
from train.run import Run, begin, load, restore
from train.step import update
from train.trackers import tracked
from train.weight_average import is_averaged
from vlm.checkpoints.checkpoint import quiet
from vlm.responses.finite import NotFiniteError
from vlm.responses.halving import TooLargeError
from vlm.responses.sample_table import Sample, samples
from vlm.responses.truncation import WARNED
from vlm.views.encoding import forgetting

PATIENCE = 3
"""Steps in a row without a finite gradient after which a run stops."""


class TrainingError(Stopped):
    """A run that cannot go on; the message is one line."""


def train(config: Config) -> Path:
    """Train, or continue, and return the run's folder.

    Raises:
        OptionError, RecordError, CheckpointError, PromptError: what was asked for cannot be done.
        NotFiniteError: a model's logits are not finite before the first step.
        TooLargeError: memory is too small for one response, or for what is held between the passes.
        TrainingError: losses or gradients have not been finite for `PATIENCE` steps, or logits no longer are.
    """
    quiet()
    with _memory_explained():
        return _train(config)


def _train(config: Config) -> Path:
    start = load(config)
    with opened(config, start.identity, start.accelerator):
        run = restore(start)
        begin(start, run)
        if start.accelerator.is_main_process:
            print_err(*start.source.lines)
        with tracked(start.accelerator, config, start.folder), _explained(run), shown(run) as show:
            _advance_all(run, show)
    return run.folder


def _advance_all(run: Run, show: Show) -> None:
    """Take the steps that are left; Ctrl-C and SIGTERM end them after the present one, with a checkpoint.

    Raises:
        Interrupted: the user has ended the run.
    """
    with stops_when_asked() as asked:
        for _ in range(run.progress.step, run.config.steps):
            advance(run, show)
            _stop_if_asked(run, asked)
        _save(run)
        checkpoint.save_averaged(run.folder, run.learner, run.teacher)
        _stop_if_asked(run, asked)
        _evaluate(run)


def _stop_if_asked(run: Run, asked: Asked) -> None:
    """Stop all processes if one of them was told to."""
    number = most(run.learner.accelerator, asked.number or 0)
    if number:
        _save(run)
        step = run.progress.step
        raise Interrupted(number, f"`{run.folder / checkpoint.LAST}` holds step {step}: go on with `--resume`")


@contextmanager
def _memory_explained() -> Iterator[None]:
    """Say in one line that memory has run out where nothing can be cut smaller."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TooLargeError(
            "memory must hold both models, the gradients that are summed and the optimizer's moments, and it does not;"
            " `--dry-run` says what takes how much, and what to change"
        ) from None


@contextmanager
def _explained(run: Run) -> Iterator[None]:
    """Stop at logits that training has made infinite; those that it began with are a user's mistake.

    Where the system refuses to write, say how to go on.
    """
    try:
        yield
    except NotWritten as error:
        raise NotWritten(f"{error} with `--resume`") from None
    except NotFiniteError as error:
        if run.progress.step == 0:
            raise
        raise TrainingError(f"step {run.progress.step}: {error}; or train with a smaller `lr`") from None


def advance(run: Run, show: Show = silent) -> None:
    """Take one step, with the evaluation and measurement that are due before it and the checkpoint after it.

    show: shows the step once it is done, in the main process.
    """
    _evaluate(run)
    draws = callable(run.source.pool)  # prompts that never come again
    with forgetting(loaded.processor for loaded in run.learner.pair.models) if draws else nullcontext():
        _take_step(run, show)


def _take_step(run: Run, show: Show) -> None:
    config, progress = run.config, run.progress
    step = progress.step
    for group in run.learner.optimizer.param_groups:
        group["lr"] = config.rate(step)
    watch = Stopwatch(run.learner.accelerator.device)
    batches = batches_of_step(run.learner, run.source.at(step), step_seed(config.seed, step), watch)
    if config.geometry_every and step % config.geometry_every == 0 and batches[0].thresholds is not None:
        _write(run, geometry_line(run.learner, step, batches[0]))
    automatic.choose_gamma(run.learner, progress, batches[0])
    objective = automatic.objective_of_step(config, progress)
    outcome = together([update(run.learner, batch, watch, objective) for batch in batches])
    batch = joined(batches)
    strengths = automatic.moved(config, progress, batch, outcome)
    if run.journal is not None:
        line = step_line(step, batch, outcome, watch.seconds, _first_edges(run.journal))
        line = replace(line, **strengths.in_journal)
        _write(run, line)
        show_step(show, line, batch, run.learner.optimizer.param_groups[0]["lr"])
        _warn_truncated(run.journal, config.longest_response)
    progress.step += 1
    if run.learner.weight_average is not None and is_averaged(progress.step, config.steps, config.weight_average):
        run.learner.weight_average.add(run.learner.parameters)
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
    score, spelled = None, run.learner.pair.student.processor.tokenizer
    table: list[Sample] = []
    with run.learner.whole():
        line = evaluation_line(
            run.learner, step, run.source.held_out, run.fixed, lambda own, on: table.extend(samples(own, on, spelled))
        )
    if run.journal is not None:
        _write(run, line)
        trackers.show(run.folder, run.learner.accelerator, step, table)
        say(f"step {step}: {accuracy_words(line)}")
        score = headline(line)
    better = score is not None and (run.progress.best is None or score > run.progress.best)
    if most(run.learner.accelerator, int(better)):
        _save(run, best=score)


def _save(run: Run, best: float | None = None) -> None:
    """Write a checkpoint; one with a new best accuracy is kept as `best`."""
    learner = run.learner
    is_main = learner.accelerator.is_main_process
    state = learner.state() if is_main or learner.sharding is not None else None
    if is_main and state is not None:
        state = replace(state, written=run.written)
        folder = checkpoint.save(run.folder, learner.pair.student, run.teacher, run.progress, state)
        if best is not None:
            checkpoint.keep_as_best(run.folder, folder)
        checkpoint.prune(run.folder)
        run.progress.best = run.progress.best if best is None else best
    learner.accelerator.wait_for_everyone()


def _write(run: Run, line: Line) -> None:
    if run.journal is not None:
        run.journal.append(line)
        trackers.log(run.learner.accelerator, line)


def _first_edges(journal: JournalWriter) -> Sequence[float | None] | None:
    """The edges of the bins that stay the same all through the run: those of step 0, unless it had none."""
    edges = (line.edges_nats for line in journal.lines if isinstance(line, StepLine))
    return next((pair for pair in edges if any(edge is not None for edge in pair)), None)


def _warn_truncated(journal: JournalWriter, longest: int) -> None:
    """Warn at the first step in which many responses are truncated."""
    *before, share = [line.truncated_share for line in journal.lines if isinstance(line, StepLine)]
    if share > WARNED >= max(before, default=0.0):
        say(f"warning: {100 * share:.0f} % of the responses are truncated at `max_response` {longest}: raise it")


def _give_up(run: Run, step: int, batch: Batch) -> str:
    """Save this process's responses of the step, to be looked into, and say so."""
    path = run.folder / f"not-finite-{step:06d}-{run.learner.accelerator.process_index}.json"
    write_json(path, {"step": step, "rollouts": [asdict(response.rollout) for response in batch.responses]})
    return f"loss or gradient not finite in {PATIENCE} steps in a row, the last {step}: its responses are in {path}"
