"""The package holds the whole taxonomy, and enough labelled postings to show each step."""

import csv
import re
from importlib import resources

import pytest

from schemas.text import clean_title, title_key
from trainer.data.files import read_postings
from trainer.data.onet import read_taxonomy
from trainer.data.packaged import STARTER

NAMES = {category.onet_code: category.onet_title for category in read_taxonomy(None).categories}


def test_all_1016_occupations_are_there_with_a_valid_code_and_a_title_of_their_own() -> None:
    assert len(NAMES) == len(set(NAMES.values())) == 1_016
    assert all(re.fullmatch(r"\d{2}-\d{4}\.\d{2}", code) for code in NAMES)
    assert all(name == name.strip() != "" for name in NAMES.values())


def test_every_starter_posting_can_be_learned_from() -> None:
    assert not read_postings([STARTER], NAMES).left_out


def test_there_are_400_titles_of_150_occupations_at_least() -> None:
    postings = read_postings([STARTER], NAMES).postings
    assert len({title_key(clean_title(posting.title)) for posting in postings}) >= 400
    assert len({posting.onet_code for posting in postings}) >= 150


def test_labels_name_the_occupation_of_their_code() -> None:
    postings = read_postings([STARTER], NAMES).postings
    assert not [p for p in postings if p.onet_title != NAMES[p.onet_code]]


def test_ids_are_unique_and_no_title_has_two_labels() -> None:
    postings = read_postings([STARTER], NAMES).postings
    assert len({posting.posting_id for posting in postings}) == len(postings)
    keys = [title_key(clean_title(posting.title)) for posting in postings]
    assert len({(key, posting.onet_code) for key, posting in zip(keys, postings, strict=True)}) == len(set(keys))


@pytest.mark.parametrize(("name", "columns"), [("postings.csv", 6), ("onet_soc_2019.csv", 2)])
def test_the_files_are_package_data_in_the_documented_shape(name: str, columns: int) -> None:
    text = resources.files("trainer").joinpath("starter", name).read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines(), strict=True))
    assert {len(row) for row in rows} == {columns}
    assert resources.files("trainer").joinpath("starter", "README.md").is_file()
