"""The parts of a run: loaded as the flags say, then put back to where its last checkpoint left them.

The weights are read from `last`, adapters from its training state, so that a run that continues goes through the same
steps, bit by bit on a CPU, as one that was never stopped.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.utils import InitProcessGroupKwargs

from cli.errors import OptionError
from cli.visible import print_out
from records import RecordError
from records.files import file_sha256, read_json, write_json
from records.journal import JOURNAL, JournalWriter
from train import checkpoint, trackers
from train.adapters import Adapters
from train.checkpoint import Progress, Teacher
from train.config import Config
from train.evaluation import own_responses
from train.fitting import fitting_source
from train.folder import begin as begin_folder
from train.held import HELD_OUT, LAST
from train.learner import Learner
from train.models import load_models, load_trained, prepare_student, refuse_places
from train.prior import frozen_prior
from train.prompts import PromptSource, prompt_source
from train.rollouts import read_offline_rollouts
from train.sharding import asked_for, shard
from train.weight_average import WeightAverage
from vlm.checkpoints.devices import AUTO, say
from vlm.checkpoints.pair import Pair, pair_of, teacher_of
from vlm.names import resolve
from vlm.prompts.prompt import Prompt
from vlm.responses.response import Response
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import logit_pairs
from vlm.responses.stored_rollouts import file_fingerprint
from vlm.responses.truncation import truncation
from vlm.views.view import image_view, text_views


@dataclass(frozen=True)
class Start:
    """What the flags name, loaded before the run's folder is taken.

    source: the prompts of each step.
    pair: both models, the student as it is to be trained.
    adapters: those of the student, if it has any.
    offline: responses by prompt, if they are read from a file.
    plugin: how accelerate is told to shard the student, if it is.
    """

    config: Config
    accelerator: Accelerator
    source: PromptSource
    pair: Pair
    adapters: Adapters | None
    offline: Mapping[str, Sequence[Rollout]] | None
    plugin: FullyShardedDataParallelPlugin | None

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.config.folder)

    @property
    def models(self) -> dict[str, dict[str, str]]:
        """Fingerprints of the weights and of a file of responses, and of what else of the models the run depends on."""
        sides = {"student": self.pair.student, "teacher": self.pair.teacher}
        stored = {} if self.config.rollouts is None else {"rollouts": file_fingerprint(self.config.rollouts)}
        return {
            "weights": {side: loaded.fingerprint for side, loaded in sides.items()} | stored,
            "setup": {side: loaded.setup for side, loaded in sides.items()},
        }

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies the run besides its flags: its models, and how many prompts it leaves out if any."""
        return self.models | ({"left_out": self.source.left_out} if self.source.left_out else {})


@dataclass
class Run:
    """A run that goes on; the main process alone has the journal."""

    folder: Path
    learner: Learner
    source: PromptSource
    teacher: Teacher
    progress: Progress
    journal: JournalWriter | None = None
    fixed: Sequence[Response] = ()

    @property
    def config(self) -> Config:
        """The flags."""
        return self.learner.config

    @property
    def written(self) -> dict[str, str]:
        """The sha256 of what the run has written before the present step, by file; empty but in the main process."""
        if self.journal is None:
            return {}
        return {JOURNAL: self.journal.sha256_before(self.progress.step), HELD_OUT: file_sha256(self.folder / HELD_OUT)}


def load(config: Config) -> Start:
    """Load what the flags name; nothing is written.

    Raises:
        OptionError, CheckpointError, PromptError: what was asked for cannot be done.
        NotFiniteError: a model's logits are not finite.
    """
    refuse_places(config)
    accelerator = _accelerator(config)
    least = accelerator.num_processes * config.updates
    if config.batch < least:
        raise OptionError(f"`batch` must be at least {least}, a prompt per process and update, got {config.batch}")
    plugin = asked_for(accelerator, config)
    source = prompt_source(config)
    pair = load_models(config, str(accelerator.device))
    source = fitting_source(source, pair, config, is_heard=accelerator.is_main_process)
    _refuse_not_finite(pair, source.held_out)
    pair, adapters = prepare_student(pair, config)
    speak, offline = accelerator.is_main_process, None
    if adapters is not None and speak:
        print_out(adapters)
    if config.rollouts is not None:
        offline = read_offline_rollouts(config, source.pool, pair, speak=speak)
    return Start(config, accelerator, source, pair, adapters, offline, plugin)


def _accelerator(config: Config) -> Accelerator:
    """Return what shares the work among processes, on the device that the flags name.

    Raises:
        OptionError: several processes are told to take one device.
        CheckpointError: the device is not there.
    """
    if not config.is_on_cpu and config.device != AUTO and (number := torch.device(config.device).index) is not None:
        if "LOCAL_RANK" in os.environ:
            raise OptionError(f"`device` must be auto, for each process has its own, got {config.device}; leave it out")
        torch.accelerator.set_device_index(number)
    return Accelerator(
        cpu=config.is_on_cpu,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=config.timeout))],
        mixed_precision="bf16" if config.precision == "bfloat16" else "no",
        **trackers.logging(config, Path(config.folder)),
    )


def restore(start: Start) -> Run:
    """Return the run as its last checkpoint left it, or as it is before its first step; its folder must be held.

    Nothing is written: `begin` does that.

    Raises:
        RecordError: the checkpoint, the journal or the fixed rollouts do not fit the flags.
        TruncatedError: nearly all responses before the first step are truncated.
    """
    config, accelerator, folder, pair = start.config, start.accelerator, start.folder, start.pair
    say(f"models: student {pair.student.running}, runs in {config.precision}; teacher {pair.teacher.running}")
    if start.adapters is None and (folder / LAST).exists():
        student = load_trained(config, str(folder / LAST), str(accelerator.device))
        pair, _ = prepare_student(pair_of(student, pair.teacher), config)
    sharding = None if start.plugin is None else shard(pair.student, accelerator, start.plugin)
    trained = [parameter for parameter in pair.student.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.lr, weight_decay=config.weight_decay)
    prior = frozen_prior(config, pair, start.adapters)
    average = WeightAverage(trained) if config.weight_average else None
    learner = Learner(pair, config, optimizer, accelerator, start.offline, sharding, start.adapters, prior, average)
    progress = checkpoint.restore(folder, learner)
    for group in optimizer.param_groups:  # as the flags say, also where they were overridden
        group |= {"lr": config.rate(progress.step), "weight_decay": config.weight_decay}
    run = Run(folder, learner, start.source, _teacher(config, pair), progress)
    if accelerator.is_main_process:
        run.journal = JournalWriter(folder, progress.step)
    with learner.whole():
        run.fixed = _fixed_rollouts(run)
    return run


def begin(start: Start, run: Run) -> None:
    """Write what stands in the folder before the next step: the flags, the journal up to it, the fixed rollouts."""
    if run.journal is not None:
        begin_folder(start.config, start.identity)
        run.journal.begin()
        if not (run.folder / LAST).exists():
            write_json(run.folder / HELD_OUT, {"rollouts": [asdict(response.rollout) for response in run.fixed]})
    start.accelerator.wait_for_everyone()  # else one might write a checkpoint that another takes for an old one


def _refuse_not_finite(pair: Pair, prompts: Sequence[Prompt]) -> None:
    """Run both models once, on a prompt with a picture if there is one; the logits are checked as they are made."""
    shown = image_view(next((prompt for prompt in prompts if prompt.has_image), prompts[0]))
    for loaded in pair.models:
        logit_pairs(loaded, [(shown, shown)], [loaded.end_ids[:1]], pair.n_ids)


def _teacher(config: Config, pair: Pair) -> Teacher:
    named = config.teacher or teacher_of(resolve(config.student))
    name = str(Path(named).resolve()) if Path(named).is_dir() else named
    return Teacher(name, pair.teacher.fingerprint)


def _fixed_rollouts(run: Run) -> list[Response]:
    """Return the first student's responses to the held-out prompts: read back, or sampled where no checkpoint is.

    Raises:
        RecordError: the folder has those of other prompts, or a damaged file.
        TruncatedError: before the first step, nearly all of them are truncated.
    """
    prompts = run.source.held_out
    if (run.folder / LAST).exists():
        rollouts = _read_fixed(run.folder / HELD_OUT, {prompt.prompt_id for prompt in prompts})
    else:
        with run.learner.accelerator.autocast():
            rollouts = [response.rollout for response in own_responses(run.learner, prompts)]
    by_id = dict(zip((prompt.prompt_id for prompt in prompts), prompts, strict=True))
    texts = dict(zip(by_id, text_views(prompts, run.config.text_view), strict=True))
    if run.progress.step == 0:
        truncation(rollouts, run.config.longest_response).settle(allowed=run.config.allow_truncated)
    return [Response(by_id[r.prompt_id], texts[r.prompt_id], r) for r in rollouts]


def _read_fixed(path: Path, prompt_ids: set[str]) -> list[Rollout]:
    content = read_json(path) if path.is_file() else None
    rows = content.get("rollouts") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(map(_is_rollout, rows)):
        raise RecordError(f"`{path}` is missing or damaged: put back what the run wrote, or choose another `--out`")
    if {row["prompt_id"] for row in rows} != prompt_ids:
        raise RecordError(f"`{path}` has rollouts of other prompts: hold out the same ones, or choose another `--out`")
    return [Rollout(**row | {"token_ids": tuple(row["token_ids"])}) for row in rows]


def _is_rollout(row: Any) -> bool:
    names = {f.name for f in fields(Rollout)}
    if not isinstance(row, dict) or not names - {"banned_mass"} <= row.keys() <= names:
        return False
    ids = row["token_ids"]
    are_ids = isinstance(ids, list) and bool(ids) and all(type(token) is int and token >= 0 for token in ids)
    return are_ids and isinstance(row["prompt_id"], str) and isinstance(row["text"], str)
