"""Responses that are measured in place of sampled ones: read once for all probes, and how on-policy they are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import OptionError
from cli.visible import print_err
from probes.settings import PromptOptions
from records import fingerprint
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.prompts.prompt import Prompt
from vlm.responses.on_policy import agreement
from vlm.responses.stored_rollouts import StoredRollouts, file_fingerprint, read_stored
from vlm.responses.stored_rows import Source
from vlm.responses.truncation import truncation
from vlm.views.view import image_view


@dataclass
class StoredResponses:
    """A file of responses, or rows in memory.

    about: by student, how the responses were read and how on-policy they are; for a record's notes.
    """

    source: Source
    about: dict[str, Any] = field(default_factory=dict)
    _read: StoredRollouts | None = None

    def to(self, prompts: Sequence[Prompt], student: LoadedModel, n_ids: int, options: PromptOptions) -> StoredRollouts:
        """Return the responses to these prompts; the first call reads them, and says on stderr how.

        Raises:
            OptionError: a row cannot be read, none is a response to the prompts, or one is longer than `max_response`.
        """
        if self._read is None:
            stored = read_stored(self.source, prompts, student, n_ids)
            _refuse_long(stored, options.longest_response)
            truncation(stored.with_ids).settle(allowed=options.allow_truncated)
            self._read = stored
            for note in self._read.notes:
                print_err(f"note: {note}")
        return self._read

    def compare(self, prompts: Sequence[Prompt], student: LoadedModel, n_ids: int, options: PromptOptions) -> None:
        """Say, once for each student, how on-policy the responses are; `about` keeps it."""
        if student.name in self.about:
            return
        stored = self.to(prompts, student, n_ids, options)
        by_id = {prompt.prompt_id: image_view(prompt) for prompt in prompts}
        views = [by_id[rollout.prompt_id] for rollout in stored.rollouts]
        shares = agreement(student, views, stored.responses, n_ids, options.batch)
        print_err(f"note: `rollouts`: {len(views)} responses, {shares}")
        self.about[student.name] = stored.numbers() | shares.numbers()

    @property
    def identity(self) -> str:
        """What tells these responses from others: name and hash of a file, a hash of rows that have been read."""
        if isinstance(self.source, (str, Path)):
            return file_fingerprint(self.source)
        assert self._read is not None
        return fingerprint({"rollouts": [asdict(rollout) for rollout in self._read.rollouts]})

    def of_another_student(self) -> "StoredResponses":
        """Return the same responses, to be read with another student's tokenizer."""
        return StoredResponses(self.source, self.about)


def _refuse_long(stored: StoredRollouts, longest: int) -> None:
    most = max(stored.rollouts, key=lambda rollout: len(rollout.token_ids))
    if len(most.token_ids) > longest:
        raise OptionError(
            f"`max_response` must be at least {len(most.token_ids)}, the tokens of response {most.rollout_id} of"
            f" `rollouts`, got {longest}: raise it"
        )
