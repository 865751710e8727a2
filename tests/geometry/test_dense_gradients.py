"""Gradients added up over rollouts against plain autograd."""

import torch

from geometry import BASIS, DenseGradients, total, unit_gradients
from tests.geometry.problems import ModuleStudent, TinyStudent, normal, response_of, tensor
from tests.geometry.test_gramian import MIXED, TOKENS, WHOLE, grams_of, plain_gradient, summed


def gradients_of(student: TinyStudent | ModuleStudent, weights: torch.Tensor) -> dict:
    return unit_gradients(response_of(student), weights, student.groups())


def test_tokens_add_up_to_the_whole() -> None:
    student = TinyStudent()
    added = DenseGradients(student.groups())
    for row in 0.2 * TOKENS:
        added.add(gradients_of(student, row.unsqueeze(0)))
    whole = grams_of(student, WHOLE)
    for name, gram in added.grams().items():
        torch.testing.assert_close(tensor(gram), whole[name], rtol=1e-11, atol=1e-12)


def test_products_between_units_and_objectives() -> None:
    student = ModuleStudent()
    added = DenseGradients(student.groups())
    added.add(gradients_of(student, MIXED[:2]))
    added.add(gradients_of(student, MIXED[:2]))
    for name, gram in added.cross_grams().items():
        members = student.groups()[name]
        rows = torch.stack([2 * plain_gradient(student, k, row, members) for row in MIXED[:2] for k in BASIS])
        torch.testing.assert_close(gram.flatten(2).flatten(0, 1), rows @ rows.T, rtol=1e-10, atol=1e-12)


def test_products_in_a_metric() -> None:
    student = ModuleStudent()
    metric = {p: normal(*p.shape, seed=5).square() for p in student.parameters()}
    added = DenseGradients(student.groups(), metric=metric)
    added.add(gradients_of(student, MIXED[:1]))
    for name, gram in added.grams().items():
        members = student.groups()[name]
        scale = torch.cat([metric[p].flatten() for p in members])
        rows = torch.stack([plain_gradient(student, k, MIXED[0], members) for k in BASIS])
        torch.testing.assert_close(tensor(gram)[0], (rows * scale) @ rows.T, rtol=1e-10, atol=1e-12)


def test_a_unit_without_weight_adds_nothing() -> None:
    student = TinyStudent()
    gradients = gradients_of(student, MIXED[2:])
    assert all((gradient == 0).all() and gradient.shape[:2] == (1, 4) for gradient in gradients.values())


def test_in_float32_and_of_nothing() -> None:
    student = TinyStudent()
    added = DenseGradients(student.groups(), torch.float32)
    assert added.grams() == {}
    gradients = gradients_of(student, WHOLE)
    added.add(gradients)
    added.add(gradients)
    expected = 4 * summed(grams_of(student, WHOLE))
    torch.testing.assert_close(tensor(total(added.grams())), expected, rtol=1e-5, atol=1e-6)


def test_the_callers_tensors_are_left_alone() -> None:
    student = TinyStudent()
    added, gradient = DenseGradients(student.groups()), normal(1, 4, *student.mix.shape)
    before = gradient.clone()
    added.add({student.mix: gradient})
    added.add({student.mix: gradient})
    assert torch.equal(gradient, before)


def test_gradients_are_in_the_order_of_the_basis() -> None:
    student = TinyStudent()
    gradients = gradients_of(student, MIXED)
    for row, objective in enumerate(BASIS):
        for unit, weights in enumerate(MIXED):
            expected = plain_gradient(student, objective, weights, [student.mix])
            torch.testing.assert_close(gradients[student.mix][unit, row].flatten(), expected)
