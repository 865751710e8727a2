"""Hub ids with and without a revision, read from a cache without any network; folders whose names hold an @."""

import shutil

import pytest

from vlm.checkpoints import places
from vlm.checkpoints.checkpoint import CheckpointError, check_vision, load_model
from vlm.checkpoints.pair import load_pair

FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture
def hub(checkpoints, tmp_path, monkeypatch):
    """A cache that holds `me/student` at two commits; `main` is the second, whose weights are the teacher's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--me--student"
    for commit, side in ((FIRST, "student"), (SECOND, "teacher")):
        shutil.copytree(checkpoints / side, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    for name, commit in (("main", SECOND), ("v1", FIRST)):
        (repository / "refs" / name).write_text(commit)
    return repository


@pytest.mark.parametrize(
    ("asked", "commit", "side"),
    [
        ("me/student", SECOND, "teacher"),
        ("me/student@main", SECOND, "teacher"),
        ("me/student@v1", FIRST, "student"),
        (f"me/student@{FIRST}", FIRST, "student"),
    ],
)
def test_a_revision_names_the_state_of_every_file(hub, checkpoints, asked, commit, side):
    loaded, of_folder = load_model(asked), load_model(str(checkpoints / side))
    assert (loaded.name, loaded.commit) == (asked, commit)
    assert (loaded.fingerprint, loaded.setup) == (of_folder.fingerprint, of_folder.setup)
    assert of_folder.commit is None


def test_a_pair_says_which_commits_it_was(hub):
    described = load_pair("me/student@v1", "me/student").describe()
    assert [described[side]["commit"] for side in ("student", "teacher")] == [FIRST, SECOND]


def test_the_teacher_of_a_snapshot_s_pair_json_is_found(hub):
    (hub / "snapshots" / FIRST / "pair.json").write_text('{"teacher": "me/student@main"}')
    assert load_pair("me/student@v1").teacher.name == "me/student@main"


def test_processor_and_weights_are_of_the_revision(hub):
    path = hub / "snapshots" / FIRST / "chat_template.jinja"
    template = path.read_text() + "{# of the first #}"
    path.unlink()  # it may be a link to the other's
    path.write_text(template)
    assert load_model("me/student@v1").processor.chat_template == template
    assert load_model("me/student").processor.chat_template != template


@pytest.mark.parametrize("asked", ["me/student@v2", "me/none", "me/none@main", "./none@v1"])
def test_what_is_not_there_is_refused_by_its_name(hub, asked):
    with pytest.raises(CheckpointError, match=f"`checkpoint` {asked} is neither a checkpoint folder nor on the hub"):
        check_vision(asked)


def test_a_folder_with_an_at_sign_is_a_folder(checkpoints, tmp_path):
    folder = tmp_path / "run@2"
    shutil.copytree(checkpoints / "student", folder)
    loaded = load_model(str(folder))
    assert loaded.name == f"{tmp_path.name}/run@2" and loaded.commit is None


@pytest.mark.parametrize("asked", ["me/student@", "{folder}@main", "{folder}@"])
def test_folders_have_no_revisions(hub, checkpoints, asked):
    asked = asked.format(folder=checkpoints / "student")
    with pytest.raises(CheckpointError, match="must be a folder, or a hub id and a revision of it: ID@REVISION"):
        places.locate(asked)


def test_weights_that_are_not_in_the_cache_are_refused(hub):
    (hub / "snapshots" / FIRST / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="me/student@v1 has no file named model.safetensors"):
        load_model("me/student@v1")
