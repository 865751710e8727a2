"""A plan corrected by a few prompts that are really run."""

from dataclasses import replace
from typing import TYPE_CHECKING

from probes.seen_responses import Seen
from records import Shards
from vlm.plan.making import make_plan
from vlm.plan.minutes import Minutes
from vlm.plan.plan import ResourcePlan
from vlm.plan.setting_up import DrawnUp

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

_RUN = ("rollouts", "scoring")


def tried_out(analyzer: "Analyzer", drawn: DrawnUp, n: int) -> ResourcePlan:
    """Return the plan with the times of `n` prompts that are sampled and scored, and the lengths of their responses.

    Both models are loaded for it.
    """
    plan, costs, rates = drawn.plan, drawn.costs, drawn.rates
    options = replace(analyzer.prompt_options, limit=n)
    fresh = {"prompt_options": options, "shards": Shards(), "seconds": {}}
    few = analyzer.having(_groups={**analyzer._groups, type(options): options}, **fresh)
    for name in ("prompt_set", "asked", "answered", "rollouts", "tokens"):  # those of all prompts
        few.__dict__.pop(name, None)
    few.tokens  # noqa: B018  # sampled and scored, timed by phase
    lengths = [len(rollout.token_ids) for rollout in few.rollouts]
    mean = sum(lengths) / len(lengths)
    steps = Seen("", lengths, [False] * len(lengths)).steps_at(plan.work.max_response, plan.settings.batch)
    same = replace(plan.work, n_responses=len(lengths), mean_response=mean, steps_in_a_batch=steps, phases=_RUN)
    expected = Minutes(costs, same, plan.settings, rates, {}).seconds()
    corrections = {phase: few.seconds[phase] / expected[phase] for phase in _RUN}
    corrections |= {"gradients": corrections["scoring"], "null": corrections["scoring"]}
    work = replace(plan.work, mean_response=mean, steps_in_a_batch=steps)
    corrected = make_plan(costs, work, plan.settings, plan.room, rates, corrections)
    truncated = sum(rollout.truncated for rollout in few.rollouts) / len(lengths)
    note = (
        f"times from {n} prompts that were run: {corrections['rollouts']:.2g} times what was reckoned for rollouts,"
        f" {corrections['scoring']:.2g} for scoring; responses of {mean:.0f} tokens on average"
    )
    return replace(corrected, truncated=truncated, notes=(*plan.notes, note))
