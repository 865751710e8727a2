"""Free memory, and errors that say it ran out."""

import pytest
import torch

from geometry import memory
from geometry.memory import free_bytes, is_out_of_memory


def test_the_allocators_own_error_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_tensor_of_what_is_free_can_be_made():
    assert 64 << 20 < free_bytes("cpu") < 1 << 50


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CONTAINER", tmp_path)
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_bytes("cpu") == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes("cpu") > 5000
