"""Content under a seal: whether a file is still the one that was written, under the name and for the record it says."""

import hashlib
from typing import Final

_MARK: Final = b"SEAL"
_PARQUET_END: Final = b"PAR1"
_LENGTH: Final = 32 + len(_MARK)


def sealed(content: bytes, label: str) -> bytes:
    """Return content with the sha256 of its label and itself behind it."""
    return content + _digest(content, label) + _MARK


def unsealed(content: bytes, label: str) -> bytes | None:
    """Return the content of what `sealed` made; None if it was changed, cut or made under another label.

    Parquet without a seal, as earlier versions left it, is returned as it is.

    >>> unsealed(sealed(b"rows", "units-0"), "units-0"), unsealed(sealed(b"rows", "units-0"), "units-1")
    (b'rows', None)
    """
    if content.endswith(_PARQUET_END):
        return content
    body, digest = content[:-_LENGTH], content[-_LENGTH : -len(_MARK)]
    return body if content.endswith(_MARK) and digest == _digest(body, label) else None


def _digest(content: bytes, label: str) -> bytes:
    return hashlib.sha256(label.encode() + b"\0" + content).digest()
