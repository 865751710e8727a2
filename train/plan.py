"""The plan of a run, from its flags: no weights are read, nothing is written."""

from dataclasses import replace

from train.config import Config
from train.step import n_gradients, needed
from vlm.checkpoints.devices import device_of
from vlm.plan.outline import Outline
from vlm.plan.plan import ResourcePlan
from vlm.plan.setting_up import Models, Stated, draw_up, lengths_of
from vlm.plan.work import Prompts, Settings, Work
from vlm.prompts.sources import prompt_set

READ = 256
"""Prompts whose lengths are read."""
NOTE = "evaluations, measurements of the gradients and checkpoints are not in the time"


def plan_of(config: Config, free_gb: float | None = None) -> ResourcePlan:
    """Return what a run takes: memory by phase, and the time of its steps.

    free_gb: plan for so much free memory, in 10^9 bytes; by default what the device has free now.

    Raises:
        UserError: a config, a prompt or the device cannot be used.
    """
    models = Models(
        config.student,
        config.teacher,
        (config.precision, config.teacher_dtype or config.precision),
        config.device,
        config.attention,
    )

    def lengths(student: Outline, context: int) -> tuple[Prompts, str]:
        room = context - config.longest_response

        def read() -> list:
            return prompt_set(config.prompts, limit=READ, split=config.split, reading=config).prompts

        return lengths_of(student, read, config.text_view, min(room, config.max_prompt or room), Stated(READ))

    settings = Settings(
        batch=config.generation_batch,
        micro_batch=config.micro_batch,
        gradient_checkpointing=config.gradient_checkpointing,
        lora_rank=config.lora_rank,
        freeze_vision=config.freeze_vision,
        elsewhere=_is_elsewhere(config),
    )
    plan = draw_up(models, lengths, lambda prompts: _work(config), settings, free_gb).plan
    return replace(plan, notes=(*plan.notes, NOTE))


def _is_elsewhere(config: Config) -> bool:
    """Whether the teacher's weights are on another device than the student's.

    Raises:
        CheckpointError: a device is not there.
    """
    if config.device_map is not None:
        return not config.is_on_cpu
    asked = config.teacher_device
    return asked is not None and device_of(asked, "teacher_device") != device_of(config.device)


def _work(config: Config) -> Work:
    responses = config.batch * config.group_size
    return Work(
        ("loading", "rollouts", "training step"),
        n_responses=responses,
        max_response=config.longest_response,
        n_gradients=n_gradients(config),
        trains_text=any(objective.trains_text_view for objective in needed(config)),
        per_step=responses,
        n_steps=config.steps,
        keeps_float32=True,
        has_prior=config.training_objective.needs_prior,
    )
