"""The shares of the bins: by hand, as drawn, and those of the committed record."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from figures import bin_shares
from records import RecordError, read_record

ANGLES = Path(__file__).resolve().parents[2] / "figures" / "gallery" / "angles"


def bins(**changes):
    """Three bins of unequal size."""
    columns = {"bin": [2, 0, 1], "n_tokens": [30, 10, 20], "vds_mean_nats": [2.0, 0.0, 1.0]}
    losses = {f"kl_{name}_mean_nats": [1.0, 1.0, 1.0] for name in ("visual", "standard", "language")}
    return pd.DataFrame(columns | losses | changes)


def test_a_bin_counts_with_its_tokens():
    found = bin_shares.shares(bins())
    assert list(found.index) == [0, 1, 2] and set(found.columns) == set(bin_shares.SHARED)
    assert found["VDS"].tolist() == pytest.approx([0, 20 / 80, 60 / 80])
    assert found["visual loss"].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_nothing_to_share_is_said():
    with pytest.raises(RecordError, match="the VDS of the record is 0 in all bins"):
        bin_shares.shares(bins(vds_mean_nats=[0.0] * 3))


def test_bars_are_the_shares_and_large_ones_are_labelled():
    record = read_record(ANGLES, "bins")
    table = bin_shares.shares(record.bins.query("scope == 'all'"))
    [ax] = bin_shares.draw(record).axes
    drawn = {bar.get_label(): [patch.get_height() for patch in bar] for bar in ax.containers}
    assert drawn.keys() == set(table.columns)
    for name, heights in drawn.items():
        assert heights == pytest.approx((100 * table[name]).tolist())
    assert len(ax.texts) == int((table >= bin_shares.LABELLED).to_numpy().sum())


def test_most_of_the_bundled_pair_s_visual_loss_lies_in_one_bin():
    record = read_record(ANGLES, "bins")
    table = bin_shares.shares(record.bins.query("scope == 'all'"))
    assert table.loc[9, "VDS"] > 0.9 and table.loc[9, "visual loss"] > 0.8
    assert table.loc[:7, "VDS"].sum() < 0.002 and table.loc[:7, "visual loss"].sum() < 0.02
    words = bin_shares.draw(record).get_suptitle()
    assert "bins 0-7: VDS 0.1 %, visual loss 1." in words


def test_other_scopes_do_not_count():
    record = read_record(ANGLES, "bins")
    other = record.bins.assign(scope="language_model", vds_mean_nats=1.0)
    both = replace(record, tables={"bins": pd.concat([record.bins, other])})
    [ax], [alone] = bin_shares.draw(both).axes, bin_shares.draw(record).axes
    assert [bar.get_height() for bar in ax.patches] == [bar.get_height() for bar in alone.patches]
