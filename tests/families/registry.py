"""The families that tests build, by the name that the table gives them."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedModel, ProcessorMixin

from tests.families.tokenizers import Size

Made = tuple[PreTrainedModel, ProcessorMixin]
Build = Callable[[Size], Made]


@dataclass(frozen=True)
class Family:
    """A family.

    build: makes a random model of a size, and its processor.
    torchvision: whether its processor cannot be made without torchvision.
    refused: part of the reason why a pair of it is refused; empty for all others.
    """

    name: str
    build: Build
    torchvision: bool = False
    refused: str = ""


FAMILIES: dict[str, Family] = {}


def family(name: str, *, torchvision: bool = False, refused: str = "") -> Callable[[Build], Build]:
    """Let a function that builds a family stand in `FAMILIES`, under its own name."""

    def register(build: Build) -> Build:
        FAMILIES[build.__name__] = Family(name, build, torchvision, refused)
        return build

    return register
