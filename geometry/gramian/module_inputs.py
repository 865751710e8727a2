"""Note, while a model runs forward, what each weight is applied to, which gives the factors of its gradient.

Nothing of the model is replaced: forward hooks note the input and the output of each known module. Known are `Linear`,
`Embedding` and a convolution over patches that neither overlap nor leave gaps. What else a weight is used for is found
in the graph by `unaccounted`; such a weight is better not watched but read off the graph (see `graph`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from geometry.gramian.graph import Graph
from geometry.gramian.uses import Outwards, Use, as_they_are

Reader = Callable[[Any, Tensor], tuple[Tensor, Outwards]]
"""Brings what a module was given to `[S, i]`, or ids to `[S]`."""


@dataclass(frozen=True)
class ModuleUse(Use):
    """One call of a known module in one view; the source is its output.

    versions: of inputs and output, which tell whether they were changed in place later.
    """

    versions: tuple[int, int] = (0, 0)

    @classmethod
    def noted(cls, weight: nn.Parameter, inputs: Tensor, output: Tensor, outwards: Outwards) -> "ModuleUse":
        """Note a call as it returns."""
        return cls(weight, inputs, output, output.numel(), outwards, versions=(inputs._version, output._version))

    def is_in(self, graph: Graph) -> bool:
        """Whether the graph goes through this call, and what was noted is what it was."""
        assert isinstance(self.source, Tensor)
        unchanged = self.versions == (self.inputs._version, self.source._version)
        return unchanged and self.source.grad_fn in graph.nodes


@dataclass(frozen=True)
class _Watched:
    """A known module, what reads its inputs, and its weight."""

    module: nn.Module
    reader: Reader
    weight: nn.Parameter

    def note(self, uses: list[ModuleUse]) -> RemovableHandle:
        """Append each call of the module to `uses`, until the handle is removed."""

        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Tensor) -> None:
            inputs, outwards = self.reader(module, (args[0] if args else kwargs["input"]).detach())
            uses.append(ModuleUse.noted(self.weight, inputs, output, outwards))

        return self.module.register_forward_hook(hook, prepend=True, with_kwargs=True)


class ModuleInputs:
    """Watches the known modules that use the given parameters."""

    def __init__(self, model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        wanted = set(parameters)
        modules: Iterator[Any] = model.modules()
        readable = [(module, reader) for module in modules if (reader := _reader(module))]
        self._watched = [
            _Watched(module, reader, module.weight) for module, reader in readable if module.weight in wanted
        ]

    @property
    def parameters(self) -> set[nn.Parameter]:
        """The parameters that are watched."""
        return {watched.weight for watched in self._watched}

    @property
    def rest(self) -> list[nn.Parameter]:
        """The parameters that are not."""
        covered = self.parameters
        return [parameter for parameter in self._parameters if parameter not in covered]

    def drop(self, weights: set[nn.Parameter]) -> None:
        """Watch these no longer."""
        self._watched = [watched for watched in self._watched if watched.weight not in weights]

    def run(self, forward: Callable[[], Tensor]) -> tuple[Tensor, list[ModuleUse]]:
        """Run a view forward; returns what `forward` does, and the uses."""
        uses: list[ModuleUse] = []
        handles = [watched.note(uses) for watched in self._watched]
        try:
            with torch.enable_grad():
                return forward(), uses
        finally:
            for handle in handles:
                handle.remove()


def unaccounted(graph: Graph, uses: Sequence[ModuleUse], weights: set[nn.Parameter]) -> set[nn.Parameter]:
    """Return the weights that the graph uses otherwise than `uses` says."""
    edges, noted = graph.edges, Counter(use.parameter for use in uses if use.is_in(graph))
    return {weight for weight in weights if edges[weight] != noted[weight]}


def _reader(module: Any) -> Reader | None:
    """What reads the inputs `[S, i]` (or ids) of a known module; none where its forward is not torch's own."""
    for kind, reader in _READERS.items():
        if isinstance(module, kind) and type(module).forward is kind.forward and "forward" not in vars(module):
            return reader if reader is not _patches or _is_patchwise(module) else None
    return None


def _rows(module: nn.Linear, inputs: Tensor) -> tuple[Tensor, Outwards]:
    return inputs.reshape(-1, inputs.shape[-1]), as_they_are


def _ids(module: nn.Embedding, ids: Tensor) -> tuple[Tensor, Outwards]:
    """An embedding learns nothing at its padding id."""
    kept = (ids != (-1 if module.padding_idx is None else module.padding_idx)).unsqueeze(-1)
    return ids.reshape(-1), lambda gradients: gradients * kept


def _patches(module: Any, inputs: Tensor) -> tuple[Tensor, Outwards]:
    """Cut `[N, c, *size]` into patches: the convolution is a linear map of each."""
    n_axes = len(module.kernel_size)
    inputs = inputs.unsqueeze(0) if inputs.ndim == n_axes + 1 else inputs
    for axis, size in enumerate(module.kernel_size):
        inputs = inputs.unfold(2 + axis, size, size)  # [N, c, *places, *kernel]
    patches = inputs.movedim(1, n_axes + 1).flatten(n_axes + 1)  # [N, *places, c * kernel]
    return patches.flatten(0, n_axes), lambda gradients: gradients.movedim(-1 - n_axes, -1)


def _is_patchwise(module: Any) -> bool:
    unpadded = module.padding in ("valid", (0,) * len(module.stride))
    plain = unpadded and module.groups == 1 and set(module.dilation) == {1}
    return plain and tuple(module.stride) == tuple(module.kernel_size)


_READERS: dict[Any, Reader] = {
    nn.Linear: _rows,
    nn.Embedding: _ids,
    nn.Conv2d: _patches,
    nn.Conv3d: _patches,
}
