"""docs/profiles.md shows the profiles as their files have them."""

from pathlib import Path

from deploy.profiles_page import MARK, PAGE, make_sections, write_page


def test_the_page_of_profiles_is_what_their_files_say() -> None:
    written = PAGE.read_text(encoding="utf-8").partition(MARK)[2]
    assert written == f"\n{make_sections()}", "out of date: make schemas"


def test_writing_the_page_leaves_what_is_written_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "profiles.md"
    page.write_text(f"# By hand\n\n{MARK}old", encoding="utf-8")
    write_page(page)
    assert page.read_text(encoding="utf-8") == f"# By hand\n\n{MARK}\n{make_sections()}"
