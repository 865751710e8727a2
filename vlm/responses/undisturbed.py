"""Models that are measured in the middle of a training run, and left as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(*models: nn.Module) -> Iterator[None]:
    """Put models into eval mode; afterwards each module's mode and all random numbers are as they were.

    The random numbers are those of Python, of numpy, and of torch on the CPU and on the accelerator in use.
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    own, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        for model in models:
            model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        random.setstate(own)
        np.random.set_state(numpys)
        torch.set_rng_state(torchs)
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)
