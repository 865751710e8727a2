"""Counts of FLOPs and bytes against counts by hand on small models."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from geometry import Cotangents
from tests.benchmarks.counting import Cost, TensorsAlive, cost_of
from tests.benchmarks.floor import Rows, cheaper
from tests.benchmarks.flops import FlopOptions, cost_of_way, floor_of, table
from tests.benchmarks.ways import Job

T, D, H, V, SEEN = 6, 5, 7, 11, 3  # tokens, widths, ids, and rows of the picture


class Student(nn.Module):
    """An embedding, a linear map, a sum over the tokens so far and a head; a picture's rows stand in front."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.first, self.head = nn.Embedding(V, D), nn.Linear(D, H, bias=False), nn.Linear(H, V, False)
        self.ids, self.places = torch.arange(T) % V, torch.arange(SEEN)

    def run(self, positions: Tensor, seen: int) -> Tensor:
        ids = torch.cat([self.places[:seen], self.ids[: positions[-1] + 1]])
        hidden = self.first(self.embedding(ids)).tanh().cumsum(0)
        return self.head(hidden[seen + positions])


@pytest.fixture
def job() -> Job:
    student = Student()
    cotangents = Cotangents(*torch.randn(5, T, V))
    image, text = partial(student.run, seen=SEEN), partial(student.run, seen=0)
    return Job(student, image, text, cotangents, torch.tensor([2, 5]))


def test_the_floor_is_a_count_by_hand(job: Job) -> None:
    rows = {2: (SEEN + 3, 3), 5: (SEEN + 6, 6)}  # of the image and of the text view, up to each token
    parts = floor_of(job)
    assert parts["forward"] == sum(2 * n * D * H + 2 * 2 * H * V for n in rows[5])  # the head at two tokens
    assert parts["backward"] == sum(2 * (2 * n * D * H + 2 * H * V) for views in rows.values() for n in views)
    products = 0
    for image, text in rows.values():
        pairs = [(image, image), (image, text), (text, text)]
        few = [(min(pair), max(pair)) for pair in pairs]
        # of the first map, by gradients or by factors; its inputs are multiplied once for both tokens
        gradients = 2 * 2 * (image + text) * D * H + 2 * 10 * D * H
        factors = sum(2 * s * t * D // 2 + 2 * 2 * s * t * H + 2 * 4 * s * H for s, t in few)
        products += min(gradients, factors)
        products += 3 * (2 * D * 0) + sum(2 * 4 * s * D for s, _ in few)  # of the embedding, a lookup
        products += 3 * (2 * H // 2 + 2 * 2 * V + 2 * 4 * V)  # of the head, at one row
    assert parts["products"] == products


def test_the_cheaper_of_two_ways() -> None:
    few, many = [Rows("image", 2)], [Rows("image", 5000)]
    assert cheaper((100, 200), few, 1) == 2 * 4 * 200 + 2 * 2 * 4 * 100 + 2 * 4 * 2 * 100
    assert cheaper((100, 200), many, 1) == 2 * 2 * 5000 * 100 * 200 + 2 * 10 * 100 * 200


def test_plain_autograd_is_a_count_by_hand(job: Job) -> None:
    """Forward, and backward to the inputs and to the weights, over the whole response, for five gradients a token."""
    cost = cost_of_way("a", job)
    image, text = (3 * (2 * n * D * H) + 3 * (2 * T * H * V) for n in (SEEN + T, T))
    grams = 2 * 25 * sum(parameter.numel() for parameter in job.model.parameters())
    assert cost.total == 2 * (3 * image + 2 * text + grams)


def test_operations_under_vmap_are_counted_for_each_cotangent() -> None:
    weight, inputs = torch.randn(V, H, requires_grad=True), torch.randn(T, H, requires_grad=True)
    logits = inputs @ weight.T
    seeds = torch.randn(4, T, V)

    def pull() -> object:
        return torch.autograd.grad(logits, [inputs, weight], seeds, retain_graph=True, is_grads_batched=True)

    assert cost_of(pull).total == 4 * 2 * (2 * T * V * H)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("batched", [False, True])
def test_attention_of_a_cpu_is_counted(batched: bool) -> None:
    """Two products forward and five backward, one of them made again, each for two heads; also where vmap loops."""
    query, key, value = (torch.randn(1, 2, T, 8, requires_grad=True) for _ in range(3))
    product = 2 * 2 * T * T * 8
    assert cost_of(lambda: scaled_dot_product_attention(query, key, value)).part("scaled_dot") == 2 * product
    out, seeds = scaled_dot_product_attention(query, key, value), torch.randn(3, 1, 2, T, 8)
    pull = lambda: torch.autograd.grad(out, query, seeds, retain_graph=True, is_grads_batched=True)  # noqa: E731
    single = lambda: torch.autograd.grad(out, query, seeds[0], retain_graph=True)  # noqa: E731
    counted = cost_of(pull if batched else single)
    assert counted.total == (3 if batched else 1) * 5 * product


def test_bytes_alive() -> None:
    with TensorsAlive() as alive:
        kept = torch.zeros(100)
        view = kept[:50]
        more = torch.ones(1000) + 1.0
        del more
        view += 1.0
        torch.zeros(10)
    assert alive.now == 400 and alive.most == 400 + 2 * 4000
    del view, kept
    assert alive.now == 0


def test_parts_of_a_cost() -> None:
    cost = Cost({"aten.mm": 3, "aten.convolution": 4}, 0)
    assert (cost.total, cost.part("convolution")) == (7, 4)


def test_the_table_orders_the_ways() -> None:
    """On a model that is large enough for the engine to be nearer to the floor than the others."""
    rows = table(FlopOptions(("2M",), length=12, probed=2)).splitlines()[2:]
    ratios = [float(row.split("|")[4]) for row in rows]
    assert ratios[0] == 1 and 0.9 < ratios[1] < ratios[2] < ratios[3]
