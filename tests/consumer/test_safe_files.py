"""A file is replaced whole or not at all, and what took its place is on the disk."""

import os
from pathlib import Path

import pytest

from consumer.safe_files import replace_file


def replace_text(path: Path, text: str) -> None:
    with replace_file(path) as staged:
        staged.write_text(text)


def test_a_replaced_file_holds_the_new_text_alone(tmp_path: Path) -> None:
    for text in ("a longer first text", "second"):
        replace_text(tmp_path / "file", text)
        assert (tmp_path / "file").read_text() == text
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_trace(tmp_path: Path) -> None:
    replace_text(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        replace_text(tmp_path / "file", "half \ud800")
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_file_is_on_the_disk_before_it_takes_its_place_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    genuine = os.fsync

    def note(descriptor: int) -> None:
        is_folder = Path(f"/proc/self/fd/{descriptor}").readlink() == tmp_path
        synced.append((is_folder, (tmp_path / "file").exists()))
        genuine(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    replace_text(tmp_path / "file", "text")
    assert synced == [(False, False), (True, True)]
