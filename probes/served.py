"""The tokens' scores under a teacher behind a server, in place of one that is loaded here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from jsonargparse.typing import PositiveFloat, PositiveInt

from cli.errors import OptionError
from cli.options import flag
from cli.visible import print_err
from probes.probe import Probe

if TYPE_CHECKING:
    import pandas as pd

    from geometry import TokenScores
    from probes.analyzer import Analyzer
    from vlm.responses.rollouts import Rollout
    from vlm.responses.served_scores import KnownIds
    from vlm.responses.served_teacher import ServedTeacher


@dataclass(frozen=True)
class ServedOptions:
    """A teacher behind a server"""

    teacher_url: str | None = flag(
        None, "address of a server of vLLM that gives the teacher's log-probabilities, such as http://localhost:8000"
    )
    teacher_model: str | None = flag(None, "the name under which it serves the teacher (default: its only model)")
    teacher_top_k: PositiveInt = flag(20, "ids that it is asked for at each token; its --max-logprobs allows as many")
    teacher_timeout: PositiveFloat = flag(600.0, "seconds that an answer is waited for")


@dataclass(frozen=True)
class Served:
    """An analyzer whose teacher is behind a server.

    alone: its student in the place of both models: prompts are checked and rendered by the student alone.
    """

    alone: "Analyzer"
    teacher: "ServedTeacher"

    @classmethod
    def connected(cls, analyzer: "Analyzer", options: ServedOptions) -> "Served":
        """Ask the server for its models, and load the student.

        Raises:
            OptionError: another teacher is named, too.
            ServedTeacherError: the server does not answer, or serves another model.
        """
        from vlm.checkpoints.pair import Pair
        from vlm.responses.served_teacher import connect

        if (named := analyzer.pair_options.teacher) is not None:
            raise OptionError(f"`teacher` must be left out with `teacher_url`, got {named}; drop one of the two")
        assert options.teacher_url is not None
        timeout_s = float(options.teacher_timeout)
        teacher = connect(options.teacher_url, options.teacher_model, int(options.teacher_top_k), timeout_s)
        student = analyzer.student
        return cls(analyzer.having(pair=Pair(student, student, student.n_ids, student.notes)), teacher)

    def header(self, probe: Probe) -> dict[str, Any]:
        """Return what identifies a record: that of the student, and the teacher by the name that the server has."""
        header, name = self.alone.header(probe), self.teacher.model
        header["pair"]["teacher"] = name
        header["pair"].get("commits", {}).pop("teacher", None)
        header["weights"]["teacher"] = header["setup"]["teacher"] = "behind a server"
        header["settings"] |= {"teacher_model": name, "teacher_top_k": self.teacher.top_k}
        return header

    def tokens(self, analyzer: "Analyzer") -> "pd.DataFrame":
        """Return the table `tokens` over the ids that the server reports; an interrupted measurement continues.

        analyzer: whose record is open.
        """
        from probes import sampling

        one = self.alone.having(shards=analyzer.shards)
        rollouts, tokenizer = one.rollouts, one.student.processor.tokenizer
        self.alone.__dict__["rollouts"] = rollouts
        with analyzer.phase("scoring"):
            heard: list[KnownIds] = []
            scores = partial(self._scores, heard=heard)
            scored = sampling.score_tokens(one.prompts, one.cut(), scores, tokenizer, analyzer.shards)
            self._say(heard)
        analyzer.notes |= {"prompts": len(one.prompts), "left_out": dict(one.asked.left_out)}
        return sampling.binned(scored, analyzer.bin_options.bins)

    def _scores(self, rollouts: "Sequence[Rollout]", heard: "list[KnownIds]") -> "Iterator[TokenScores]":
        """Yield the scores of each rollout's tokens; `heard` gets what the teacher is known at."""
        from vlm.responses.served_scores import served_scores

        one = self.alone
        views = [one.views(rollout) for rollout in rollouts]
        for scores, about in served_scores(self.teacher, one.student, views, rollouts, one.batches):
            heard.append(about)
            yield scores

    def _say(self, heard: "Sequence[KnownIds]") -> None:
        """Say how much of the teacher the scores are made of, unless all are those of an earlier run."""
        if not heard:
            return
        n_known, mass = (sum(getattr(about, name) for about in heard) / len(heard) for name in ("n_known", "mass"))
        print_err(
            f"note: {len(heard)} responses: both views of the teacher report {n_known:.1f} of {self.teacher.top_k} ids"
            f" a token, with {100 * mass:.1f} % of the probability with the picture; the rest is one bucket"
        )
