"""The files to learn from, and which of their rows are new since the last refresh."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from consumer.safe_files import replace_file
from schemas.events import LabelledPosting
from schemas.tables import TableError
from trainer.data.cleaned_titles import cached_title_key
from trainer.data.file_rows import ENDINGS
from trainer.data.files import DEFAULT_RULES, read_postings
from trainer.data.labels import LabelRules
from trainer.data.onet import list_release_files, read_taxonomy
from trainer.data.packaged import STARTER

Stamp = tuple[int, int]
"""Modification time in nanoseconds, size in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRefresh:
    """The data of the last refresh: how often each row occurred, the O*NET release, and when it was (seconds since 1970)."""

    rows: Mapping[str, int] = field(default_factory=dict)
    onet: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The data that there is now: the files, their rows, and how many rows of each code are new."""

    files: tuple[str, ...]
    rows: Mapping[str, int]
    new_codes: Mapping[str, int]
    onet: str
    unmatched: tuple[str, ...] = ()
    """Folders and globs that no file matches."""

    @property
    def new_rows(self) -> int:
        """The number of rows that the last refresh did not have."""
        return sum(self.new_codes.values())


class WatchedFiles:
    """Looks for new rows in files. They are read again only when a time or size has changed."""

    def __init__(
        self, postings: Sequence[str], onet: Path | None, state: Path, *, collected: Path, rules: LabelRules = DEFAULT_RULES
    ) -> None:
        """Take file names, folders and globs. `collected` is the file of rows from the topic; it need not exist.

        Rows are counted as a refresh by the same `rules` reads them: reject examples count, and a repeated posting counts once.
        """
        self._postings = postings
        self._onet = onet
        self._collected = collected
        self._rules = rules
        self._memory = state / "seen.json"
        self.last_refresh = _read_last_refresh(self._memory)
        self._stamps: dict[str, Stamp] | None = None
        self._read: tuple[Counter[str], dict[str, str], str] = Counter(), {}, ""

    def look(self) -> Snapshot:
        """Return the data that there is now. Raises TableError and OSError if it cannot be read; the next look reads it again."""
        files, unmatched = self._find_files()
        if not files:
            return Snapshot((), {}, {}, "", unmatched)
        rows, codes, onet = self._read_if_changed(files)
        new_codes: Counter[str] = Counter()
        for row, count in rows.items():
            if (more := count - self.last_refresh.rows.get(row, 0)) > 0:
                new_codes[codes[row]] += more
        return Snapshot(tuple(files), rows, new_codes, onet, unmatched)

    def _read_if_changed(self, files: Sequence[str]) -> tuple[Counter[str], dict[str, str], str]:
        """Return how often each row occurs, the code of each, and the digest of the O*NET release."""
        release = list_release_files(self._onet) if self._onet else []
        # Stamps are taken before reading, so that a file that is written to meanwhile is read once more.
        watched = [*map(Path, (name for name in files if name != STARTER)), *release]
        stamps = {str(path): _read_stamp(path) for path in watched}
        if self._stamps != stamps:
            self._stamps = None
            onet = _hash_files(release)
            labelled = read_postings(files, read_taxonomy(self._onet).names, rules=self._rules)
            postings = (*labelled.postings, *labelled.rejects)
            hashes = [_hash_row(posting) for posting in postings]
            codes = {row: posting.onet_code for row, posting in zip(hashes, postings, strict=True)}
            self._read, self._stamps = (Counter(hashes), codes, onet), stamps
        return self._read

    def remember(self, found: Snapshot, *, at: float) -> None:
        """Store the data of a refresh, also for the next process. Raises OSError."""
        self.last_refresh = LastRefresh(rows=dict(found.rows), onet=found.onet, at=at)
        with replace_file(self._memory) as staged:
            staged.write_text(json.dumps({"rows": self.last_refresh.rows, "onet": found.onet, "at": at}), encoding="utf-8")

    def _find_files(self) -> tuple[list[str], tuple[str, ...]]:
        """Return the files, and those of the given names that no file matches."""
        found = {given: _expand_name(given) for given in self._postings}
        names = [name for files in found.values() for name in files]
        if self._collected.is_file() and self._collected.stat().st_size:
            names.append(str(self._collected))
        return list(dict.fromkeys(names)), tuple(given for given, files in found.items() if not files)


def _expand_name(given: str) -> list[str]:
    """Return the files of a name: those of a folder whose format is known, or those that a glob matches."""
    if given != STARTER and Path(given).is_dir():
        return sorted(str(path) for path in Path(given).iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    return sorted(glob(given, recursive=True)) if has_magic(given) and not Path(given).exists() else [given]  # noqa: PTH207


def _read_stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from error
    return found.st_mtime_ns, found.st_size


def _hash_files(paths: Iterable[Path]) -> str:
    """Return one sha256 over all files; "" if there are none."""
    digest, read = hashlib.sha256(), False
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        read = True
    return digest.hexdigest() if read else ""


def _hash_row(posting: LabelledPosting) -> str:
    """Return the hash by which a row is remembered. It depends on the code and the title, but not on spaces and capitals."""
    row = f"{cached_title_key(posting.title)}\t{posting.onet_code}"
    return hashlib.sha256(row.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read_last_refresh(path: Path) -> LastRefresh:
    """Return the stored data of the last refresh; if it cannot be read, none: all rows then count as new."""
    try:
        stored = json.loads(path.read_bytes())
        return LastRefresh(
            rows={str(k): int(v) for k, v in stored["rows"].items()}, onet=str(stored["onet"]), at=float(stored["at"])
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return LastRefresh()
