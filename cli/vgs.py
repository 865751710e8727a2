"""The command `vgs`: one word for each module that is run by name.

`vgs angles CKPT` is `python -m probes.angles CKPT`. Modules are named here and imported when they are asked for. Unlike
`python -m`, the command does not put the current folder on the path: a `train.py` or `figures/` there is left alone.
"""

import importlib
import sys
from collections.abc import Sequence

from cli.visible import print_err, print_out

COMMANDS = {
    "plan": ("probes.plan", "memory and time before anything runs, and what to change if it does not fit"),
    "angles": ("probes.angles", "angles and norms of the objectives' gradients, by visual dependency"),
    "vds": ("probes.vds", "how much each response token depends on the picture"),
    "layers": ("probes.layers", "where in the model the gradients lie and meet"),
    "norms": ("probes.norms", "norms and angles over a series of checkpoints"),
    "accuracy": ("probes.accuracy", "how often a model is right"),
    "compare": ("probes.compare", "what changed between two students of one teacher"),
    "sensitivity": ("probes.sensitivity", "what an optimizer step would do, before it is taken"),
    "diagnose": ("probes.diagnose", "whether to steer, and with which settings"),
    "support": ("probes.support", "what it costs to know the teacher at K ids only"),
    "train": ("train.__main__", "distil a student on its own rollouts"),
    "study": ("study.__main__", "compare objectives over seeds"),
    "validation": ("study.validation.__main__", "whether the diagnosis predicts what training does, from records"),
    "claims": ("study.claims.__main__", "the paper's claims, one by one, from records"),
    "draw": ("figures.__main__", "draw a record's pictures"),
    "index": ("figures.index.__main__", "one page over all records and runs below a folder, two side by side"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print_out(_help())
        return 0
    if words[0] not in COMMANDS:
        print_err(f"error: `command` must be one of {', '.join(COMMANDS)}, got {words[0]!r}; see vgs --help")
        return 2
    sys.argv[0] = f"vgs {words[0]}"
    module = importlib.import_module(COMMANDS[words[0]][0])
    return int(module.main(words[1:]) or 0)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        ["usage: vgs COMMAND [flags]", "", *lines, "", "`vgs COMMAND --help` shows a command's manual and flags."]
    )


if __name__ == "__main__":
    sys.exit(main())
