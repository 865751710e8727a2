"""The work that `tests.benchmarks.gpu` times: random models and responses, probes and training steps on a device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from transformers import Qwen3VLForConditionalGeneration

from bundled.prompts import group_prompts
from geometry import Cotangents
from probes import Analyzer, stages
from probes.settings import UnitOptions
from tests.benchmarks.device_watch import DeviceWatch
from tests.benchmarks.flops import floor_of
from tests.benchmarks.objects import spread
from tests.benchmarks.ways import Job
from tests.published import SHAPES, WORDS, Shape, config, processor
from train.batch import collect
from train.config import Config
from train.learner import Learner, Stopwatch
from train.models import prepare_student
from train.step import update
from vlm.checkpoints.pair import Pair
from vlm.prompts.prompt import Prompt
from vlm.responses.rollouts import Rollout, Sampling, generate

if TYPE_CHECKING:
    from tests.benchmarks.gpu import GpuOptions

FIRST_WORD = 1000
"""Ids from it on are plain words of the random vocabulary."""
ARMS = {
    "standard": {"objective": "standard"},
    "vgs-lp, eta none": {"objective": "vgs-lp", "eta": "none"},
    "vgs-lp, eta measured": {"objective": "vgs-lp", "eta": "measured"},
}


@dataclass(frozen=True)
class Work:
    """What is measured: prompts with one response each, and the analyzer of both."""

    analyzer: Analyzer
    prompts: Sequence[Prompt]
    rollouts: Sequence[Rollout]

    @property
    def pair(self) -> Pair:
        """The models."""
        return self.analyzer.pair

    @property
    def n_tokens(self) -> int:
        """Response tokens."""
        return sum(len(rollout.token_ids) for rollout in self.rollouts)


def prepared(options: "GpuOptions", watch: DeviceWatch) -> Work:
    """Make the models on the device, and responses of random words: sampling them would take minutes."""
    dtype = getattr(torch, options.dtype)
    with watch.phase("make the models"):
        student, teacher = (
            random_model(SHAPES[name], watch.device, dtype, seed)
            for seed, name in enumerate((options.student, options.teacher))
        )
    reads = processor(options.visual_tokens)
    prompts = group_prompts("high", options.responses, seed=0)
    rollouts = random_rollouts(prompts, reads.tokenizer, options.max_response)
    with watch.phase("check and fingerprint them"):
        analyzer = Analyzer.from_models(
            student=student,
            teacher=teacher,
            processor=reads,
            prompts=prompts,
            rollouts=rollouts,
            limit=options.responses,
            max_response=options.max_response,
            batch=options.batch,
            bins=options.bins,
        )
    return Work(analyzer, prompts, rollouts)


def random_model(shape: Shape, device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """Return a model with random weights, made where it runs."""
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with device:
            return Qwen3VLForConditionalGeneration(config(shape))
    finally:
        torch.set_default_dtype(before)


def random_rollouts(prompts: Sequence[Prompt], tokenizer: Any, length: int) -> list[Rollout]:
    """Return a response of `length` tokens to each prompt, the last the end token."""
    generator = torch.Generator().manual_seed(0)
    rollouts = []
    for prompt in prompts:
        words = torch.randint(FIRST_WORD, WORDS, (length - 1,), generator=generator).tolist()
        ids = (*words, tokenizer.eos_token_id)
        rollouts.append(Rollout(prompt.prompt_id, 0, ids, tokenizer.decode(words), truncated=False))
    return rollouts


def probe(work: Work, per_bin: int, watch: DeviceWatch) -> int:
    """Score all tokens and measure the gradients of some; return the number of the latter."""
    analyzer = work.analyzer
    with watch.phase("compare the responses", work.n_tokens):
        analyzer.stored.compare(work.prompts, work.pair.student, work.pair.n_ids, analyzer.prompt_options)
    with watch.phase("score", work.n_tokens):
        tokens = analyzer.tokens
    units = stages.choose_units(tokens, UnitOptions(per_bin=per_bin), seed=0)
    rows = {"grams": stages.gram_rows, "units": stages.unit_rows}
    with watch.phase("gradients", len(units)):
        stages.measure_gradients(analyzer, analyzer.pair.student.groups, units, rows)
    return len(units)


def floor_flops(work: Work, per_bin: int, n_counted: int) -> float:
    """Return the fewest FLOPs at which the gradients of the probed tokens can be compared; see `floor`.

    Counted on `n_counted` tokens of the first response that has probed ones, and scaled to all.
    """
    analyzer = work.analyzer
    units = stages.choose_units(analyzer.tokens, UnitOptions(per_bin=per_bin), seed=0)
    numbers = {unit.rollout_id for unit in units}
    number = min(numbers)
    positions = torch.tensor(sorted(unit.position for unit in units if unit.rollout_id == number))
    chosen = positions[spread(len(positions), n_counted)]
    [response] = stages.probe_responses(analyzer, [(number, chosen)])
    rows = response.cotangents.visual.new_zeros(len(work.rollouts[number].token_ids), response.n_ids)
    rows[chosen] = response.cotangents.visual  # for all objectives, as their values do not count
    forwards = response.image_logits, response.text_logits
    parts = floor_of(Job(work.pair.student.model, *forwards, Cotangents(rows, rows, rows, rows, rows), chosen))
    per_token = (parts["backward"] + parts["products"]) / len(chosen)
    return parts["forward"] * len(numbers) + per_token * len(units)


def sample_some(work: Work, tokens: int, watch: DeviceWatch) -> None:
    """Sample short responses to all prompts."""
    sampling = Sampling(tokens, batch=len(work.prompts))
    generate(work.pair.student, work.prompts[:1], replace(sampling, max_response=2))  # warm up
    with watch.phase("sample", tokens * len(work.prompts)):
        generate(work.pair.student, work.prompts, sampling)


def steps(work: Work, options: "GpuOptions", watch: DeviceWatch) -> None:
    """Take training steps with adapters on the same responses, the arms in turn, the first round to warm up."""
    base = Config(
        batch=options.responses,
        micro_batch=options.micro_batch,
        max_response=options.max_response,
        lora_rank=options.lora_rank,
        dtype="bfloat16",
    )
    work.pair.student.model.float()  # as the trainer loads it; adapters then hold frozen weights in bfloat16
    pair, adapters = prepare_student(work.pair, base)
    accelerator = Accelerator(cpu=watch.device.type == "cpu", mixed_precision="bf16")
    offline = {rollout.prompt_id: [rollout] for rollout in work.rollouts}
    for number in range(options.rounds + 1):
        for arm, changes in ARMS.items():
            flags = replace(base, **changes)
            trained = [p for p in pair.student.model.parameters() if p.requires_grad]
            learner = Learner(pair, flags, torch.optim.AdamW(trained, lr=1e-6), accelerator, offline, None, adapters)
            with watch.phase(arm if number else "warm up", work.n_tokens):
                phases = Stopwatch(accelerator.device)
                update(learner, collect(learner, list(work.prompts), 0, phases), phases)
