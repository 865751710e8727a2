"""The longest response follows the checkpoint's context."""

import json
from pathlib import Path

import pytest

import bundled  # noqa: F401  # makes its name known
from probes import Analyzer
from tests import models
from train.config import Config
from vlm.responses.response_length import default_length, default_length_of


@pytest.mark.parametrize(
    ("context", "longest"), [(262_144, 1024), (8192, 1024), (4096, 1024), (4095, 511), (512, 64), (7, 1)]
)
def test_the_default_of_a_context(context, longest):
    assert default_length(context) == longest


def test_the_bundled_student_has_64_and_its_records_keep_that():
    assert default_length_of("bundled") == 64
    assert Analyzer().prompt_options.max_response == 64
    assert Config().settings["max_response"] == 64 and "allow_truncated" not in Config().settings
    assert Config(allow_truncated=True).folder == Config(max_response=64).folder == Config().folder


def test_a_larger_context_has_1024(checkpoints, tmp_path):
    folder = models.copy_of(checkpoints / "student", tmp_path / "large")
    path = Path(folder / "config.json")
    path.write_text(path.read_text().replace('"max_position_embeddings": 512', '"max_position_embeddings": 8192'))
    assert json.loads(path.read_text())["text_config"]["max_position_embeddings"] == 8192
    analyzer = Analyzer(str(folder), teacher=str(checkpoints / "teacher"))
    assert analyzer.prompt_options.max_response == 1024
    assert Analyzer(str(folder), max_response=7).prompt_options.max_response == 7
    config = Config(student=str(folder))
    assert config.longest_response == config.settings["max_response"] == 1024
    other = analyzer.with_student(str(checkpoints / "student"))
    assert other.prompt_options.max_response == 1024  # both of a comparison have the same


def test_models_in_memory_have_the_default_of_their_context(pair):
    analyzer = Analyzer.from_models(
        student=pair.student.model, teacher=pair.teacher.model, processor=pair.student.processor
    )
    assert analyzer.prompt_options.max_response == 64
