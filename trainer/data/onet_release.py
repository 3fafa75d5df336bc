"""Finds an O*NET release: a folder, or a version that is downloaded once, checked, and kept. `onet.py` reads what is in it."""

import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from schemas.tables import TableError
from trainer.data.download import DownloadError, open_url
from trainer.data.onet import JOB_TITLES, OCCUPATIONS, TASKS, TITLE_COLUMNS, read_taxonomy

PUBLISHER = "https://www.onetcenter.org/dl_files/database/"
MIRROR_VARIABLE = "OCCUSTREAM_ONET_MIRROR"
"""The environment variable that names another place than PUBLISHER."""
VERSION = re.compile(r"v?([0-9]{2}\.[0-9]{1,2})")
MAX_ARCHIVE_BYTES = 500_000_000
"""How large the archive may be. That of release 29.3 has some 12 MB."""
MAX_FILE_BYTES = 500_000_000
"""How large a file may be when it is unpacked. The largest that is read has some 4 MB."""
MAX_MEMBERS = 10_000
_CHUNK = 1 << 18
_WANTED = frozenset((OCCUPATIONS, TASKS, *TITLE_COLUMNS))
_FAILURES = DownloadError, TableError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError
Say = Callable[[str], None]


def find_release(given: str, mirror: str | None, say: Say) -> Path:
    """Return the folder of a release that is given as a folder or as a version such as `31.0`.

    A version is looked for in the cache, then fetched from `mirror` (a URL or a path: the archive, or the folder that it lies
    in), from what MIRROR_VARIABLE names, or from PUBLISHER. Raises TableError, which says what to do by hand.
    """
    found = VERSION.fullmatch(given)
    if not found or Path(given).exists():
        return Path(given)
    archive = f"db_{found[1].replace('.', '_')}_text"
    folder = find_cache() / archive
    if folder.is_dir():
        return folder
    place = mirror or os.environ.get(MIRROR_VARIABLE) or PUBLISHER
    address = place if place.endswith(".zip") else f"{place.rstrip('/')}/{archive}.zip"
    say(f"O*NET {found[1]}: fetching {address}")
    try:
        _fetch(address, folder)
    except _FAILURES as error:
        raise TableError(
            f"O*NET {found[1]} could not be fetched from {address}: {error}. By hand: download {PUBLISHER}{archive}.zip "
            f"elsewhere, unpack it, and give its folder to --onet; or name a mirror with --onet-mirror or {MIRROR_VARIABLE}"
        ) from error
    say(f"O*NET {found[1]}: kept in {folder}")
    return folder


def find_cache() -> Path:
    """Return the folder that releases are kept in: `occustream/onet` in the user's cache folder."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "occustream" / "onet"


def _fetch(address: str, folder: Path) -> None:
    """Fetch, unpack and check an archive beside its place, then move it there as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as work:
        archive, unpacked = Path(work) / "archive.zip", Path(work) / "release"
        with open_url(address, max_bytes=MAX_ARCHIVE_BYTES) as chunks, archive.open("wb") as file:
            file.writelines(chunks)
        unpacked.mkdir()
        _unpack(archive, unpacked)
        read_taxonomy(unpacked)  # a release that cannot be read is not kept
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was first
                raise


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the files that are read, under their own names: no path in the archive is followed."""
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        if len(members) > MAX_MEMBERS:
            raise TableError(f"the archive has {len(members):,} files; the limit is {MAX_MEMBERS:,}")
        for member in members:
            name = member.filename.replace("\\", "/").rsplit("/", 1)[-1]
            if name not in _WANTED:
                continue
            if (folder / name).exists():
                raise TableError(f"the archive has {name!r} twice")
            with packed.open(member) as source, (folder / name).open("wb") as target:
                _copy(source, target, name)
    missing = [] if (folder / OCCUPATIONS).is_file() else [OCCUPATIONS]
    if not any((folder / name).is_file() for name in TITLE_COLUMNS):
        missing.append(JOB_TITLES)
    if missing:
        raise TableError(f"the archive has no {' and no '.join(missing)}; is it the text release of the O*NET database?")


def _copy(source: IO[bytes], target: IO[bytes], name: str) -> None:
    """Copy a file. What the archive says about its size is not believed."""
    copied = 0
    for chunk in _read_chunks(source):
        copied += len(chunk)
        if copied > MAX_FILE_BYTES:
            raise TableError(f"{name} is larger than {MAX_FILE_BYTES:,} bytes")
        target.write(chunk)


def _read_chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK):
        yield chunk
