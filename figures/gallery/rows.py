"""The contents of the gallery: each picture with the record it is drawn from and its options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.catalogue import Picture, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GALLERY = Path(__file__).parent
RIBBONS = (24, 1, 26)
"""Responses drawn token by token: two that read the picture and one that misreads it."""


@dataclass(frozen=True)
class GalleryPicture:
    """One picture, in the folder of its record."""

    record: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    """The file's name without the suffix, for a picture that stands above the folders of records."""

    @property
    def picture(self) -> Picture:
        """The picture in the catalogue."""
        return picture(self.name)

    @property
    def place(self) -> Path:
        """Its file below the gallery, without the suffix."""
        return Path(self.file or f"{self.record}/{self.picture.stem(**self.options)}")

    def drawn(self, gallery: Path = GALLERY) -> "Figure":
        """Read the record and return the figure.

        Raises:
            RecordError: there is no such record, or it lacks what is to be drawn.
        """
        return self.picture.draw(self.picture.read(gallery / self.record), **self.options)


_RIBBON = {"responses": RIBBONS, "pictures": [GALLERY / "angles" / "pictures" / f"{number}.png" for number in RIBBONS]}
_INSIDE = {"scope": "language_model"}
_FIXED = {"rollouts": "fixed"}
_BOTH_SCOPES = ("angles", "trajectory_bin", "corpus_bin")
_OTHER_STUDIES = ("study_average", "study_small_rate", "study_blind", "study_eta")
ROWS = (
    GalleryPicture("angles", "language_visual", file="hero"),
    *(GalleryPicture(record, "angle_bins", scope) for record in _BOTH_SCOPES for scope in ({}, _INSIDE)),
    GalleryPicture("angles_second", "angle_bins"),
    GalleryPicture("angles", "bin_shares"),
    GalleryPicture("angles", "vds"),
    GalleryPicture("angles", "ribbon", _RIBBON),
    GalleryPicture("angles", "gradient_plane"),
    GalleryPicture("layers", "layers"),
    GalleryPicture("sensitivity", "forecast"),
    GalleryPicture("sensitivity", "forecast_reach"),
    GalleryPicture("sensitivity", "sensitivity"),
    GalleryPicture("sensitivity", "sensitivity", {"prior": "attached"}),
    GalleryPicture("before_after", "before_after"),
    GalleryPicture("before_after", "changed_answers"),
    GalleryPicture("study", "accuracy"),
    GalleryPicture("study", "accuracy_by_task"),
    GalleryPicture("study", "loss_dynamics"),
    GalleryPicture("study", "loss_dynamics", _FIXED),
    GalleryPicture("study", "training_norms"),
    GalleryPicture("study", "training_curves"),
    GalleryPicture("study", "strength"),
    GalleryPicture("study", "step_time"),
    GalleryPicture("study", "tables"),
    GalleryPicture("phases", "phase_diagram"),
    GalleryPicture("phases", "phase_diagram", {"quantity": "correct"}),
    GalleryPicture("phases", "steering_effect"),
    GalleryPicture("phases_accuracy", "pair_contrasts"),
    GalleryPicture("phases_accuracy", "pair_contrasts", {"quantity": "standard"}),
    *(GalleryPicture(record, "accuracy") for record in _OTHER_STUDIES),
    *(GalleryPicture(record, "loss_dynamics", _FIXED) for record in _OTHER_STUDIES),
)
ALSO_KEPT = {"angles_second": ("units",), "angles_blind": ("units", "bins"), "step_cost": ("steps",)}
"""Tables that no picture reads but `study.claims` does."""
