"""A second place on a machine that has only one: finds tensors of a model's side that are made or left on the CPU.

    with HostAndDevice():
        pair = load_pair(student, teacher, device=DEVICE)
        ...

`cpu:0` plays the device. Tensors that are moved to it, made with it as their `device`, or computed from such tensors
are the device's. Tensors that are made without a device, or moved to `cpu`, are the host's. An operation that takes
both raises `MixedPlacesError` with the line of the caller, as it would on a GPU; a tensor on the host without
dimensions may take part, and indices may. `tensor.device` says which of the two it is.

Two modes work together: one sees the calls of Python, in which `cpu:0` and `cpu` differ, the other every operation of
torch, those of backward passes too, and notes the place of each storage.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = "cpu:0"
_DEVICE, _HOST = torch.device(DEVICE), torch.device("cpu")
_REPOSITORY = Path(__file__).parents[1]
_TAKE_HOST_INDICES = ("aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_")
_COPY = ("aten.copy_", "aten._to_copy")
_MAKERS = (
    "arange", "as_tensor", "empty", "eye", "from_numpy", "full", "linspace", "ones", "rand", "randint", "randn",
    "randperm", "tensor", "zeros",
)  # fmt: skip
_LIKE = tuple(f"{name}_like" for name in ("empty", "full", "ones", "rand", "randn", "zeros"))
_NEW = tuple(f"new_{name}" for name in ("empty", "full", "ones", "tensor", "zeros"))


class MixedPlacesError(AssertionError):
    """An operation takes tensors of the host and of the device, or the host reads one of the device."""


class HostAndDevice:
    """Context in which `cpu:0` is another place than `cpu`."""

    def __enter__(self) -> "HostAndDevice":
        self._stack = ExitStack()
        places = _Places()
        self._stack.enter_context(_Operations(places))
        self._stack.enter_context(_Calls(places))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()


class _Places:
    """Where each storage is; of one that torch made by itself it is not known."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[StorageWeakRef, torch.device]] = {}
        self.pending: torch.device | None = None

    def get(self, tensor: Tensor) -> torch.device | None:
        storage = _storage(tensor)
        held = None if storage is None else self._of.get(storage._cdata)
        return None if held is None or held[0].expired() else held[1]

    def put(self, tensor: Tensor, place: torch.device | None) -> None:
        storage = _storage(tensor)
        if storage is not None and place is not None:
            self._of[storage._cdata] = (StorageWeakRef(storage), place)

    def of_all(self, tensors: Sequence[Tensor]) -> torch.device | None:
        """The place of what is computed from some tensors: the device's if one of them is."""
        places = {self.get(tensor) for tensor in tensors}
        return _DEVICE if _DEVICE in places else _HOST if _HOST in places else None


class _Operations(TorchDispatchMode):
    """Every operation of torch: refuses those of two places, and notes where results are."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self._places = places

    def __torch_dispatch__(
        self, function: Any, types: object, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        rest, name = dict(kwargs or {}), str(function).rpartition(".")[0]
        tensors = _tensors(args, rest)
        self._refuse(name, args[:1] if name in _TAKE_HOST_INDICES else (args, rest))
        made = function(*args, **rest)
        place = self._places.of_all(tensors) if tensors else self._places.pending
        for tensor in _tensors(made):
            if self._places.get(tensor) is None:
                self._places.put(tensor, place)
        return made

    def _refuse(self, name: str, args: Any) -> None:
        if name in _COPY:
            return
        large = [tensor for tensor in _tensors(args) if tensor.ndim]
        places = {self._places.get(tensor) for tensor in large} - {None}
        host_alone = [t for t in _tensors(args) if not t.ndim and self._places.get(t) == _DEVICE] and _HOST in places
        if len(places) > 1 or host_alone:
            shapes = ", ".join(f"{tuple(t.shape)} on {self._places.get(t) or 'either'}" for t in _tensors(args))
            raise MixedPlacesError(f"{name} takes tensors of two places: {shapes}; {_line()}")


class _Calls(TorchFunctionMode):
    """The calls of Python: what is made where, what moves, and what a tensor says of its device."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self._places = places

    def __torch_function__(
        self, function: Callable[..., Any], types: object, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        rest, name = dict(kwargs or {}), getattr(function, "__name__", "")
        if function == Tensor.device.__get__:  # type: ignore[attr-defined]
            place = self._places.get(args[0])
            return function(*args, **rest) if place is None else place
        if name in ("to", "cpu", "cuda") and args and isinstance(args[0], Tensor):
            return self._moved(function, name, args, rest)
        if name in ("numpy", "__array__") and self._places.get(args[0]) == _DEVICE:
            raise MixedPlacesError(f"{name}() reads a tensor of the device; {_line()}")
        if name in (*_MAKERS, *_LIKE, *_NEW):
            return self._made(function, name, args, rest)
        return self._run(function, args, rest, self._places.of_all(_tensors(args, rest)))

    def _moved(self, function: Callable[..., Any], name: str, args: tuple, rest: dict[str, Any]) -> Any:
        """A move makes another tensor, as between two devices, unless it stays where it is."""
        source, target = args[0], _HOST if name == "cpu" else _asked(args[1:], rest, self._places)
        moved = self._run(function, args, rest, self._places.get(source))
        if target is None or target == self._places.get(source):
            return moved
        if _shares(moved, source):
            moved = moved.clone()
        self._places.put(moved, target)
        return moved

    def _made(self, function: Callable[..., Any], name: str, args: tuple, rest: dict[str, Any]) -> Any:
        asked = rest.get("device")
        place = torch.device(asked) if asked is not None else self._places.of_all(_tensors(args)) or _HOST
        made = self._run(function, args, rest, place)
        if name in ("as_tensor", "from_numpy") and self._places.get(made) == place:
            return made
        if any(_shares(made, source) for source in _tensors(args)):
            made = made.clone()
        self._places.put(made, place)
        return made

    def _run(self, function: Callable[..., Any], args: tuple, rest: dict[str, Any], place: torch.device | None) -> Any:
        before, self._places.pending = self._places.pending, place
        try:
            return function(*args, **rest)
        finally:
            self._places.pending = before


def _asked(args: Sequence[Any], rest: Mapping[str, Any], places: _Places) -> torch.device | None:
    """The place that `to` names, if any."""
    for value in (*args, *rest.values()):
        if isinstance(value, torch.device):
            return value
        if isinstance(value, str):
            return torch.device(value)
        if isinstance(value, Tensor):
            return places.get(value)
    return None


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> Any:
    """The storage of a tensor, of one that functorch wraps that of the innermost; None without one."""
    with torch._C.DisableTorchFunction():
        while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            tensor = torch._C._functorch.get_unwrapped(tensor)
        try:
            return tensor.untyped_storage()
        except (RuntimeError, NotImplementedError):
            return None


def _shares(one: Tensor, other: Tensor) -> bool:
    first, second = _storage(one), _storage(other)
    return first is not None and second is not None and first._cdata == second._cdata


def _line() -> str:
    """The innermost line of this repository, tests apart."""
    return next(_own_lines(), "no line of this project")


def _own_lines() -> Iterator[str]:
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(_REPOSITORY) and ".venv" not in path.parts and path.name != Path(__file__).name:
            yield f"{path.relative_to(_REPOSITORY)}:{frame.lineno}"
