"""What there is to learn from, and what of it is new since the last refresh: files, and the memory of what was seen."""

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
from trainer.data.files import DEFAULT_RULES, read_postings
from trainer.data.labels import LabelRules
from trainer.data.onet import list_release_files, read_taxonomy
from trainer.data.packaged import STARTER

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
Stamp = tuple[int, int]
"""Modification time in nanoseconds, size in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the last refresh was made of: how often each row was there, the O*NET release, when (seconds since 1970)."""

    rows: Mapping[str, int] = field(default_factory=dict)
    onet: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What there is now: the files, their rows, and how many rows of each code are new."""

    files: tuple[str, ...]
    rows: Mapping[str, int]
    new_codes: Mapping[str, int]
    onet: str
    unmatched: tuple[str, ...] = ()
    """Folders and globs in which there is no file."""

    @property
    def new_rows(self) -> int:
        """How many rows the last refresh did not have."""
        return sum(self.new_codes.values())


class Watch:
    """Looks at the files; reads them again only when a time or size has changed."""

    def __init__(
        self, postings: Sequence[str], onet: Path | None, state: Path, *, collected: Path, rules: LabelRules = DEFAULT_RULES
    ) -> None:
        """Take file names, folders and globs; `collected` is the file of rows from the topic, which need not be there.

        Rows are counted as a refresh by the same `rules` reads them: reject examples too, repeated postings once.
        """
        self._postings = postings
        self._onet = onet
        self._collected = collected
        self._rules = rules
        self._memory = state / "seen.json"
        self.seen = _read_seen(self._memory)
        self._stamps: dict[str, Stamp] | None = None
        self._looked: tuple[Counter[str], dict[str, str], str] = Counter(), {}, ""

    def look(self) -> Look:
        """Return what there is. Raises TableError, OSError for what cannot be read; it is read again at the next look."""
        files, unmatched = self._files()
        if not files:
            return Look((), {}, {}, "", unmatched)
        release = list_release_files(self._onet) if self._onet else []
        # Taken before reading: a file written to meanwhile is read once more.
        watched = [*map(Path, (name for name in files if name != STARTER)), *release]
        stamps = {str(path): _stamp(path) for path in watched}
        if self._stamps != stamps:
            self._stamps = None
            onet = _digest(release)
            labelled = read_postings(files, read_taxonomy(self._onet).names, rules=self._rules)
            found = (*labelled.postings, *labelled.rejects)
            names = [_name(posting) for posting in found]
            codes = {name: posting.onet_code for name, posting in zip(names, found, strict=True)}
            self._looked, self._stamps = (Counter(names), codes, onet), stamps
        rows, codes, onet = self._looked
        new_codes: Counter[str] = Counter()
        for name, count in rows.items():
            if (more := count - self.seen.rows.get(name, 0)) > 0:
                new_codes[codes[name]] += more
        return Look(tuple(files), rows, new_codes, onet, unmatched)

    def remember(self, look: Look, *, at: float) -> None:
        """Keep what a refresh was made of, also for the next process. Raises OSError."""
        self.seen = Seen(rows=dict(look.rows), onet=look.onet, at=at)
        with replace_file(self._memory) as staged:
            staged.write_text(json.dumps({"rows": self.seen.rows, "onet": look.onet, "at": at}), encoding="utf-8")

    def _files(self) -> tuple[list[str], tuple[str, ...]]:
        """Return the files there are, and the names given that stand for none."""
        found = {given: _expanded(given) for given in self._postings}
        names = [name for files in found.values() for name in files]
        if self._collected.is_file() and self._collected.stat().st_size:
            names.append(str(self._collected))
        return list(dict.fromkeys(names)), tuple(given for given, files in found.items() if not files)


def _expanded(given: str) -> list[str]:
    """Return the files of a name: of a folder those that can be read by their ending, of a glob what it matches."""
    if given != STARTER and Path(given).is_dir():
        return sorted(str(path) for path in Path(given).iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    return sorted(glob(given, recursive=True)) if has_magic(given) and not Path(given).exists() else [given]  # noqa: PTH207


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from error
    return found.st_mtime_ns, found.st_size


def _digest(paths: Iterable[Path]) -> str:
    """Return the sha256 of files one after another; "" for none."""
    digest, read = hashlib.sha256(), False
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        read = True
    return digest.hexdigest() if read else ""


def _name(posting: LabelledPosting) -> str:
    """Return what a row is remembered by: its title, however spaced and capitalised, and its code."""
    row = f"{cached_title_key(posting.title)}\t{posting.onet_code}"
    return hashlib.sha256(row.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read_seen(path: Path) -> Seen:
    """Return what was remembered; nothing where that cannot be read: then all rows count as new, which costs one refresh."""
    try:
        stored = json.loads(path.read_bytes())
        return Seen(rows={str(k): int(v) for k, v in stored["rows"].items()}, onet=str(stored["onet"]), at=float(stored["at"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Seen()
