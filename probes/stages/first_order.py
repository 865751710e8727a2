"""Directions in parameter space from one half of the responses, and what they do to the tokens of the other half.

A direction is minus the gradient of an objective's mean loss, what plain descent adds to the weights per unit of its
rate; in Adam's metric it is divided by sqrt(v) + eps. Of directions one is held at a time, so that their products come
from forward mode too: along the direction of one loss, another changes by minus the product of the two gradients.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cli.errors import OptionError
from cli.progress import progress
from geometry import (
    BASIS,
    Cotangents,
    Gram,
    Sensitivity,
    cotangents,
    push_forward,
    sensitivity,
    token_shares,
    vds_quantile,
)
from geometry.objective_settings import QUANTILE
from records.tables.forecast import CHANGED, DIRECTIONS
from vlm.checkpoints.attention import FORWARD_MODE
from vlm.prompts.sources import PromptError
from vlm.responses.finite import refuse_gradients, whose
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import encoded_logits, encoded_views, view_logits

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

Direction = dict[nn.Parameter, Tensor]

PASSES = (*BASIS, "gated_language")
"""The directions that are measured; standard is the sum of the first two."""
_IMAGE, _TEXT = ("standard", "visual", "prior"), ("language", "gated_language", "shift")


@dataclass(frozen=True)
class Half:
    """Rollouts by number; of each the tokens' shares in the mean loss, and which have their language preserved."""

    shares: Mapping[int, Tensor]
    gates: Mapping[int, Tensor]

    @property
    def numbers(self) -> list[int]:
        return list(self.shares)

    def weights(self, number: int, name: str) -> Tensor:
        """What each token's cotangent of an objective is weighed by in the mean loss."""
        share = self.shares[number]
        return share * self.gates[number] if name == "gated_language" else share


def halves(tokens: pd.DataFrame, seed: int) -> tuple[Half, Half]:
    """Part the prompts at random, those with and those without a picture alike; the gate's quantile is the first's.

    Raises:
        PromptError: a half is left without a picture.
    """
    prompts = (
        tokens[["prompt_id", "has_image"]].drop_duplicates().sort_values("has_image", ascending=False, kind="stable")
    )
    n_pictured = int(prompts["has_image"].sum())
    if n_pictured < 2:
        raise PromptError(f"`limit` must leave a prompt with a picture in each half, got {n_pictured}; raise it")
    draw = np.random.default_rng(seed)
    shuffled = [
        *draw.permutation(prompts["prompt_id"][:n_pictured]),
        *draw.permutation(prompts["prompt_id"][n_pictured:]),
    ]
    in_first = tokens["prompt_id"].isin(shuffled[::2])
    of_gate = tokens.loc[in_first & tokens["has_image"], "vds_nats"].to_numpy(copy=True)
    gate_nats = float(vds_quantile(torch.from_numpy(of_gate), QUANTILE))
    return half_of(tokens[in_first], gate_nats), half_of(tokens[~in_first], gate_nats)


def n_prompts(analyzer: "Analyzer", half: Half) -> int:
    """Return the number of prompts whose responses are in a half."""
    return len({analyzer.rollouts[number].prompt_id for number in half.numbers})


def joined_rows(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return tables of the same columns, one below the other."""
    return pd.concat(tables, ignore_index=True)


def half_of(tokens: pd.DataFrame, gate_nats: float = math.inf) -> Half:
    """Return the responses that tokens are of; language is preserved where VDS exceeds `gate_nats`, here nowhere."""
    rows = {number: tokens[tokens["rollout_id"] == number] for number in tokens["rollout_id"].unique().tolist()}
    lengths = [len(group) for group in rows.values()]
    gates = {n: ((group["vds_nats"] > gate_nats) & group["has_image"]).to_numpy(copy=True) for n, group in rows.items()}
    shares = dict(zip(rows, token_shares(lengths).split(lengths), strict=True))
    return Half(shares, {number: torch.from_numpy(gate) for number, gate in gates.items()})


def refuse_attention(analyzer: "Analyzer") -> None:
    """Refuse attention that has no derivative along a direction.

    Raises:
        OptionError: it is none of `FORWARD_MODE`.
    """
    attention = analyzer.pair_options.attention
    if attention not in FORWARD_MODE:
        raise OptionError(
            f"`attention` must be {' or '.join(FORWARD_MODE)} for first-order changes, got {attention}: choose one, as"
            " no other has a derivative along a direction"
        )


def measure_directions(analyzer: "Analyzer", first: Half, second: Half) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables `sensitivity` and `direction_products`: the first half's directions, along the second half."""
    shards = analyzer.shards
    with progress("directions", len(PASSES)) as show:
        for shard, name in enumerate(PASSES):
            if shards.due(shard, "direction_products"):
                along = descent(analyzer, first, {name: 1.0})
                shards.add("sensitivity", shard, change_rows(analyzer, second, along, name))
                shards.add("direction_products", shard, pd.DataFrame([products(analyzer, first, along)]))
            show(shard + 1)
    return with_standard(shards.gather("sensitivity")), product_rows(shards.gather("direction_products"))


def descent(analyzer: "Analyzer", half: Half, terms: Mapping[str, float]) -> Direction:
    """Return minus the gradient of the half's mean loss, a weighted sum of objectives, in the analyzer's metric.

    Raises:
        NotFiniteError: the gradient is not finite.
    """
    parameters = [p for p in analyzer.pair.student.model.parameters() if p.requires_grad]
    found = {p: torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in parameters}
    for numbers in _batches(analyzer, half.numbers):
        rollouts = [analyzer.rollouts[number] for number in numbers]
        cots = [cotangents(views) for views in analyzer.score(rollouts)]
        for place, names in enumerate((_IMAGE, _TEXT)):
            chosen = {name: weight for name, weight in terms.items() if name in names}
            if chosen:
                seeds = [_seed(half, number, c, chosen) for number, c in zip(numbers, cots, strict=True)]
                _pull(analyzer, rollouts, place, seeds, found)
    factors = analyzer.metric_factors
    for parameter, vector in found.items():
        if factors is not None:
            vector.mul_(factors[parameter])
        refuse_gradients(vector, whose(analyzer.pair.student))
    return found


def _seed(half: Half, number: int, cots: Cotangents, terms: Mapping[str, float]) -> Tensor:
    """Minus the gradient of the weighed losses at the logits `[T, V]` of a response."""
    total = torch.zeros_like(cots.standard)
    for name, weight in terms.items():
        rows = half.weights(number, name).to(total)
        total -= weight * rows.unsqueeze(1) * getattr(cots, name.removeprefix("gated_"))
    return total


def _pull(
    analyzer: "Analyzer", rollouts: Sequence[Rollout], place: int, seeds: Sequence[Tensor], found: Direction
) -> None:
    """Run a view backward and add what arrives at the parameters."""
    views = [analyzer.views(rollout)[place] for rollout in rollouts]
    responses = [rollout.token_ids for rollout in rollouts]
    with torch.enable_grad():
        logits = view_logits(analyzer.pair.student, views, responses, analyzer.pair.n_ids)
    seeds = [seed.to(row) for seed, row in zip(seeds, logits, strict=True)]
    arrived = torch.autograd.grad(logits, list(found), seeds, allow_unused=True)
    for vector, gradient in zip(found.values(), arrived, strict=True):
        if gradient is not None:
            vector += gradient


def changes(analyzer: "Analyzer", numbers: Sequence[int], direction: Direction) -> Iterator[tuple[int, Sensitivity]]:
    """Yield each rollout's number and the change of its tokens' losses a unit of the direction."""
    for part in _batches(analyzer, numbers):
        rollouts = [analyzer.rollouts[number] for number in part]
        run = _both_views(analyzer, rollouts)
        logits, tangents = push_forward(analyzer.pair.student.model, run, direction)
        rows = zip(part, analyzer.score(rollouts), *logits, *tangents, strict=True)
        for number, views, image, text, image_tangent, text_tangent in rows:
            yield (
                number,
                sensitivity(replace(views, student_image=image, student_text=text), image_tangent, text_tangent),
            )


def change_rows(analyzer: "Analyzer", half: Half, direction: Direction, name: str) -> pd.DataFrame:
    """The rows of the table `sensitivity` of one direction."""
    found = dict(changes(analyzer, half.numbers, direction))
    tokens = analyzer.tokens
    known = tokens.loc[tokens["rollout_id"].isin(half.numbers), ["prompt_id", "rollout_id", "position", "bin"]]
    columns = {
        f"d_{loss}_nats": torch.cat([getattr(found[number], loss) for number in half.numbers]).cpu().numpy()
        for loss in CHANGED
    }
    for changed in columns.values():
        refuse_gradients(changed, whose(analyzer.pair.student))
    return known.reset_index(drop=True).assign(direction=name, **columns)


def products(analyzer: "Analyzer", half: Half, direction: Direction) -> dict[str, float]:
    """The products of a direction with that of each of `PASSES`, both of this half."""
    total = dict.fromkeys(PASSES, 0.0)
    for number, found in changes(analyzer, half.numbers, direction):
        parts = {
            "visual": found.visual_held,
            "prior": found.standard - found.visual_held,
            "language": found.language,
            "shift": found.visual - found.visual_held,
            "gated_language": found.language,
        }
        for name, part in parts.items():
            total[name] -= float((half.weights(number, name).to(part) * part).sum())
    return total


def with_standard(rows: pd.DataFrame) -> pd.DataFrame:
    """Put before the rows of `PASSES` those of standard, the sum of visual and prior."""
    visual, prior = (rows[rows["direction"] == name].reset_index(drop=True) for name in ("visual", "prior"))
    columns = [f"d_{loss}_nats" for loss in CHANGED]
    standard = visual.assign(direction="standard", **{column: visual[column] + prior[column] for column in columns})
    return pd.concat([standard, rows], ignore_index=True)


def product_rows(products: pd.DataFrame) -> pd.DataFrame:
    """Return the table `direction_products` from a row of `products` for each of `PASSES`; made symmetric."""
    square = products[list(PASSES)].to_numpy()
    gram = Gram((square + square.T) / 2, PASSES)
    pairs = pd.MultiIndex.from_product([DIRECTIONS, DIRECTIONS], names=["direction_a", "direction_b"])
    table = [float(gram.product(a, b)) for a, b in pairs]
    return pd.DataFrame({"product": table}, index=pairs).reset_index()


def _both_views(analyzer: "Analyzer", rollouts: Sequence[Rollout]) -> Callable[[], tuple[list[Tensor], list[Tensor]]]:
    """What runs the student on both views and returns the logits; of a prompt without a picture the same tensor.

    Processors run here and not there: they cannot take part in forward mode.
    """
    views = [analyzer.views(rollout) for rollout in rollouts]
    responses = [rollout.token_ids for rollout in rollouts]
    student, support = analyzer.pair.student, analyzer.pair.n_ids
    rows = [row for row, (a, b) in enumerate(views) if a != b]
    image = encoded_views(student, [a for a, _ in views], responses)
    text = encoded_views(student, [views[row][1] for row in rows], [responses[row] for row in rows])

    def run() -> tuple[list[Tensor], list[Tensor]]:
        seen = encoded_logits(student, image, support)
        own = dict(zip(rows, encoded_logits(student, text, support), strict=True))
        return seen, [own.get(row, logits) for row, logits in enumerate(seen)]

    return run


def _batches(analyzer: "Analyzer", numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), analyzer.prompt_options.batch):
        yield numbers[start : start + analyzer.prompt_options.batch]
