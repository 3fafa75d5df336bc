"""A release that is named by its version is downloaded once, whole or not at all, and nothing outside the cache is touched."""

import io
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from schemas.tables import TableError
from tests.support.training_data import write_release
from trainer.data import onet_release
from trainer.data.onet import read_taxonomy
from trainer.data.onet_release import MIRROR_VARIABLE, find_cache, find_release

NAME = "db_31_0_text"


class Mirror(ThreadingHTTPServer):
    """A server on this machine that gives the bytes under each path and notes what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.claims_more = 0
        self.redirect = ""
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.end_headers()
        elif (body := self.server.files.get(self.path)) is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + self.server.claims_more))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def pack(folder: Path, *, inside: str = f"{NAME}/", more: Mapping[str, str] | None = None) -> bytes:
    """Return the archive of a release in which job titles are named as from release 30.3 on."""
    release = write_release(folder)
    titles = (release / "Alternate Titles.txt").read_text().replace("Alternate Title", "Job Title", 1)
    files = {
        "Occupation Data.txt": (release / "Occupation Data.txt").read_text(),
        "Job Titles.txt": "\ufeff" + titles + "\n",
        "Read Me.txt": "hello",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(inside + name, text.replace("\n", "\r\n"))
        for name, text in (more or {}).items():
            archive.writestr(name, text)
    return packed.getvalue()


def test_a_version_is_downloaded_once_and_read_like_a_folder(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files[f"/onet/{NAME}.zip"] = pack(tmp_path / "release")
    said: list[str] = []
    folder = find_release("31.0", f"{mirror.url}/onet/", said.append)
    assert folder == find_cache() / NAME == find_release("31.0", f"{mirror.url}/onet", said.append)
    assert mirror.asked == [f"/onet/{NAME}.zip"]
    assert said == [f"O*NET 31.0: fetching {mirror.url}/onet/{NAME}.zip", f"O*NET 31.0: kept in {folder}"]
    assert read_taxonomy(folder).titles["29-1141.00"] == ("RN", "Staff Nurse")
    assert sorted(path.name for path in folder.iterdir()) == ["Job Titles.txt", "Occupation Data.txt"]
    assert [path.name for path in find_cache().iterdir()] == [NAME]


def test_the_mirror_may_be_a_file_a_folder_or_named_by_the_environment(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{NAME}.zip").write_bytes(pack(tmp_path / "release", inside=""))
    for number, place in enumerate((str(tmp_path), str(tmp_path / f"{NAME}.zip"), None)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache {number}"))
        monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path))
        assert read_taxonomy(find_release("31.0", place, lambda _: None)).titles
    assert not mirror.asked


def test_a_folder_is_taken_as_it_is_even_if_its_name_is_a_version(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "31.0").mkdir()
    for given in ("31.0", "db_31_0_text", str(tmp_path / "31")):
        assert find_release(given, mirror.url, lambda _: None) == Path(given)


def damage_checksum(archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        name = f"{NAME}/Job Titles.txt"
        start = packed.getinfo(name).header_offset + 30 + len(name) + 5
    return archive[:start] + bytes(byte ^ 0xFF for byte in archive[start : start + 9]) + archive[start + 9 :]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda _: b"<html>", "File is not a zip file"),
        (lambda archive: archive[:-30], "File is not a zip file"),
        (damage_checksum, "Bad CRC-32|Error -3"),
        (
            lambda archive: archive.replace(b"Occupation Data", b"Occupation Dat_"),
            "the archive has no Occupation Data.txt; is it",
        ),
        (
            lambda archive: archive.replace(b"Read Me.txt", b"Tasks/x.txt").replace(b"Job Titles", b"Job Names."),
            "and no|no Job Titles",
        ),
        (lambda archive: archive + b"\0" * 1_000_000, "it has 1,.* bytes; the limit is 1,000,000"),
    ],
)
def test_what_is_not_a_whole_release_is_refused_with_the_way_out_and_not_kept(
    damage: Callable[[bytes], bytes], complaint: str, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onet_release, "MAX_ARCHIVE_BYTES", 1_000_000)
    mirror.files[f"/{NAME}.zip"] = damage(pack(tmp_path / "release"))
    refuse(mirror.url, complaint)


def test_files_that_come_twice_or_are_too_large_are_refused(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.files[f"/{NAME}.zip"] = pack(tmp_path / "release", more={"other/Job Titles.txt": ""})
    refuse(mirror.url, "the archive has 'Job Titles.txt' twice")
    monkeypatch.setattr(onet_release, "MAX_FILE_BYTES", 100)
    refuse(mirror.url, "Occupation Data.txt is larger than 100 bytes")
    monkeypatch.setattr(onet_release, "MAX_MEMBERS", 2)
    refuse(mirror.url, "the archive has 4 files; the limit is 2")


def test_a_server_that_fails_is_named_with_the_way_out(mirror: Mirror, tmp_path: Path) -> None:
    refuse(mirror.url, "the server answers 404")
    refuse("http://127.0.0.1:9", "no connection")
    mirror.files[f"/{NAME}.zip"] = pack(tmp_path / "release")
    mirror.claims_more = 100
    refuse(mirror.url, "only .* of .* bytes came|the connection broke")
    mirror.redirect = "file:///etc/hostname"
    refuse(mirror.url, "the server answers 302|no connection")


def refuse(place: str, complaint: str) -> None:
    """Check that a release cannot be had from a place, for a reason, and that nothing is kept."""
    with pytest.raises(TableError, match=rf"^O\*NET 31\.0 could not be fetched from .*({complaint}).*By hand: download https://"):
        find_release("31.0", place, lambda _: None)
    assert list(find_cache().iterdir()) == []


def test_no_path_in_an_archive_leads_out_of_the_cache(mirror: Mirror, tmp_path: Path) -> None:
    evil = {"../../Task Statements.txt": "O*NET-SOC Code\tTask ID\tTask\n", "/tmp/evil.txt": "x", "..\\..\\evil.txt": "x"}
    mirror.files[f"/{NAME}.zip"] = pack(tmp_path / "release", more=evil)
    folder = find_release("31.0", mirror.url, lambda _: None)
    assert {path.name for path in folder.iterdir()} == {"Job Titles.txt", "Occupation Data.txt", "Task Statements.txt"}
    assert not [
        path for path in tmp_path.rglob("*") if path.name == "evil.txt" or (path.parent.name == "cache" and path.is_file())
    ]


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/x.zip", "file:///x.zip"])
def test_a_mirror_is_http_or_a_path(place: str, mirror: Mirror) -> None:
    with pytest.raises(TableError, match="is no scheme for a download; use http, https or a path"):
        find_release("31.0", place, lambda _: None)
    assert not mirror.asked
