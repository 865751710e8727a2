"""Products of 16-bit numbers: in float32 on a CPU, by the GPU's own product there (a stand-in here)."""

import pytest
import torch
from torch import Tensor

from geometry import Gramian, total
from geometry.gramian import wide
from geometry.gramian.weight_gramians import Factors, weight_grams
from geometry.gramian.wide import multiplied, wide_product
from tests.geometry.problems import ModuleStudent, normal, response_of
from tests.geometry.test_gramian import TOKENS


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.dtype, torch.dtype]]:
    """Let products of 16 bits add up wide, as on a GPU; return the dtypes of the calls: of factors and of results."""
    noted: list[tuple[torch.dtype, torch.dtype]] = []

    def bmm(one: Tensor, two: Tensor, *, out_dtype: torch.dtype) -> Tensor:
        assert one.dtype == two.dtype and one.ndim == two.ndim == 3 and len(one) == len(two)
        noted.append((one.dtype, out_dtype))
        return (one.double() @ two.double()).to(out_dtype)

    monkeypatch.setattr(torch, "bmm", bmm)
    monkeypatch.setattr(wide, "adds_up_wide", lambda device: True)
    return noted


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_on_a_cpu_products_are_those_of_float32_or_better(dtype: torch.dtype) -> None:
    one, two = normal(3, 4, 5, 300).to(dtype), normal(4, 300, 6, seed=1).to(dtype)
    exact = one.double() @ two.double()
    product = wide_product(one, two)
    assert product.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(product.double(), exact, rtol=1e-5, atol=1e-4)
    assert multiplied(one).dtype == product.dtype


def test_on_a_gpu_16_bits_are_multiplied_as_they_are(calls: list) -> None:
    one, two = normal(3, 1, 5, 300).bfloat16(), normal(4, 300, 6, seed=1).bfloat16()
    product = wide_product(one, two)
    torch.testing.assert_close(product.double(), one.double() @ two.double(), rtol=1e-6, atol=1e-6)
    assert product.shape == (3, 4, 5, 6) and calls == [(torch.bfloat16, torch.float32)]
    assert multiplied(one) is one
    wide_product(one.float(), two)
    assert len(calls) == 1  # of two precisions the wider one is taken


@pytest.mark.parametrize("places", [3, 300])
def test_grams_of_16_bit_factors_are_exact_either_way(calls: list, places: int) -> None:
    """Factors are rounded once, as they come; nothing that is made of them is rounded to 16 bits again."""
    ids = torch.arange(places) * 7 % 180
    weight = normal(180, 200).bfloat16()
    outputs = [normal(3, 2, places, n, seed=n).bfloat16() for n in (180, 200)]
    uses = [
        Factors(weight, (2, 3), normal(places, 200).bfloat16(), outputs[0]),
        Factors(weight, (0, 1), ids, outputs[1]),
        Factors(weight, (0, 1), normal(places, 200, seed=2).bfloat16(), outputs[0].flip(0)),
    ]
    exact = [Factors(u.weight.double(), u.rows, _double(u.inputs), u.outputs.double()) for u in uses]
    expected = weight_grams(exact)
    lengths = expected.diagonal(dim1=-2, dim2=-1).sqrt()
    wrong = (weight_grams(uses) - expected).abs() / (lengths[:, :, None] * lengths[:, None, :])
    assert wrong.max() < 1e-5
    assert calls and set(calls) == {(torch.bfloat16, torch.float32)}


def test_the_engine_keeps_the_factors_of_a_16_bit_model(calls: list) -> None:
    """Against the same model with factors in float32, as on a CPU."""
    student = ModuleStudent(bias=False).bfloat16()
    student.pictures = student.pictures.bfloat16()
    response = response_of(student)
    grams = total(Gramian(student, student.groups(), batched=False).units(response, TOKENS)).values
    assert (torch.bfloat16, torch.float32) in calls
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wide, "adds_up_wide", lambda device: False)
        expected = total(Gramian(student, student.groups(), batched=False).units(response, TOKENS)).values
    assert abs(grams - expected).max() < 1e-4 * abs(expected).max()


def _double(inputs: Tensor) -> Tensor:
    return inputs.double() if inputs.is_floating_point() else inputs
