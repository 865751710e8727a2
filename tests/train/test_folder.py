"""A run's folder goes on with the models that it began with, whatever earlier versions called them."""

import hashlib
import json
import shutil

import pytest

from records import RecordError
from records.run_folder import CONFIG
from tests.train.small import small
from train import train
from vlm.checkpoints import weights
from vlm.checkpoints.adapter_folders import bytes_fingerprint, weights_fingerprint

COMMIT = "1" * 40


@pytest.fixture
def hub(checkpoints, tmp_path, monkeypatch):
    """A cache of the hub that holds `me/student` and `me/teacher`, their weights under their hashes."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for side in ("student", "teacher"):
        repository = tmp_path / "hub" / f"models--me--{side}"
        snapshot = shutil.copytree(checkpoints / side, repository / "snapshots" / COMMIT)
        for folder in ("refs", "blobs"):
            (repository / folder).mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
        file = snapshot / "model.safetensors"
        blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(blob)
        file.symlink_to(blob)


def run_of(checkpoints, folder, **changes):
    every = {"steps": 1, "evaluate_every": 0, "geometry_every": 0, "held_out": 2, "batch": 2, "max_response": 2}
    pair = {"student": "me/student", "teacher": "me/teacher"}
    return train(small(checkpoints, out=str(folder), **every | pair | changes))


def written(folder):
    return json.loads((folder / CONFIG).read_text())


def test_a_run_of_hub_ids_goes_on_under_its_earlier_fingerprints(hub, checkpoints, tmp_path):
    folder = run_of(checkpoints, tmp_path / "run")
    began = written(folder)
    assert began["weights"] == {side: weights_fingerprint(f"me/{side}") for side in ("student", "teacher")}
    old = {side: bytes_fingerprint(f"me/{side}") for side in began["weights"]}
    assert not set(old.values()) & set(began["weights"].values())
    (folder / CONFIG).write_text(json.dumps(began | {"weights": old}))
    run_of(checkpoints, folder, resume=True)
    assert written(folder) == began


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_other_weights_are_named_as_such(hub, checkpoints, tmp_path, side):
    folder = run_of(checkpoints, tmp_path / "run")
    began = written(folder)
    (folder / CONFIG).write_text(json.dumps(began | {"weights": began["weights"] | {side: "0" * 16}}))
    said = (
        rf"`weights.{side}` '0+', not '\w+' \(the weights of the {side} have changed since the run began\): pass `--ov"
    )
    with pytest.raises(RecordError, match=said) as caught:
        run_of(checkpoints, folder, resume=True)
    assert "\n" not in str(caught.value)
    run_of(checkpoints, folder, resume=True, override=True)


def test_the_weights_of_a_folder_are_read_once(checkpoints, tmp_path, monkeypatch):
    """A folder has no earlier name."""
    ours = {side: str(checkpoints / side) for side in ("student", "teacher")}
    folder = run_of(checkpoints, tmp_path / "run", **ours)
    began, reads, real = written(folder), [], weights.files_fingerprint
    (folder / CONFIG).write_text(json.dumps(began | {"weights": began["weights"] | {"student": "0" * 16}}))
    monkeypatch.setattr(weights, "files_fingerprint", lambda *args: reads.append(args) or real(*args))
    with pytest.raises(RecordError, match="the weights of the student have changed"):
        run_of(checkpoints, folder, resume=True, **ours)
    assert len(reads) == 2  # to load the two
