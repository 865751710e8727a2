"""What two models must share for one to score the other's tokens, and what may differ."""

from typing import Any

from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.checkpoints.setup_fingerprint import tokenizer_rules


def refuse_other_tokens(student: LoadedModel, teacher: LoadedModel, n_ids: int) -> None:
    """Refuse two models between which an id below `n_ids` could mean two things; the first that differs is named.

    A response is scored id by id, so every id that can be drawn, that ends a response or that stands for a picture must
    be the same token of both. Ids for padding or for unknown words enter no score.
    """
    _refuse_other_vocabulary(student, teacher, n_ids)
    ours, theirs = (tuple(i for i in loaded.visual_ids if i < n_ids) for loaded in (student, teacher))
    if ours != theirs:
        _refuse("visual token ids", student.visual_ids, teacher.visual_ids)
    if not {i for i in student.end_ids if i < n_ids} & set(teacher.end_ids):
        _refuse("end ids", student.end_ids, teacher.end_ids)


def _refuse_other_vocabulary(student: LoadedModel, teacher: LoadedModel, n_ids: int) -> None:
    ours, theirs = (_tokens(loaded) for loaded in (student, teacher))
    differing = [index for index in range(n_ids) if ours.get(index) != theirs.get(index)]
    if differing:
        index = differing[0]
        raise CheckpointError(
            f"the tokenizers must agree, but `vocab` differs at id {index}: {_spelled(ours, index)} for the student and"
            f" {_spelled(theirs, index)} for the teacher; {n_ids - len(differing)} of {n_ids} ids are the same token,"
            " and a response is scored id by id: give a teacher with the student's tokenizer"
        )


def _tokens(loaded: LoadedModel) -> dict[int, str]:
    return {index: token for token, index in loaded.processor.tokenizer.get_vocab().items()}


def _spelled(tokens: dict[int, str], index: int) -> str:
    return repr(tokens[index]) if index in tokens else "none"


def _refuse(field: str, of_student: object, of_teacher: object) -> None:
    raise CheckpointError(
        f"the tokenizers must agree, but `{field}` is {of_student} for the student and {of_teacher} for the teacher"
    )


def differences(student: LoadedModel, teacher: LoadedModel) -> list[str]:
    """Return differences that are allowed but worth a word in the record."""
    notes = _of_ids(student, teacher)
    ours, theirs = (loaded.processor for loaded in (student, teacher))
    if ours.chat_template != theirs.chat_template:
        notes.append("the chat templates differ; each model renders prompts with its own")
    if tokenizer_rules(ours.tokenizer) != tokenizer_rules(theirs.tokenizer) and student.n_ids == teacher.n_ids:
        notes.append("the tokenizers cut text differently; each model reads prompts with its own")
    mine, other = (processor.image_processor.to_dict() for processor in (ours, theirs))
    if differing := sorted(key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key)):
        notes.append(f"the image preprocessing differs in {', '.join(differing)}; each model uses its own")
    return notes


def _of_ids(student: LoadedModel, teacher: LoadedModel) -> list[str]:
    notes = []
    if more := student.n_ids - teacher.n_ids:
        who = "student" if more > 0 else "teacher"
        notes.append(f"the {who} has {abs(more)} ids that the other lacks; they are not drawn and enter no score")
    if student.end_ids != teacher.end_ids:
        notes.append(f"responses end at {student.end_ids} for the student and at {teacher.end_ids} for the teacher")
    ours, theirs = (loaded.processor.tokenizer for loaded in (student, teacher))
    for field in ("pad_token_id", "unk_token_id", "bos_token_id"):
        values: list[Any] = [getattr(tokenizer, field) for tokenizer in (ours, theirs)]
        if values[0] != values[1]:
            notes.append(
                f"`{field}` is {values[0]} for the student and {values[1]} for the teacher; it enters no score"
            )
    return notes
