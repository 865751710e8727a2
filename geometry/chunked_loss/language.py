"""The language loss of a text view that takes no gradient, by chunks: of the student before training."""

import torch
from jaxtyping import Float

from geometry._checks import same_shape
from geometry.chunked_loss.blocks import blocks
from geometry.chunked_loss.closed_form import Distribution, Workspace, kl_of
from geometry.lm_head import HiddenViews, TextView, chunks
from geometry.topk import top_ids, topk_log_probs


@torch.no_grad()
def language_from_hidden(
    student: TextView,
    teacher: HiddenViews,
    *,
    top_k: int | None = None,
    chunk: int | None = None,
) -> Float[torch.Tensor, " T"]:
    """Return KL(p(.|x) || q(.|x)) of each token in nats (arXiv:2606.00564, Eq. 6-7), by chunks and without a graph.

    Args:
        student: its text view of the tokens that `teacher` has both views of.
        top_k: over the ids that `objective_loss_from_hidden` takes; all by default.
        chunk: tokens a chunk, as there.

    Raises:
        ValueError: tokens or ids do not fit each other, or chunk or top_k is below 1.
    """
    same_shape(student_text_hidden=student.hidden[:, 0], teacher_text_hidden=teacher.text[:, 0])
    if student.head.n_ids != teacher.head.n_ids:
        raise ValueError(
            f"`student` must have the ids of `teacher`, got {student.head.n_ids} and {teacher.head.n_ids}. Set `n_ids`"
            " to the number of ids that both tokenizers hold."
        )
    losses, work = [], Workspace()
    for rows in chunks(len(student.hidden), student.head.n_ids, chunk):
        own, text = student.logits(rows), teacher.head.logits(teacher.text[rows])
        if top_k is not None:
            ids = top_ids(teacher.head.logits(teacher.image[rows]), top_k)
            own, text = topk_log_probs(own, ids), topk_log_probs(text, ids)
        for block in blocks(own):
            p = Distribution.normalised(own[block], work, "p_text")
            q = Distribution.normalised(text[block], work, "q_text")
            losses.append(kl_of(p, q, work))
        del own, text  # before the next chunk's are made
    return torch.cat(losses)
