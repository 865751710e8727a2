"""Where a checkpoint lies: a folder as it is, or of a hub id the snapshot of one commit.

`ID@REVISION` names a branch, a tag or a commit of a hub id. All files of a checkpoint are read from one folder, so a
repository that changes meanwhile cannot mix two states.
"""

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import snapshot_download

from cli.errors import UserError
from cli.foreign_json import read_json
from vlm.checkpoints.waiting import DownloadBar
from vlm.names import resolve

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PATH = re.compile(r"[./~\\]|[^:]*/.*/|[^:]*\\|[A-Za-z]:\\")
"""What begins as a path, or has more parts than a hub id."""
_BESIDE_WEIGHTS = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")  # all but weights and code


class CheckpointError(UserError):
    """A checkpoint that cannot be loaded, or two that do not fit together; the message is one line."""


@dataclass(frozen=True)
class Place:
    """A checkpoint on this machine.

    asked: the folder or hub id as it was asked for, registered names replaced.
    folder: what it is read from.
    hub_id, commit: of a snapshot; None for a folder.
    """

    asked: str
    folder: Path
    hub_id: str | None = None
    commit: str | None = None

    @property
    def name(self) -> str:
        """A hub id as it was asked for; of a folder the last two parts, which say nothing about the machine."""
        return self.asked if self.hub_id else "/".join(Path(os.path.abspath(self.folder)).parts[-2:])

    def holds(self, *files: str) -> bool:
        """Whether one of these files is there."""
        return any((self.folder / file).is_file() for file in files)

    def read(self, file: str) -> dict[str, Any]:
        """Return a JSON object; empty if there is no such file.

        Raises:
            CheckpointError: the file holds something else.
        """
        if not self.holds(file):
            return {}
        try:
            content = read_json((self.folder / file).read_bytes())
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise CheckpointError(f"{self.folder / file} must hold a JSON object; save the checkpoint again")
        return content

    def fetch(self, files: Sequence[str]) -> None:
        """Bring further files of a hub id onto this machine; nothing for a folder.

        Raises:
            CheckpointError: they are not on this machine, and the hub does not give them.
        """
        if self.hub_id:
            patterns, at = list(files), self.commit
            try:
                snapshot_download(self.hub_id, revision=at, allow_patterns=patterns, tqdm_class=DownloadBar)
            except (OSError, ValueError, RuntimeError) as error:  # of the network, and of what is offline
                raise CheckpointError(
                    f"`checkpoint` {self.asked} has files that cannot be fetched: {why_not_there(error)}"
                ) from None

    def hub_hash(self, file: str) -> str | None:
        """Return the hash of a file that the hub gave it: sha256 of a large one, git's sha1 of others.

        The hub's cache keeps files under it. None for a file that is kept elsewhere or otherwise.
        """
        blob = (self.folder / file).resolve()
        is_kept = self.hub_id is not None and blob.parent.name == "blobs" and _HASH.fullmatch(blob.name)
        return blob.name if is_kept else None


def locate(checkpoint: str) -> Place:
    """Return the place of a folder, a registered name, or a hub id with or without `@REVISION`.

    Of a hub id everything but weights is brought onto this machine.

    Raises:
        CheckpointError: it is neither a folder nor on the hub.
    """
    asked = resolve(checkpoint)
    if Path(asked).is_dir():
        return Place(asked, Path(asked))
    hub_id, at, revision = asked.partition("@")
    if at and (not revision or Path(hub_id).is_dir()):
        raise CheckpointError(f"`checkpoint` {asked} must be a folder, or a hub id and a revision of it: ID@REVISION")
    if _PATH.match(hub_id):
        why = f"there is no such folder{_nearest(asked)}"
        raise CheckpointError(f"`checkpoint` {asked} is neither a checkpoint folder nor on the hub: {why}")
    try:
        folder = snapshot_download(
            hub_id, revision=revision or None, allow_patterns=list(_BESIDE_WEIGHTS), tqdm_class=DownloadBar
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"`checkpoint` {asked} is neither a checkpoint folder nor on the hub: {why_not_there(error)}"
        ) from None
    return Place(asked, Path(folder), hub_id, Path(folder).name)


def _nearest(path: str) -> str:
    """Return the folder next to a path whose name is most like it, as words of a message; empty if none is."""
    place = Path(path)
    try:
        names = [folder.name for folder in place.parent.iterdir() if folder.is_dir()]
    except (OSError, ValueError):
        names = []
    alike = difflib.get_close_matches(place.name, names, 1)
    return f"; did you mean {place.parent / alike[0]}?" if alike else "; check the path"


def why_not_there(error: BaseException) -> str:
    """Return why something was not fetched from the hub, with the way out where it may not be asked."""
    is_a_name = not isinstance(error, huggingface_hub.errors.HFValidationError)
    if huggingface_hub.constants.HF_HUB_OFFLINE and is_a_name:
        return "HF_HUB_OFFLINE is set and this machine does not have it; unset the variable, or give a folder"
    return f"{first_line(error)}; check the name"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, with the next if it ends in a colon; or else the error's kind."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
