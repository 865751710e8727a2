"""Read a file from a URL: http and https alone, at most so many bytes, within a time."""

import time
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

SOCKET_TIMEOUT_S = 10.0
TIMEOUT_S = 30.0
LARGEST_BYTES = 64 << 20
_BLOCK = 1 << 16


class DownloadError(OSError):
    """A URL that cannot be read."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server's redirects to no other scheme."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, *, largest: int = LARGEST_BYTES, timeout_s: float = TIMEOUT_S) -> bytes:
    """Return what a URL holds.

    Raises:
        DownloadError: another scheme than http and https, a failure of the server, or too large or slow an answer.
    """
    _check_scheme(url)
    opener = urllib.request.build_opener(_Redirects)
    opener.addheaders = [("User-Agent", "vgs")]
    begun, blocks, size = time.monotonic(), [], 0
    try:
        with opener.open(url, timeout=min(SOCKET_TIMEOUT_S, timeout_s)) as answer:
            while block := answer.read1(_BLOCK):
                blocks.append(block)
                size += len(block)
                if size > largest:
                    raise DownloadError(f"it has more than {largest} bytes")
                if time.monotonic() - begun > timeout_s:
                    raise DownloadError(f"it took longer than {timeout_s:g} s")
            stated = answer.headers.get("Content-Length")
    except DownloadError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(_reason(error)) from None
    if stated is not None and stated.isdecimal() and int(stated) != size:
        raise DownloadError(f"{size} of {stated} bytes came")
    return b"".join(blocks)


def _check_scheme(url: str) -> None:
    scheme = urlsplit(url).scheme.lower()
    if scheme not in ("http", "https"):
        raise DownloadError(f"only http and https are read, not {scheme or 'a URL without a scheme'}")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return str(reason).splitlines()[0] if str(reason) else type(error).__name__
