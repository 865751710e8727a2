"""Measure the stored pair and write its model card.

    python -m bundled.card            # about ten minutes on two cores

Everything is measured from the stored weights on scenes that no training has seen: accuracy with and without the
picture, the visual dependency of the teacher on the student's responses, how many tokens keep their bin in float64,
what plain distillation gains (`bundled.headroom`), and what the student's architecture reaches when it is trained as
long as the teacher (the capacity control that `bundled.train` leaves in its work folder). Writes `card.json` and
`README.md` beside the checkpoints.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.visible import print_out

HERE = Path(__file__).parent
GROUPS = {"high": 3000, "low": 500, "text": 500}
"""Scenes that the accuracies are measured on, by dependency group."""

_PAGE = """# The bundled pair

A teacher and a student of the Qwen3-VL architecture, made from nothing by `python -m bundled.train` and measured from
the stored bf16 weights by `python -m bundled.card`, which writes this page. They answer questions about small drawn
pictures (coloured shapes in a grid, circles that touch or not, lines that cross; the last two after "Vision language
models are blind", arXiv:2407.06581) with a short reason and a boxed answer. They know {n_tasks} kinds of question and
nothing else: they are made to measure gradients on, not to be used.

Greedy accuracy on held-out scenes ({high} that need the picture, {low} with a picture that the question makes
needless, {text} without one):

| model | high | low | text |
|---|---|---|---|
{models}

By task, with the teacher's accuracy when the picture is left out and that of the best constant guess:

| task | teacher | student | teacher without picture | constant guess |
|---|---|---|---|---|
{tasks}

On {tokens} tokens of the student's responses to prompts with a picture:

| what | value |
|---|---|
| visual dependency (VDS) at its 10, 25, 50, 70 and 90 % quantiles, nats | {quantiles} |
| distinct inner edges of ten equal-frequency bins | {distinct_edges} |
| mean next-token entropy of the teacher, nats | {teacher_entropy_nats:.3f} |
| tokens that keep their bin when all is scored again in float64 | {same_bin_in_float64:.2%} |
| mean visual divergence of the student in bins 7 to 9, nats | {visual_in_bins_7_to_9_nats:.4f} |
| mean language divergence of the student in bins 7 to 9, nats | {language_in_bins_7_to_9_nats:.4f} |

{steps} steps of plain standard distillation raise the student's accuracy on high from {high_before:.1%} to
{high_after:.1%}: a gain of {gain:.1%}, paired 95 % interval {interval[0]:.1%} to {interval[1]:.1%}.
"""


def page(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    scores, dependent = card["accuracy"], card["dependency"]
    teacher, student = scores
    named = {f"{name}, {card['parameters'][name]:,} parameters": scores[name] for name in scores}
    named["the student's architecture, trained as long as the teacher"] = card["capacity"]
    tasks = [
        (task, scores[teacher]["by task"][task], scores[student]["by task"][task], *without.values())
        for task, without in card["without_picture"].items()
    ]
    return _PAGE.format(
        n_tasks=len(scores[teacher]["by task"]),
        models=_rows([(name, *(score[group] for group in GROUPS)) for name, score in named.items()]),
        tasks=_rows(tasks),
        quantiles=", ".join(f"{value:.2g}" for value in dependent["vds_quantiles_nats"].values()),
        **GROUPS,
        **{name: value for name, value in dependent.items() if name != "vds_quantiles_nats"},
        **card["headroom"],
    )


def _rows(rows: Sequence[tuple[str, *tuple[float, ...]]]) -> str:
    return "\n".join(f"| {name} | " + " | ".join(f"{value:.1%}" for value in values) + " |" for name, *values in rows)


@dataclass(frozen=True)
class CardOptions:
    """Input"""

    capacity: Path = flag(Path("runs/bundled/capacity"), "folder of the capacity control", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the card; return the exit code."""
    parser = Parser("bundled.card", __doc__)
    parser.add_options(CardOptions)
    options = pick(parser.parse_args(argv), CardOptions)
    return exit_code(lambda: _write(options))


def _write(options: CardOptions) -> None:
    from bundled.measurements import measure_card  # here, so that --help needs no model library
    from vlm.checkpoints.checkpoint import quiet

    quiet()
    card = measure_card(options.capacity, GROUPS)
    (HERE / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (HERE / "README.md").write_text(page(card), encoding="utf-8")
    print_out(page(card))


if __name__ == "__main__":
    sys.exit(main())
