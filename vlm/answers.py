"""Read the answer off a response and judge it."""

import re

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def boxed_answer(response: str) -> str | None:
    r"""Return what the last `\boxed{...}` holds, nested braces allowed; None where there is none or it never ends."""
    start = response.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for position in range(begin, len(response)):
        depth += {"{": 1, "}": -1}.get(response[position], 0)
        if depth == 0:
            return response[begin:position].strip()
    return None


def is_correct(response: str, answer: str) -> bool:
    """Whether the boxed answer equals `answer`: numbers by value, all else by words, case and spacing aside."""
    given = boxed_answer(response)
    if given is None:
        return False
    if _NUMBER.fullmatch(given) and _NUMBER.fullmatch(answer.strip()):
        return float(given) == float(answer)
    return given.casefold().split() == answer.casefold().split()
