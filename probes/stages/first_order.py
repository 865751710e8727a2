"""Directions in parameter space from one half of the responses, and what they do to the tokens of the other half.

A direction is minus the gradient of an objective's mean loss, what plain descent adds to the weights per unit of its
rate; in Adam's metric it is divided by sqrt(v) + eps. Of directions one is held at a time, so that their products come
from forward mode too: along the direction of one loss, another changes by minus the product of the two gradients.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
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
    FourViews,
    Gram,
    Sensitivity,
    cotangents,
    sensitivity,
    token_shares,
    vds_quantile,
)
from geometry.lm_head import CHUNK_BYTES, chunks
from geometry.objective_settings import QUANTILE
from records.tables.forecast import CHANGED, DIRECTIONS
from vlm.checkpoints.attention import FORWARD_MODE
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.prompts.sources import PromptError
from vlm.responses.finite import refuse_gradients, whose
from vlm.responses.logit_gradients import BackwardPass
from vlm.responses.logit_tangents import Maker, moving_views
from vlm.responses.scoring import ResponseLogits, response_views
from vlm.views.view import View

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

Direction = dict[nn.Parameter, Tensor]

PASSES = (*BASIS, "gated_language")
"""The directions that are measured; standard is the sum of the first two."""
COPIES = 4
"""How many times smaller than a chunk of logits is one that is multiplied with tangents in double precision."""
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


@dataclass(frozen=True)
class Terms:
    """The weights of the objectives whose sum is descended, by the view at whose logits each is."""

    image: Mapping[str, float]
    text: Mapping[str, float]
    prior: LoadedModel | None = None
    """The student whose text view takes the place of the student's own in q*."""


def descent(
    analyzer: "Analyzer", half: Half, terms: Mapping[str, float], prior: LoadedModel | None = None
) -> Direction:
    """Return minus the gradient of the half's mean loss, a weighted sum of objectives, in the analyzer's metric.

    prior: the student before training, whose text view q* holds fixed; the student's own by default.

    Raises:
        NotFiniteError: the gradient is not finite.
    """
    parameters = [p for p in analyzer.pair.student.model.parameters() if p.requires_grad]
    sums = {p: torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in parameters}
    at_image, at_text = ({name: terms[name] for name in terms if name in names} for names in (_IMAGE, _TEXT))
    parts = Terms(at_image, at_text, prior)
    backward = BackwardPass(analyzer.pair.student, parameters, (bool(parts.image), bool(parts.text)))
    for _, arrived in analyzer.batches.over(
        len(half.numbers), lambda part: _pulled(analyzer, half, half.numbers[part], parts, backward)
    ):
        for vector, gradient in zip(sums.values(), arrived, strict=True):
            if gradient is not None:
                vector += gradient
    factors = analyzer.metric_factors
    for parameter, vector in sums.items():
        if factors is not None:
            vector.mul_(factors[parameter])
        refuse_gradients(vector, whose(analyzer.pair.student))
    return sums


def _pulled(
    analyzer: "Analyzer",
    half: Half,
    numbers: Sequence[int],
    terms: Terms,
    backward: BackwardPass,
) -> list[Tensor | None]:
    """What arrives at the parameters from some rollouts."""
    pair, views, responses = analyzer.pair, *_inputs(analyzer, numbers)
    teacher = response_views(pair.teacher, views, responses, pair.n_ids)
    blind = [(text, text) for _, text in views]
    first = None if terms.prior is None else response_views(terms.prior, blind, responses, pair.n_ids)

    def seeds(row: int, tokens: slice, image: Tensor, text: Tensor) -> tuple[Tensor | None, Tensor | None]:
        held = None if first is None else first[row].logits(tokens)[1]
        cots = cotangents(FourViews(image, text, *teacher[row].logits(tokens), held))
        at_image, at_text = (_seed(half, numbers[row], tokens, cots, part) for part in (terms.image, terms.text))
        return at_image, at_text

    return backward(views, responses, pair.n_ids, seeds)


def _seed(half: Half, number: int, tokens: slice, cots: Cotangents, terms: Mapping[str, float]) -> Tensor | None:
    """Minus the gradient of the weighed losses at the logits `[n, V]` of some tokens; None without a loss."""
    if not terms:
        return None
    total = torch.zeros_like(cots.standard)
    for name, weight in terms.items():
        rows = half.weights(number, name)[tokens].to(total)
        total -= weight * rows.unsqueeze(1) * getattr(cots, name.removeprefix("gated_"))
    return total


def changes(analyzer: "Analyzer", numbers: Sequence[int], direction: Direction) -> Iterator[tuple[int, Sensitivity]]:
    """Yield each rollout's number and the change of its tokens' losses a unit of the direction."""

    def work(part: slice) -> list[tuple[int, Sensitivity]]:
        pair, views, responses = analyzer.pair, *_inputs(analyzer, numbers[part])
        student = moving_views(pair.student, views, responses, pair.n_ids, direction)
        teacher = response_views(pair.teacher, views, responses, pair.n_ids)
        rows = zip(numbers[part], responses, student, teacher, strict=True)
        return [(number, _sensitivity(len(ids), pair.n_ids, p, q)) for number, ids, p, q in rows]

    for _, done in analyzer.batches.over(len(numbers), work):
        yield from done


def _sensitivity(n_tokens: int, n_ids: int, student: tuple[Maker, Maker], teacher: ResponseLogits) -> Sensitivity:
    """The change of the losses of a response's tokens, a few tokens at a time."""
    rows = []
    for tokens in chunks(n_tokens, n_ids, max(CHUNK_BYTES // (COPIES * 4 * n_ids), 1)):
        image = student[0](tokens)
        text = image if student[1] is student[0] else student[1](tokens)
        views = FourViews(image.logits, text.logits, *teacher.logits(tokens))
        rows.append(sensitivity(views, image.tangents, text.tangents))
    return Sensitivity(**{f.name: torch.cat([getattr(part, f.name) for part in rows]) for f in fields(Sensitivity)})


def _inputs(analyzer: "Analyzer", numbers: Sequence[int]) -> tuple[list[tuple[View, View]], list[tuple[int, ...]]]:
    """Both views of some rollouts, and their token ids."""
    rollouts = [analyzer.rollouts[number] for number in numbers]
    return [analyzer.views(rollout) for rollout in rollouts], [rollout.token_ids for rollout in rollouts]


def change_rows(analyzer: "Analyzer", half: Half, direction: Direction, name: str) -> pd.DataFrame:
    """The rows of the table `sensitivity` of one direction."""
    by_number = dict(changes(analyzer, half.numbers, direction))
    tokens = analyzer.tokens
    rows = tokens.loc[tokens["rollout_id"].isin(half.numbers), ["prompt_id", "rollout_id", "position", "bin"]]
    columns = {
        f"d_{loss}_nats": torch.cat([getattr(by_number[number], loss) for number in half.numbers]).cpu().numpy()
        for loss in CHANGED
    }
    for changed in columns.values():
        refuse_gradients(changed, whose(analyzer.pair.student))
    return rows.reset_index(drop=True).assign(direction=name, **columns)


def products(analyzer: "Analyzer", half: Half, direction: Direction) -> dict[str, float]:
    """The products of a direction with that of each of `PASSES`, both of this half."""
    total = dict.fromkeys(PASSES, 0.0)
    for number, change in changes(analyzer, half.numbers, direction):
        parts = {
            "visual": change.visual_held,
            "prior": change.standard - change.visual_held,
            "language": change.language,
            "shift": change.visual - change.visual_held,
            "gated_language": change.language,
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
