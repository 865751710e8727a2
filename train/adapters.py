"""Low-rank adapters, trained in place of the weights: `--lora-rank R`, with peft.

Each linear layer in the language model's attention and MLP computes `W x + s B A x`. W is frozen, A `[R, in]` is drawn
from the run's seed, B `[out, R]` is zero at the start, and s = 2 for every R. All other weights are frozen, those of
the vision tower too. The journal measures the gradients of the adapters, grouped by the layers that they belong to.
Before the first step the gradient of A is zero, because B is.

A checkpoint's `model.safetensors` holds the merged weights `W + s B A` under the names of the model without adapters,
so that probes read it as any checkpoint. They are merged in a copy; the model's own W stays as it is. The adapters
themselves are in `training.pt`: a run continues from them and the first weights, bit by bit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cli.errors import OptionError
from records import RecordError
from train.config import Config
from vlm.checkpoint import LoadedModel
from vlm.families import language_layers

SCALE = 2
_NAME = "default"


@dataclass(frozen=True)
class Adapters:
    """The adapters of a model.

    base: fingerprint of the weights that the adapters are added to.
    layers: by name, the modules that replace the linear layers.
    """

    model: nn.Module
    base: str
    layers: Mapping[str, Any]

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
        state = {name.replace(".base_layer.", "."): weight for name, weight in state.items()}
        for name, layer in self.layers.items():
            state[f"{name}.weight"] = state[f"{name}.weight"] + layer.get_delta_weight(_NAME)
        return state


def add_adapters(student: LoadedModel, config: Config) -> Adapters:
    """Freeze a student and give it adapters.

    Raises:
        OptionError: peft is not installed, or `lora_targets` finds no layer.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model  # here, for it is an extra
    except ImportError:
        raise OptionError("`lora_rank` needs peft, which is not installed: pip install 'vgs-geometry[peft]'") from None
    names = _targets(student.model, config.lora_targets)
    rank = config.lora_rank
    made = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=names, lora_dropout=0.0, bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        inject_adapter_in_model(made, student.model, _NAME)
    student.model.eval()
    return Adapters(student.model, student.fingerprint, {name: student.model.get_submodule(name) for name in names})


def _targets(model: nn.Module, pattern: str | None) -> list[str]:
    """Return the names of the linear layers that get adapters."""
    every = language_layers(model)
    try:
        chosen = [name for name in every if re.search(pattern or "", name)]
    except re.error as error:
        raise OptionError(f"`lora_targets` must be a regular expression, got {pattern!r}: {error}") from None
    if not chosen:
        among = f"one of {len(every)} linear layers, the first {every[0]}" if every else "a linear layer of the model"
        raise OptionError(f"`lora_targets` must find {among}, got {pattern!r}; leave it out for all")
    return chosen
