"""The content control: whose picture is shown instead."""

from PIL import Image

from probes.stages.content import partners
from vlm.prompts.prompt import Prompt


def test_partners_show_another_picture_of_the_same_sizes():
    def prompt(name, *pictures):
        images = tuple(Image.new("RGB", size, colour) for size, colour in pictures)
        return Prompt(name, (), images, "")

    small, wide = (2, 2), (4, 2)
    prompts = [prompt("a", (small, "red")), prompt("b", (small, "red")), prompt("c", (small, "blue")), prompt("d")]
    prompts += [prompt("e", (small, "red"), (wide, "red")), prompt("f", (wide, "red"))]
    assert {name: other.prompt_id for name, other in partners(prompts).items()} == {"a": "c", "b": "c", "c": "a"}
