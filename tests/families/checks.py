"""What is checked of a family, one function a column of the table: each returns what the table says.

A check raises `AssertionError` where a value is wrong. A `UserError` is a refusal, and its line stands in the table.
"""

import tempfile
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cli.errors import UserError
from geometry import BASIS, Cotangents, FourViews, Gramian, ProbedResponse, cotangents
from geometry.gramian import backward
from geometry.gramian.engine import Way
from probes import Analyzer
from records import read_journal
from tests.families.subject import Subject, plain_inputs, plain_logits
from tests.geometry.test_families import Float64, dense_gradient, worst
from train.config import Config
from train.loop import train
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.responses.output_layer import head_of
from vlm.responses.rollouts import Rollout, Sampling, generate, stream_seed
from vlm.responses.scoring import ResponseView, view_hidden, view_logits
from vlm.views.view import View, encode_prompts

Check = Callable[[Subject], str]
_WAYS: tuple[Way, ...] = ("walk", "autograd")
_MARGIN = 1e-5
"""A random number this close to the edge of a token's interval may fall to either side of it."""


def loads(subject: Subject) -> str:
    """The pair loads; the table says of which classes it is."""
    return type(subject.pair.student.model).__name__.removesuffix("ForConditionalGeneration")


def views(subject: Subject) -> str:
    """Picture tokens stand in every view with a picture, in no other, and in no text that is encoded alone."""
    loaded = subject.pair.student
    pictured = set(loaded.visual_ids)
    for image, text in subject.views:
        assert bool(pictured & _ids(loaded, image)) == bool(image.images), "an image view without picture tokens"
        assert not pictured & _ids(loaded, text), "a text view with picture tokens"
    new = set().union(*(_ids(loaded, image) - _ids(loaded, text) for image, text in subject.views))
    words = {i for i in new if not _is_mark(loaded, i)}
    assert new - words <= pictured, f"{loaded.processor.tokenizer.convert_ids_to_tokens(new - words - pictured)} missed"
    assert not {i for i in pictured if not _is_mark(loaded, i)}, "a word counts as a picture"
    return f"{len(pictured)} ids"


def scores(subject: Subject) -> str:
    """Batched logits are those of single forward passes that keep every column; both views, both models."""
    pair, worst_gap = subject.pair, 0.0
    for both, rollout, scored in zip(subject.views, subject.rollouts, subject.scored, strict=True):
        of_models = (scored.student_image, scored.student_text), (scored.teacher_image, scored.teacher_text)
        for loaded, found in zip(pair.models, of_models, strict=True):
            drawable = sorted(set(range(pair.n_ids)) - set(loaded.visual_ids))
            for view, logits in zip(both, found, strict=True):
                inputs = plain_inputs(loaded, view, rollout.token_ids)
                with torch.no_grad():
                    expected = plain_logits(loaded, inputs, len(rollout.token_ids), pair.n_ids)
                worst_gap = max(worst_gap, _gap(logits[:, drawable], expected[:, drawable]))
        seen = any(_gap(scored.student_image, scored.student_text) > 1e-3 for _ in both)
        assert seen or not both[0].images, "the picture changes nothing"
    assert worst_gap < 1e-3, f"logits are off by {worst_gap:.2g}"
    return f"{worst_gap:.0e}"


def gram(subject: Subject) -> str:
    """Gram matrices of either way, in float64, are those of dense gradients; of two tokens and their sum, by group."""
    pair = subject.exact
    numbers = [n for n, (image, _) in enumerate(subject.views) if len(image.images) == 1][:1]
    number = max(
        range(len(subject.rollouts)), key=lambda n: (len(subject.views[n][0].images) == 1, _length(subject, n))
    )
    both, response = subject.views[number], subject.rollouts[number].token_ids
    assert numbers
    with Float64():
        image, text = (_Exact(ResponseView(pair.student, view, response, pair.n_ids)) for view in both)
        at = torch.arange(len(response))
        teacher = [_of_teacher(pair.teacher, view, response, pair.n_ids) for view in both]
        with torch.no_grad():
            cots = cotangents(FourViews(image(at), text(at), *teacher))
        weights = torch.cat([torch.eye(len(at))[-2:], torch.full((1, len(at)), 1 / len(at))]).double()
        said: list[str] = []
        engines = [Gramian(pair.student.model, pair.student.groups, way=way, say=said.append) for way in _WAYS]
        of_ways = [engine.units(ProbedResponse(image, text, cots, at), weights) for engine in engines]
        expected = _dense_grams(subject, image, text, cots, weights)
    assert not said, said
    errors = [worst(torch.from_numpy(of[name].values), gram) for of in of_ways for name, gram in expected.items()]
    error = max(errors)
    assert error < 1e-7, f"Gram matrices are off by {error:.2g}"
    return f"{error:.0e}"


def sampling(subject: Subject) -> str:
    """Every token is the one at its random number in the model's own distribution without the banned ids."""
    student, settings = subject.pair.student, Sampling(max_response=12, per_prompt=2, seed=3, batch=6)
    drawn = generate(student, subject.prompts, settings)
    assert len({rollout.token_ids for rollout in drawn}) > len(drawn) // 2, "responses do not differ"
    for number, rollout in enumerate(drawn):
        assert not set(rollout.token_ids) & set(student.banned_ids), "a banned id was drawn"
        _assert_drawn(student, subject.views[number // 2][0], rollout, settings.seed)
    return f"{sum(len(rollout.token_ids) for rollout in drawn)} tokens"


def training(subject: Subject) -> str:
    """One step of vgs-lp is taken: the loss and the change of the weights are finite, and there is a change."""
    for loaded in subject.pair.models:
        _assert_heads_agree(subject, loaded)
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            student=str(subject.folder / "student"),
            teacher=str(subject.folder / "teacher"),
            prompts=str(subject.prompt_file),
            batch=4,
            micro_batch=2,
            max_response=6,
            allow_truncated=True,
            held_out=2,
            steps=1,
            geometry_every=1,
            out=f"{folder}/run",
        )
        made = train(config)
        (line,) = read_journal(made).steps
        assert line.loss is not None and not line.skipped, "the loss is not finite"
        after = Analyzer(str(made / "last"), teacher=config.teacher, prompts=config.prompts).pair.student.model
    before = dict(subject.pair.student.model.named_parameters())
    change = max(float((p - before[name]).detach().abs().max()) for name, p in after.named_parameters())
    assert 0 < change < 1, f"the weights moved by {change:.2g}"
    return "yes"


def sensitivity(subject: Subject) -> str:
    """First-order changes are those of a small step of descent, in float64; the table has the relative error."""
    with Float64():
        made = _analyzer(subject, dtype="float64").sensitivity(
            check=True, check_gamma=1.0, check_sgd_lr=(1e-6,), check_adamw_lr=(1e-7,)
        )
    fits = made.step_fits
    error = float(fits.loc[fits["step"] == "sgd", "relative_error"].max())
    assert error < 0.02, f"first order is off by {error:.2g}"
    return f"{error:.0e}"


def diagnosis(subject: Subject) -> str:
    """`diagnose` comes to a verdict, its precision check in float64 included."""
    made = _analyzer(subject).diagnose(per_bin=1, precision_check=2, trial_steps=1)
    assert len(made.recommendation) and len(made.precision) and made.tokens["vds_nats"].notna().all()
    return "yes"


SHORT: dict[str, Check] = {check.__name__: check for check in (loads, views, scores)}
CHECKS: dict[str, Check] = SHORT | {
    check.__name__: check for check in (gram, sampling, training, sensitivity, diagnosis)
}


def cell(check: Check, subject: Subject) -> str:
    """What the table says of a check: its figure, `refused: ...` with the reason, or `FAILED: ...`."""
    try:
        return check(subject)
    except UserError as error:
        return f"refused: {str(error).splitlines()[0]}".replace(f"{subject.folder}/", "")
    except Exception as error:  # the table must say so, and go on
        text = str(error).strip().splitlines() or [""]
        return f"FAILED: {type(error).__name__}: {text[0]}"


def _ids(loaded: LoadedModel, view: View) -> set[int]:
    return set(encode_prompts([view], loaded.processor)["input_ids"].flatten().tolist())


def _is_mark(loaded: LoadedModel, index: int) -> bool:
    added = loaded.processor.tokenizer.added_tokens_decoder.get(index)
    return added is not None and not added.content.isspace()


def _gap(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two sets of logits, ids that are masked aside."""
    both = found.isfinite() & expected.isfinite()
    return float((found - expected).detach()[both].abs().max())


def _length(subject: Subject, number: int) -> int:
    return len(subject.rollouts[number].token_ids)


class _Exact:
    """A view whose arithmetic is in float64 throughout."""

    def __init__(self, view: ResponseView) -> None:
        self._view = view

    def __call__(self, positions: Tensor) -> Tensor:
        with Float64():
            return self._view(positions)


def _of_teacher(teacher: LoadedModel, view: View, response: Sequence[int], n_ids: int) -> Tensor:
    with torch.no_grad():
        return view_logits(teacher, [view], [response], n_ids)[0]


def _dense_grams(subject: Subject, image: _Exact, text: _Exact, cots: Cotangents, weights: Tensor) -> dict[str, Tensor]:
    """Gram matrices from a plain backward pass for each objective of each unit."""
    groups = subject.exact.student.groups
    at = torch.arange(weights.shape[1])
    members = [parameter for group in groups.values() for parameter in group]
    sizes = [sum(parameter.numel() for parameter in group) for group in groups.values()]
    logits = {name: (text if name in backward.TEXT else image)(at) for name in BASIS}
    found: dict[str, list[Tensor]] = {name: [] for name in groups}
    for row in weights:
        seeds = {name: row.unsqueeze(-1) * getattr(cots, name) for name in BASIS}
        gradients = torch.stack([dense_gradient(logits[name], seeds[name], members) for name in BASIS])
        for name, part in zip(groups, gradients.split(sizes, dim=1), strict=True):
            found[name].append(part @ part.T)
    return {name: torch.stack(rows) for name, rows in found.items()}


def _assert_heads_agree(subject: Subject, loaded: LoadedModel) -> None:
    """What training reads, the head applied to hidden states, are the logits that the probes read."""
    views, responses = [image for image, _ in subject.views], [r.token_ids for r in subject.rollouts]
    n_ids = subject.pair.n_ids
    with torch.no_grad():
        head, hidden = head_of(loaded, n_ids), view_hidden(loaded, views, responses)
        logits = view_logits(loaded, views, responses, n_ids)
    assert max(_gap(head.logits(h), row) for h, row in zip(hidden, logits, strict=True)) < 1e-3, "hidden states"


def _assert_drawn(student: LoadedModel, view: View, rollout: Rollout, seed: int) -> None:
    stream = torch.Generator().manual_seed(stream_seed(seed, rollout.prompt_id, rollout.index))
    with torch.no_grad():
        inputs = plain_inputs(student, view, rollout.token_ids)
        rows = student.model.get_output_embeddings().weight.shape[0]
        logits = plain_logits(student, inputs, len(rollout.token_ids), rows).double()
    logits[:, list(student.banned_ids)] = -torch.inf
    cumulative = torch.softmax(logits, dim=-1).cumsum(dim=-1)
    for token, row in zip(rollout.token_ids, cumulative, strict=True):
        uniform = float(torch.rand((), generator=stream, dtype=torch.float64))
        low, high = (float(row[token - 1]) if token else 0.0), float(row[token])
        assert low - _MARGIN <= uniform <= high + _MARGIN, "a token is not the one at its random number"


def _analyzer(subject: Subject, **options: object) -> Analyzer:
    return Analyzer(
        str(subject.folder / "student"),
        teacher=str(subject.folder / "teacher"),
        prompts=str(subject.prompt_file),
        max_response=4,
        allow_truncated=True,
        bins=2,
        **options,
    )
