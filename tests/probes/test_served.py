"""`probes.vds --teacher-url`: a teacher behind a server gives what the same teacher gives over the ids it reports."""

import json
import socket

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cli.errors import UserError
from geometry import FourViews, decompose, top_ids, topk_log_probs
from probes import Analyzer, vds
from records import read_record
from tests import models
from tests.probes.conftest import SHORT
from tests.teacher_server import serving
from vlm.responses.rollouts import Rollout
from vlm.responses.served_scores import known_ids
from vlm.responses.served_teacher import KEY_VARIABLE, connect
from vlm.views.view import image_view

NUMBERS = ["vds_nats", "student_vds_nats", "kl_standard_nats", "kl_language_nats", "kl_visual_nats", "entropy_nats"]


@pytest.fixture
def server(pair, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(pair.teacher) as about:
        yield about


@pytest.fixture
def alone(flags):
    return [flags[0], *SHORT, "--out", "record"]


@pytest.fixture(scope="module")
def local(checkpoints):
    options = {"limit": 8, "max_response": 5, "bins": 3}
    return Analyzer(str(checkpoints / "student"), teacher=str(checkpoints / "teacher"), **options)


def test_with_every_id_the_scores_are_those_of_a_teacher_that_is_loaded(here, alone, server, local, capsys):
    assert vds.main([*alone, "--teacher-url", server.url, "--teacher-top-k", "500"]) == 0
    record = read_record(here / "record")
    tokens, expected = record.table("tokens"), local.vds().tokens
    others = [name for name in tokens if name not in NUMBERS]
    pd.testing.assert_frame_equal(tokens[others], expected[others])
    pd.testing.assert_frame_equal(tokens[NUMBERS], expected[NUMBERS], rtol=0.0, atol=1e-5)
    assert record.header["pair"]["teacher"] == "the-teacher"
    assert record.header["settings"]["teacher_top_k"] == 500 and server.url not in json.dumps(record.record)
    assert (here / "record" / "vds.png").is_file()
    said = capsys.readouterr()
    assert "with 100.0 % of the probability" in said.err and "quantile" in said.out


def test_with_k_ids_the_scores_are_those_over_the_ids_that_both_views_report(here, alone, server, local):
    k = 8
    assert vds.main([*alone, "--teacher-url", f"{server.url}/v1/", "--teacher-top-k", str(k)]) == 0
    tokens = read_record(here / "record").table("tokens")
    rows, n_top_k = [], 0
    for rollout, views in zip(local.rollouts, local.score(local.rollouts), strict=True):
        image, text = top_ids(views.teacher_image, k), top_ids(views.teacher_text, k)
        for t, token in enumerate(rollout.token_ids):
            shared = [i for i in image[t].tolist() if i in {*text[t].tolist(), token}]
            n_top_k += len(shared) == k
            one = views.map(lambda view, t=t: view[t : t + 1].double())
            rows.append(_scores(one, torch.tensor([shared], dtype=torch.long)))
    for name, expected in pd.DataFrame(rows).items():
        assert tokens[name].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-5)
    assert n_top_k  # prompts without a picture, at least: there the support is `topk:K` itself


def _scores(views: FourViews, ids: torch.Tensor) -> dict[str, float]:
    parts = decompose(views.map(lambda view: topk_log_probs(view, ids)))
    fields = {"vds": "vds", "kl_standard": "standard", "kl_language": "language", "kl_visual": "visual"}
    return {f"{column}_nats": float(getattr(parts, field)) for column, field in fields.items()}


def test_what_is_asked_and_what_is_not_recorded(here, alone, server, monkeypatch, capsys):
    monkeypatch.setenv(KEY_VARIABLE, "a-secret")
    assert vds.main([*alone, "--teacher-url", server.url]) == 0
    assert set(server.headers) == {"Bearer a-secret"}
    said = capsys.readouterr()
    files = [path.read_bytes() for path in (here / "record").rglob("*") if path.is_file()]
    assert not any(b"a-secret" in content for content in [*files, said.out.encode(), said.err.encode()])
    pictured = sum(prompt.has_image for prompt in models.scenes(8))
    assert len(server.asked) == 8 + pictured  # one view of a prompt without a picture
    assert {body["prompt_logprobs"] for body in server.asked} == {20}


def test_a_server_that_dies_midway_stops_the_command_and_the_record_continues(here, alone, server, capsys):
    server.answers = 3
    assert vds.main([*alone, "--teacher-url", server.url]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("stopped: the server of `teacher_url` does not answer any more")
    server.answers = 10**9
    assert vds.main([*alone, "--teacher-url", server.url]) == 0


def _other_tokens(answer):
    return answer | {"prompt_token_ids": [*answer["prompt_token_ids"][:-1], 5]}


def _nothing_at_a_token(answer):
    return answer | {"prompt_logprobs": [*answer["prompt_logprobs"][:-1], None]}


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda answer: answer | {"prompt_logprobs": None}, "the answer must have `prompt_logprobs`"),
        (lambda answer: answer | {"prompt_token_ids": None}, "the answer must have `prompt_token_ids`"),
        (lambda answer: answer | {"prompt_logprobs": answer["prompt_logprobs"][1:]}, "for each of"),
        (_other_tokens, "the server reads the text of response"),
        (_nothing_at_a_token, "must have log-probabilities at each token of response"),
        (lambda answer: [answer], "must answer with a JSON object"),
        (lambda answer: b"<html>", "must answer with a JSON object"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_line(here, alone, server, capsys, spoil, named):
    server.spoil = spoil
    assert vds.main([*alone, "--teacher-url", server.url]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: `teacher_url`") and named in said


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("--teacher-url", "localhost:8000"), "must be an address such as http://localhost:8000"),
        (("--teacher-url", "http://me:word@localhost:1"), "without a user or a query"),
        (("--teacher-url", "URL", "--teacher", "bundled"), "`teacher` must be left out with `teacher_url`"),
        (("--teacher-url", "URL", "--teacher-model", "other"), "it serves the-teacher"),
        (("--teacher-url", "URL", "--teacher-top-k", "99"), "answers 400: Requested prompt logprobs of 99"),
        (("--teacher-url", "CLOSED"), "must be a server that answers: [Errno 111] Connection refused"),
    ],
)
def test_bad_input_is_one_line(here, alone, server, capsys, argv, named):
    server.top_k_most = 50
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        words = [{"URL": server.url, "CLOSED": closed}.get(word, word) for word in argv]
        assert vds.main([*alone, *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and named in said


def test_several_models_must_be_told_apart(here, alone, server, capsys):
    server.models = ("one", "the-teacher")
    assert vds.main([*alone, "--teacher-url", server.url]) == 2
    assert "got None: it serves one, the-teacher" in capsys.readouterr().err
    assert vds.main([*alone, "--teacher-url", server.url, "--teacher-model", "one"]) == 0


def test_no_answer_in_time(here, alone, capsys):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert vds.main([*alone, "--teacher-url", address, "--teacher-timeout", "0.2"]) == 2
    assert "must be a server that answers: no answer in time" in capsys.readouterr().err


class Merging:
    """A tokenizer that reads what it writes as fewer tokens, as BPE does with `a`, `b` that were sampled apart."""

    def decode(self, ids, **_):
        return "".join(self.convert_ids_to_tokens(ids))

    def __call__(self, text, **_):
        return {"input_ids": [1, 4]}

    def convert_ids_to_tokens(self, ids):
        return [["<end>", "x", "a", "b", "ab"][token] for token in ids]


def test_a_response_whose_text_is_read_as_other_tokens_is_refused_before_it_is_sent(server):
    teacher = connect(server.url, None, 8)
    rollout = Rollout("p", 0, (1, 2, 3), "xab", truncated=True)
    with pytest.raises(UserError, match=r"response p/0 as other tokens, at 1 as \['ab'\] in place of \['a'\]"):
        teacher.report(image_view(models.scenes(1)[0]), rollout, Merging())
    assert not server.asked


def test_from_python(server, checkpoints):
    analyzer = Analyzer(str(checkpoints / "student"), limit=4, max_response=3, bins=2)
    assert len(analyzer.vds(teacher_url=server.url).tokens)
    with pytest.raises(UserError, match="`teacher_url` is no option of `angles`"):
        analyzer.angles(teacher_url=server.url)


@given(st.data())
def test_known_ids_are_those_of_the_image_views_most_that_the_text_view_has_too(data):
    numbers = st.dictionaries(st.integers(0, 12), st.floats(-9, 0), min_size=1, max_size=9)
    image, text = (data.draw(st.lists(numbers, min_size=3, max_size=3)) for _ in range(2))
    k, banned = data.draw(st.integers(1, 9)), data.draw(st.sets(st.integers(0, 12)))
    about = known_ids(image, text, k, n_ids=10, banned=sorted(banned))
    for t in range(3):
        kept = about.ids[t] < 10
        ids = about.ids[t][kept].tolist()
        most = sorted(image[t], key=image[t].__getitem__, reverse=True)[:k]
        assert set(ids) <= set(text[t]) - banned and all(image[t][i] >= image[t][most[-1]] for i in ids)
        assert about.image[t][kept].tolist() == [image[t][i] for i in ids]
        assert about.text[t][kept].tolist() == [text[t][i] for i in ids]
        assert (about.image[t][~kept] == -torch.inf).all() and len(set(about.ids[t].tolist())) == about.ids.shape[1]
