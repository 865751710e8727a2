"""The checkpoint folders of the bundled pair, as any transformers program loads them."""

import json
import os
from pathlib import Path

from transformers import PreTrainedModel, ProcessorMixin

from vlm.checkpoints.adapter_folders import weights_fingerprint


def export(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Write a checkpoint folder in bf16."""
    model.bfloat16().save_pretrained(folder)
    model.float()
    processor.save_pretrained(folder)


def link(student: Path, teacher: Path) -> None:
    """Write the student's pair.json, which names its teacher by a relative path, and the teacher's weights."""
    content = {"teacher": os.path.relpath(teacher, student), "fingerprint": weights_fingerprint(str(teacher))}
    (student / "pair.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
