"""Pictures of a prompt as one small PNG, and the choice of responses whose pictures are kept."""

import io

from PIL import Image

from probes.stages.pictures import picture_png, picture_table
from records import TABLES
from vlm.pictures.picture import Picture


def test_several_pictures_stand_side_by_side_and_large_ones_are_made_smaller():
    shown = [Image.new("RGB", (8, 6), "red"), Image.new("RGB", (4, 2), "blue")]
    two = Image.open(io.BytesIO(picture_png([Picture(image) for image in shown])))
    assert two.size == (12, 6)
    assert [two.getpixel(place) for place in ((0, 0), (8, 0), (8, 5))] == [(255, 0, 0), (0, 0, 255), (255, 255, 255)]
    large = Image.open(io.BytesIO(picture_png([Picture(Image.new("RGB", (4000, 2000)))])))
    assert large.size == (256, 128)


def test_the_responses_with_the_largest_dependency_of_each_task_are_kept(analyzer, tokens):
    pictured = tokens[tokens["bin"] >= 0]
    totals = pictured.groupby("rollout_id")["vds_nats"].sum()
    tasks = {number: analyzer.prompts[analyzer.rollouts[number].prompt_id].task for number in totals.index}
    best = totals.groupby(tasks).idxmax()
    table = picture_table(analyzer, len(best))
    TABLES["pictures"].check(table)
    assert sorted(table["rollout_id"]) == sorted(best) and table["rollout_id"].iloc[0] == totals.idxmax()
    assert len(best) > 1 and table["picture"].str[:4].eq(b"\x89PNG").all()
    every = picture_table(analyzer, 100)
    assert sorted(every["rollout_id"]) == sorted(totals.index)
