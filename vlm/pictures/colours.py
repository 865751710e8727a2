"""A picture of any kind of pixels as RGB: turned upright, 16 bits scaled to 8, what is clear made white.

Colour profiles are not applied, as no processor applies them.
"""

from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from cli.visible import print_err

_GREY_16 = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_FILES_OF_16_BITS = ("PNG", "PPM")
_WHITE = (255, 255, 255)


class PixelError(ValueError):
    """Pixels whose meaning is not known."""


def as_rgb(image: Image.Image) -> Image.Image:
    """Return the picture as 8-bit RGB, in the orientation that it states; a new object.

    What is transparent is composited on white. That, and that of several frames the first is shown, is said once.

    Raises:
        PixelError: floats, whole numbers beyond 16 bits, or a colour space that Pillow does not convert.
    """
    if getattr(image, "is_animated", False) and image.format != "MPO":  # a phone's second frame is a by-product
        note("a picture with several frames is shown as its first one")
    clear, upright = _clear_colour(image), _upright(image)
    if clear != upright.info.get("transparency"):
        upright = upright.copy()
        upright.info["transparency"] = clear
    if upright.mode == "F":
        raise PixelError("its pixels are floats, whose range is unknown: save it with 8 or 16 bits")
    if upright.mode in _GREY_16:
        return _from_16_bits(upright, image.format)
    if upright.has_transparency_data:
        return _on_white(upright.convert("LA" if upright.mode == "La" else "RGBA").convert("RGBA"))
    try:
        converted = upright.convert("RGB")
    except ValueError:
        raise PixelError(f"its colour space {upright.mode} is not read: save it as RGB") from None
    return converted.copy() if converted is image else converted


def turned_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height in pixels in the orientation that a picture states, without decoding it."""
    width, height = image.size
    is_on_its_side = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)  # Pillow turns TIFF itself
    return (height, width) if is_on_its_side else (width, height)


@cache
def note(text: str) -> None:
    """Print a note on stderr, each text once in a process."""
    print_err(f"note: {text}")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a tag that cannot be read says nothing; Pillow's parsers raise many kinds
        return 1


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # a file that is cut off is one whatever its tags say
    return ImageOps.exif_transpose(image) if _orientation(image) in range(2, 9) else image


def _clear_colour(image: Image.Image) -> Any:
    """What a file names as clear; of RGB with 16 bits in the 8 bits that Pillow reads its pixels with."""
    clear, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if image.mode == "RGB" and isinstance(clear, tuple):
        has_16_bits = max(clear) > 255 or (tiles and tiles[0][3] == "RGB;16B")
        return tuple(value >> 8 for value in clear) if has_16_bits else clear
    return clear


def _from_16_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    """0 to 65,535 as 0 to 255. A picture of 32 bits has no range of its own: what is no 16-bit range is refused."""
    values = np.asarray(image).astype(np.int64)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    is_stated = image.mode != "I" or file_format in _FILES_OF_16_BITS
    if low < 0 or high > 65535 or (not is_stated and 0 < high < 256):
        raise PixelError(f"its 32-bit pixels lie in {low} to {high}, not in 16 bits: save it with 8 or 16 bits")
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        opaque = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
        return _on_white(Image.merge("LA", (grey, opaque)).convert("RGBA"))
    return grey.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    alpha = image.getchannel("A")
    low, _ = alpha.getextrema()
    if isinstance(low, int) and low < 255:
        note("transparent parts of pictures are shown as white")
    ground = Image.new("RGBA", image.size, (*_WHITE, 255))
    return Image.alpha_composite(ground, image).convert("RGB")
