"""The picture of a record's VDS: its lines are the tokens', and tokens without a picture are not in it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from figures import vds
from records import RecordError, open_record, read_record
from tests.figures.drawing import draw, refused
from tests.records.synthetic import HEADER


def tokens_frame(n=60):
    draw = np.random.default_rng(0)
    columns = {
        "prompt_id": [f"p{i // 10}" for i in range(n)],
        "rollout_id": np.arange(n) // 10,
        "dependency": np.repeat(["high", "low", "text"], n // 3),
        "has_image": np.repeat([True, True, False], n // 3),
        "position": np.arange(n) % 10,
        "token_id": 1,
        "token_text": "x",
        "vds_nats": np.repeat([1.0, 1.0, 0.0], n // 3) * 10 ** draw.uniform(-12, 0, n),
        "student_vds_nats": 10 ** draw.uniform(-6, 0, n),
        "bin": np.where(np.arange(n) < 40, np.arange(n) % 4, -1),
    }
    losses = {f"kl_{name}_nats": draw.uniform(0.1, 1, n) for name in ("standard", "language", "visual")}
    return pd.DataFrame(columns | losses)


def write(folder, tokens):
    with open_record(folder, HEADER | {"probe": "probes.vds"}) as writer:
        writer.finish({"tokens": tokens}, {})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("vds") / "record", tokens_frame())


@pytest.fixture(scope="module")
def axes(folder):
    return vds.draw(read_record(folder, "tokens")).axes


def test_the_distribution_is_of_pictured_tokens(axes):
    pictured = tokens_frame().query("bin >= 0")
    teacher, student = axes[0].lines
    np.testing.assert_allclose(teacher.get_xdata(), np.sort(pictured["vds_nats"].clip(lower=vds.FLOOR_NATS)))
    np.testing.assert_allclose(student.get_xdata(), np.sort(pictured["student_vds_nats"]))
    np.testing.assert_allclose(teacher.get_ydata(), np.arange(1, 41) / 40)


def test_means_by_position_and_group(axes):
    assert [line.get_label() for line in axes[1].lines] == ["high dependency", "low dependency"]
    high = tokens_frame().query("dependency == 'high'").groupby("position")["vds_nats"].mean()
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), high)


def test_mean_losses_by_bin(axes):
    means = tokens_frame().query("bin >= 0").groupby("bin")["kl_visual_nats"].mean()
    [drawn] = [line for line in axes[2].lines if line.get_label() == "visual"]
    np.testing.assert_allclose(drawn.get_ydata(), means)
    assert drawn.get_xdata().tolist() == [0, 1, 2, 3]


def test_the_command_writes_both_pictures(folder, tmp_path, capsys):
    shown = draw(capsys, folder, "vds", "--out", tmp_path)
    assert shown == [str(tmp_path / "vds.png"), str(tmp_path / "vds.svg")]
    with Image.open(tmp_path / "vds.png") as picture:
        assert picture.size[0] > 600


def test_a_record_without_pictures_or_none_at_all_is_one_line(tmp_path, capsys):
    bare = write(tmp_path / "bare", tokens_frame().assign(bin=-1))
    with pytest.raises(RecordError, match="no token of a prompt with a picture"):
        vds.draw(read_record(bare, "tokens"))
    for folder in (bare, tmp_path / "none"):
        refused(capsys, folder, "vds")
