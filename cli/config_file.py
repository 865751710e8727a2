"""The file of `--config`: YAML in UTF-8, for each flag a value or a list of values."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from cli.errors import OptionError

FLAG = "--config"
_PREFIX, _TAGS = "tag:yaml.org,2002:", ("str", "int", "float", "bool", "null", "timestamp", "seq")


def refuse_unreadable(words: Sequence[str]) -> None:
    """Refuse a config file that is named among the words of a command and does not hold flags.

    Nothing is built of what it says: what refers to itself, or is nested, is refused by its form.

    Raises:
        OptionError: the file is not UTF-8, not YAML, or has something else than a value or a list for a flag.
    """
    for path in _named(words):
        if os.path.isfile(path):  # a path that is too long is none
            _check(path)
        else:
            raise OptionError(f"`{FLAG}` must be a file, got {path!r:.80}: check the path")


def _named(words: Sequence[str]) -> Iterator[str]:
    for number, word in enumerate(words):
        flag, is_joined, value = word.partition("=")
        if flag == FLAG and (is_joined or number + 1 < len(words)):
            yield value if is_joined else words[number + 1]


def _check(path: str) -> None:
    start = f"`{FLAG}` {path} must be YAML in UTF-8 with a value for each flag"
    try:
        root = yaml.compose(Path(path).read_bytes().decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise OptionError(f"{start}, got another encoding at byte {error.start}: save it as UTF-8") from None
    except RecursionError:
        raise OptionError(f"{start}, got lists within lists: write flags alone") from None
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())
        raise OptionError(f"{start}, got text that is no YAML ({said:.200}): mend it") from None
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise OptionError(f"{start}, got {_kind(root)}: write lines such as `limit: 64`")
    for key, value in root.value:
        _check_entry(start, key, value)


def _check_entry(start: str, key: yaml.Node, value: yaml.Node) -> None:
    if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
        name = key.value if isinstance(key, yaml.ScalarNode) else _kind(key)
        raise OptionError(f"{start}, got {name!r:.60} as the name of one: name flags without their dashes")
    if f"--{key.value}" == FLAG:
        raise OptionError(f"{start}, got `config` among them: name one file alone")
    entries = value.value if isinstance(value, yaml.SequenceNode) else [value]
    if not all(isinstance(entry, yaml.ScalarNode) for entry in entries):
        inner = next(entry for entry in entries if not isinstance(entry, yaml.ScalarNode))
        raise OptionError(f"{start}, got {_kind(inner)} in `{key.value:.60}`: give it a value or a list of values")
    if strange := [entry.tag for entry in (value, *entries) if entry.tag.removeprefix(_PREFIX) not in _TAGS]:
        raise OptionError(f"{start}, got the tag {strange[0]:.60} in `{key.value:.60}`: leave it out")


def _kind(node: yaml.Node) -> str:
    kinds = {yaml.MappingNode: "an object", yaml.SequenceNode: "a list"}
    return kinds.get(type(node), "a single value")
