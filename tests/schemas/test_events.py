"""Events accept the usual field names, keep what they do not know, and cannot be changed."""

from typing import Any

import pytest
from pydantic import AliasChoices, ValidationError

from schemas.events import JobPosting, LabelledPosting, OccupationMatch


def aliases() -> list[tuple[str, str]]:
    found = []
    for field, info in LabelledPosting.model_fields.items():
        assert isinstance(info.validation_alias, AliasChoices)
        found += [(field, str(name)) for name in info.validation_alias.choices]
    return found


@pytest.mark.parametrize(("field", "name"), aliases())
def test_a_labelled_field_is_read_under_each_name_and_written_under_the_first(field: str, name: str) -> None:
    required = {"posting_id": "p", "title": "t", "onet_code": "o"}
    required.pop(field, None)
    written = LabelledPosting.model_validate({**required, name: "here"}).model_dump()
    assert written[field] == "here"
    assert name == field or name not in written


@pytest.mark.parametrize("extra", [None, 0, -1.5, True, "", [1, [None]], {"a": {"b": []}}])
def test_unknown_fields_pass_through_untouched(extra: Any) -> None:
    given = {"posting_id": "1", "title": "Cook", "added later": extra, "model_dump": extra}
    assert JobPosting.model_validate(given).model_dump(exclude_unset=True) == given


@pytest.mark.parametrize(("given", "text"), [(7, "7"), (1735689600000, "1735689600000"), ("2025-01-01", "2025-01-01")])
def test_identifiers_and_dates_of_labelled_postings_may_be_numbers(given: Any, text: str) -> None:
    posting = LabelledPosting.model_validate({"ID": given, "POSTED": given, "title": "Cook", "ONET": "35-2014.00"})
    assert (posting.posting_id, posting.posted_at) == (text, text)


@pytest.mark.parametrize("given", [None, 7, 1.5, True, "Boise", ["Boise", "Nampa"], {"name": "Boise"}])
@pytest.mark.parametrize("field", ["company", "location", "posted_at", "language"])
def test_what_is_not_scored_may_be_any_json_value(field: str, given: Any) -> None:
    posting = JobPosting.model_validate({"posting_id": "1", "title": "Cook", field: given})
    assert getattr(posting, field) == given


@pytest.mark.parametrize("code", ["29-1141", "29-1141.0", "291141.00", "XX-1141.00", "29-1141.00 "])
def test_a_match_names_a_whole_onet_code(code: str) -> None:
    with pytest.raises(ValidationError, match="onet_code"):
        OccupationMatch(rank=1, onet_code=code, onet_title="", soc_major="29", score=0.5, probability=0.5)
