"""Pictures that stay bytes or a path until they are looked at, and the forms in which a row can hold one.

A picture is turned as its EXIF tag says, and read as 8-bit RGB (`vlm.pictures.colours`). Pixels are decoded each time
they are asked for and kept by nobody here: a prompt costs the bytes of its file, or of a path.
"""

import base64
import binascii
import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from math import ceil, floor, sqrt
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from PIL import Image, UnidentifiedImageError

from cli.errors import UserError
from vlm.pictures.colours import as_rgb, turned_size
from vlm.pictures.download import download

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA", "PCX")
"""What is read of what Pillow knows: no format that runs another program or holds drawings."""
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
_SHORTEST_BASE64 = 40


class PictureError(UserError):
    """A picture that cannot be read; the message names its row."""


@dataclass(frozen=True)
class Url:
    """Where a picture can be downloaded from; asked once, when it is first looked at."""

    address: str

    @cached_property
    def data(self) -> bytes:
        return download(self.address)


@dataclass(frozen=True)
class Picture:
    """One picture; equal to another that has the same source and is shown in the same size.

    source: the bytes or the path of a file, where to download it, or an image in memory, read as it is then.
    where: what names it in errors, such as a file and its row.
    min_pixels, max_pixels: it is resized to so many, its aspect kept.
    shown_size: it is resized to this width and height, whatever its aspect.
    """

    source: bytes | Path | Url | Image.Image
    where: str = field(default="a prompt", compare=False)
    min_pixels: int | None = None
    max_pixels: int | None = None
    shown_size: tuple[int, int] | None = None

    @classmethod
    def wrap(cls, picture: "Picture | Image.Image") -> "Picture":
        """Return a picture as it is, or an image in memory as a picture."""
        return picture if isinstance(picture, Picture) else cls(picture)

    @classmethod
    def plain(cls, colour: tuple[int, int, int], size: tuple[int, int]) -> "Picture":
        """Return a picture of one colour."""
        return cls(Image.new("RGB", (1, 1), colour), shown_size=size)

    def resized(self, size: tuple[int, int]) -> "Picture":
        """Return the same picture at another width and height."""
        return replace(self, shown_size=size)

    def bounded(self, least: int | None, most: int | None) -> "Picture":
        """Return the same picture with at least and at most so many pixels; None is no bound."""
        return replace(self, min_pixels=least, max_pixels=most)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels as it is shown; read off the file's head.

        Raises:
            PictureError: it is none that can be read.
        """
        if self.shown_size is not None:
            return self.shown_size
        with self._opened() as image:
            return bounded_size(turned_size(image), self.min_pixels, self.max_pixels)

    def check(self) -> None:
        """Read the file's head alone, downloaded where it lies elsewhere.

        Raises:
            PictureError: it is none that can be read.
        """
        with self._opened():
            pass

    def check_pixels(self) -> None:
        """Decode the whole file once, a JPEG at an eighth of its size, which costs a third.

        Raises:
            PictureError: as `load`.
        """
        with self._opened() as image:
            if image.format in ("JPEG", "MPO") and image is not self.source:
                image.draft(None, (1, 1))
            as_rgb(image)

    def load(self) -> Image.Image:
        """Return its pixels as RGB.

        Raises:
            PictureError: it is cut off, or has no pixels of a known meaning.
        """
        with self._opened() as image:
            shown = as_rgb(image)
            size = self.shown_size or bounded_size(shown.size, self.min_pixels, self.max_pixels)
            return shown if shown.size == size else shown.resize(size)

    def content(self) -> bytes:
        """Return what identifies what it shows: the file's bytes, or the pixels in memory, and the size if it is set.

        Raises:
            PictureError: the file cannot be read.
        """
        with self._named(), self._file() as file:
            data = file.read()
        bounds = (self.min_pixels, self.max_pixels, self.shown_size)
        return data + (f"{bounds}".encode() if any(bounds) else b"")

    @cached_property
    def fingerprint(self) -> bytes:
        """The sha256 of `content`."""
        return hashlib.sha256(self.content()).digest()

    def _file(self) -> BinaryIO:
        if isinstance(self.source, Path):
            return self.source.open("rb")
        if isinstance(self.source, Image.Image):
            mode = "" if self.source.mode == "RGB" else self.source.mode
            return io.BytesIO(f"{mode}{self.source.size}".encode() + self.source.tobytes())
        return io.BytesIO(self.source.data if isinstance(self.source, Url) else self.source)

    @contextmanager
    def _opened(self) -> Iterator[Image.Image]:
        """The picture as Pillow opens it, not decoded; what fails inside is a `PictureError`."""
        with self._named(), quiet():
            if isinstance(self.source, Image.Image):
                yield self.source
                return
            with self._file() as file, Image.open(file, formats=_known_formats()) as image:
                yield image

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except PictureError:
            raise
        except Exception as error:  # decoders of files that are broken raise many kinds
            reason = f"{self.where} has an unreadable image ({_reason(error)})"
            raise PictureError(f"`prompts`: {reason}: mend it, or add --skip-bad") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings, such as of tags that cannot be read; pictures that are too large are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def bounded_size(size: tuple[int, int], least: int | None, most: int | None) -> tuple[int, int]:
    """Return width and height with at least and at most so many pixels, the aspect kept as whole pixels allow.

    >>> bounded_size((1000, 500), None, 125_000)
    (500, 250)
    >>> bounded_size((10, 20), 800, None)
    (20, 40)
    """
    width, height = size
    if most is not None and width * height > most:
        scale = sqrt(most / (width * height))
        width, height = max(floor(width * scale), 1), max(floor(height * scale), 1)
        return min(width, most), min(height, most)
    if least is not None and width * height < least:
        scale = sqrt(least / (width * height))
        return ceil(width * scale), ceil(height * scale)
    return size


def read_picture(entry: Any, *, where: str, root: Path | None = None, allow_remote: bool = False) -> Picture:
    """Return the picture that an entry of a row names or holds; no pixel is decoded and nothing is downloaded.

    Args:
        entry: an image, its bytes, a path, a URL, a data URI, base64, or a mapping with `bytes`, `path` or `url`.
        where: what names the row in errors.
        root: folder that paths are relative to and must lie below; None for no such folder.
        allow_remote: whether URLs are read.

    Raises:
        PictureError: the entry is of no such kind, or names what may not be read.
    """
    if isinstance(entry, Mapping):
        entry = next((entry[name] for name in ("bytes", "path", "url") if entry.get(name) is not None), None)
    if isinstance(entry, Picture):
        return replace(entry, where=where)
    if isinstance(entry, Image.Image):
        return Picture(entry, where)
    if isinstance(entry, (bytes, bytearray, memoryview)):
        return Picture(bytes(entry), where)
    if isinstance(entry, (str, Path)) and str(entry).strip():
        return Picture(_named_source(str(entry), where, root, allow_remote), where)
    raise PictureError(
        f"`prompts`: {where} must have as image a path, bytes, base64, a URL or an image of Pillow, got"
        f" {'an empty one' if entry is None or isinstance(entry, str) else type(entry).__name__}"
    )


def _named_source(text: str, where: str, root: Path | None, allow_remote: bool) -> bytes | Path | Url:
    scheme = match[1].lower() if (match := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)) else ""
    if scheme == "data":
        return _from_data_uri(text, where)
    if scheme in ("http", "https"):
        if not allow_remote:
            raise PictureError(f"`prompts`: {where} names the image {_short(text)}: add --allow-remote to download it")
        return Url(text)
    if "://" in text:
        raise PictureError(f"`prompts`: {where} names the image {_short(text)}: only http and https are read")
    return _from_base64(text) or _below(text, where, root)


def _from_data_uri(uri: str, where: str) -> bytes:
    head, comma, body = uri.partition(",")
    try:
        if not comma:
            raise ValueError("no comma")
        data = unquote_to_bytes(body)
        return base64.b64decode(b"".join(data.split()), validate=True) if head.lower().endswith(";base64") else data
    except ValueError as error:
        raise PictureError(f"`prompts`: {where} has an image as a data URI that cannot be read ({error})") from None


def _from_base64(text: str) -> bytes | None:
    """The bytes that a text spells, if these begin as a picture does; a path does not."""
    if len(text) < _SHORTEST_BASE64:
        return None
    packed = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if data.startswith(_SIGNATURES) else None


def _below(text: str, where: str, root: Path | None) -> Path:
    """The path of a file; links are followed before it is compared with the root."""
    try:
        path = (Path() if root is None else root).joinpath(text).resolve()
    except (OSError, ValueError) as error:
        raise PictureError(f"`prompts`: {where} has an unreadable image ({error})") from None
    if root is not None and not any(path.is_relative_to(folder) for folder in _folders(root.resolve())):
        raise PictureError(
            f"`prompts`: {where} names the image {_short(text)}, which does not lie below {root}: give --image-root"
        )
    return path


def _folders(root: Path) -> list[Path]:
    """Where the files of a root may lie: below it, and for a snapshot of the hub among its repository's blobs."""
    snapshots = [place.parent for place in (root, *root.parents) if place.parent.name == "snapshots"]
    return [root, *(folder.parent / "blobs" for folder in snapshots)]


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


@cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels: make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {_short(str(error.filename))}" if error.filename else "")
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
