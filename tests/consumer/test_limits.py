"""Which codes a posting may get: what messages and settings say, read and joined."""

from dataclasses import replace
from typing import Any

import pytest

from consumer.errors import ConfigError
from consumer.limits import NOTHING, Limits, read_limit
from consumer.settings import Settings
from consumer.settings_loading import load_settings
from schemas.events import JobPosting
from tests.support.messages import make_message


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (["29-", "31-1120"], ("29-", "31-112")),
        ("29-, 31-1120", ("29-", "31-112")),
        (["29"], ("29-",)),
        (["29-0000"], ("29-",)),
        (["15-1200"], ("15-12",)),
        (["29-1141", "29-1141.00"], ("29-1141", "29-1141.00")),
        ("29-1141.03;11-1", ("11-1", "29-1141.03")),
        ([], None),
        ("", None),
        ([None, ""], None),
        (["nurses"], NOTHING),
        (["29-", 7], NOTHING),
        ({"code": "29-"}, NOTHING),
        (True, NOTHING),
        (["29-"] * 1_001, NOTHING),
    ],
)
def test_codes_and_groups_are_read_as_what_a_code_begins_with(given: Any, limit: Any) -> None:
    assert read_limit(given) == limit


@pytest.mark.parametrize(
    ("by_topic", "stated", "limit"),
    [
        ({}, None, None),
        ({}, ["29-"], ("29-",)),
        ({"jobs.Care": ("29-",)}, None, ("29-",)),
        ({"*": ("29-",)}, None, ("29-",)),
        ({"other": ("29-",)}, None, None),
        ({"*": ("35-",), "jobs.care": ("29-",)}, None, ("29-",)),
        ({"*": ("29-", "31-")}, ["29-1141", "35-"], ("29-1141",)),
        ({"*": ("29-1141",)}, ["29-"], ("29-1141",)),
        ({"*": ("29-",)}, ["35-"], NOTHING),
        ({"*": ("29-",)}, [], ("29-",)),
    ],
)
def test_a_topic_and_a_message_limit_a_posting_together(by_topic: Any, stated: Any, limit: Any) -> None:
    message = replace(make_message(), topic="jobs.Care")
    posting = JobPosting(posting_id="1", title="Nurse", allowed_codes=stated)
    assert Limits(by_topic).find(message, posting) == limit


def test_limits_of_topics_are_a_table_of_the_settings() -> None:
    settings = load_settings(Settings, {"allowed_codes": ["jobs.care=29-,31-1120", "*=11-0000"]})
    assert settings.allowed_codes == {"jobs.care": ("29-", "31-112"), "*": ("11-",)}


def test_a_limit_of_a_topic_that_names_no_code_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"allowed_codes.*codes or SOC groups.*nurses"):
        load_settings(Settings, {"allowed_codes": ["jobs.care=nurses"]})
