"""Adam's metric of a checkpoint, from the state of the optimizer that trained it.

A step of Adam along the gradient of one loss, `-D g`, changes another loss by `-g'^T D g` to first order, with
`D = 1 / (sqrt(v) + eps)` and v the running mean of squared gradients, bias-corrected: exp_avg_sq / (1 - beta2^step), or
the largest so far under AMSGrad. In that inner product an angle says whether the steps of two losses help each other as
the optimizer takes them. Momentum and weight decay have no part in it.

A state numbers its parameters, group after group, and seldom names them. Where it does not, they are taken in the order
of `model.parameters()`; with two groups in that of transformers' Trainer, which sets what decays before what does not.
Shapes are compared, so that another order is refused rather than measured.

An entry that no step has given a gradient (an embedding's row whose token never came up) has v = 0, so that the metric
is 1 / eps there, which can outweigh all others: `zero_share` says how many there are.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geometry import adam_metric
from vlm.checkpoints.checkpoint import CheckpointError
from vlm.names import resolve

STATE = "training.pt"
"""What `python -m train` writes beside the weights of a checkpoint."""


@dataclass(frozen=True)
class AdamMetric:
    """The diagonal of D for each parameter; the file's fingerprint; the share of entries with v = 0."""

    factors: Mapping[nn.Parameter, Tensor]
    fingerprint: str
    zero_share: float


class _Moment(NamedTuple):
    """What the state says of one parameter, and the settings of its group."""

    parameter: nn.Parameter
    second: Tensor
    step: float
    beta2: float
    eps: float

    @property
    def corrected(self) -> Tensor:
        """v, at least in float32, where the parameter is."""
        wide = torch.promote_types(self.parameter.dtype, torch.float32)
        return self.second.to(self.parameter.device, wide) / (1.0 - self.beta2**self.step)

    def metric(self, name: str, path: Path) -> Mapping[nn.Parameter, Tensor]:
        """Return the factors of the parameter.

        Raises:
            CheckpointError: they belong to no inner product, or the settings are no Adam's.
        """
        for setting, number, inside in (
            ("beta2", self.beta2, 0.0 <= self.beta2 < 1.0),
            ("step", self.step, 1.0 <= self.step < math.inf),
            ("eps", self.eps, 0.0 <= self.eps < math.inf),
        ):
            if not inside:
                raise CheckpointError(
                    f"`optimizer_state` {path} must have beta2 in [0, 1), steps from 1 and eps from 0, got {setting}"
                    f" {number} for {name}; give the state that the optimizer saved"
                )
        try:
            return adam_metric({self.parameter: self.corrected}, self.eps)
        except ValueError as error:
            raise CheckpointError(
                f"`optimizer_state` {path} must hold second moments that are finite, not negative, and not 0 where"
                f" eps is 0, got others for {name}: {error} The training diverged, or the file is damaged"
            ) from None


def state_file(checkpoint: str, file: str | None = None) -> Path:
    """Return the file that holds the optimizer's state: the one given, or that beside the checkpoint's weights.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(file) if file is not None else Path(resolve(checkpoint)) / STATE
    if path.is_file():
        return path
    if file is not None:
        raise CheckpointError(f"`optimizer_state` must be a file, got {file}; save an optimizer's state_dict() there")
    raise CheckpointError(
        f"`optimizer_state` must be given: {checkpoint} holds no {STATE}, which `python -m train` writes;"
        " add --optimizer-state FILE or leave out --metric adam"
    )


def adam_metric_of(model: nn.Module, path: Path) -> AdamMetric:
    """Return the metric of the model's parameters that require a gradient.

    The state may be that of these alone or of all parameters of the model.

    Raises:
        CheckpointError: the file is no state of Adam, or of other parameters, or its metric is no inner product: second
            moments, eps or beta2 that are negative, nan or infinite.
    """
    factors: dict[nn.Parameter, Tensor] = {}
    zeros = 0
    for name, moment in _moments(model, path):
        if moment.parameter.requires_grad:
            factors |= moment.metric(name, path)
            zeros += int((moment.second == 0).sum())
    with path.open("rb") as content:
        fingerprint = hashlib.file_digest(content, "sha256").hexdigest()[:16]
    return AdamMetric(factors, fingerprint, zeros / sum(factor.numel() for factor in factors.values()))


def _moments(model: nn.Module, path: Path) -> Iterator[tuple[str, _Moment]]:
    """The name of each of the state's parameters, and what the state says of it."""
    content = _read(path)
    groups, state = content["param_groups"], content["state"]
    names = _names(model, groups, path)
    numbered = ((index, group) for group in groups for index in group["params"])
    parameters = dict(model.named_parameters())
    for name, (index, group) in zip(names, numbered, strict=True):
        moments, parameter = state.get(index, {}), parameters[name]
        second, step = moments.get("max_exp_avg_sq", moments.get("exp_avg_sq")), float(moments.get("step", 0))
        if second is None or not step:
            if parameter.requires_grad:
                raise CheckpointError(
                    f"`optimizer_state` {path} must hold Adam's second moment (exp_avg_sq) of {name}, got none: no step"
                    " has moved it, or the optimizer is another; leave it out with --parameters"
                )
            continue
        if second.shape != parameter.shape:
            raise CheckpointError(
                f"`optimizer_state` {path} must have the shapes of the model, got {tuple(second.shape)} for {name},"
                f" which has {tuple(parameter.shape)}; give the state of this checkpoint's optimizer"
            )
        yield name, _Moment(parameter, second, step, group["betas"][1], group["eps"])


def _read(path: Path) -> Mapping[str, Any]:
    """The state_dict() of an optimizer, by itself or as the `optimizer` of a training state."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # readers of pickles and archives raise many kinds
        content = None
    if isinstance(content, dict):
        content = content.get("optimizer", content)
    if not isinstance(content, dict) or not content.keys() >= {"state", "param_groups"}:
        raise CheckpointError(
            f"`optimizer_state` {path} must be a file of tensors that torch.save wrote, got another;"
            " save an optimizer's state_dict()"
        )
    if any("betas" not in group or "eps" not in group for group in content["param_groups"]):
        raise CheckpointError(f"`optimizer_state` {path} must be the state of Adam or AdamW, got that of another kind")
    return content


def _names(model: nn.Module, groups: Sequence[Mapping[str, Any]], path: Path) -> Sequence[str]:
    """The names of the state's parameters, in its order: of those that require a gradient, or of all."""
    every = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    trained = [name for name, required in every.items() if required]
    if all("param_names" in group for group in groups):
        stated = [name for group in groups for name in group["param_names"]]
        if set(trained) <= set(stated) <= set(every):
            return stated
    n = sum(len(group["params"]) for group in groups)
    if n not in (len(trained), len(every)):
        raise CheckpointError(
            f"`optimizer_state` {path} must hold the parameters that are measured, got {n} for {len(trained)}"
            f" of the model's {len(every)}; choose with --parameters those that were trained"
        )
    chosen = trained if n == len(trained) else list(every)
    return _as_trainer(model, chosen) if len(groups) == 2 else chosen


def _as_trainer(model: nn.Module, names: Sequence[str]) -> list[str]:
    """The order of transformers' Trainer: weights that decay, then biases and norms."""
    from transformers import Trainer  # here, for it brings all of training along

    decaying = set(Trainer.get_decay_parameter_names(None, model))  # type: ignore[arg-type]  # reads the model alone
    return list(chain(filter(decaying.__contains__, names), (name for name in names if name not in decaying)))
