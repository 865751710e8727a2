"""The page docs/families.md: what works with which family of models."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
import transformers

from tests.families.checks import CHECKS
from tests.families.registry import FAMILIES
from tests.families.run import Cells, results
from vlm.checkpoints.checkpoint import quiet

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
TITLES = ("family", *CHECKS)
_HEAD = """# Families of models

This page says what works with which vision-language family of transformers {version}. Each family is
a random pair of two small models of its own classes, with its own processor, a tokenizer and a chat template.
`python -m tests.families` writes this page, and `make test-all` checks it. The code knows no family by name: others
work as these do, or are refused with a reason.

| column | what is checked |
|---|---|
{columns}

A cell has the figure that was found. Where a family is refused, the number leads to the reason below the table.

"""
_TAIL = """
## What is read off a checkpoint

- **Picture tokens.** A prompt is encoded with a small picture, with a wide one and without any. A mark that only the
  first two hold belongs to pictures. So do marks that config and processor declare, or that are named for pictures.
  A mark is an added token that is no plain word, number or blank. Sampling bans these ids; no text view or response
  may hold one.
- **Inputs.** Pixels take the precision of the model. Inputs with a row per token are continued over the response:
  counts go on, types are text, and each token sees the pictures that the prompt's last token sees. Where text attends
  across to pictures, prompts with different numbers of pictures run apart.
- **Logits.** A model that returns logits for every token, whatever was asked for, has them cut to what was asked for.
- **Experts** run one by one (`experts_implementation="eager"`), for fused ones have neither float64 nor forward mode.
- **Parts.** A parameter's group is read off its name: `vision_tower`, `merger` (all that connects: projectors,
  `image_newline`), `embedding_head`, `layer_00` ..., `final_norm`. What hears or draws is in `other`.

## What is refused

| what | reason |
|---|---|
| no chat template, or one that writes nothing for a picture | there is no image view |
| a processor that always wants a picture | there is no text view |
| an encoder for the prompt and a decoder for the response | the response does not continue the prompt |
| a class that does not speak token by token, or takes tokens from elsewhere than the sampler | not on-policy |
| logits that are not one row for each token | which row predicts what is unknown |
| inputs with positions of their own | how they go on over a response is unknown |
"""
_COLUMNS = {
    "loads": "both models and their processors load; the class is named",
    "views": "picture tokens are in every view with a picture and in no other; the number of ids that sampling bans"
    " for pictures",
    "scores": "largest difference of batched logits from single forward passes that keep every column, both views and"
    " models, float32",
    "gram": "largest relative difference of the Gram matrices from dense gradients, in float64",
    "sampling": "every token is the one that its random number draws from the model's distribution without banned ids",
    "training": "the hidden states that the loss reads give the probes' logits, and a step of vgs-lp moves the weights",
    "sensitivity": "largest relative difference of predicted from measured changes by a small step, in float64",
    "diagnosis": "`vgs diagnose` comes to a verdict, its precision check included",
}


def page(found: Mapping[str, Cells]) -> str:
    """Return the page from what the checks say of each family."""
    columns = "\n".join(f"| {name} | {_COLUMNS[name]} |" for name in CHECKS)
    reasons: list[str] = []
    lines = [_row(TITLES), _row("---" for _ in TITLES)]
    for name, cells in found.items():
        lines.append(_row([FAMILIES[name].name, *(_cell(cells[check], reasons) for check in CHECKS)]))
    head = _HEAD.format(version=transformers.__version__, columns=columns)
    notes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1))
    return head + "\n".join(lines) + (f"\n\n{notes}\n" if notes else "\n") + _TAIL


def _row(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(said: str, reasons: list[str]) -> str:
    if not said.startswith("refused: "):
        return said
    reason = said.removeprefix("refused: ")
    if reason not in reasons:
        reasons.append(reason)
    return f"refused ({reasons.index(reason) + 1})"


def write() -> int:
    """Check every family and write the page; return 1 if a check failed."""
    torch.set_num_threads(1)
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        checked = results(Path(folder), FAMILIES, CHECKS)
    found = {name: checked[name] for name in FAMILIES}
    PAGE.write_text(page(found), encoding="utf-8")
    failed = [(name, check, said) for name, row in found.items() for check, said in row.items() if "FAILED" in said]
    print(*failed, sep="\n")
    return 1 if failed else 0
