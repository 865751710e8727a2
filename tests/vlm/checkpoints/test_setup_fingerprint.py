"""All that a number depends on besides the weights changes one fingerprint, and nothing else does."""

import json

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from bundled import architecture
from probes import Analyzer
from records import RecordError
from tests.models import copy_of
from vlm.checkpoints.checkpoint import fingerprints, load_model, model_in_memory
from vlm.checkpoints.setup_fingerprint import tokenizer_rules


@pytest.fixture
def student(checkpoints, tmp_path):
    """A copy of the student, to be changed."""
    return copy_of(checkpoints / "student", tmp_path / "changed")


def edit(path, *places, **changes):
    """Change fields of a JSON object, or of one inside it."""
    content = json.loads(path.read_text())
    inner = content
    for place in places:
        inner = inner[place]
    inner.update(changes)
    path.write_text(json.dumps(content, indent=7))


CHANGES = {
    "template": lambda folder: (folder / "chat_template.jinja").write_text(f"{architecture.CHAT_TEMPLATE} "),
    "rope": lambda folder: edit(folder / "config.json", "text_config", "rope_parameters", rope_theta=123.0),
    "norm": lambda folder: edit(folder / "config.json", "text_config", rms_norm_eps=1e-4),
    "vision": lambda folder: edit(folder / "config.json", "vision_config", hidden_act="relu"),
    "mean": lambda folder: edit(folder / "processor_config.json", "image_processor", image_mean=[0.4, 0.5, 0.5]),
    "size": lambda folder: edit(
        folder / "processor_config.json", "image_processor", size={"longest_edge": 4608, "shortest_edge": 2304}
    ),
    "cutting": lambda folder: edit(folder / "tokenizer.json", pre_tokenizer={"type": "Whitespace"}),
    "end": lambda folder: edit(folder / "generation_config.json", eos_token_id=[2, 9]),
    "end word": lambda folder: edit(folder / "tokenizer_config.json", eos_token="<|im_start|>"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_a_number_changes_it(checkpoints, student, change):
    before = load_model(str(checkpoints / "student"))
    change(student)
    after = load_model(str(student))
    assert after.setup != before.setup and after.fingerprint == before.fingerprint
    assert fingerprints(str(student)) == (after.fingerprint, after.setup)
    in_memory = [model_in_memory(loaded.model, loaded.processor).setup for loaded in (before, after)]
    assert in_memory == [before.setup, after.setup]


def test_how_it_is_laid_out_and_run_does_not(checkpoints, student, tmp_path):
    before = load_model(str(checkpoints / "student"))
    edit(student / "config.json", dtype="bfloat16", transformers_version="4.0.0", use_cache=False)
    template = (student / "chat_template.jinja").read_text()
    (student / "chat_template.jinja").unlink()
    edit(student / "processor_config.json", chat_template=template)
    after = load_model(str(student), dtype="bfloat16", attention="eager")
    after.processor.tokenizer(["a", "b c"], padding=True, truncation=True, max_length=2)
    assert after.setup == before.setup
    after.model.save_pretrained(tmp_path / "saved")
    after.processor.save_pretrained(tmp_path / "saved")
    assert load_model(str(tmp_path / "saved")).setup == before.setup


def test_a_merge_of_a_tokenizer_is_part_of_it():
    """Two tokenizers with one vocabulary that cut words differently."""
    words = {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4}
    rules = []
    for merges in ([("a", "b"), ("b", "c")], [("b", "c"), ("a", "b")]):
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(words, merges)))
        rules.append(tokenizer_rules(tokenizer))
        tokenizer(["ab", "a"], padding=False, truncation=True, max_length=1)
        assert tokenizer_rules(tokenizer) == rules[-1]
    assert rules[0] != rules[1]


def test_a_record_is_of_one_setup(checkpoints, student, tmp_path):
    """With another rotation of positions a record is neither continued nor read back."""
    options = {"teacher": str(checkpoints / "teacher"), "limit": 2, "max_response": 3, "bins": 2}
    first = Analyzer(str(student), folder=tmp_path / "record", **options).vds()
    assert first.header["setup"]["student"] == load_model(str(student)).setup
    CHANGES["rope"](student)
    with pytest.raises(RecordError, match=r"setup\.student"):
        Analyzer(str(student), folder=tmp_path / "record", **options).vds()
