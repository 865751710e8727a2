"""In which numbers a model's weights are held: the checkpoint's own dtype on an accelerator, float32 on the CPU.

A teacher can be held in 8 or 4 bits (bitsandbytes, the extra `quantised`): its weights are rounded, and multiplied in
bfloat16. Whatever the weights are in, log-probabilities are float32 and inner products are added up in float64.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from vlm.checkpoints.devices import AUTO
from vlm.checkpoints.places import CheckpointError, Place

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
QUANTISED = ("int8", "nf4")
"""8-bit integers, and the 4-bit numbers of QLoRA (arXiv:2305.14314)."""


def checked_dtype(asked: str, argument: str = "dtype") -> str:
    """Return a dtype as it was asked for.

    argument: the option that has the name, for messages.

    Raises:
        CheckpointError: there is none of this name, or bitsandbytes is missing.
    """
    names = (AUTO, *DTYPES, *QUANTISED)
    if asked not in names:
        raise CheckpointError(f"`{argument}` must be one of {', '.join(names)}, got {asked!r}")
    if asked in QUANTISED and find_spec("bitsandbytes") is None:
        raise CheckpointError(f"`{argument}` {asked} needs bitsandbytes: pip install 'vgs-geometry[quantised]'")
    return asked


def settled_dtype(asked: str, device: torch.device, base: Callable[[], Place]) -> str:
    """Return the name of the dtype that `auto` stands for on a device; any other name as it is.

    base: returns where the checkpoint's config lies; called where the dtype depends on it.
    """
    if asked != AUTO:
        return asked
    return "float32" if device.type == "cpu" else own_dtype(base())


def own_dtype(base: Place) -> str:
    """Return the name of the dtype that a checkpoint says it was saved in: float32 if it says none.

    One that is not among `DTYPES`, such as eight bits, is read in bfloat16.
    """
    config = base.read("config.json")
    text = config.get("text_config")
    parts = (config, text if isinstance(text, dict) else {})
    stated = [part.get(name) for part in parts for name in ("dtype", "torch_dtype")]
    written = next((str(name).removeprefix("torch.") for name in stated if name), "float32")
    return written if written in DTYPES else "bfloat16"


def quantisation(dtype: str) -> dict[str, Any]:
    """Return what `from_pretrained` is told for weights in this dtype, one of `QUANTISED` or of `DTYPES`."""
    if dtype not in QUANTISED:
        return {"dtype": DTYPES[dtype]}
    bits: dict[str, Any] = {"load_in_8bit": True} if dtype == "int8" else {"load_in_4bit": True}
    bits |= {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
    return {"dtype": torch.bfloat16, "quantization_config": BitsAndBytesConfig(**bits)}
