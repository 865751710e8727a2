"""Hub ids with and without a revision, read from a cache without any network; folders whose names hold an @."""

import hashlib
import json
import shutil
import sys

import pytest

from vlm.checkpoints import places, waiting, weights
from vlm.checkpoints.adapter_folders import bytes_fingerprint, weights_fingerprint
from vlm.checkpoints.checkpoint import CheckpointError, check_vision, load_model
from vlm.checkpoints.pair import load_pair
from vlm.checkpoints.places import locate

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


def stored_as_the_hub_does(snapshot):
    """Move a snapshot's weights to a blob with their hash as its name; return the blob."""
    weights_file = snapshot / "model.safetensors"
    blob = snapshot.parents[1] / "blobs" / hashlib.sha256(weights_file.read_bytes()).hexdigest()
    blob.parent.mkdir(exist_ok=True)
    weights_file.rename(blob)
    weights_file.symlink_to(blob)
    return blob


def test_what_the_hub_has_hashed_is_not_read_again(hub, monkeypatch):
    first, second = (stored_as_the_hub_does(hub / "snapshots" / commit) for commit in (FIRST, SECOND))
    of_bytes = bytes_fingerprint("me/student@v1")
    monkeypatch.setattr(weights, "files_fingerprint", lambda *_: pytest.fail("read"))
    fingerprints = weights_fingerprint("me/student@v1"), weights_fingerprint("me/student")
    assert fingerprints[0] == load_model("me/student@v1").fingerprint
    assert len({*fingerprints, of_bytes}) == 3  # of other weights another, and not the one over bytes
    link = hub / "snapshots" / FIRST / "model.safetensors"
    link.unlink()
    link.symlink_to(second)
    assert weights_fingerprint("me/student@v1") == fingerprints[1] and first.is_file()


def test_a_file_that_the_hub_did_not_name_is_read(hub, checkpoints):
    """Such as one in a folder that is a link into the cache, or a blob under another name."""
    blob = stored_as_the_hub_does(hub / "snapshots" / FIRST)
    of_folder = weights_fingerprint(str(checkpoints / "student"))
    assert weights_fingerprint(str(hub / "snapshots" / FIRST)) == of_folder
    link = hub / "snapshots" / FIRST / "model.safetensors"
    link.unlink()
    link.symlink_to(blob.rename(blob.with_name("mine")))
    assert weights_fingerprint("me/student@v1") == of_folder


def test_a_pair_json_of_an_earlier_version_still_names_its_teacher(hub, checkpoints, tmp_path):
    """It has the fingerprint over the bytes of a teacher on the hub."""
    stored_as_the_hub_does(hub / "snapshots" / FIRST)
    student = tmp_path / "mine"
    shutil.copytree(checkpoints / "student", student)
    for fingerprint, fits in ((bytes_fingerprint("me/student@v1"), True), ("0" * 16, False)):
        (student / "pair.json").write_text(json.dumps({"teacher": "me/student@v1", "fingerprint": fingerprint}))
        if fits:
            assert load_pair(str(student)).teacher.name == "me/student@v1"
        else:
            with pytest.raises(CheckpointError, match="names a teacher with fingerprint 0000"):
                load_pair(str(student))


def test_large_weights_are_announced_and_their_fingerprint_shows_progress(checkpoints, monkeypatch, capsys):
    load_model(str(checkpoints / "student"))
    assert "GB" not in capsys.readouterr().err
    monkeypatch.setattr(waiting, "LARGE_BYTES", 1)
    load_model(str(checkpoints / "student"))
    said = capsys.readouterr().err
    assert "reading the weights of" in said and "student: 0.0 GB" in said
    assert "student in 0 s" in said and "fingerprint of student, MB: 0/0" in said


def test_in_a_log_a_download_that_takes_long_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(waiting, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with waiting.DownloadBar(total=3, desc="weights", name="huggingface_hub.snapshot_download") as bar:
        for _ in range(3):
            bar.update(1)
            bar.refresh()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3 and all(line.startswith("weights") for line in lines) and "3/3" in lines[-1]
    monkeypatch.setattr(waiting, "LINE_EVERY_S", 100.0)
    with waiting.DownloadBar(total=3, desc="weights") as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["hf://me/student", "hf://models/me/student", "https://huggingface.co/me/student"])
def test_an_address_is_no_name_on_the_hub_and_going_online_would_not_help(name):
    with pytest.raises(
        CheckpointError, match="neither a checkpoint folder nor on the hub: .*; check the name"
    ) as caught:
        places.locate(name)
    assert "OFFLINE" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("asked", ["./my-techer", "models/deep/my-techer", "../x/my-techer", "~/my-techer"])
def test_what_looks_like_a_path_is_not_asked_of_the_hub(monkeypatch, asked):
    monkeypatch.setattr(places, "snapshot_download", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(CheckpointError, match="there is no such folder; check the path"):
        locate(asked)


def test_the_folder_with_the_name_that_is_most_alike_is_named(tmp_path):
    (tmp_path / "my-teacher").mkdir()
    with pytest.raises(CheckpointError, match=f"did you mean {tmp_path / 'my-teacher'}\\?"):
        locate(str(tmp_path / "my-techer"))
