"""Low-rank adapters, trained in place of the weights: `--lora-rank R`, with peft.

Each linear layer in the language model's attention and MLP computes `W x + s B A x`. W is frozen, A `[R, in]` is drawn
from the run's seed, B `[out, R]` is zero at the start, and s = 2 for every R. In a mixture of experts each matrix of a
stack `[E, ., .]` has an A and B of its own. All other weights are frozen, those of the vision tower, routers and
convolutions too; the first line of a run says which. The journal measures the gradients of the adapters, grouped by
the layers that they belong to. Before the first step the gradient of A is zero, because B is.

A checkpoint's `model.safetensors` holds the merged weights `W + s B A` under the names of the model without adapters,
so that probes read it as any checkpoint. They are merged in a copy; the model's own W stays as it is. The adapters
themselves are in `training.pt`: a run continues from them and the first weights, bit by bit.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cli.errors import OptionError
from records import RecordError
from train.config import Config
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.families import language_layers, language_matrices, language_stacks

SCALE = 2
_NAME = "default"


@dataclass(frozen=True)
class Adapters:
    """The adapters of a model.

    base: fingerprint of the weights that the adapters are added to.
    layers: by name, the modules that replace the linear layers.
    stacks: by name, the modules around the parameters that stack the matrices of experts.
    without: names of the other matrices of the language model's layers.
    """

    model: nn.Module
    base: str
    layers: Mapping[str, Any]
    stacks: Mapping[str, Any] = field(default_factory=dict)
    without: Sequence[str] = ()

    def __str__(self) -> str:
        """Say in one line what has adapters and what has none."""
        having = [f"{len(self.layers)} linear layers"] if self.layers else []
        having += [f"{len(self.stacks)} stacks of experts"] if self.stacks else []
        line = f"adapters: on {' and '.join(having)}"
        if not self.without:
            return f"{line}, all matrices of the language model's layers"
        return f"{line}; none on {len(self.without)} other matrices of its layers, such as {self.without[0]}"

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def state(self) -> dict[str, Any]:
        """Return the part of a checkpoint that holds the adapters."""
        return {"base": self.base, "weights": {name: p.detach() for name, p in self.parameters.items()}}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any] | None) -> None:
        """Load the adapters of a checkpoint.

        Raises:
            RecordError: the checkpoint has no adapters, or they differ in weights, rank or layers.
        """
        held = state or {"base": None, "weights": {}}
        shapes = {name: weight.shape for name, weight in held["weights"].items()}
        if held["base"] != self.base or shapes != {name: p.shape for name, p in self.parameters.items()}:
            raise RecordError(
                "`lora_rank`, `lora_targets` and the student's weights must be those that the run began with, got"
                " others: give the same, or choose another `--out`"
            )
        for name, parameter in self.parameters.items():
            parameter.copy_(held["weights"][name])

    @torch.no_grad()
    def merged(self) -> dict[str, Tensor]:
        """Return the weights, by name, of a model without adapters that computes the same."""
        adapters = self.parameters.keys()
        state = {name: weight for name, weight in self.model.state_dict().items() if name not in adapters}
        state = {re.sub(r"(\.base_layer)+\.", ".", name): weight for name, weight in state.items()}
        adapted = {f"{name}.weight": layer for name, layer in self.layers.items()} | dict(self.stacks)
        for name, layer in adapted.items():
            state[name] = state[name] + layer.get_delta_weight(_NAME)
        return state


@contextmanager
def taken_off(model: nn.Module) -> Iterator[None]:
    """Return a context in which a model has its own modules in the places of those that adapt them, if any do."""
    adapting = {name: module for name, module in model.named_modules() if hasattr(module, "get_base_layer")}
    outer = {name: m for name, m in adapting.items() if not name.endswith(".base_layer")}
    for name, module in outer.items():
        model.set_submodule(name, module.get_base_layer())
    try:
        yield
    finally:
        for name, module in outer.items():
            model.set_submodule(name, module)


def add_adapters(student: LoadedModel, config: Config) -> Adapters:
    """Freeze a student and give it adapters.

    Raises:
        OptionError: peft is not installed, `lora_targets` finds nothing, or the student has nothing to adapt.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model  # here, for it is an extra
    except ImportError:
        raise OptionError("`lora_rank` needs peft, which is not installed: pip install 'vgs-geometry[peft]'") from None
    model, rank = student.model, config.lora_rank
    matrices, (names, stacks) = language_matrices(model), _targets(model, config.lora_targets)
    made = LoraConfig(
        r=rank,
        lora_alpha=SCALE * rank,
        target_modules=names,
        target_parameters=stacks,
        lora_dropout=0.0,
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        inject_adapter_in_model(made, model, _NAME)
    model.eval()
    chosen = {f"{name}.weight" for name in names} | set(stacks)
    without = [name for name in matrices if name not in chosen]
    layers = {name: model.get_submodule(name) for name in names}
    if config.dtype == "bfloat16":
        _hold_exactly(layers.values())
    return Adapters(model, student.fingerprint, layers, {name: _around(model, name) for name in stacks}, without)


@torch.no_grad()
def _hold_exactly(layers: Iterable[Any]) -> None:
    """Hold the frozen weights of adapted layers in bfloat16 where that changes none of their entries."""
    for layer in layers:
        weight = layer.get_base_layer().weight
        short = weight.to(torch.bfloat16)
        if torch.equal(short.to(weight.dtype), weight):
            weight.data = short


def _around(model: nn.Module, name: str) -> Any:
    """The module around one parameter of a module; those of several parameters are nested."""
    path, _, parameter = name.rpartition(".")
    around: Any = model.get_submodule(path)
    while around.parameter_name != parameter:
        around = around.base_layer
    return around


def _targets(model: nn.Module, pattern: str | None) -> tuple[list[str], list[str]]:
    """Return the names of the linear layers, and of the stacks of experts, that get adapters."""
    layers, stacks = language_layers(model), language_stacks(model)
    every = [*layers, *stacks]
    if not every:
        raise OptionError(
            "`lora_rank` needs linear layers or experts in the attention or MLP of the language model, and there are "
            "none in this student; train its weights instead, with rank 0"
        )
    try:
        chosen = {name for name in every if re.search(pattern or "", name)}
    except re.error as error:
        raise OptionError(f"`lora_targets` must be a regular expression, got {pattern!r}: {error}") from None
    if not chosen:
        kinds = f"{len(layers)} linear layers" + (f" and {len(stacks)} stacks of experts" if stacks else "")
        raise OptionError(
            f"`lora_targets` must find one of {kinds}, the first {every[0]}, got {pattern!r}; leave it out for all"
        )
    return [name for name in layers if name in chosen], [name for name in stacks if name in chosen]
