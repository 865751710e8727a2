"""The page of the explorer: the data that its script computes from, and the words around it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from figures import captions
from figures.explorer.sums import LOSSES, bin_sums, gram_table, trial_points
from figures.explorer.tokens import token_lists
from figures.web import render
from geometry.objective_settings import GAMMA, LAMBDA
from records import Measurement
from stats import upper_bins

PARTS: Final = ("explorer/arithmetic", "explorer/explorer")
GAMMA_MOST: Final = 4.0
LAMBDA_MOST: Final = 1.0
"""Ends of the sliders; a setting that was tried beyond them moves the end."""
_PUBLISHED: Final = {"gamma": GAMMA, "lambda": LAMBDA, "prior": "detached", "name": "published"}
_STANDARD: Final = {"gamma": 0.0, "lambda": 0.0, "prior": "detached", "name": "standard"}


def text(record: Measurement) -> str:
    """Return the whole page as HTML.

    Raises:
        NoTable: the record lacks a table that a forecast needs.
    """
    pair = {side: record.header["pair"][side] for side in ("student", "teacher")}
    name = record.record["fingerprint"]
    return render("explorer/page.html.jinja", PARTS, explorer=content(record), name=name, **pair)


def content(record: Measurement) -> dict[str, Any]:
    """Return what the template `explorer/part.html.jinja` is filled with."""
    bins = bin_sums(record)
    trial = trial_points(record, bins)
    settings = _settings(trial["settings"] if trial else ())
    data = {
        "losses": LOSSES,
        "bins": bins,
        "gram": gram_table(record),
        "trial": trial,
        "tokens": token_lists(record),
        "upper": int(upper_bins(record.header["settings"]["bins"])[0]),
        "settings": settings,
        "most": {
            "gamma": max([GAMMA_MOST, *(one["gamma"] for one in settings)]),
            "lambda": max([LAMBDA_MOST, *(one["lambda"] for one in settings)]),
        },
    }
    return {"data": data, "words": _words(record), "trial": _trial_words(trial) if trial else ""}


def _settings(tried: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings that have a button: the published one, standard, and those that were tried.

    To first order a frozen prior is a detached one, so that both have one button.
    """
    buttons = {_key(one): dict(one) for one in (_PUBLISHED, _STANDARD)}
    for one in tried:
        key = _key(one)
        shown = buttons.setdefault(key, dict(zip(("gamma", "lambda", "prior"), key, strict=True)))
        verdicts = [*shown.get("verdicts", ()), one["verdict"]]
        shown |= {"verdicts": list(dict.fromkeys(verdict for verdict in verdicts if verdict))}
    return [{**one, "name": _name(one)} for one in buttons.values()]


def _key(one: Mapping[str, Any]) -> tuple[float, float, str]:
    is_attached = one["gamma"] and one["prior"] == "attached"
    return one["gamma"], one["lambda"], "attached" if is_attached else "detached"


def _name(one: Mapping[str, Any]) -> str:
    name = f"\u03b3 {one['gamma']:g}, \u03bb {one['lambda']:g}{', attached' if one['prior'] == 'attached' else ''}"
    said = [*([one["name"]] if "name" in one else []), *one.get("verdicts", ())]
    return f"{name}: {', '.join(said)}" if said else name


def _words(record: Measurement) -> str:
    notes, metric = record.notes, captions.metric(record)
    said = (
        "Predicted change of the losses by one step of standard + gamma visual + lambda gated language, to first order"
    )
    if "prompts_of_directions" in notes:
        said += (
            f": directions of {notes['prompts_of_directions']} prompts, losses of {notes['prompts_of_forecast']} others"
        )
    held = "The responses are held fixed. Changes belong to a learning rate of one in plain descent"
    return f"{said}. {held}{f' ({metric})' if metric else ''}."


def _trial_words(trial: dict[str, Any]) -> str:
    taken = f"{trial['steps']} steps of AdamW at rate {trial['lr']:g}"
    if trial["factor"] is None:
        return f"The trial ({taken}) moves standard distillation's losses the other way: it has no place on this scale."
    scale = f"times {trial['factor']:.3g}, so that standard distillation agrees best"
    return f"Diamonds, at a setting that was tried: measured change after {taken}, {scale}; a frozen prior has its own."
