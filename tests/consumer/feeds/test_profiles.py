"""Each profile finds in its example, and in messages of its feed, what is right; no profile is taken for another."""

import json
from typing import Any

import pytest

from consumer.errors import ConfigError
from consumer.feeds.expression import compile_expression
from consumer.feeds.interpreter import Steps
from consumer.feeds.json_values import parse_json, write_json
from consumer.feeds.mapping import FIELD_NAMES, ByMapping
from consumer.feeds.profiles import profile_names, read_profile
from schemas.events import JobPosting
from tests.support.messages import make_codec, make_message
from tests.support.paths import FEEDS, needs_feeds

PROFILES = profile_names()
each_profile = pytest.mark.parametrize("name", PROFILES)


def decode(name: str, value: bytes) -> JobPosting:
    posting = make_codec(finder=ByMapping(read_profile(name).mapping)).decode(make_message(value))
    assert isinstance(posting, JobPosting)
    return posting


def as_written(value: Any) -> Any:
    return json.loads(write_json(value))


@each_profile
def test_the_example_of_a_profile_gives_its_result_and_nothing_else(name: str) -> None:
    profile = read_profile(name)
    posting = decode(name, profile.example.encode())
    found = {field: as_written(getattr(posting, field)) for field in FIELD_NAMES if getattr(posting, field) is not None}
    assert found == profile.result


@each_profile
def test_a_profile_is_known_by_its_sign_and_no_other_takes_its_example_for_its_own(name: str) -> None:
    message = parse_json(read_profile(name).example.encode())
    assert [other for other in PROFILES if compile_expression(read_profile(other).sign)(message, Steps())] == [name]


@each_profile
def test_a_profile_says_what_it_is_for_in_one_line_and_maps_all_that_is_scored(name: str) -> None:
    profile = read_profile(name)
    assert 10 < len(profile.description) < 120
    assert "\n" not in profile.description
    assert {"title", "body", "posting_id"} <= profile.mapping.keys() <= set(FIELD_NAMES)


def test_there_is_a_profile_for_each_feed_that_is_promised() -> None:
    promised = (
        "schema.org greenhouse lever workday ashby smartrecruiters usajobs adzuna jobtech france-travail lightcast personio"
    )
    assert {*promised.split(), "indeed", "jobspy", "linkedin-kaggle", "remoteok"} <= set(PROFILES)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("greenhous", r"there is no profile 'greenhous'; did you mean greenhouse\? There are: adzuna, ashby, "),
        ("Lever", r"there is no profile 'Lever'; did you mean lever\? "),
        ("??", r"there is no profile '\?\?'\. There are: adzuna"),
        ("../profiles/lever", "there is no profile"),
        ("", "there is no profile ''"),
    ],
)
def test_an_unknown_profile_is_told_the_nearest_and_all_there_are(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_profile(name)


SHARED: dict[str, tuple[str, tuple[str, str, str]]] = {
    "01-schema-org-jsonld": ("schema.org", ("Hydraulics Mechanic (Field Service)", "About the role\n\nRebuild", "TLW-20418")),
    "03-greenhouse": ("greenhouse", ("Billing Specialist II", "Post customer payments", "6120443")),
    "04-lever": (
        "lever",
        ("Night Shift Warehouse Picker", "Pick, scan and stage orders from 10pm to 6am.", "0b6e2a54-7d0f-4f0e-9d1c-2f7a5b1a9c11"),
    ),
    "06-ashby": ("ashby", ("Founding Product Designer", "What you will do\n\nOwn flows", "6f3d8f1e-1b0e-4c4a-8d55-9a3c0b7f2e10")),
    "07-usajobs": (
        "usajobs",
        ("Hydrologic Technician", "Measures stream flow and maintains gauging stations.\nInstalls", "839204400"),
    ),
    "08-adzuna": ("adzuna", ("HGV Class 2 Driver", "Multi-drop chilled deliveries", "5120099311")),
    "09-jobtech-ad": ("jobtech", ("Undersköterska till kvällsteam", "Du arbetar i hemtjänsten", "30114477")),
    "12-lightcast-export-row": (
        "lightcast",
        ("CDL-A Regional Driver - Home Weekly $$ Sign On", "Pull dry van", "7c1f0d2e9b8a47c6a5e4d3b2a1908f7e6d5c4b3a"),
    ),
    "13-lightcast-api-lowercase": ("lightcast", ("Phlebotomist - Float (Sat/Sun)", "Draw and label specimens", "b0f1c2d3e4a5")),
    "28-remote-ok-style": ("remoteok", ("QA Engineer", "Break things before users do.", "1099887")),
}


@needs_feeds
@pytest.mark.parametrize("file", SHARED)
def test_messages_shaped_like_real_feeds_are_understood_with_their_profile(file: str) -> None:
    name, (title, body, posting_id) = SHARED[file]
    posting = decode(name, (FEEDS / f"{file}.json").read_bytes())
    assert (posting.title, posting.posting_id) == (title, posting_id)
    assert (posting.body or "").startswith(body)
