"""Products of numbers in 16 bits, added up in 32.

On a GPU the factors of gradients stay in the 16 bits of their model: its matrix units multiply them many times as fast
as float32, and return the sums in float32. On a CPU there is no such product, and factors are float32.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def adds_up_wide(device: torch.device) -> bool:
    """Return whether products of 16-bit matrices come out in float32 on a device."""
    return device.type == "cuda"


def is_narrow(tensor: Tensor) -> bool:
    """Return whether the numbers have 16 bits."""
    return tensor.dtype in (torch.bfloat16, torch.float16)


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in float32 or better."""
    return tensor.float() if is_narrow(tensor) else tensor


def wide_zeros(like: Tensor, *shape: int) -> Tensor:
    """Return zeros on the device of a tensor, in its precision, but float32 at least."""
    return torch.zeros(shape, dtype=torch.float32 if is_narrow(like) else like.dtype, device=like.device)


def multiplied(tensor: Tensor) -> Tensor:
    """Return a tensor in the precision that its products take: as it is where 16 bits add up in float32."""
    return tensor if adds_up_wide(tensor.device) else wide(tensor)


def wide_product(one: Float[Tensor, "*_batch s i"], two: Float[Tensor, "*_other i t"]) -> Float[Tensor, "*_both s t"]:
    """Return the matrix products in float32 or better; axes in front are broadcast."""
    if not (is_narrow(one) and is_narrow(two) and adds_up_wide(one.device)):
        return wide(one) @ wide(two)
    batch = torch.broadcast_shapes(one.shape[:-2], two.shape[:-2])
    left, right = (t.expand(*batch, *t.shape[-2:]).reshape(-1, *t.shape[-2:]) for t in (one, two))
    return torch.bmm(left, right, out_dtype=torch.float32).reshape(*batch, left.shape[1], right.shape[2])
