"""The pictures of a prompt as one small PNG, for records that are looked at."""

import io
from collections.abc import Sequence

from PIL import Image

PICTURE_SIDE_PX = 256  # the longer side of a picture, at most


def picture_png(images: Sequence[Image.Image]) -> bytes | None:
    """Pictures side by side as one PNG, made smaller where they are large; None without a picture."""
    if not images:
        return None
    sheet = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    sheet.thumbnail((PICTURE_SIDE_PX * len(images), PICTURE_SIDE_PX))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()
