"""What graphs keep; `tests/probes/stages/test_room.py` has the null from held responses."""

import torch

from vlm.responses.held_views import graph_bytes


def test_what_a_graph_keeps():
    layers = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 7, bias=False))
    rows = torch.randn(11, 3)
    # the inputs of both layers, of which the second is tanh's result, and the logits
    assert graph_bytes(lambda: layers(rows), layers) == 4 * 11 * (3 + 5 + 7)
