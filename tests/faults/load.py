"""Long runs of the bundled pair: flat memory, flat open files, the same result when resumed or disturbed.

    python -m tests.faults.load                          # 5,000 prompts and 1,000 steps: hours
    python -m tests.faults.load --prompts 40 --steps 6 --growth 9 --more-files 99   # minutes; too short to judge memory

Four trials, each in processes of its own:

    probe       `probes.vds` over the prompts: resident memory and open files after warm-up; then killed halfway and
                resumed, with the same tokens at the end
    training    `train` for the steps: the same, with the same weights at the end; responses are short, to save time
    clock       a probe under a clock that goes back: the same tokens
    two at once two probes on one folder: one record, whole, and one line from a process that is refused

Prints a line for each, and ends with exit code 1 if one did not hold.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from cli.errors import Stopped, exit_code
from cli.options import Parser, flag, pick
from records.journal import JOURNAL
from records.shards import SHARDS
from tests.faults.watching import Watched, start, watched

WEIGHTS = "last/model.safetensors"
SHARD = 16
"""Prompts of a shard of the probe."""


@dataclass(frozen=True)
class LoadOptions:
    """How long the runs are"""

    prompts: PositiveInt = flag(5000, "prompts of the probe")
    steps: PositiveInt = flag(1000, "steps of training")
    growth: PositiveFloat = flag(0.05, "largest share by which resident memory may grow after warm-up")
    more_files: NonNegativeInt = flag(0, "largest number of files that may be opened after warm-up and not closed")


@dataclass(frozen=True)
class Trial:
    """What was tried, whether it held, and the figures."""

    name: str
    held: bool
    figures: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trials; return the exit code."""
    parser = Parser("tests.faults.load", __doc__)
    parser.add_options(LoadOptions)
    options = pick(parser.parse_args(argv), LoadOptions)
    return exit_code(lambda: _run(options))


def _run(options: LoadOptions) -> None:
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for trial in (probe, training, clock, two_at_once):
            done = trial(options, Path(folder))
            print(f"{done.name:12} {'held' if done.held else 'FAILED':7} {done.figures}", flush=True)
            failed += [] if done.held else [done.name]
    if failed:
        raise Stopped(f"{', '.join(failed)} did not hold")


def probe(options: LoadOptions, folder: Path) -> Trial:
    """Watch a probe, and compare it with one that is killed halfway and resumed."""
    whole, halves = folder / "probe", folder / "half-probe"
    flags = _probe_flags(options.prompts, halves)
    seen = watched("probes.vds", _probe_flags(options.prompts, whole))
    ends = watched("probes.vds", flags, _has_scored(halves, options.prompts // 2)), watched("probes.vds", flags)
    return _resumed("probe", (seen, *ends), options, "tokens", lambda: _tokens(whole) == _tokens(halves))


def training(options: LoadOptions, folder: Path) -> Trial:
    """Watch a run of training, and compare it with one that is killed halfway and resumed."""
    whole, halves = folder / "whole", folder / "halves"
    flags = _train_flags(options.steps, halves)
    seen = watched("train", _train_flags(options.steps, whole))
    ends = watched("train", flags, _journal_has(halves, options.steps // 2 + 1)), watched("train", [*flags, "--resume"])
    same = lambda: _digest(whole / WEIGHTS) == _digest(halves / WEIGHTS)  # noqa: E731
    return _resumed("training", (seen, *ends), options, "weights", same)


def _resumed(name: str, runs: Sequence[Watched], options: LoadOptions, what: str, same: Callable[[], bool]) -> Trial:
    """Judge a whole run, one that was killed, and the run that went on with it."""
    whole, killed, resumed = runs
    right = whole.code == resumed.code == 0 and same()
    trial = _flat(name, whole, options, right)
    end = "killed halfway" if killed.code < 0 else "ended before the kill"
    return Trial(trial.name, trial.held, f"{trial.figures}; {end}, resumed: {'same' if right else 'OTHER'} {what}")


def clock(options: LoadOptions, folder: Path) -> Trial:
    """Run a probe twice, the second time under a clock that goes back."""
    few = min(options.prompts, 40)
    usual = watched("probes.vds", _probe_flags(few, folder / "usual"))
    back = watched("tests.faults.clock", ["probes.vds", *_probe_flags(few, folder / "back")])
    same = usual.code == back.code == 0 and _tokens(folder / "usual") == _tokens(folder / "back")
    return Trial("clock", same, f"exit codes {usual.code}, {back.code}; {'same' if same else 'OTHER'} tokens")


def two_at_once(options: LoadOptions, folder: Path) -> Trial:
    """Run two probes on one folder; needs the record of `clock`."""
    few, out = min(options.prompts, 40), folder / "both"
    both = [start("probes.vds", _probe_flags(few, out)) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    codes = sorted(process.returncode for process in both)
    clear = all("Traceback" not in lines for lines in said)
    same = (out / "record.json").is_file() and _tokens(out) == _tokens(folder / "usual")
    held = codes[0] == 0 and codes[1] in (0, 1, 2) and clear and same
    last = [lines.strip().splitlines()[-1] for lines in said if "error:" in lines]
    return Trial("two at once", held, f"exit codes {codes}; {'same' if same else 'OTHER'} tokens; {' '.join(last)}")


def _flat(name: str, seen: Watched, options: LoadOptions, right: bool) -> Trial:
    if not seen.resident_bytes:
        return Trial(name, False, f"exit code {seen.code}: {seen.errors[-300:]}")
    growth, more = seen.growth(), seen.more_files()
    figures = (
        f"memory {100 * growth:+.1f} % after warm-up to {max(seen.resident_bytes) >> 20} MB at most, open files"
        f" {more:+.0f}, {len(seen.resident_bytes)} looks, exit code {seen.code}"
    )
    return Trial(name, right and growth <= options.growth and more <= options.more_files, figures)


def _probe_flags(prompts: int, out: Path) -> list[str]:
    return ["--limit", str(prompts), "--out", str(out), "--batch", str(SHARD), "--device", "cpu"]


def _train_flags(steps: int, out: Path) -> list[str]:
    often = str(max(steps // 10, 1))
    few = ["--batch", "4", "--max-response", "16", "--allow-truncated", "--held-out", "8", "--device", "cpu"]
    few += ["--evaluate-every", often, "--geometry-every", often, "--checkpoint-every", str(max(steps // 20, 1))]
    return ["--objective", "vgs", "--steps", str(steps), "--out", str(out), *few]


def _has_scored(folder: Path, n_prompts: int) -> Callable[[], bool]:
    """Whether the shards of tokens hold so many prompts by now."""
    return lambda: len(list((folder / SHARDS).glob("tokens-*.parquet"))) * SHARD >= n_prompts


def _journal_has(folder: Path, n_lines: int) -> Callable[[], bool]:
    """Whether the journal has so many lines by now."""
    path = folder / JOURNAL
    return lambda: path.is_file() and path.read_bytes().count(b"\n") >= n_lines


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _tokens(folder: Path) -> list[dict]:
    from records import read_record

    return read_record(folder, "tokens").tables["tokens"].to_dict("records")


if __name__ == "__main__":
    sys.exit(main())
