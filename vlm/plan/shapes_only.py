"""Run a model on shapes alone, and count what the run would hold, compute and move.

Tensors of numbers stand on PyTorch's meta device: they have a shape and a dtype, and no values. Whole numbers and
truth values (ids, positions, masks, the sizes of pictures) are real, so that a model can ask for them. So the code that
runs is the model's own, forward and backward, whatever its family, and takes no memory.

    with ShapesOnly(model) as run:
        logits = model(**inputs).logits
    run.counts.peak_bytes, run.counts.flops
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from cli.errors import UserError

aten = torch.ops.aten
_META = torch.device("meta")
_INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor)
_ASKS = (aten._local_scalar_dense.default, aten.equal.default, aten.nonzero.default)
_FUSED = aten._scaled_dot_product_flash_attention_for_cpu
_FLOPS: Mapping[Any, Callable[..., int]] = {
    **flop_registry,
    _FUSED: lambda q, k, v, *_, **__: sdpa_flop_count(q.shape, k.shape, v.shape),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(
        grad.shape, q.shape, k.shape, v.shape
    ),
}

_SEEN: dict[Any, tuple[list[Any], int | None]] = {}
_MAKES_NEW: dict[Any, bool] = {}


class ShapesOnlyError(UserError):
    """A model asks for a number that a run on shapes does not have."""


@dataclass
class Counts:
    """What a run holds, computes and moves.

    live_bytes, peak_bytes: of tensors made in it: those that are there, and the most that were at a time.
    flops: of products of matrices and attention; a multiplication and an addition are two.
    moved_bytes: read and written by all other operations.
    n_ops: operations that are not views.
    """

    live_bytes: int = 0
    peak_bytes: int = 0
    flops: int = 0
    moved_bytes: int = 0
    n_ops: int = 0

    def times(self, times: float) -> "Counts":
        """Return the counts of so many times as many rows; there are no more operations."""
        scaled = {f.name: int(getattr(self, f.name) * times) for f in fields(self)}
        return Counts(**scaled | {"n_ops": self.n_ops})

    def plus(self, other: "Counts") -> "Counts":
        """Return the sum of two shares of the same run."""
        summed = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Counts(**summed | {"n_ops": max(self.n_ops, other.n_ops)})


@dataclass
class _Held:
    """Storages that are there, each counted once and as long as it lives."""

    counts: Counts
    seen: dict[int, weakref.finalize] = field(default_factory=dict)

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.seen:
            return
        self.counts.live_bytes += size
        self.counts.peak_bytes = max(self.counts.peak_bytes, self.counts.live_bytes)
        self.seen[key] = weakref.finalize(storage, self._release, key, size)

    def leave_out(self, *tensors: Tensor) -> None:
        """Do not count these, nor views of them."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self.seen[storage._cdata] = weakref.finalize(storage, self._release, storage._cdata, 0)

    def _release(self, key: int, size: int) -> None:
        if self.seen.pop(key, None) is not None:
            self.counts.live_bytes -= size


@contextmanager
def _fused_attention() -> Iterator[None]:
    """Have attention run as the fused kernels do: without a matrix of weights, the mask in the dtype of the queries.

    A layer that runs again in a backward pass finds it, too.
    """
    before = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = _attended
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = before


class ShapesOnly(TorchDispatchMode):
    """Counts what is run in its context, see the module; the weights of `model` are beside it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.counts = Counts()
        self._held, self._attention = _Held(self.counts), ExitStack()
        self._held.leave_out(*model.parameters(), *model.buffers())

    def __enter__(self) -> "ShapesOnly":
        self._attention.enter_context(_fused_attention())
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._attention.close()

    def holds(self, *tensors: Tensor) -> None:
        """Count tensors that were made before, such as inputs."""
        for tensor in tensors:
            self._held.add(tensor)

    def restart(self) -> None:
        """Count operations from here on, and the peak from what is there."""
        counts = self.counts
        counts.flops = counts.moved_bytes = counts.n_ops = 0
        counts.peak_bytes = counts.live_bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = _placed(func, args, kwargs or {})
        outcome, flops = _outcome(func, args, kwargs)
        made = _tensors((outcome,))
        if not func.is_view:
            self._count(flops, _tensors(args), made)
        for tensor in made:
            self._held.add(tensor)
        return outcome

    def _count(self, flops: int | None, read: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        self.counts.n_ops += 1
        if flops is not None:
            self.counts.flops += flops
        else:
            self.counts.moved_bytes += sum(tensor.nbytes for tensor in (*read, *made))


def _outcome(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, int | None]:
    """What an operation returns, and its FLOP, None if it is no product.

    What it makes of shapes depends on shapes alone: it is worked out once, as layers are alike.
    """
    key = _key(func, args, kwargs)
    if key in _SEEN:
        made, flops = _SEEN[key]
        fresh = [like and torch.empty_strided(*like[:2], dtype=like[2], device=_META) for like in made]
        return (tuple(fresh) if len(fresh) > 1 else fresh[0]), flops
    outcome = func(*args, **kwargs)
    counter = _FLOPS.get(func.overloadpacket)
    flops = None if counter is None else counter(*args, **kwargs, out_val=outcome)
    results = outcome if isinstance(outcome, tuple) else (outcome,)
    if key is not None and all(isinstance(r, Tensor) and r.is_meta for r in results if r is not None):
        _SEEN[key] = [None if r is None else (r.shape, r.stride(), r.dtype) for r in results], flops
    return outcome, flops


def _key(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What the outcome of an operation depends on; None where it is not new tensors, or depends on values."""
    if func not in _MAKES_NEW:
        schema = func._schema
        returned = [result for result in schema.returns if result.alias_info is None]
        _MAKES_NEW[func] = not schema.is_mutable and len(returned) == len(schema.returns)
    if not _MAKES_NEW[func]:
        return None
    tensors = _tensors((*args, *kwargs.values()))
    if not tensors or not all(tensor.is_meta for tensor in tensors):
        return None
    key = (func, _described(args), tuple((name, _described(value)) for name, value in sorted(kwargs.items())))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    return tuple(map(_described, value)) if isinstance(value, (list, tuple)) else (type(value), value)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    """The tensors among arguments or results, those in lists among them."""
    tensors: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, (list, tuple)):
            tensors += _tensors(value)
    return tensors


def _placed(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments with numbers on the meta device and all else real, as the operation can take them."""
    tensors = _tensors((*args, *kwargs.values()))
    are_shapes = [tensor.is_meta for tensor in tensors]
    if not any(are_shapes):
        return args, _made_in_place(func, args, kwargs, tensors)
    if func in _ASKS:
        raise ShapesOnlyError(f"{func} asks for a number that a run on shapes alone does not have")
    if "device" in kwargs:
        kwargs = kwargs | {"device": _META}
    if all(are_shapes):
        return args, kwargs
    if func in _INDEXED:
        args = (args[0], _as_places(args[1]), *args[2:])
    return tree_map(_shape_of, args), tree_map(_shape_of, kwargs)


def _made_in_place(func: Any, args: Any, kwargs: dict[str, Any], tensors: Sequence[Tensor]) -> dict[str, Any]:
    """Where what is not made of numbers belongs: whole numbers and truth values are real, numbers are shapes."""
    if "device" not in kwargs:
        return kwargs
    dtype = kwargs.get("dtype") or (tensors[0].dtype if tensors else _default_dtype(func, args))
    on_meta = dtype.is_floating_point and kwargs["device"] is not None and torch.device(kwargs["device"]) == _META
    return kwargs | {"device": _META if on_meta else torch.device("cpu")}


def _default_dtype(func: Any, args: Any) -> torch.dtype:
    """What a factory makes that is not told: `arange` and `full` follow their numbers."""
    numbers = [value for value in args if isinstance(value, (bool, int, float))]
    follows = func.overloadpacket in (aten.arange, aten.full, aten.scalar_tensor)
    if follows and numbers and not any(isinstance(number, float) for number in numbers):
        return torch.bool if all(isinstance(number, bool) for number in numbers) else torch.int64
    return torch.get_default_dtype()


def _as_places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Truth values that index as the places they stand for, whose number decides the shape of what comes out."""
    places: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype == torch.bool:
            places += index.nonzero().unbind(1)
        else:
            places.append(index)
    return places


def _shape_of(leaf: Any) -> Any:
    return torch.empty_like(leaf, device=_META) if isinstance(leaf, Tensor) and not leaf.is_meta else leaf


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Fused attention; the mask is in the dtype of the queries, as PyTorch makes it."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.empty(attn_mask.shape, dtype=query.dtype, device=query.device)
    attended, _ = _FUSED(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)
    return attended
