"""The teacher's views of responses, as the loss takes them: on the student's device, wherever the teacher runs."""

from dataclasses import replace

from geometry import HiddenViews
from train.learner import Learner
from train.rollouts import MicroBatch
from vlm.responses.picture_features import PictureFeatures
from vlm.responses.response import both_views


def teacher_views(learner: Learner, responses: MicroBatch, features: PictureFeatures | None = None) -> HiddenViews:
    """Return the teacher's hidden states under both views and its head, all on the device of the loss; no graph.

    features: see `vlm.responses.scoring.view_hidden`.
    """
    with learner.teacher_precision():
        views = both_views(learner.pair.teacher, responses, learner.pair.n_ids, features=features)
    return replace(views.to(learner.teacher_head.weight.device), head=learner.teacher_head)
