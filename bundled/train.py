"""Train the bundled pair from nothing.

    python -m bundled.train                    # teacher, student and the capacity control, about an hour on two cores
    python -m bundled.train --only student     # one of them

Writes the teacher and the student to bundled/ (bf16 safetensors that load as any checkpoint does) and the capacity
control (the student's architecture, trained as long as the teacher) to the work folder, whose `<model>.jsonl` hold the
losses. An interrupted run continues where it stood. `bundled/recipe.py` describes the stages, and `python -m
bundled.card` then measures what came out.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.visible import print_out


@dataclass(frozen=True)
class RecipeOptions:
    """What is trained, and where it is written"""

    only: Literal["teacher", "student", "capacity"] | None = flag(None, "train this one (default: all three)")
    out: Path = flag(Path(__file__).parent, "folder of the teacher and the student (default: bundled/)", short="FOLDER")
    work: Path = flag(Path("runs/bundled"), "folder of states, logs and the capacity control", short="FOLDER")
    threads: PositiveInt = flag(2, "CPU threads of this process")


def main(argv: Sequence[str] | None = None) -> int:
    """Train from the command line; return the exit code."""
    parser = Parser("bundled.train", __doc__)
    parser.add_options(RecipeOptions)
    options = pick(parser.parse_args(argv), RecipeOptions)
    return exit_code(lambda: _train(options))


def _train(options: RecipeOptions) -> None:
    import torch  # here, so that --help needs no model library

    from bundled.folders import export, link
    from bundled.recipe import RECIPES, Training

    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else list(RECIPES):
        training = Training(RECIPES[name], options.work)
        training.run()
        folder = (options.work if name == "capacity" else options.out) / name
        export(training.model, training.processor, folder)
        print_out(f"wrote {folder}")
    if all((options.out / name / "model.safetensors").is_file() for name in ("student", "teacher")):
        link(options.out / "student", options.out / "teacher")


if __name__ == "__main__":
    sys.exit(main())
