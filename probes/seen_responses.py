"""How long responses are that are there already: for the time of a plan, and for how many would be truncated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import OptionError
from records import RecordError, read_record
from vlm.plan.outline import Outline, reader_of
from vlm.plan.plan import ResourcePlan

if TYPE_CHECKING:
    from probes.analyzer import Analyzer


@dataclass(frozen=True)
class Seen:
    """Responses that are there.

    where: their file or record.
    n_tokens: of each.
    is_cut: whether each ends without an end token.
    """

    where: str
    n_tokens: Sequence[int]
    is_cut: Sequence[bool]

    def mean_at(self, longest: int) -> float:
        """Return the mean number of tokens, none having more than `longest`."""
        return sum(min(n, longest) for n in self.n_tokens) / len(self.n_tokens)

    def steps_at(self, longest: int, batch: int) -> float:
        """Return the tokens of the longest response of a batch, on average over batches in the order of responses."""
        cut = [min(n, longest) for n in self.n_tokens]
        most = [max(cut[start : start + batch]) for start in range(0, len(cut), batch)]
        return sum(most) / len(most)

    def truncated_at(self, longest: int) -> float:
        """Return the share that is longer than `longest`, or cut before it ended."""
        both = zip(self.n_tokens, self.is_cut, strict=True)
        return sum(n > longest or cut for n, cut in both) / len(self.n_tokens)

    def told(self, plan: ResourcePlan) -> ResourcePlan:
        """Return a plan that says how many of such responses would be truncated."""
        longest = plan.work.max_response
        early = sum(cut and n < longest for n, cut in zip(self.n_tokens, self.is_cut, strict=True))
        note = f"responses of {self.mean_at(longest):.0f} tokens on average, as {len(self.n_tokens)} in {self.where}"
        note += f"; {early} of these were cut earlier and count as truncated" if early else ""
        return replace(plan, truncated=self.truncated_at(longest), notes=(*plan.notes, note))


def seen_in(folder: Path) -> Seen:
    """Return the responses of an earlier record.

    Raises:
        OptionError: the folder holds no record with responses.
    """
    try:
        rollouts = read_record(folder, "rollouts").table("rollouts")
    except (RecordError, OSError) as error:
        raise OptionError(f"`seen` must be the folder of a record with responses: {error}") from None
    if rollouts.empty:
        raise OptionError(f"`seen` must be a record with responses, got {folder}, which has none")
    if rollouts[["n_tokens", "truncated"]].isna().any(axis=None):
        raise OptionError(
            f"`seen` must be a record with the length of each response, got nulls in {folder}: name another"
        )
    return Seen(str(folder), rollouts["n_tokens"].tolist(), rollouts["truncated"].tolist())


def stored_by(analyzer: "Analyzer", student: Outline) -> list[Seen]:
    """Return the responses that an analyzer measures in place of sampled ones, refused as the measurement would.

    None where responses are sampled, and where the student's folder has no processor that reads them.

    Raises:
        OptionError: one cannot be read, is longer than `max_response`, or none belongs to the prompts.
        TruncatedError: nearly all are truncated, and this is not allowed.
    """
    if analyzer.stored is None or student.processor is None:
        return []
    reader = reader_of(analyzer.checkpoint, student)
    stored = analyzer.stored.to(analyzer.source_prompts, reader, student.n_ids, analyzer.prompt_options)
    lengths = [len(rollout.token_ids) for rollout in stored.rollouts]
    return [Seen("`rollouts`", lengths, [rollout.truncated for rollout in stored.rollouts])]
