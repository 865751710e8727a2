"""Write a copy of the bundled teacher that does not see, to try what a blind teacher teaches.

    python -m bundled.blind runs/blind
    python -m probes.diagnose bundled --teacher runs/blind --text-view blank

Its vision tower gives zeros for every picture: it knows that one is there, and nothing of what is on it. With a blank
picture in the text view its two views are one, and its visual dependency is 0.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bundled import STUDENT
from cli.errors import OptionError, exit_code
from cli.options import Parser


def write_blind_teacher(out: Path) -> None:
    """Write weights, configuration and processor to `out`.

    Raises:
        OptionError: `out` exists.
    """
    if out.exists():
        raise OptionError(f"`out` must be a new folder, and `{out}` is there: choose another")
    from torch import nn  # here, as the model libraries below, so that --help needs none of them

    from bundled.folders import export
    from vlm.checkpoints.checkpoint import load_model, quiet
    from vlm.checkpoints.pair import teacher_of

    quiet()
    teacher = load_model(teacher_of(str(STUDENT)))
    for name, module in teacher.model.named_modules():
        if name.endswith("linear_fc2") and "merger" in name:  # what leaves the tower, for each depth it is read at
            assert isinstance(module, nn.Linear)
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    export(teacher.model, teacher.processor, out)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the teacher from the command line; return the exit code."""
    parser = Parser("bundled.blind", __doc__)
    parser.add_argument("out", type=Path, help="folder to write, which must not be there yet")
    out = parser.parse_args(argv).out
    return exit_code(lambda: write_blind_teacher(out))


if __name__ == "__main__":
    sys.exit(main())
