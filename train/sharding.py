"""A student in shards: each process has a part of each weight (FSDP2), where accelerate is told so.

    accelerate launch --use_fsdp --fsdp_version 2 --num_processes 2 -m train --geometry-every 0

Weights, gradients and Adam's moments are cut. Each layer of the language model is gathered when it runs and freed after
it, unless `--fsdp_reshard_after_forward false`. All other weights, the vision tower too, are gathered from the first
pass of an update to its end. The teacher is whole. The student is whole while it samples and is evaluated, so that no
token waits for another process.

In an update all processes run the same passes, because each pass gathers and scatters. A process with fewer
micro-batches repeats one with no share in the loss. A process still runs a text view where no prompt of its
micro-batch has a picture.

torch shards here, not `Accelerator.prepare`, which does not shard on a CPU, and frees the head's weight before a loss
outside the model needs it. Weights are gathered in float32; autocast rounds them, as it does where they are whole.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.utils import disable_fsdp_ram_efficient_loading, parse_flag_from_env
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from cli.errors import OptionError
from geometry import HiddenViews
from train.config import Config
from train.rollouts import MicroBatch
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.responses.scoring import view_hidden


@dataclass(frozen=True)
class Sharding:
    """A model in shards.

    layers: modules that are gathered and freed one by one; all other weights belong to the model itself.
    frees_layers: whether a layer is freed after its forward pass.
    """

    model: nn.Module
    layers: Sequence[FSDPModule]
    frees_layers: bool

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Gather all weights in each process, which then runs the model without the others and without gradients."""
        parts = [self.root, *self.layers]
        for part in parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
        try:
            yield
        finally:
            for layer in self.layers:
                layer.set_reshard_after_forward(self.frees_layers, recurse=False)
            self.release()

    def release(self) -> None:
        """Free all gathered weights: an optimizer changes the shards."""
        for part in (self.root, *self.layers):
            part.reshard()

    @property
    def root(self) -> FSDPModule:
        """The model as torch shards it."""
        assert isinstance(self.model, FSDPModule)
        return self.model

    def even(self, student: LoadedModel, responses: MicroBatch, views: HiddenViews, *, text_graph: bool) -> HiddenViews:
        """Return the views of a micro-batch, in whose graph all processes have the same layers and weights."""
        together = [p.sum() for p in self.model.parameters() if p.requires_grad and not isinstance(p, DTensor)]
        image, text = views.image + 0.0 * sum(together), views.text
        if not any(response.prompt.has_image for response in responses):
            with torch.set_grad_enabled(text_graph and torch.is_grad_enabled()):
                first = responses[0]
                (unread,) = view_hidden(student, [first.text_view], [first.rollout.token_ids])
                text = text + 0.0 * unread.sum()
        return replace(views, image=image, text=text)


def asked_for(accelerator: Accelerator, config: Config) -> FullyShardedDataParallelPlugin | None:
    """Return accelerate's settings for sharding; None for one process or whole weights.

    Raises:
        OptionError: a flag or a setting of accelerate does not go together with shards.
    """
    if accelerator.num_processes == 1 or not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return None
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise OptionError(f"`fsdp_version` must be 2, got {plugin.fsdp_version}: pass accelerate --fsdp_version 2")
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise OptionError("`fsdp_offload_params` must be false: shards stay on their device, add processes instead")
    if plugin.activation_checkpointing:
        raise OptionError("`fsdp_activation_checkpointing` must be false: give `gradient_checkpointing` instead")
    if config.geometry_every:
        raise OptionError(
            f"`geometry_every` must be 0 for a student in shards, got {config.geometry_every}: measure its checkpoints"
        )
    if config.is_automatic:
        raise OptionError(
            "`objective` must not be auto for a student in shards, whose gradients are not measured: give vgs-lp with"
            " `prior` frozen and a `gamma`"
        )
    if config.weight_average:
        raise OptionError(
            f"`weight_average` must be 0 for a student in shards, got {config.weight_average}; leave it out"
        )
    if config.lora_rank:
        raise OptionError(f"`lora_rank` must be 0 for a student in shards, got {config.lora_rank}: launch without FSDP")
    disable_fsdp_ram_efficient_loading()  # else transformers gives all processes but one empty weights, a teacher's too
    return plugin


def shard(student: LoadedModel, accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin) -> Sharding:
    """Cut the student's weights in place, which replaces its parameters."""
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    frees_layers = bool(plugin.reshard_after_forward)
    for layer in _language_layers(student):
        fully_shard(layer, mesh=mesh, reshard_after_forward=frees_layers)
    fully_shard(student.model, mesh=mesh, reshard_after_forward=False)
    parts = [module for module in student.model.modules() if isinstance(module, FSDPModule)]
    for part in parts:  # a loss has the shares of the global batch: gradients are added up
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    parts[0].set_reshard_after_backward(False, recurse=False)  # several losses may be walked back from one pass
    return Sharding(student.model, parts[1:], frees_layers)


def gradients_of(loss: Tensor, parameters: Sequence[nn.Parameter], *, keep_graph: bool) -> list[Tensor | None]:
    """Return the gradients of a loss; those of shards are summed over the processes, each of which gets its part."""
    if not isinstance(parameters[0], DTensor):
        return list(torch.autograd.grad(loss, parameters, retain_graph=keep_graph, allow_unused=True))
    loss.backward(retain_graph=keep_graph)
    gradients = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradients


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor joined from the parts of all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_weights(model: nn.Module, *, kept: bool) -> dict[str, Tensor]:
    """Gather the weights, one tensor at a time, in all processes.

    kept: whether this process holds them, in host memory; else its tensors are empty.
    """
    named = model.state_dict(keep_vars=True)
    each = {id(t): _taken(t, kept) for t in {id(t): t for t in named.values()}.values()}  # a tied weight once
    return {name: each[id(tensor)] for name, tensor in named.items()}


def whole_optimizer(optimizer: torch.optim.Optimizer, *, kept: bool) -> dict[str, Any]:
    """Gather the optimizer's state, as `whole_weights` does the weights."""
    state = optimizer.state_dict()
    slots = {
        number: {name: _taken(value, kept) if isinstance(value, Tensor) else value for name, value in slot.items()}
        for number, slot in state["state"].items()
    }
    return state | {"state": slots}


def _taken(tensor: Tensor, kept: bool) -> Tensor:
    gathered = whole(tensor.detach())
    return gathered.cpu() if kept else gathered.new_empty(0)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state without shards, cut as the parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, slot in state["state"].items():
        parameter = parameters[number]
        if isinstance(parameter, DTensor):
            for name, value in slot.items():
                if value.shape == parameter.shape:
                    slot[name] = distribute_tensor(value, parameter.device_mesh, parameter.placements)
    optimizer.load_state_dict(state)


def _language_layers(student: LoadedModel) -> list[nn.Module]:
    """The layers of the language model, which every pass runs; those of a vision tower wait for a picture."""
    own = {id(p) for name, members in student.groups.items() if name.startswith("layer_") for p in members}
    layers = [module for module in student.model.modules() if isinstance(module, GradientCheckpointingLayer)]
    return [layer for layer in layers if all(id(p) in own for p in layer.parameters())]
