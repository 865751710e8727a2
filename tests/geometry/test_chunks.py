"""Chunks of units: what memory they take, and what happens where memory runs out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry import Cotangents, Gramian, total
from geometry.gramian import seeds as seeds_module
from geometry.gramian import working_set
from geometry.gramian.engine import Way
from geometry.gramian.head import Head
from geometry.gramian.packing import Packing
from geometry.gramian.weight_gramians import Factors
from geometry.gramian.working_set import CPU_BYTES, WorkingSet
from tests.geometry.problems import ModuleStudent, TinyStudent, normal, response_of
from tests.geometry.test_gramian import MIXED, TOKENS, grams_of, summed

ALL = torch.cat([TOKENS, MIXED])


@pytest.mark.parametrize("student", [TinyStudent, ModuleStudent])
@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
def test_numbers_do_not_depend_on_how_units_are_cut(student: type, chunk: int) -> None:
    whole, cut = (summed(grams_of(student(), ALL, chunk=size)) for size in (len(ALL), chunk))
    torch.testing.assert_close(cut, whole, rtol=1e-12, atol=1e-12)


class RunsOut:
    """Stands in the way of chunks of more than some units, as a full memory does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.sizes: list[int] = []
        plain = Gramian._chunk

        def chunk(engine: Gramian, way: object, weights: Tensor, direct: Tensor) -> Tensor:
            self.sizes.append(len(weights))
            if len(weights) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            return plain(engine, way, weights, direct)

        monkeypatch.setattr(Gramian, "_chunk", chunk)


@pytest.mark.parametrize("way", ["autograd", "walk"])
def test_where_memory_runs_out_half_as_many_units_go_on(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    student, said = ModuleStudent(), []
    expected = summed(grams_of(student, ALL))
    full = RunsOut(monkeypatch, 3)
    engine = Gramian(student, student.groups(), way=way, say=said.append)
    grams = engine.units(response_of(student), ALL)
    torch.testing.assert_close(torch.from_numpy(total(grams).values), expected, rtol=1e-12, atol=1e-12)
    checked = [2, 2] if way == "walk" else []
    assert full.sizes == [*checked, 8, 4, 2, 2, 2, 2]
    assert said == [
        "out of memory for the gradients of 8 units at a time, going on with 4",
        "out of memory for the gradients of 4 units at a time, going on with 2",
    ]
    engine.units(response_of(student), ALL)
    assert full.sizes[len(checked) + 6 :] == [2, 2, 2, 2]  # it is remembered


def test_one_unit_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    student = ModuleStudent()
    RunsOut(monkeypatch, 0)
    with pytest.raises(MemoryError, match="gradients of one unit"):
        Gramian(student, student.groups()).units(response_of(student), ALL)


def test_other_errors_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    student = ModuleStudent()
    monkeypatch.setattr(Gramian, "_chunk", lambda *args: (_ for _ in ()).throw(RuntimeError("another fault")))
    with pytest.raises(RuntimeError, match="another fault"):
        Gramian(student, student.groups()).units(response_of(student), ALL)


def test_the_head_is_seen_where_rows_do_not_mix() -> None:
    at = torch.arange(5)
    assert Head.behind(ModuleStudent().image_logits(at)) is not None
    assert Head.behind(TinyStudent().image_logits(at)) is None  # rows are picked behind the product
    hidden, weight = (normal(*shape).requires_grad_() for shape in ((5, 4), (7, 4)))
    product = hidden @ weight.T
    assert Head.behind((product[None, :, :6] * 2).tanh()[0].float()) is not None
    assert Head.behind(product.flip(0)) is None
    assert Head.behind(product.softmax(0)) is None
    assert Head.behind(product[:3]) is None
    assert Head.behind(product + weight.sum()) is None


def test_only_the_cotangents_that_a_view_needs_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the columns of a chunk alone."""
    student, read = ModuleStudent(), []
    response = response_of(student)
    whole = response.cotangents
    plain = seeds_module.Seeds.at_logits

    def noted(seeds: seeds_module.Seeds, name: str, like: Tensor) -> Tensor:
        read.append((name, seeds.columns.tolist()))
        return plain(seeds, name, like)

    monkeypatch.setattr(seeds_module.Seeds, "at_logits", noted)
    engine = Gramian(student, student.groups(), chunk=1, way="autograd")
    engine.units(replace(response, cotangents=Cotangents(**vars(whole))), TOKENS)
    names = ["language", "shift", "visual", "prior"]
    assert [entry for entry in read if entry[0] != "standard"] == [(name, [at]) for at in range(5) for name in names]


def test_packing_that_was_wrong_is_done_again() -> None:
    """A use that had gradients at one position in the first chunk has more in a later one."""
    packing = Packing()
    outputs = torch.zeros(1, 2, 6, 3)
    outputs[:, :, 2] = 1.0
    narrow = Factors(torch.zeros(3, 4), (0, 1), normal(6, 4), outputs)
    for _ in range(2):
        packed = packing.packed("use", narrow, 1)
        assert packed.outputs.shape == (1, 2, 1, 3) and (packed.outputs == 1).all()
        torch.testing.assert_close(packed.inputs[0, 0], narrow.inputs[2])
        assert packing.was_right()
    more = replace(narrow, outputs=torch.ones(1, 2, 6, 3))
    assert packing.packed("use", more, 1).outputs.shape[2] == 1
    assert not packing.was_right()
    assert packing.packed("use", more, 1) is more and packing.was_right()


def test_an_engine_measures_again_what_was_packed_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    student = ModuleStudent()
    expected = summed(grams_of(student, TOKENS))
    engine = Gramian(student, student.groups(), chunk=2, way="autograd")
    monkeypatch.setattr(engine.autograd.packing, "_at_own", Always())
    grams = engine.units(response_of(student), TOKENS)
    torch.testing.assert_close(torch.from_numpy(total(grams).values), expected, rtol=1e-12, atol=1e-12)


class Always(dict):
    """Says of every use that it has gradients at a token's own position alone."""

    def get(self, use: object, default: object = None) -> bool:
        return True

    def __contains__(self, use: object) -> bool:
        return True


class TestWorkingSet:
    """How many units are in a chunk."""

    def test_on_a_cpu_a_share_of_what_is_free_and_no_more_than_is_fast(self, monkeypatch: pytest.MonkeyPatch) -> None:
        room = self.room(monkeypatch, free=1 << 40)
        room.note("image", CPU_BYTES // 16)
        assert room.size == 16
        room.note("text", CPU_BYTES // 16)
        assert room.size == 8
        room.note("text", 1)  # the most counts
        assert room.size == 8
        monkeypatch.setattr(working_set, "free_bytes", lambda device: CPU_BYTES // 2)
        room.look()
        assert room.size == 2
        room.note("text", CPU_BYTES)
        assert room.size == 1

    def test_on_an_accelerator_by_the_peak_of_a_chunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        room = self.room(monkeypatch, free=20_000, device="cuda")
        room.note("image", 100)
        assert room.size == 10_000 // (3 * 100)  # an estimate, before anything was measured
        peak = Peak(now=[0, 1000, 1200, 2700], most=2900)
        monkeypatch.setattr(working_set, "Peak", lambda device: peak)
        with room.measured(7) as mark:
            for _ in range(4):
                mark()
        assert room.size == (10_000 - 1500) // ((2900 - 1500) // 7)  # graphs of at most 1500 bytes do not grow
        room.forget()
        room.note("image", 1000)
        assert room.size == 3

    def test_chosen_by_hand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        room = self.room(monkeypatch, free=0, size=5)
        assert room.size == 5
        room.halve(5)
        assert room.size == 2

    @staticmethod
    def room(monkeypatch: pytest.MonkeyPatch, free: int, size: int | None = None, device: str = "cpu") -> WorkingSet:
        monkeypatch.setattr(working_set, "free_bytes", lambda device: free)
        room = WorkingSet(torch.device(device), size, lambda line: None)
        room.look()
        return room


class Peak:
    """Stands for an accelerator's count of its memory."""

    def __init__(self, now: list[int], most: int) -> None:
        self._now, self.most = iter(now), most

    @property
    def now(self) -> int:
        return next(self._now)
