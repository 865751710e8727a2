"""The benchmarks of arXiv:2606.00564 as prompt sets: `--prompts NAME`, or the hub id.

`docs/prompts.md` lists them, with what of each row could be checked. The groups are those of Figure 10: answers depend
on the picture (high), or hardly (low), or there is none (text). The paper puts the others in no group.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from vlm.prompts.schemas import Columns

DEFAULT_SPLIT: Final = "train"


@dataclass(frozen=True)
class Benchmark:
    """One prompt set.

    hub, config: where it is.
    split, splits: the split that is evaluated on, and all that the set is known to have.
    columns: by role, where they are not the usual ones.
    group: how far answers depend on the picture.
    answers: `letters` where the letter of a choice is judged, `any` where the answer is.
    checked: whether its columns were read in the set's own card; else in code that reads it.
    """

    hub: str
    split: str
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    group: Literal["high", "low", "text"] | None = None
    config: str | None = None
    splits: tuple[str, ...] = ()
    answers: Literal["any", "letters"] = "any"
    checked: bool = False


BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "mmmu-pro": Benchmark(
        "MMMU/MMMU_Pro",
        "test",
        {"problem": ("question",), "options": ("options",), "task": ("subject",)},
        group="high",
        config="standard (10 options)",
        answers="letters",
        checked=True,
    ),
    "logicvista": Benchmark(
        "lscpku/LogicVista", "test", {"problem": ("question",), "images": ("image",)}, group="high"
    ),
    "geo3k": Benchmark(
        "hiyouga/geometry3k",
        "test",
        {"problem": ("problem",), "answer": ("answer",), "ignore": ("choices", "ground_truth")},
        group="low",
        splits=("train", "validation", "test"),
        checked=True,
    ),
    "we-math": Benchmark(
        "We-Math/We-Math",
        "testmini",
        {"problem": ("question",), "images": ("image_path",), "options": ("option",)},
        group="low",
        answers="letters",
    ),
    "math500": Benchmark("HuggingFaceH4/MATH-500", "test", {"problem": ("problem",), "task": ("subject",)}, "text"),
    "aime25": Benchmark("math-ai/aime25", "test", {"problem": ("problem",)}, "text"),
    "olympiadbench": Benchmark(
        "Hothan/OlympiadBench",
        "train",
        {"problem": ("question",), "answer": ("final_answer",), "task": ("subfield",)},
        group="text",
        config="OE_TO_maths_en_COMP",
        splits=("train",),
    ),
    "visualpuzzles": Benchmark("tomyoon2/OPD_VisualPuzzles", "train", splits=("train",), checked=True),
    "mathvision": Benchmark("tomyoon2/OPD_MathVision", "train", splits=("train",), checked=True),
    "mathverse": Benchmark("tomyoon2/OPD_MathVerse_VisionIntensive", "test", splits=("test",), checked=True),
    "mathvista": Benchmark(
        "AI4Math/MathVista",
        "testmini",
        {"problem": ("question",), "options": ("choices",), "task": ("metadata.task",)},
        splits=("testmini", "test"),
        checked=True,
    ),
}
"""By name, the prompt sets."""


@dataclass(frozen=True)
class Chosen:
    """A benchmark that was asked for, and the name of its task."""

    benchmark: Benchmark
    name: str
    by_name: bool

    def split(self, split: str) -> str:
        """Return the split to read: the one asked for, else the benchmark's own.

        `train` is the flag's default: it is read where the set is asked for by its hub id and has such a split.
        """
        own = self.benchmark
        is_asked = split != DEFAULT_SPLIT or (not self.by_name and split in own.splits)
        return split if is_asked else own.split

    def columns(self, chosen: Columns) -> Columns:
        """Return the benchmark's columns, each role replaced by what was given for it."""
        return Columns({**self.benchmark.columns, **chosen.by_role})


def benchmark_named(source: str) -> Chosen | None:
    """Return the benchmark that a name or a hub id stands for; None for any other source."""
    for name, benchmark in BENCHMARKS.items():
        if source in (name, benchmark.hub):
            return Chosen(benchmark, name, source == name)
    return None
