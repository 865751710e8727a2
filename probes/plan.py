"""What would a measurement or a training step take, in memory and time, and does it fit? Nothing is measured.

    python -m probes.plan Qwen/Qwen3-VL-2B-Instruct --teacher Qwen/Qwen3-VL-8B-Instruct --max-response 1024
    python -m probes.plan student/ --teacher teacher/ --prompts data.parquet --limit 200 --batch 8
    python -m probes.plan student/ --teacher teacher/ --prompt-tokens 320 --visual-tokens 256 --free-gb 80
    python -m probes.plan --seen runs/earlier                  # times and truncation from an earlier record's responses
    python -m probes.plan --try 2                              # times from two prompts that are run

Reads the two configs. Weights are neither read nor downloaded unless `--try` asks for a run. The models are run on
shapes alone, which says how much memory and how many operations their passes need. The device's rates are measured in
about a second. Prompts are those of `--prompts` where the student's folder has a processor; else their lengths are
stated, or assumed, and the plan says so.

Prints, from top to bottom:

    plan      the models, their dtypes, the device, the batch, the longest response
    a table   memory at the peak of each phase (GB, 10^9 bytes), its time, and what takes the memory
    note      what the numbers rest on
    truncated the share of responses that would be cut, if it can be forecast
    peak      the largest need against the memory that is free, and whether it fits
    change    if it does not fit: flags to change, in order of cost, each with the GB that it saves

Every probe and the trainer have `--dry-run`, which prints the plan of that very command. A plan that fits neither as it
is nor with its own changes ends with one line and exit code 2.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from cli import processes
from cli.errors import UserError, exit_code
from cli.options import checked, flag, parser_for, pick
from cli.visible import print_out
from probes.settings import BinOptions, PairOptions, PromptOptions, UnitOptions

if TYPE_CHECKING:
    from vlm.plan.plan import ResourcePlan


@dataclass(frozen=True)
class PlanOptions:
    """Plan"""

    prompt_tokens: PositiveInt | None = flag(
        None, "tokens of a prompt, its picture among them (default: read; 320 where they cannot be)"
    )
    visual_tokens: NonNegativeInt | None = flag(None, "tokens of its picture (default: read; 256 where they cannot be)")
    free_gb: PositiveFloat | None = flag(
        None, "plan for so much free memory, in 10^9 bytes (default: what the device has free now)"
    )
    seen: str | None = flag(
        None, "folder of an earlier record: how long its responses are, for the time and the truncated share"
    )
    try_: NonNegativeInt = flag(0, "prompts that are run to correct the times; loads both models; 0 for none")
    micro_batch: PositiveInt = flag(16, "of a training step: responses per forward and backward pass")
    gradient_checkpointing: bool = flag(False, "of a training step: layers run again in the backward pass")
    lora_rank: NonNegativeInt = flag(0, "of a training step: rank of adapters; 0 for none")
    steers: bool = flag(False, "of a training step: vgs-lp with a measured eta in place of standard distillation")
    json: bool = flag(False, "print the plan as JSON: bytes and seconds")


_GROUPS = (PairOptions, PromptOptions, BinOptions, UnitOptions, PlanOptions)


def plan(student: str = "bundled", **options: Any) -> "ResourcePlan":
    """Return the plan of a pair: memory and time of loading, rollouts, scoring, gradients and a step of training.

    options: those of `Analyzer`, of `angles`, and the fields of `PlanOptions`. The plan prints as its table; `fits`,
        `needs`, `seconds` and `changes` are its numbers.

    Raises:
        UserError: a config, an option or a prompt cannot be read.
    """
    from probes.analyzer import Analyzer  # torch and the model libraries
    from probes.planning import Asked, n_probed, plan_of
    from vlm.plan.setting_up import Stated
    from vlm.plan.work import Settings

    own = {f for group in (UnitOptions, PlanOptions) for f in group.__dataclass_fields__}
    units = checked(UnitOptions, {name: value for name, value in options.items() if name in own})
    wanted = checked(PlanOptions, {name: value for name, value in options.items() if name in own})
    analyzer = Analyzer(student, **{name: value for name, value in options.items() if name not in own})
    training = Settings(
        micro_batch=wanted.micro_batch,
        gradient_checkpointing=wanted.gradient_checkpointing,
        lora_rank=wanted.lora_rank,
    )
    stated = Stated(analyzer.prompt_options.limit, wanted.prompt_tokens, wanted.visual_tokens)
    asked = Asked(
        stated=stated,
        free_gb=wanted.free_gb,
        tried=wanted.try_,
        seen=None if wanted.seen is None else Path(wanted.seen),
        n_probed=n_probed(analyzer, units.per_bin),
        training=training,
        steers=wanted.steers,
    )
    return plan_of(analyzer, asked)


def show(planned: "ResourcePlan", *, as_json: bool = False) -> None:
    """Print a plan.

    Raises:
        UserError: it cannot fit, not even with its own changes; the plan is printed before.
    """
    print_out(json.dumps(planned.as_json(), indent=2) if as_json else planned)
    if not planned.can_fit:
        raise UserError(planned.refusal)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code. Of several processes the main one plans, for itself alone."""
    if processes.rank():
        return 0
    parsed = parser_for("probes.plan", __doc__, _GROUPS).parse_args(argv)

    def run() -> None:
        groups: list[Any] = [pick(parsed, group) for group in _GROUPS]
        options = {name: value for group in groups for name, value in asdict(group).items()}
        show(plan(parsed.checkpoint, **options), as_json=options["json"])

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
