"""The weights of a checkpoint: which files they are, what identifies them, and what is wrong with them."""

import hashlib
from collections.abc import Sequence
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from vlm.checkpoints.places import CheckpointError, Place, first_line
from vlm.checkpoints.waiting import fingerprinting

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_TOO_LARGE = 2  # times as many parameters as the files hold: the config is of another model


def weight_files(place: Place) -> tuple[str, ...]:
    """Return the files that the weights are read from, sorted, those of a hub id brought here.

    They are those that the index names, else `model.safetensors`; other files are left alone.

    Raises:
        CheckpointError: there are two sets of weights, or the index names files that are missing or lie elsewhere.
    """
    named = place.read("config.json").get("transformers_weights")
    if named is None and not place.holds(INDEX):
        place.fetch([WEIGHTS])
    if named is None and place.holds(WEIGHTS) and place.holds(INDEX):
        raise CheckpointError(
            f"`checkpoint` {place.asked} holds two sets of weights, {WEIGHTS} and those of {INDEX};"
            " remove one of the two"
        )
    first = str(named or (INDEX if place.holds(INDEX) else WEIGHTS))
    files = _indexed(place, first) if first.endswith(".index.json") else (first,)
    for file in files:
        if not _is_inside(file):
            raise CheckpointError(
                f"`checkpoint` {place.asked} names weights outside its folder or in another format: {file};"
                " save it again as safetensors"
            )
    place.fetch(files)
    if missing := [file for file in files if not place.holds(file)]:
        raise CheckpointError(
            f"`checkpoint` {place.asked} has no file named {missing[0]}; its weights must be safetensors"
        )
    return tuple(sorted(files))


def _indexed(place: Place, index: str) -> tuple[str, ...]:
    """The files that an index names."""
    of_weights = place.read(index).get("weight_map") if _is_inside(index, ".json") else None
    if not isinstance(of_weights, dict) or not of_weights or not all(isinstance(f, str) for f in of_weights.values()):
        raise CheckpointError(f"`checkpoint` {place.asked}: {index} must name the file of each weight; save it again")
    return tuple(set(of_weights.values()))


def _is_inside(file: str, ending: str = ".safetensors") -> bool:
    path = PurePosixPath(file.replace("\\", "/"))
    return file.endswith(ending) and not path.is_absolute() and ".." not in path.parts and ":" not in file


def files_fingerprint(folder: Path, files: Sequence[str], start: str = "") -> str:
    """Return the sha256 (16 hex digits) over the names and bytes of files, in this order, and `start` before them."""
    digest, n_read = hashlib.sha256(start.encode()), 0
    with fingerprinting(folder, files) as show:
        for file in files:
            digest.update(file.encode())
            with (folder / file).open("rb") as weights:
                while block := weights.read(1 << 24):
                    digest.update(block)
                    show(n_read := n_read + len(block))
    return digest.hexdigest()[:16]


def place_fingerprint(place: Place, files: Sequence[str], start: str = "") -> str:
    """Return the sha256 (16 hex digits) over the names of files and what they hold, in this order, `start` before them.

    What a file of the hub's cache holds is known by the hash that the hub gave it. All others are read.
    """
    hashes = [place.hub_hash(file) for file in files]
    if None in hashes:
        return files_fingerprint(place.folder, files, start)
    named = "".join(f"{file} {digest}\n" for file, digest in zip(files, hashes, strict=True))
    return hashlib.sha256(f"{start}{named}".encode()).hexdigest()[:16]


def tensors_fingerprint(model: nn.Module) -> str:
    """Return the sha256 (16 hex digits) over the names, types and bytes of a model's parameters and saved buffers."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def n_held(place: Place, files: Sequence[str]) -> int:
    """Return the number of entries of all tensors in the files.

    Raises:
        CheckpointError: a file is no safetensors file, or a tensor stands in two of them.
    """
    sizes: dict[str, int] = {}
    for file in files:
        try:
            with safe_open(place.folder / file, "pt") as weights:
                own = {name: prod(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"`checkpoint` {place.asked} cannot be loaded: {file}: {first_line(error)}") from None
        if twice := sorted(sizes.keys() & own.keys()):
            raise CheckpointError(f"`checkpoint` {place.asked} holds {twice[0]} in two files; save it again")
        sizes |= own
    return sum(sizes.values())


def refuse_larger(place: Place, wanted: int, held: int) -> None:
    """Refuse a config that builds a model far larger than the weights, before it takes memory."""
    if wanted > _TOO_LARGE * held:
        raise CheckpointError(
            f"`checkpoint` {place.asked} has a config of {wanted:,} parameters and weights of {held:,}: it lacks most"
            " of them; give the config that the weights were saved with"
        )


def refuse_differing(place: Place, met: dict[str, Any]) -> None:
    """Refuse weights that are not those of the config.

    met: what `from_pretrained` says about loading.
    """
    start = f"`checkpoint` {place.asked}"
    if missing := sorted(met["missing_keys"]):
        raise CheckpointError(f"{start} lacks the weights {missing[0]}; save the whole model")
    if unused := sorted(met["unexpected_keys"]):
        raise CheckpointError(
            f"{start} holds {len(unused)} weights that its config has no place for, the first {unused[0]};"
            " give the config that they were saved with"
        )
    if mismatched := sorted(met["mismatched_keys"]):
        name, held, wanted = mismatched[0]
        raise CheckpointError(
            f"{start} holds {name} of shape {tuple(held)}, and its config wants {tuple(wanted)};"
            " give the config that it was saved with"
        )


def refuse_not_finite(name: str, model: nn.Module) -> None:
    """Refuse weights that are infinite or no number, and saved buffers that are no number."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for key, tensor in model.state_dict().items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        values = (
            tensor.detach().float() if tensor.element_size() == 1 else tensor.detach()
        )  # eight bits have no minimum
        least, most = (float(value) for value in torch.aminmax(values))
        if least != least or (key in parameters and torch.inf in (-least, most)):
            raise CheckpointError(
                f"`checkpoint` {name} has weights that are not finite, the first {key}; give an earlier checkpoint, or"
                f" another `dtype` if {str(tensor.dtype)[6:]} is too narrow for them"
            )
