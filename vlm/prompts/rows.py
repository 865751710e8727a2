"""From a row, as a file or a list has it, to a prompt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from vlm.answers.judge import boxed_answer, stated_answer
from vlm.prompts.cells import Options, PromptError, answers_of, as_list, is_empty, options_of, text_of
from vlm.prompts.messages import place_pictures, turns_of, with_options, without_response
from vlm.prompts.prompt import Prompt
from vlm.prompts.reading import checked_template_args
from vlm.prompts.schemas import Columns, Row, cell, columns_of, picture_number

ReadPicture = Callable[[Any, str], Any]
"""Given a cell's picture and where it stands, returns the picture."""


@dataclass(frozen=True)
class Defaults:
    """What rows have that do not say it themselves.

    answers: `letters` if every answer must be a letter of the row's options.
    """

    task: str | None = None
    dependency: str | None = None
    answers: Literal["any", "letters"] = "any"


@dataclass
class RowReader:
    """Reads rows one by one, and remembers which columns were read as what, and which were not.

    columns: what `--columns` says.
    read_picture: makes a picture of a cell.
    """

    columns: Columns
    read_picture: ReadPicture
    defaults: Defaults = Defaults()
    read: dict[str, dict[str, None]] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)

    def prompt(self, row: Row, where: str, number: str) -> Prompt:
        """Return the prompt of a row; `number` is its id if it has none.

        Raises:
            PromptError: the row cannot be read, or not without a guess; `where` names it.
        """
        if not isinstance(row, Mapping):
            raise PromptError(f"`prompts`: {where} must be a row with named columns, got {type(row).__name__}")
        row = {str(name): _plain(value) for name, value in row.items()}
        by_role = columns_of(row, self.columns, where)
        self._remember(row, by_role)
        cells = {role: (names[0], _cell(row, names)) for role, names in by_role.items()}
        turns, response = without_response(turns_of(cells["problem"][1], where, cells["problem"][0]))
        if not turns or all(turn.role != "user" for turn in turns):
            raise PromptError(f"`prompts`: {where} must hold a message of role user before the response")
        options = self._options(cells, where)
        answers = self._answers(cells, response, options, where)
        if options is not None and not options.are_in(turns[-1].text):
            turns = with_options(turns, options.text)
        messages, shown = place_pictures(turns, _pictures(row, by_role.get("images", ()), where), where)
        images = tuple(self.read_picture(entry, where) for entry in shown)
        texts = {role: text_of(value, where, name) for role, (name, value) in cells.items() if role in _TEXTS}
        dependency = texts.get("dependency") or self.defaults.dependency or ("unknown" if images else "text")
        return Prompt(
            prompt_id=texts.get("id", number),
            messages=messages,
            images=images,
            answer=answers[0] if answers else "",
            task=texts.get("task") or self.defaults.task or "unknown",
            dependency=dependency,
            other_answers=answers[1:],
            template_args=_template_args(cells, where),
        )

    def _options(self, cells: Mapping[str, tuple[str, Any]], where: str) -> Options | None:
        name, value = cells.get("options", ("", None))
        return options_of(value, where, name) if name else None

    def _answers(
        self, cells: Mapping[str, tuple[str, Any]], response: str, options: Options | None, where: str
    ) -> tuple[str, ...]:
        name, value = cells.get("answer", ("", None))
        if name and name == cells["problem"][0]:  # the response itself was named as the answer
            return (response,) if response else ()
        if not name:
            boxed = boxed_answer(response)
            return (boxed,) if boxed else ()
        answers = tuple(dict.fromkeys(map(stated_answer, answers_of(value, where, name))))
        if options is None:
            self._refuse_other_than_letters(answers, where, name)
            return answers
        is_index = all(isinstance(entry, int) and not isinstance(entry, bool) for entry in as_list(value))
        accepted = options.accepted(answers, is_index)
        if accepted is None:
            raise PromptError(
                f"`prompts`: {where}: `{name}` must be a letter, the place or the words of one option of"
                f" `{cells['options'][0]}`, got {answers[0]!r}; --columns ignore={cells['options'][0]} leaves them out"
            )
        return accepted

    def _refuse_other_than_letters(self, answers: tuple[str, ...], where: str, name: str) -> None:
        if self.defaults.answers == "letters" and not all(len(answer.strip("(). ")) == 1 for answer in answers):
            raise PromptError(f"`prompts`: {where}: `{name}` must be a letter of a choice, got {answers[0]!r}")

    def _remember(self, row: Row, by_role: Mapping[str, tuple[str, ...]]) -> None:
        self.seen |= dict.fromkeys(row)
        for role, names in by_role.items():
            self.read.setdefault(role, {}).update(dict.fromkeys(names))

    def refuse_missing(self, source: str) -> None:
        """Refuse columns that were named and stand in no row.

        Raises:
            PromptError: there is one.
        """
        for role, names in self.columns.by_role.items():
            for name in names:
                if name not in self.seen and name.partition(".")[0] not in self.seen:
                    raise PromptError(
                        f"`columns` names {name!r} for {role}, which no row of {source} has; it has"
                        f" {', '.join(map(repr, self.seen))}"
                    )

    @property
    def summary(self) -> str:
        """Which columns were read as what, and which were not."""
        parts = [f"{role} from {', '.join(names)}" for role, names in self.read.items()]
        taken = {name.partition(".")[0] for names in self.read.values() for name in names} | {
            name for names in self.read.values() for name in names
        }
        unread = [name for name in self.seen if name not in taken]
        return "; ".join([", ".join(parts), *([f"not read: {', '.join(unread)}"] if unread else [])])


def _cell(row: Row, names: tuple[str, ...]) -> Any:
    """What a row has in a column, or by column in several."""
    return cell(row, names[0]) if len(names) == 1 else {name: row.get(name) for name in names}


def _template_args(cells: Mapping[str, tuple[str, Any]], where: str) -> dict[str, Any]:
    """What the row's chat template is handed besides messages; a null, as tables fill structs up with, is no value."""
    name, value = cells.get("template_args", ("", {}))
    args = checked_template_args(value, f"`prompts`: {where}: `{name}`")
    return {key: set_to for key, set_to in args.items() if set_to is not None}


_TEXTS: Final = ("id", "task", "dependency")


def _pictures(row: Row, names: tuple[str, ...], where: str) -> dict[int, Any]:
    """The pictures of a row by number: that of `image_2` is 2, those of a list are counted."""
    if len(names) > 1 and names[0] == "decoded_image":
        names = names[:1]
    if all(picture_number(name) for name in names):
        return {picture_number(name): row[name] for name in names}
    entries = [entry for name in names for entry in as_list(cell(row, name))]
    if any(is_empty(entry) for entry in entries):
        raise PromptError(f"`prompts`: {where}: `{names[0]}` must hold pictures, got one that is null")
    return dict(enumerate(entries, start=1))


def _plain(value: Any) -> Any:
    """A cell with lists for arrays, and numbers of Python for those of numpy."""
    if isinstance(value, np.ndarray):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, (np.integer, np.bool_)) else value
