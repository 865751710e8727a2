"""What weights are applied to in a forward pass: noted by modules, or read off the graph where no module says it."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from geometry.gramian.graph import Graph
from geometry.gramian.module_inputs import ModuleInputs, unaccounted
from geometry.gramian.uses import Use


class Watched:
    """The uses of the measured parameters of a model.

    dense_matrices: those of which no factors are known, so that their gradients are taken as they are.
    """

    def __init__(self, model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        self.modules = ModuleInputs(model, parameters)
        self.dense_matrices: set[nn.Parameter] = set()

    def run(self, forward: Callable[[], Tensor]) -> tuple[Tensor, list[Use]]:
        """Run a view; return its logits and the uses of weights."""
        logits, uses = self.modules.run(forward)
        return logits, [*uses, *self._read_off(logits)]

    def learn(self, forward: Callable[[], Tensor]) -> tuple[Tensor, list[Use]]:
        """Run a view as `run` does; see first which modules' weights are also used in ways that are not known."""
        logits, uses = self.modules.run(forward)
        odd = unaccounted(Graph.behind(logits), uses, self.modules.parameters)
        if odd:
            self.modules.drop(odd)
            logits, uses = self.modules.run(forward)
        return logits, [*uses, *self._read_off(logits)]

    def rest(self, uses: Sequence[Use]) -> list[nn.Parameter]:
        """Return the parameters of which no uses were noted: their gradients are taken as they are."""
        factored = {use.parameter for use in uses}
        return [parameter for parameter in self.modules.rest if parameter not in factored]

    def _read_off(self, logits: Tensor) -> list[Use]:
        rest = [p for p in self.modules.rest if p.ndim > 1 and p not in self.dense_matrices]
        if not rest:
            return []
        uses, left_out = Graph.behind(logits).uses(rest)
        self.dense_matrices |= left_out
        return uses
