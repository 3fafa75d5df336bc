"""Times as people write them: moments and ages, the same for every command."""

from datetime import UTC

import pytest

from consumer.times import Period, format_time, parse_time

MAY_DAY_MS = 1_777_593_600_000


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01T00:00:00Z",
        "2026-05-01T02:00+02:00",
        "2026-04-30 20:00:00-04:00",
        "2026-05-01",
        "20260501",
        " 1777593600000 ",
    ],
)
def test_a_moment_is_read_in_any_usual_form(text: str) -> None:
    assert parse_time(text) == MAY_DAY_MS


@pytest.mark.parametrize(("age", "seconds"), [("0s", 0), ("90s", 90), ("45m", 2_700), (" 24h ", 86_400), ("7d", 604_800)])
def test_an_age_counts_back_from_now(age: str, seconds: int) -> None:
    assert parse_time(age, now_ms=MAY_DAY_MS) == MAY_DAY_MS - seconds * 1_000


def test_an_age_that_reaches_beyond_1970_means_1970() -> None:
    assert parse_time("999999d", now_ms=MAY_DAY_MS) == 0


def test_a_time_of_day_without_a_zone_is_in_the_default_zone_if_there_is_one() -> None:
    assert parse_time("2026-05-01T00:00:00", default_zone=UTC) == MAY_DAY_MS


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("2026-05-01T08:30:00", "names no timezone; write 2026-05-01T08:30:00Z"),
        ("1777593600", "looks like seconds since 1970"),
        ("999999999999999", "beyond the year 9999"),
        ("9999-12-31T23:59:59-05:00", "beyond the year 9999"),
        ("1969-12-31T23:59:59.999Z", "before 1970"),
        ("yesterday", "is no moment; write 2026-05-01T08:30:00Z"),
        ("2026-13-01", "is no moment"),
        ("", "is no moment"),
    ],
)
def test_what_could_be_misread_is_refused_with_what_is_expected(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_time(text)


def test_a_period_is_shown_in_utc() -> None:
    assert format_time(MAY_DAY_MS + 500) == "2026-05-01T00:00:00.500000Z"
    assert str(Period(MAY_DAY_MS, None)) == "from 2026-05-01T00:00:00Z to the end"
    assert str(Period(None, MAY_DAY_MS)) == "from the beginning to 2026-05-01T00:00:00Z"
