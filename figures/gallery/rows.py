"""The pictures of the gallery: of each the record it is drawn from, the tables it reads, and what draws it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from figures import (
    accuracy,
    angle_bins,
    before_after,
    changed_answers,
    gradient_plane,
    layers,
    loss_dynamics,
    ribbon,
    sensitivity,
    step_time,
    strength,
    training_curves,
    training_norms,
    vds,
)
from records import Measurement, read_record

GALLERY = Path(__file__).parent
RIBBONS = (24, 1, 26)
"""Responses drawn token by token: two that read the picture and one that misreads it."""


@dataclass(frozen=True)
class Row:
    """One picture: `RECORD/NAME.png`, in the folder of its record."""

    record: str
    name: str
    tables: tuple[str, ...]
    draw: Callable[[Measurement], Figure]

    def drawn(self, gallery: Path = GALLERY) -> Figure:
        """Read the record and draw it.

        Raises:
            RecordError: it is not there, or has not what is to be drawn.
        """
        return self.draw(read_record(gallery / self.record, *self.tables))


def _angles(record: str) -> list[Row]:
    """The angles by bin in both scopes."""
    inside = partial(angle_bins.draw, scope="language_model")
    return [
        Row(record, "angle_bins", ("bins",), angle_bins.draw),
        Row(record, "angle_bins-language_model", ("bins",), inside),
    ]


def _ribbon(record: Measurement) -> Figure:
    assert record.path is not None  # the gallery is read from folders
    pictures = [record.path / "pictures" / f"{number}.png" for number in RIBBONS]
    return ribbon.draw(record, RIBBONS, pictures)


def _smaller_study(record: str) -> list[Row]:
    """A study of a few arms: how right they are, and their losses on the fixed rollouts."""
    return [
        Row(record, "accuracy", ("verdicts", "effects"), accuracy.draw),
        Row(record, "loss_dynamics-fixed", ("curves",), partial(loss_dynamics.draw, rollouts="fixed")),
    ]


_STEPS = ("forecast", "steering", "readings", "step_changes", "step_fits")
ROWS = (
    *_angles("angles"),
    *_angles("trajectory_bin"),
    *_angles("corpus_bin"),
    Row("angles_second", "angle_bins", ("bins",), angle_bins.draw),
    Row("angles", "vds", ("tokens",), vds.draw),
    Row("angles", "ribbon", ("rollouts", "tokens", "units", "bins"), _ribbon),
    Row("angles", "gradient_plane", ("units", "grams"), gradient_plane.draw),
    Row("layers", "layers", ("layers",), layers.draw),
    Row("sensitivity", "sensitivity", _STEPS, sensitivity.draw),
    Row("sensitivity", "sensitivity-attached", _STEPS, partial(sensitivity.draw, prior="attached")),
    Row("before_after", "before_after", before_after.TABLES, before_after.draw),
    Row("before_after", "changed_answers", ("examples",), changed_answers.draw),
    Row("study", "accuracy", ("verdicts", "effects"), accuracy.draw),
    Row("study", "accuracy_by_task", ("verdicts", "effects"), accuracy.draw_tasks),
    Row("study", "loss_dynamics", ("curves",), loss_dynamics.draw),
    Row("study", "loss_dynamics-fixed", ("curves",), partial(loss_dynamics.draw, rollouts="fixed")),
    Row("study", "training_norms", ("gradients",), training_norms.draw),
    Row("study", "training_curves", ("evaluations", "steps"), training_curves.draw),
    Row("study", "strength", ("effects",), strength.draw),
    Row("study", "step_time", ("steps",), step_time.draw),
    *_smaller_study("study_small_rate"),
    *_smaller_study("study_blind"),
    *_smaller_study("study_eta"),
)
ALSO_KEPT = {"angles_second": ("units",), "angles_blind": ("units", "bins")}
"""Tables that no picture reads but `study.claims` does."""
