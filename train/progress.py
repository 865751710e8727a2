"""What a run shows of its steps while it goes on: losses, gradient, lengths, speed and the time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.progress import Show, progress, say
from records.journal_lines import StepLine
from train.batch import Batch
from train.run import Run


def silent(done: int, words: str = "") -> None:
    """Show nothing."""


@contextmanager
def shown(run: Run) -> Iterator[Show]:
    """Yield the progress of a run's steps: a bar on a terminal, lines in a log; nothing but in the main process."""
    done, total = run.progress.step, run.config.steps
    if run.journal is None or done >= total:
        yield silent
        return
    with progress("training", total, done) as show:
        yield show


def show_step(show: Show, line: StepLine, batch: Batch, lr: float) -> None:
    """Show a step that is done; one that was skipped is said in a line of its own."""
    if line.skipped:
        say(f"step {line.step}: loss or gradient not finite, weights left as they were")
    show(line.step + 1, words(line, float(batch.lengths.sum()), lr))


def words(line: StepLine, n_tokens: float, lr: float) -> str:
    """Say what came of a step of so many response tokens.

    Losses are in nats per token; tokens per second are response tokens over the time of the whole step.
    """
    losses = [f"{name} {value:.4f}" for name, value in line.losses.items() if value is not None]
    norm = "none" if line.gradient_norm is None else f"{line.gradient_norm:.3g}"
    seconds = sum(line.seconds.values())
    speed = f"{n_tokens / seconds:,.0f} tokens/s" if seconds > 0 else ""
    truncated = f"{100 * line.truncated_share:.0f} % truncated" if line.truncated_share else ""
    moving = "" if line.lambda_ is None else f"lambda {line.lambda_:.3g}"
    response = f"response {line.response_tokens:.1f} tokens"
    about = [moving, f"lr {lr:.3g}", f"gradient norm {norm}", response, truncated, speed]
    return ", ".join(part for part in (*losses, *about) if part)
