"""The plane of the gradients: lengths and angles in the picture are those of the vectors behind the record."""

from dataclasses import replace

import numpy as np
import pytest

from figures import gradient_plane
from figures.gradient_plane import LANGUAGE, PRIOR, SHIFT, STANDARD, VISUAL, arrows
from figures.style import COLOURS
from records import RecordError
from tests.figures.drawing import draw, refused
from tests.figures.geometries import GROUPS, vectors, write_geometry
from tests.figures.lines import in_colour, panels_overlap


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_geometry(tmp_path_factory.mktemp("plane") / "record")


@pytest.fixture(scope="module")
def record(made):
    return made[0]


def test_arrows_keep_every_length_and_the_angles_in_the_plane():
    g = vectors(np.random.default_rng(3))
    found = arrows(g @ g.T)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.linalg.norm(g, axis=1))
    flat = [STANDARD, VISUAL, PRIOR]
    np.testing.assert_allclose(found[flat] @ found[flat].T, g[flat] @ g[flat].T, atol=1e-9)
    np.testing.assert_allclose(found[STANDARD], found[VISUAL] + found[PRIOR], atol=1e-9)
    assert found[STANDARD, 1] == pytest.approx(0) and found[VISUAL, 1] > 0


def test_what_leaves_the_plane_is_what_a_projection_leaves():
    """Slow twin: least squares on the two vectors that span the plane."""
    g = vectors(np.random.default_rng(4))
    found = arrows(g @ g.T)
    for number in (LANGUAGE, SHIFT):
        span = g[[STANDARD, VISUAL]].T
        rest = g[number] - span @ np.linalg.lstsq(span, g[number])[0]
        assert found[number, 2] == pytest.approx(np.linalg.norm(rest))
        assert found[number, 0] == pytest.approx(g[number] @ g[STANDARD] / np.linalg.norm(g[STANDARD]))


def test_gradients_that_are_nothing_or_parallel_do_not_break_it():
    g = vectors(np.random.default_rng(5))
    g[VISUAL] = g[LANGUAGE] = 0.0
    g[STANDARD] = g[PRIOR]
    found = arrows(g @ g.T)
    assert np.isfinite(found).all() and not found[[VISUAL, LANGUAGE]].any()
    assert not arrows(np.zeros((5, 5))).any()


@pytest.mark.parametrize(("scope", "groups"), [("all", GROUPS), ("language_model", GROUPS[1:])])
def test_groups_of_a_scope_are_added(made, scope, groups):
    record, found = made
    units, grams = gradient_plane.unit_grams(record, scope)
    for unit_id, gram in zip(units["unit_id"], grams, strict=True):
        np.testing.assert_allclose(gram, sum(found[unit_id][group] @ found[unit_id][group].T for group in groups))


def test_units_weigh_the_same_or_as_they_are(record):
    _, grams = gradient_plane.unit_grams(record, "all")
    np.testing.assert_allclose(np.trace(gradient_plane.weighed(grams, "equal"), axis1=1, axis2=2), 1.0)
    assert gradient_plane.weighed(grams, "energy") is grams
    assert not gradient_plane.weighed(np.zeros((2, 5, 5)), "equal").any()


@pytest.mark.parametrize("weigh", gradient_plane.WEIGHTS)
def test_arrows_end_where_the_mean_of_the_bin_says(record, weigh):
    figure = gradient_plane.draw(record, weigh=weigh)
    units, grams = gradient_plane.unit_grams(record, "all")
    drawn = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert len(drawn) == 3
    for bin_, ax in enumerate(drawn):
        mean = gradient_plane.weighed(grams, weigh)[(units["bin"] == bin_).to_numpy()].mean(axis=0)
        tips = [text.xy for text in ax.texts if hasattr(text, "xy")]
        np.testing.assert_allclose(tips, arrows(mean)[:, :2] / gradient_plane.longest(mean), atol=1e-12)
        cosine = mean[LANGUAGE, VISUAL] / np.sqrt(mean[LANGUAGE, LANGUAGE] * mean[VISUAL, VISUAL])
        angle = np.degrees(np.arccos(cosine))
        assert f"language, visual {angle:.0f}°" in ax.texts[-1].get_text()
        assert ax.get_aspect() == 1.0 and ax.get_xlim() == drawn[0].get_xlim()


def test_the_faded_part_ends_at_the_true_length(record):
    ax = gradient_plane.draw(record).axes[0]
    units, grams = gradient_plane.unit_grams(record, "all")
    mean = gradient_plane.weighed(grams, "equal")[(units["bin"] == 0).to_numpy()].mean(axis=0)
    [faded] = [found for found in in_colour(ax, COLOURS["language"]) if found.get_linewidth() > 2 and found.get_alpha()]
    end = faded.get_xydata()[-1]
    assert np.hypot(*end) == pytest.approx(np.sqrt(mean[LANGUAGE, LANGUAGE] / np.diag(mean).max()))


def test_the_share_outside_the_plane():
    assert np.isnan(gradient_plane.outside(np.zeros(3)))
    assert gradient_plane.outside(np.array([0.0, 3.0, 4.0])) == pytest.approx(0.64)


def test_resampling_draws_whole_prompts():
    grams = np.stack([np.full((5, 5), value) for value in (0.0, 0.0, 1.0)])
    draw = np.random.default_rng(0)
    means = {gradient_plane.resampled(grams, np.array(["a", "a", "b"]), draw)[0, 0] for _ in range(40)}
    assert sorted(means) == pytest.approx([0.0, 1 / 3, 1.0])


def test_faults_are_one_line(record, tmp_path, capsys):
    bare = replace(record, tables={**record.tables, "units": record.tables["units"].assign(bin=-1)})
    with pytest.raises(RecordError, match="has no unit in a bin"):
        gradient_plane.draw(bare)
    assert "python -m probes.angles" in refused(capsys, tmp_path / "none", "gradient_plane")
    for flags, message in (
        (("--scope", "vision"), "`scope` must be one of all, language_model, not 'vision'"),
        (("--weigh", "half"), "`weigh` must be one of equal, energy, not 'half'"),
    ):
        assert message in refused(capsys, record.path, "gradient_plane", *flags)


def test_the_command_writes_the_same_pictures_twice(record, tmp_path, capsys):
    words = (record.path, "gradient_plane", "--scope", "language_model", "--weigh", "energy")
    for folder in ("one", "two"):
        draw(capsys, *words, "--out", tmp_path / folder)
    names = ["gradient_plane-language_model-energy.png", "gradient_plane-language_model-energy.svg"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_nothing_overlaps(record):
    assert not panels_overlap(gradient_plane.draw(record))
