"""The table of `study.phases`: what steering changes on pairs whose gaps are set."""

from typing import Final

from records.table import Table, by_name, real, text, whole

PHASES: Final = Table(
    "phases",
    "One row for each pair of models, contrast of two arms, and quantity.",
    "study.phases",
    format="csv",
    columns=(
        text("pair", "Name of the pair"),
        text("about", "How its student was made"),
        real("visual_gap_nats", "Mean visual loss of the untrained student's tokens in bins 7-9"),
        real("language_gap_nats", "Mean language loss of the same tokens"),
        real("standard_gap_nats", "Mean standard loss of the same tokens"),
        real("steered_deg", "Angle between the standard and the steered gradient, gamma 2, mean over first batches"),
        text("arm", "Name of the arm"),
        text("against", "Name of the arm that it is compared with"),
        text("quantity", "standard, language or visual, a loss in bins 7-9; or correct, points of right answers"),
        whole("n_seeds", "Seeds that both arms have"),
        real(
            "change",
            "Mean over seeds: the last weights' loss minus the first's; of correct, points of the weights that answer",
        ),
        real("change_against", "The same of the arm that it is compared with"),
        real("difference", "The first minus the second"),
        real("sd", "Standard deviation of the seeds' differences"),
        real("low", "Lower end of its 95 % interval by Student's t over the seeds' differences"),
        real("high", "Upper end of the same interval"),
        real("p", "Two-sided p-value of no difference, unadjusted"),
        real("detectable", "Smallest difference that such runs find with a chance of 80 %"),
        text("counts_as", "lower, higher, better, worse, equivalent, undecided or not judged, by study.rules"),
    ),
)

TABLES: Final = by_name(PHASES)
