"""Which rows of the watched files count as new."""

from pathlib import Path

from tests.support.training_data import write_postings
from trainer.refresh.watched_files import Snapshot, WatchedFiles


def test_a_repeated_posting_is_no_new_row_and_one_that_is_labelled_again_is_one(tiny: Path, tmp_path: Path) -> None:
    columns, path = ("ID", "TITLE_RAW", "ONET"), tmp_path / "a.csv"
    rows = [("1", "Nurse", "29-1141.00"), ("2", "Cook", "35-2014.00"), ("3", "Job", "Unclassified"), ("", "Cook", "35-2014.00")]

    def look(*rows: tuple[str, str, str]) -> Snapshot:
        write_postings(path, rows, columns=columns)
        return watch.look()

    watch = WatchedFiles([str(path)], tiny / "release", tmp_path, collected=tmp_path / "none")
    watch.remember(look(*rows), at=0)
    assert watch.look().new_codes == {}
    assert look(*rows, rows[0], rows[2]).new_codes == {}, "the same again"
    assert look(*rows, rows[3]).new_codes == {"35-2014.00": 1}, "without an id, another posting"
    assert look(*rows, ("2", "Cook", "11-1011.00")).new_codes == {"11-1011.00": 1}, "a correction"
    assert look(*rows, ("4", "Job", "Unclassified")).new_codes == {"Unclassified": 1}, "one more reject example"
