"""The reasons for which the service refreshes, and what is none."""

from pathlib import Path

import pytest

from tests.support.training_data import OCCUPATIONS, POSTINGS, write_postings, write_release
from tests.trainer.refresh.conftest import NEW, ServiceFolders
from trainer.data.labels import LabelRules

TRUCKER = ("Trucker Z", "53-3032.00")


def test_without_a_labelled_row_there_is_nothing_to_do(empty_folders: ServiceFolders) -> None:
    service = empty_folders.service()
    assert service.refresh_if_due() == "nothing"
    assert service.ready() == "no version is in service yet"
    assert service.live() is None


def test_a_name_that_matches_no_file_is_logged_once(empty_folders: ServiceFolders, caplog: pytest.LogCaptureFixture) -> None:
    service = empty_folders.service(postings="dta/*.csv")
    assert [service.refresh_if_due(), service.refresh_if_due()] == ["nothing", "nothing"]
    assert [record.message for record in caplog.records] == [f"no file at: {empty_folders.root / 'dta/*.csv'}"]


def test_new_rows_are_trained_on_and_only_their_titles_are_embedded(folders: ServiceFolders) -> None:
    before = folders.registry.read_current()
    folders.write(NEW[:4], "new.csv")
    service = folders.service()
    assert service.refresh_if_due() == "nothing"
    assert folders.read_metric("waiting_rows") == 4
    folders.write(NEW, "new.csv")
    assert service.refresh_if_due() == "promoted"
    assert folders.read_metric("embedded_titles") == len(NEW)
    assert folders.read_metric("rows") == len(POSTINGS) + len(NEW)
    assert (folders.read_metric("waiting_rows"), service.ready()) == (0, None)
    current = folders.registry.load(folders.registry.read_current() or "").manifest
    assert current.training["compared_with"] == before
    assert current.training["triggers"] == ["postings"]
    folders.now += 3_600
    assert service.refresh_if_due() == "nothing"


def test_refreshes_keep_the_least_interval_unless_pauses_are_ignored(folders: ServiceFolders) -> None:
    folders.now = 1_000_030.0
    folders.write(NEW, "new.csv")
    assert folders.service().refresh_if_due() == "skipped"
    assert folders.service().refresh_if_due(respect_pauses=False) == "promoted"


def test_a_code_without_posting_is_reason_enough(folders: ServiceFolders) -> None:
    folders.write([TRUCKER], "new.csv")
    assert folders.service().refresh_if_due() == "promoted"
    assert folders.registry.list_versions()[-1].training["triggers"] == ["unseen_codes"]


def test_a_code_of_a_new_category_is_reason_enough_where_those_are_asked_for(folders: ServiceFolders) -> None:
    columns = ("TITLE_RAW", "ONET", "ONET_NAME")
    write_postings(folders.root / "data" / "new.csv", [("Prompter", "15-9999.00", "Prompt Engineers")], columns=columns)
    assert folders.service().refresh_if_due() == "nothing"
    assert folders.service(rules=LabelRules(new_categories=True)).refresh_if_due() == "promoted"
    assert folders.registry.list_versions()[-1].training["triggers"] == ["unseen_codes"]
    assert folders.service(rules=LabelRules(new_categories=True)).refresh_if_due() == "nothing"


def test_a_row_outside_the_taxonomy_is_no_reason(folders: ServiceFolders) -> None:
    folders.write([*POSTINGS, *((f"Astronaut {n}", "99-9999.00") for n in range(20))])
    assert folders.service().refresh_if_due() == "nothing"


def test_a_new_release_of_onet_is_reason_enough(folders: ServiceFolders, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", occupations={**OCCUPATIONS, "11-1011.03": "Chief Sustainability Officers"})
    assert folders.service(onet=release).refresh_if_due() == "promoted"
    assert folders.registry.list_versions()[-1].training["triggers"] == ["onet"]


def test_the_schedule_refreshes_without_new_rows(folders: ServiceFolders) -> None:
    assert folders.service(every_s=3_700.0).refresh_if_due() == "nothing"
    assert folders.service(every_s=3_600.0).refresh_if_due() == "promoted"


def test_drift_refreshes_once_there_is_a_row_to_learn_from(folders: ServiceFolders, caplog: pytest.LogCaptureFixture) -> None:
    folders.drift = ["the mix moved"]
    service = folders.service()
    assert [service.refresh_if_due(), service.refresh_if_due()] == ["nothing", "nothing"]
    assert caplog.text.count("the mix moved") == 1
    folders.write(NEW[:1], "new.csv")
    assert service.refresh_if_due() == "promoted"
    assert folders.registry.list_versions()[-1].training["triggers"] == ["drift"]
