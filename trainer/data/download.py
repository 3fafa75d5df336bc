"""Downloads a file over HTTP, or reads it from a path: in bounded size and time, with a progress bar on a terminal."""

import http.client
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

SILENCE_S = 30.0
"""How long a server may send nothing."""
WHOLE_S = 1_800.0
"""How long a download may take."""
_CHUNK = 1 << 18


class DownloadError(Exception):
    """A file that cannot be had, with the reason."""


@contextmanager
def open_url(address: str, *, max_bytes: int) -> Iterator[Iterator[bytes]]:
    """Give the chunks of a file at an http or https URL, or at a path. Raises DownloadError, also while they are read."""
    scheme = urlsplit(address).scheme
    if scheme not in {"http", "https"}:
        if "://" in address:
            raise DownloadError(f"{scheme} is no scheme for a download; use http, https or a path")
        with Path(address).open("rb") as file:
            yield _limit(file, Path(address).stat().st_size, max_bytes)
        return
    try:
        request = Request(address, headers={"User-Agent": "occustream"})  # noqa: S310 - the scheme is looked at above
        with _make_opener().open(request, timeout=SILENCE_S) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            yield _limit(answer, size, max_bytes)
    except HTTPError as error:
        raise DownloadError(f"the server answers {error.code} {error.reason}") from error
    except URLError as error:
        raise DownloadError(f"no connection: {error.reason}") from error
    except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
        raise DownloadError(f"the connection broke: {error or type(error).__name__}") from error
    except ValueError as error:
        raise DownloadError(f"no usable address or answer: {error}") from error


def _make_opener() -> OpenerDirector:
    """Return an opener that knows HTTP only, so that no redirect leads to a file of this machine."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, UnknownHandler, HTTPHandler, HTTPSHandler, HTTPRedirectHandler):
        opener.add_handler(handler())
    opener.add_handler(HTTPDefaultErrorHandler())
    opener.add_handler(HTTPErrorProcessor())
    return opener


def _limit(source: IO[bytes], size: int, max_bytes: int) -> Iterator[bytes]:
    """Yield the chunks of a file and show how much has come. Raises DownloadError if it is too large, too slow, or cut off."""
    if size > max_bytes:
        raise DownloadError(f"it has {size:,} bytes; the limit is {max_bytes:,}")
    deadline, came = time.monotonic() + WHOLE_S, 0
    columns = TextColumn("O*NET"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("download", total=size or None)
        while chunk := source.read(_CHUNK):
            came += len(chunk)
            if came > max_bytes:
                raise DownloadError(f"it has more than {max_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise DownloadError(f"it takes longer than {WHOLE_S:.0f} s")
            progress.update(task, completed=came)
            yield chunk
    if came < size:
        raise DownloadError(f"only {came:,} of {size:,} bytes came")
