"""What the objectives mean to a trainer: a teacher that is the student, and one that does not look.

The gradients are of whole steps, as the optimizer is handed them.
"""

import math
from dataclasses import replace

import pytest
import torch

from geometry import kl_nats, log_probs, token_shares
from tests.train.small import batch, both_logits, learner, small, watch
from train.step import summed_gradient
from vlm.responses.response import both_views, has_image


def gradient_of(found):
    """The step's gradient as one vector, and its tokens."""
    summed = summed_gradient(found, batch(found), watch())
    return torch.cat([g.flatten() for g in summed.gradient]), summed.tokens


def config(checkpoints, objective, **changes):
    """A small run whose preservation term, if it has one, weighs as much as the rest."""
    kept = {} if objective in ("standard", "vgs") else {"lambda_": 1.0}
    return small(checkpoints, objective=objective, eta="none", **kept | changes)


def cosine(a, b):
    return float(torch.dot(a, b) / (a.norm() * b.norm()))


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        *((objective, {}) for objective in ("standard", "vgs", "vgs-lp", "adaptive", "language-steering")),
        *((objective, {"prior": "attached"}) for objective in ("vgs", "language-steering")),
    ],
)
def test_a_student_that_is_its_teacher_is_left_as_it_is(checkpoints, objective, changes):
    typical, _ = gradient_of(learner(config(checkpoints, objective, **changes)))
    taught = str(checkpoints / "student")
    found, tokens = gradient_of(learner(config(checkpoints, objective, teacher=taught, **changes)))
    assert found.norm() < 1e-6 * typical.norm()
    assert tokens.vds.max() > 0.05  # there is something that steering could do


def test_preservation_as_printed_does_not_leave_it(checkpoints):
    changes = {"vp": "printed", "teacher": str(checkpoints / "student")}
    found, _ = gradient_of(learner(config(checkpoints, "language-steering", **changes)))
    typical, _ = gradient_of(learner(config(checkpoints, "language-steering")))
    assert found.norm() > 1e-2 * typical.norm()


@pytest.fixture
def blind(monkeypatch):
    """Teachers whose image view is their text view."""

    def text_alone(loaded, responses, n_ids, **others):
        views = both_views(loaded, responses, n_ids, **others)
        return replace(views, image=views.text)

    monkeypatch.setattr("train.teacher.both_views", text_alone)


def own_use(found, made, held=None):
    """KL(p(.|I, x) || p(.|x)) of each token, 0 without a picture; p(.|x) is held, or what is given in its place."""
    image, text = both_logits(found.pair.student, made.responses, found.pair.n_ids)
    held = text.detach() if held is None else held
    return kl_nats(log_probs(image), log_probs(held)) * has_image(made.responses, image.device)


def mean(made, values):
    """The batch's mean of the tokens' values."""
    return (token_shares([response.n_tokens for response in made.responses]).to(values) * values).sum()


def gradient_by_hand(found, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, found.parameters)])


@pytest.mark.usefixtures("blind")
def test_a_blind_teacher_s_visual_gradient_is_that_of_the_student_s_own_use(checkpoints):
    standard, _ = gradient_of(learner(config(checkpoints, "standard")))
    found = learner(config(checkpoints, "vgs", gamma=2.0))
    steered, tokens = gradient_of(found)
    made = batch(found)
    values = own_use(found, made)
    visual, use = (steered - standard) / 2.0, gradient_by_hand(found, mean(made, values))
    assert cosine(visual, use) > 0.999
    assert float(visual.norm() / use.norm()) == pytest.approx(1.0, abs=1e-3)
    assert use.norm() > 0.1 * standard.norm()  # so that vgs is not standard here
    torch.testing.assert_close(tokens.visual, values.detach(), rtol=1e-4, atol=1e-5)
    assert tokens.visual.max() > 0.05


@pytest.mark.usefixtures("blind")
def test_a_step_along_it_makes_the_student_look_less(checkpoints):
    found = learner(config(checkpoints, "vgs"))
    made = batch(found)
    use = gradient_by_hand(found, mean(made, own_use(found, made)))
    _, text = both_logits(found.pair.student, made.responses, found.pair.n_ids)
    before = mean(made, own_use(found, made)).item()
    visual = gradient_of(found)[0] - gradient_of(learner(config(checkpoints, "standard")))[0]
    sizes = [parameter.numel() for parameter in found.parameters]
    with torch.no_grad():
        for parameter, part in zip(found.parameters, visual.split(sizes), strict=True):
            parameter -= 1e-2 * part.view_as(parameter) / visual.norm()
    toward_what_it_was = mean(made, own_use(found, made, text.detach())).item() - before
    assert toward_what_it_was == pytest.approx(-1e-2 * float(use.norm()), rel=0.2)
    assert mean(made, own_use(found, made)).item() < before


@pytest.mark.usefixtures("blind")
def test_a_blind_teacher_s_standard_loss_is_toward_its_text_view(checkpoints):
    found = learner(config(checkpoints, "standard"))
    gradient, tokens = gradient_of(found)
    made, pair = batch(found), found.pair
    image, text = both_logits(pair.student, made.responses, pair.n_ids)
    _, teacher = both_logits(pair.teacher, made.responses, pair.n_ids)
    standard = kl_nats(log_probs(image), log_probs(teacher))
    torch.testing.assert_close(tokens.standard, standard.detach(), rtol=1e-4, atol=1e-5)
    assert cosine(gradient, gradient_by_hand(found, mean(made, standard))) > 0.9999
    language = kl_nats(log_probs(text), log_probs(teacher)).detach()
    torch.testing.assert_close(tokens.language, language, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("blind")
def test_nothing_depends_on_a_picture_that_a_blind_teacher_does_not_see(checkpoints):
    """VDS is 0, no gate opens: vgs-lp is vgs, the adaptive objective standard, gated preservation void."""
    standard, tokens = gradient_of(learner(config(checkpoints, "standard")))
    assert (tokens.vds == 0).all()
    same = {"vgs-lp": "vgs", "adaptive": "standard"}
    for gated, plain in same.items():
        found, expected = (gradient_of(learner(config(checkpoints, name)))[0] for name in (gated, plain))
        assert (found - expected).norm() < 1e-6 * expected.norm()
    kept, void = (gradient_of(learner(config(checkpoints, "language-steering", lambda_=w)))[0] for w in (1.0, 0.0))
    assert torch.equal(kept, void) and not math.isclose(cosine(void, standard), 1.0, abs_tol=1e-3)


def test_the_language_loss_does_not_ask_whether_the_teacher_sees(checkpoints, request):
    _, seeing = gradient_of(learner(config(checkpoints, "standard")))
    request.getfixturevalue("blind")
    _, blinded = gradient_of(learner(config(checkpoints, "standard")))
    assert torch.equal(seeing.language, blinded.language)
    assert not torch.equal(seeing.standard, blinded.standard)
