"""Random checkpoints of published shapes, written tensor by tensor: no model is ever in memory."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from tests.published import Shape, config, processor

STD = 0.02
SHARD_BYTES = 1 << 30


def ensure_checkpoint(folder: Path, shape: Shape, *, visual_tokens: int, dtype: torch.dtype, seed: int) -> Path:
    """Return a folder with a random model of this shape, written unless it is there already.

    Weights are normal with a standard deviation of 0.02, those of norms 1, and biases 0.
    """
    own = config(shape)
    own.dtype = dtype
    wanted = json.loads(own.to_json_string())
    if _is_there(folder, wanted):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(folder, _random_weights(_shapes(shape), dtype, seed))
    processor(visual_tokens).save_pretrained(folder)
    own.architectures = [Qwen3VLForConditionalGeneration.__name__]
    own.save_pretrained(folder)  # last: a folder with a config is whole
    return folder


def n_bytes(shape: Shape, dtype: torch.dtype) -> int:
    """Return the size of the weights."""
    return sum(map(math.prod, _shapes(shape).values())) * dtype.itemsize


def _is_there(folder: Path, wanted: Mapping) -> bool:
    path = folder / "config.json"
    if not path.is_file():
        return False
    held = json.loads(path.read_text())
    return all(held.get(part) == wanted[part] for part in ("text_config", "vision_config", "dtype"))


def _shapes(shape: Shape) -> dict[str, torch.Size]:
    """The names and shapes of the saved tensors."""
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(config(shape))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if shape.tied:
        del shapes["lm_head.weight"]
    return shapes


def _random_weights(shapes: Mapping[str, torch.Size], dtype: torch.dtype, seed: int) -> Iterator[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for name, size in shapes.items():
        if len(size) > 1:
            yield name, torch.empty(size).normal_(std=STD, generator=generator).to(dtype)
        else:
            yield name, torch.full(size, float(name.endswith("weight")), dtype=dtype)


def _write_weights(folder: Path, weights: Iterator[tuple[str, Tensor]]) -> None:
    """Write files of about `SHARD_BYTES`, and the index that names them."""
    where: dict[str, str] = {}
    shard: dict[str, Tensor] = {}
    total = held = 0

    def flush() -> None:
        nonlocal held
        if shard:
            file = f"model-{len(set(where.values())):05d}.safetensors"
            save_file(shard, folder / file, metadata={"format": "pt"})
            where.update(dict.fromkeys(shard, file))
            shard.clear()
            held = 0

    for name, tensor in weights:
        shard[name] = tensor
        held += tensor.nbytes
        total += tensor.nbytes
        if held >= SHARD_BYTES:
            flush()
    flush()
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
