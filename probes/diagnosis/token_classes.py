r"""Which kind of token a response token is, by rules on its text: where does a loss lie, in what is said or in how?

The rules, the first that fits a token counts; spans are looked for in the whole response:

| class | rule |
|---|---|
| format | tags `<...>` and special tokens, `\boxed{` and its brace, tokens without a letter or digit |
| answer | what else stands inside `\boxed{...}` |
| number | a token with a digit, or a number spelled out up to twenty |
| function | an English word of grammar: articles, pronouns, prepositions, auxiliaries, conjunctions |
| content | everything else |

In other languages than English numbers in words and words of grammar count as content.
"""

import re
from collections.abc import Sequence
from itertools import accumulate

import pandas as pd

from records.columns import MARKS
from records.tables.diagnosis import CLASSES, MEANS

_TAG = re.compile(r"<[^<>\s]*>")
_BOX = re.compile(r"\\boxed\s*\{")
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
_GRAMMAR = (
    "a an the this that these those it its i we you he she they them his her their our your my me us there here"
    " is are was were be been being am do does did done has have had will would can could may might shall should must"
    " and or but so if then than as of in on at by to from with for into over under about not no nor yes"
    " which what who whom whose where when how why all both each either neither some any"
)


def classify(texts: Sequence[str]) -> list[str]:
    r"""The class of each token of one response.

    >>> classify(["<reason>", "the", "shape", "is", "red", ".", "</reason>", "\\boxed{", "2", "}"])
    ['format', 'function', 'content', 'function', 'content', 'format', 'format', 'format', 'answer', 'format']
    >>> classify(["\u0120two", "\u0120red", ",", "\u01203"])
    ['number', 'content', 'format', 'number']
    """
    plain = [text.translate(MARKS) for text in texts]
    ends = list(accumulate(map(len, plain)))
    joined = "".join(plain)
    written = [match.span() for pattern in (_TAG, _BOX) for match in pattern.finditer(joined)]
    boxed = [(match.end(), _closing(joined, match.end())) for match in _BOX.finditer(joined)]
    spans = zip([0, *ends], ends, plain, strict=False)
    return [_class(text, _inside(start, end, written), _inside(start, end, boxed)) for start, end, text in spans]


def class_rows(tokens: pd.DataFrame) -> pd.DataFrame:
    """The table `token_classes` from the table `tokens`: tokens of prompts with a picture."""
    pictured = tokens[tokens["has_image"]].sort_values(["rollout_id", "position"])
    classes = pictured.groupby("rollout_id")["token_text"].transform(lambda texts: classify(texts.tolist()))
    columns = [f"{name}_nats" for name in MEANS]
    totals = pictured[columns].sum()
    rows = []
    for name in CLASSES:
        inside = pictured[classes == name]
        row: dict[str, object] = {"token_class": name, "n_tokens": len(inside)}
        row["token_share"] = len(inside) / len(pictured)
        row |= {f"{mean}_mean_nats": inside[f"{mean}_nats"].mean() for mean in MEANS}
        for loss in ("standard", "visual"):
            whole = totals[f"kl_{loss}_nats"]
            row[f"{loss}_share"] = inside[f"kl_{loss}_nats"].sum() / whole if whole > 0 else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


def _class(text: str, is_written: bool, is_boxed: bool) -> str:
    word = text.strip().lower()
    if is_written or not any(character.isalnum() for character in word):
        return "format"
    if is_boxed:
        return "answer"
    if word in _NUMBERS.split() or any(character.isdigit() for character in word):
        return "number"
    return "function" if word in _GRAMMAR.split() else "content"


def _inside(start: int, end: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether more than half of a token lies in a span."""
    return any(2 * (min(end, stop) - max(start, begin)) > end - start for begin, stop in spans)


def _closing(text: str, place: int) -> int:
    """Where the brace that was opened before `place` is closed; the end of the text if nowhere."""
    depth = 1
    for index in range(place, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    return len(text)
