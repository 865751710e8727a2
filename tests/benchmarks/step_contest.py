"""The arms that `tests.benchmarks.steps` times, on one student, and the tables of their times."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import GenerationConfig

from geometry import kl_nats, log_probs, token_shares
from records import open_record
from records.journal_lines import PHASES
from records.tables.study import STEPS
from train.batch import collect
from train.config import Config
from train.learner import Learner, Stopwatch
from train.prompts import prompt_source, step_seed
from train.rollouts import MicroBatch, cut, sample
from train.step import Gradient, _add, _apply, update
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.checkpoints.pair import load_pair
from vlm.prompts.prompt import Prompt
from vlm.responses.response import Response
from vlm.responses.scoring import view_logits
from vlm.views.view import encode_prompts, image_view

LEAN, STANDARD = "standard, lean", "standard"
ARMS: Mapping[str, Mapping[str, Any]] = {
    LEAN: {"objective": "standard"},
    STANDARD: {"objective": "standard"},
    "vgs-lp, eta none": {"objective": "vgs-lp", "eta": "none"},
    "vgs-lp, eta measured": {"objective": "vgs-lp", "eta": "measured"},
}
PARTS = {"update part": ["student", "update"], "whole step": list(PHASES)}
"""What ratios are of, as phases."""


class ProcessorWatch(Stopwatch):
    """Counts the processor's seconds, of all threads."""

    def _now(self) -> float:
        return time.process_time()


Watch = Callable[[torch.device], Stopwatch]


class Contest:
    """The arms on one student, each with an optimizer of its own; between turns the weights are put back."""

    def __init__(self, config: Config, watch: Watch) -> None:
        pair = load_pair(config.student, config.teacher)
        accelerator = Accelerator(cpu=True)
        self._config, self._source, self._watch = config, prompt_source(config), watch
        self._start = [parameter.detach().clone() for parameter in pair.student.model.parameters()]
        self.learners = {}
        for name, changes in ARMS.items():
            optimizer = torch.optim.AdamW(pair.student.model.parameters(), lr=config.lr)
            self.learners[name] = Learner(pair, replace(config, **changes), optimizer, accelerator)

    def header(self) -> dict[str, Any]:
        """Return what identifies a record of this contest."""
        described = self.learners[STANDARD].pair.describe()
        weights = {side: described[side]["fingerprint"] for side in ("student", "teacher")}
        pair = {"student": self._config.student, "teacher": self._config.teacher}
        names = ("batch", "micro_batch", "max_response")
        settings = {name: getattr(self._config, name) for name in names}
        return {"probe": "tests.benchmarks.steps", "pair": pair, "weights": weights, "settings": settings}

    def round(self, number: int) -> list[dict[str, Any]]:
        """Sample the responses of a step, and let each arm take it, a later one first in each round."""
        prompts, seed = self._source.at(number), step_seed(self._config.seed, number)
        student = self.learners[STANDARD].pair.student
        watch = self._watch(student.device)
        with watch.phase("rollout"):
            responses = sample(student, self._config, prompts, seed)
        first = number % len(ARMS)
        turns = [*ARMS][first:] + [*ARMS][:first]
        plain = self._plain(student, responses)
        n_tokens = sum(response.n_tokens for response in responses)
        about = {"round": number, "plain": plain, "n_tokens": n_tokens}
        return [about | self._turn(arm, prompts, responses) | {"rollout": watch.seconds["rollout"]} for arm in turns]

    def _turn(self, arm: str, prompts: Sequence[Prompt], responses: Sequence[Response]) -> dict[str, Any]:
        """Seconds by phase of one arm's step."""
        learner = replace(self.learners[arm], offline=by_prompt(responses))
        with torch.no_grad():
            for parameter, start in zip(learner.parameters, self._start, strict=True):
                parameter.copy_(start)
        watch = self._watch(learner.accelerator.device)
        if arm == LEAN:
            gradient = lean_gradient(learner, responses, watch)
            with watch.phase("update"):
                _apply(learner, gradient)
        else:
            update(learner, collect(learner, prompts, 0, watch), watch)
        return {"arm": arm} | watch.seconds

    def _plain(self, student: LoadedModel, responses: Sequence[Response]) -> float:
        """Seconds of transformers' own sampling."""
        watch = self._watch(student.device)
        for part in cut(responses, self._config.generation_batch):
            with watch.phase("rollout"):
                plain_sample(student, part)
        return watch.seconds["rollout"]


def by_prompt(responses: Sequence[Response]) -> dict[str, list]:
    """The rollouts of each prompt, as a `Learner` is given them."""
    found: dict[str, list] = {}
    for response in responses:
        found.setdefault(response.prompt.prompt_id, []).append(response.rollout)
    return found


def lean_gradient(learner: Learner, responses: Sequence[Response], watch: Stopwatch) -> Gradient:
    """Return the gradient of the standard loss from image views alone."""
    pair, parameters = learner.pair, learner.parameters
    parts = cut(responses, learner.config.micro_batch)
    with watch.phase("teacher"), torch.no_grad():
        teacher = [log_probs(_image_logits(pair.teacher, part, pair.n_ids)) for part in parts]
    found = [torch.zeros_like(parameter) for parameter in parameters]
    for part, target in zip(parts, teacher, strict=True):
        with watch.phase("student"):
            shares = token_shares([r.n_tokens for r in part], n_trajectories=len(responses))
            student = log_probs(_image_logits(pair.student, part, pair.n_ids))
            loss = (kl_nats(student, target) * shares.to(student)).sum()
        with watch.phase("update"):
            _add(found, loss, parameters, keep_graph=False)
    return found


def _image_logits(loaded: LoadedModel, responses: MicroBatch, n_ids: int) -> Tensor:
    ids = [response.rollout.token_ids for response in responses]
    return torch.cat(view_logits(loaded, [image_view(r.prompt) for r in responses], ids, n_ids))


@torch.no_grad()
def plain_sample(student: LoadedModel, responses: MicroBatch) -> Tensor:
    """Sample as many columns as the longest of these responses has to their prompts, with `generate` as it comes."""
    inputs = encode_prompts([image_view(response.prompt) for response in responses], student.processor)
    longest = max(response.n_tokens for response in responses)
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        min_new_tokens=longest,
        max_new_tokens=longest,
        eos_token_id=list(student.end_ids),
        pad_token_id=student.processor.tokenizer.pad_token_id,
    )
    ids = student.model.generate(**inputs, generation_config=config)  # type: ignore[operator]
    return ids[:, inputs["input_ids"].shape[1] :]


def ratios(rows: pd.DataFrame, base: str) -> pd.DataFrame:
    """The median over rounds of each arm's time over that of `base`, by part of the step."""
    found = {}
    for part, phases in PARTS.items():
        seconds = rows.assign(seconds=rows[phases].sum(axis=1))
        spent = seconds.pivot(index=[*({"seed"} & {*rows}), "round"], columns="arm", values="seconds")
        found[part] = spent.div(spent[base], axis=0).median()
    return pd.DataFrame(found)


def step_table(rows: pd.DataFrame) -> str:
    """The arms' median seconds by phase and their ratios, in markdown."""
    bases = {"standard": ratios(rows, STANDARD), "lean": ratios(rows, LEAN)}
    titles = ["arm", *PHASES, "total", *(f"{part} / {base}" for part in PARTS for base in bases)]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for arm in ARMS:
        own = rows[rows["arm"] == arm][list(PHASES)]
        seconds = [*own.median(), own.sum(axis=1).median()]
        cells = [f"{value:.3f}" for value in seconds]
        cells += [f"{found.loc[arm, part]:.3f}" for part in PARTS for found in bases.values()]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


RUNS: Mapping[str, str] = {
    LEAN: "standard-lean",
    STANDARD: "standard",
    "vgs-lp, eta none": "vgs-lp",
    "vgs-lp, eta measured": "vgs-lp-eta",
}
"""The arms of a record, by the contest's names."""


def write_record(rows: pd.DataFrame, contest: Contest, folder: Path) -> None:
    """Write the seconds of each step as the table `steps` of a record; what was not measured is missing."""
    frame = pd.DataFrame({name: float("nan") for name in STEPS.names}, index=rows.index)
    frame = frame.assign(arm=rows["arm"].map(RUNS), seed=rows["seed"], step=rows["round"], skipped=False)
    frame = frame.assign(**{f"{phase}_seconds": rows[phase] for phase in PHASES})
    with open_record(folder, contest.header(), overwrite=True) as writer:
        writer.finish({STEPS.name: frame}, {})


def sampler_table(rows: pd.DataFrame) -> str:
    """Tokens a second of the two samplers, medians over the rounds, in markdown."""
    rounds = rows.drop_duplicates([*({"seed"} & {*rows}), "round"])
    lines = ["| sampler | tokens a second | / plain |", "|---|---|---|"]
    for name, column in (("the trainer's", "rollout"), ("plain `generate`", "plain")):
        speed, against = rounds["n_tokens"] / rounds[column], rounds["plain"] / rounds[column]
        lines.append(f"| {name} | {speed.median():.0f} | {against.median():.3f} |")
    return "\n".join(lines)
