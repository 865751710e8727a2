"""The host never waits for the device within a chunk: nothing there is asked what a device tensor holds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geometry import Gramian, ProbedResponse
from tests import models
from tests.benchmarks.objects import answered
from vlm.families import parameter_groups

ASKS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")


class Device(TorchDispatchMode):
    """Takes some tensors for those of a device, with all that is made of them; refuses to say what they hold.

    busy: whether a chunk is on its way. resting: whether the student runs, whose own waiting is not ours.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        super().__init__()
        self.busy = self.resting = False
        self._own = {tensor.untyped_storage()._cdata for tensor in tensors}
        self._kept: list[Any] = list(tensors)  # so that no place in memory is used again
        self.seen = 0

    def holds(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self._own

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs))
        name = function.overloadpacket.__name__
        if self.busy and not self.resting and any(map(self.holds, leaves)):
            self.seen += 1
            masks = [leaf for leaf in leaves[1:] if isinstance(leaf, Tensor) and leaf.dtype == torch.bool]
            if name in ASKS or (name in ("index", "index_put_") and any(map(self.holds, masks))):
                raise AssertionError(f"{name} waits for the device")
        result = function(*args, **(kwargs or {}))
        if any(map(self.holds, leaves)):
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self._own.add(leaf.untyped_storage()._cdata)
                    self._kept.append(leaf.untyped_storage())
        return result

    @contextmanager
    def rest(self) -> Iterator[None]:
        before, self.resting = self.resting, True
        yield
        self.resting = before


@pytest.fixture(params=["walk", "autograd"])
def engine_and_response(checkpoints: Path, request: pytest.FixtureRequest) -> tuple[Gramian, ProbedResponse]:
    """An engine of the small student that has measured before, and a response of seven tokens, four probed."""
    pair = models.load(checkpoints)
    (job,) = answered(pair, models.scenes(1), per_response=4, max_response=7)
    response = ProbedResponse(job.image, job.text, job.cotangents.at(job.positions), job.positions)
    engine = Gramian(pair.student.model, parameter_groups(pair.student.model), chunk=2, way=request.param)
    engine.units(response, torch.eye(4))
    return engine, response


def run(engine: Gramian, response: ProbedResponse, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Measure with the student's weights and all cotangents on the device."""
    cotangents = [getattr(response.cotangents, field.name) for field in fields(response.cotangents)]
    device = Device([*engine.parameters, *cotangents])
    chunk, cpu = Gramian._chunk, Tensor.cpu

    def busy(*args: Any) -> Tensor:
        device.busy = True
        try:
            return chunk(*args)
        finally:
            device.busy = False

    def fetched(tensor: Tensor) -> Tensor:
        assert not (device.busy and not device.resting and device.holds(tensor)), "cpu() waits for the device"
        with torch.utils._python_dispatch._disable_current_modes():
            return cpu(tensor).clone()

    def resting(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def called(at: Tensor) -> Tensor:
            with device.rest():
                return forward(at)

        return called

    monkeypatch.setattr(Gramian, "_chunk", busy)
    monkeypatch.setattr(Tensor, "cpu", fetched)
    views = (resting(response.image_logits), resting(response.text_logits))
    with device:
        engine.units(ProbedResponse(*views, response.cotangents, response.positions), torch.eye(4))
    return device


def test_nothing_is_asked_within_a_chunk(engine_and_response, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(*engine_and_response, monkeypatch).seen > 100


@pytest.mark.parametrize("engine_and_response", ["autograd"], indirect=True)
def test_what_asks_is_caught(engine_and_response, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the engine looks which positions have gradients in each chunk, as it does in the first."""
    engine, response = engine_and_response
    engine.autograd.packing._at_own.clear()
    with pytest.raises(AssertionError, match="_local_scalar_dense waits"):
        run(engine, response, monkeypatch)
