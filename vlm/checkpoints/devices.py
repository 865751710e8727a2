"""Where a model runs: what `auto`, `cpu`, `cuda`, `cuda:1` and `mps` stand for in this process.

`auto` is the accelerator of the machine if it has one, else the CPU. Where several processes share a machine
(`accelerate launch`, `torchrun`), `auto` and a name without a number are the accelerator with the process's own number.
"""

import os

import torch

from cli.visible import print_err
from vlm.checkpoints.places import CheckpointError, first_line

AUTO = "auto"
CPU = torch.device("cpu")


def device_of(asked: str, argument: str = "device") -> torch.device:
    """Return the device that a name stands for in this process.

    argument: the option that has the name, for messages.

    Raises:
        CheckpointError: the device is not there, has no float64, or there are more processes than devices.
    """
    if asked == AUTO:
        device = _accelerator() or CPU
        return device if device == CPU else _own(device, argument)
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise _unusable(asked, argument, error) from None
    if device.index is None and device.type == kind_of_accelerator():
        device = _own(device, argument)
    _try(device, asked, argument)
    return device


def device_name(asked: str) -> str:
    """Return what a record says of a device: `auto` as the kind that it stands for, without the process's number.

    There is one CPU, whatever number is put to it.

    Raises:
        CheckpointError: as `device_of`.
    """
    if asked.partition(":")[0] == CPU.type:
        return CPU.type
    return device_of(asked).type if asked == AUTO else asked


def kind_of_accelerator() -> str | None:
    """Return the kind of the machine's accelerator, such as cuda; None without one."""
    device = torch.accelerator.current_accelerator(check_available=True)
    return None if device is None else device.type


def say(line: str) -> None:
    """Print a line on stderr, of several processes the first alone."""
    if os.environ.get("RANK", "0") == "0":
        print_err(line)


def _accelerator() -> torch.device | None:
    """The machine's accelerator, unless it lacks float64 (mps) or accelerate was told to stay on the CPU."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return None
    kind = kind_of_accelerator()
    return None if kind is None or kind == "mps" else torch.device(kind)


def _own(device: torch.device, argument: str) -> torch.device:
    """The device of this process: its number on the machine is that of its device."""
    number = int(os.environ.get("LOCAL_RANK", -1))
    if number < 0:
        return device
    if number >= (n_devices := torch.accelerator.device_count()):
        raise CheckpointError(
            f"`{argument}` {device.type} must have a device for each process of the machine, got {n_devices} for"
            f" process {number + 1}: start fewer processes, or choose cpu"
        )
    return torch.device(device.type, number)


def _try(device: torch.device, asked: str, argument: str) -> None:
    """Refuse a device on which no number can be kept, in float64 as sampling and inner products need it."""
    try:
        torch.zeros(1, device=device, dtype=torch.float64).tolist()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise _unusable(asked, argument, error) from None


def _unusable(asked: str, argument: str, error: BaseException) -> CheckpointError:
    said = first_line(error)
    if said.startswith("Expected one of"):  # a list of every kind that torch has a name for
        said = "torch has no device of that kind"
    said = said.partition(". ")[0]  # what follows is advice for those who build torch
    return CheckpointError(f"`{argument}` {asked!r} cannot be used ({said}); try auto or cpu")
