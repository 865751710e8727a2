"""The pictures of a prompt as one small PNG, for records that are looked at."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image

from vlm.pictures.picture import Picture

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

PICTURE_SIDE_PX = 256  # the longer side of a picture, at most


def picture_png(pictures: Sequence[Picture]) -> bytes | None:
    """Pictures side by side as one PNG, made smaller where they are large; None without a picture."""
    if not pictures:
        return None
    images = [picture.load() for picture in pictures]
    sheet = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    sheet.thumbnail((PICTURE_SIDE_PX * len(images), PICTURE_SIDE_PX))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def picture_table(analyzer: "Analyzer", n: int) -> pd.DataFrame:
    """Return the table `pictures`: the `n` responses with the largest sum of VDS, spread over the tasks."""
    tokens = analyzer.tokens
    pictured = tokens[tokens["bin"] >= 0]
    totals = pictured.groupby("rollout_id")["vds_nats"].sum().sort_values(ascending=False, kind="stable")
    prompts = {number: analyzer.prompts[analyzer.rollouts[number].prompt_id] for number in totals.index}
    seen: dict[str, int] = {}
    ranked = []
    for place, number in enumerate(totals.index):
        seen[prompts[number].task] = seen.get(prompts[number].task, -1) + 1
        ranked.append((seen[prompts[number].task], place, number))
    chosen = [number for _, _, number in sorted(ranked)[:n]]
    rows = [(number, prompts[number].prompt_id, picture_png(prompts[number].images)) for number in chosen]
    return pd.DataFrame(rows, columns=["rollout_id", "prompt_id", "picture"])
