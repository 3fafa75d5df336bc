"""Each profile understands the variants of its feed: other endpoints, empty fields, lists where one is usual, wrappers."""

import json
from typing import Any

import pytest

from consumer.errors import InvalidMessage
from consumer.feeds.json_values import parse_json
from consumer.feeds.mapping import ByMapping
from consumer.feeds.profiles import read_profile
from schemas.events import JobPosting
from tests.support.messages import make_codec, make_message


def decode(name: str, value: bytes) -> JobPosting:
    posting = make_codec(finder=ByMapping(read_profile(name).mapping)).decode(make_message(value))
    assert isinstance(posting, JobPosting)
    return posting


POSTING = {"@type": "JobPosting", "title": "Glazier", "description": "Cuts glass.", "identifier": "G-1"}
VARIANTS: dict[str, tuple[str, Any, tuple[str, str | None, str]]] = {
    "a @graph": (
        "schema.org",
        {"@graph": [{"@type": "WebPage", "name": "Jobs"}, {**POSTING, "@type": ["JobPosting", "Thing"]}]},
        ("Glazier", "Cuts glass.", "G-1"),
    ),
    "a @graph with a PropertyValue": (
        "schema.org",
        {"@graph": [{**POSTING, "identifier": {"@type": "PropertyValue", "value": 31}}]},
        ("Glazier", "Cuts glass.", "31"),
    ),
    "a list-valued @type": ("schema.org", {**POSTING, "@type": ["JobPosting"]}, ("Glazier", "Cuts glass.", "G-1")),
    "a main entity": (
        "schema.org",
        {"@type": "WebPage", "name": "Page", "description": "All jobs.", "mainEntity": POSTING},
        ("Glazier", "Cuts glass.", "G-1"),
    ),
    "an organisation as text": ("schema.org", {**POSTING, "hiringOrganization": "Pane Ltd"}, ("Glazier", "Cuts glass.", "G-1")),
    "a @type in full": (
        "schema.org",
        {"@graph": [{"@type": "WebSite"}, {**POSTING, "@type": "https://schema.org/JobPosting"}]},
        ("Glazier", "Cuts glass.", "G-1"),
    ),
    "a title with its language": (
        "schema.org",
        {**POSTING, "title": [{"@language": "en", "@value": "Glazier"}], "description": {"@value": "Cuts glass."}},
        ("Glazier", "Cuts glass.", "G-1"),
    ),
    "an empty identifier": (
        "schema.org",
        {**POSTING, "identifier": {"@type": "PropertyValue", "name": "Pane", "value": ""}, "url": "https://jobs.example/g"},
        ("Glazier", "Cuts glass.", "https://jobs.example/g"),
    ),
    "several identifiers": (
        "schema.org",
        {**POSTING, "identifier": [{"value": "G-2"}, {"value": "G-3"}]},
        ("Glazier", "Cuts glass.", "G-2"),
    ),
    "the short form": (
        "workday",
        {"title": "Cook", "externalPath": "/job/Cook_R-9", "locationsText": "Reno", "bulletFields": ["R-9"]},
        ("Cook", None, "R-9"),
    ),
    "several bullets": (
        "workday",
        {"title": "Cook", "externalPath": "/job/Cook_JR9", "bulletFields": ["Reno", "Posted 30 Days Ago", "JR9"]},
        ("Cook", None, "JR9"),
    ),
    "a bullet that is no requisition": (
        "workday",
        {"title": "Cook", "externalPath": "/job/Cook_A", "bulletFields": ["Reno"]},
        ("Cook", None, "/job/Cook_A"),
    ),
    "wrapped": (
        "lever",
        {"data": {"id": "l-3", "text": "Picker", "content": {"description": "Pick.", "lists": [], "closing": ""}}},
        ("Picker", "Pick.", "l-3"),
    ),
    "no plain text": (
        "lever",
        {"id": "l-1", "text": "Picker", "description": "<p>Pick.</p>", "lists": [], "additional": ""},
        ("Picker", "Pick.", "l-1"),
    ),
    "an opening instead of a description": (
        "lever",
        {
            "id": "l-4",
            "text": "Picker",
            "opening": "<p>Pick.</p>",
            "descriptionBodyPlain": "Nights.",
            "lists": [],
            "additional": "Bye.",
        },
        ("Picker", "Pick.\n\nNights.\nBye.", "l-4"),
    ),
    "content of the full API": (
        "lever",
        {
            "id": "l-2",
            "text": "Picker",
            "content": {"description": "Pick.", "lists": [{"content": "<li>A</li>"}], "closing": "Bye."},
        },
        ("Picker", "Pick.\n\nA\n\nBye.", "l-2"),
    ),
    "the descriptor alone": (
        "usajobs",
        {
            "PositionID": "X-1",
            "PositionTitle": "Guard",
            "UserArea": {"Details": {"JobSummary": "Guards.", "MajorDuties": "Walks."}},
        },
        ("Guard", "Guards.\nWalks.", "X-1"),
    ),
    "the text of an announcement": (
        "usajobs",
        {"usajobsControlNumber": 77, "positionTitle": "Guard", "summary": "Guards.", "duties": "<p>Walks.</p>"},
        ("Guard", "Guards.\n\nWalks.", "77"),
    ),
    "parts of a description": (
        "jobtech",
        {"id": "8", "headline": "Kock", "description": {"text": None, "needs": "Laga.", "conditions": "Heltid."}},
        ("Kock", "Laga.\nHeltid.", "8"),
    ),
    "no text of the description": (
        "jobtech",
        {"id": 7, "headline": "Kock", "description": {"text": None, "text_formatted": "<p>Laga.</p>"}},
        ("Kock", "Laga.", "7"),
    ),
    "lower case": (
        "lightcast",
        {"id": "x", "title": "ETEB8F13D6D0C7A9E2", "title_name": "Cooks", "title_raw": "Cook, nights", "body": "Cooks."},
        ("Cook, nights", "Cooks.", "x"),
    ),
    "no raw title": (
        "lightcast",
        {"ID": "y", "TITLE": "ETEB8F13D6D0C7A9E2", "TITLE_NAME": "Cooks", "BODY": "Cooks."},
        ("Cooks", "Cooks.", "y"),
    ),
    "one description": (
        "personio",
        {"id": 5, "name": "Koch", "jobDescriptions": {"jobDescription": {"name": "Was", "value": "Kochen."}}},
        ("Koch", "Kochen.", "5"),
    ),
    "character data": (
        "personio",
        {"position": {"id": "6", "name": "Koch", "jobDescriptions": {"jobDescription": [{"value": {"#text": "Kochen."}}]}}},
        ("Koch", "Kochen.", "6"),
    ),
    "lists of one": (
        "personio",
        {
            "id": ["7"],
            "name": ["Koch"],
            "jobDescriptions": [{"jobDescription": [{"name": ["Was"], "value": ["<p>Kochen.</p>"]}]}],
        },
        ("Koch", "Kochen.", "7"),
    ),
    "text and character data": (
        "personio",
        {
            "id": {"_text": "8"},
            "name": {"_cdata": "Koch"},
            "jobDescriptions": {"jobDescription": {"name": {"_text": "Was"}, "value": {"_cdata": "<p>Kochen.</p>"}}},
        },
        ("Koch", "Kochen.", "8"),
    ),
    "a job of an XML feed": (
        "indeed",
        {"title": "Cook", "referencenumber": "r-1", "description": "<p>Cook.</p>", "url": "https://jobs.example/r-1"},
        ("Cook", "Cook.", "r-1"),
    ),
    "key and employer": (
        "indeed",
        {"key": "k1", "title": "Cook", "description": {"html": "<p>Cook.</p>"}, "employer": {"name": "Diner"}},
        ("Cook", "Cook.", "k1"),
    ),
    "an empty cell": (
        "jobspy",
        {"id": "in-1", "site": "indeed", "job_url": "u", "title": "Cook", "description": "nan"},
        ("Cook", None, "in-1"),
    ),
    "a whole number with a point": ("linkedin-kaggle", {"job_id": 3901987654.0, "title": "Cook"}, ("Cook", None, "3901987654")),
    "a whole number with a point, as text": (
        "linkedin-kaggle",
        {"job_id": "3901987654.0", "title": "Cook", "description": "nan"},
        ("Cook", None, "3901987654"),
    ),
    "an empty identifier of a result": (
        "adzuna",
        {"id": "", "title": "Cook", "redirect_url": "u"},
        ("Cook", None, "postings.raw:0:0"),
    ),
    "sections that are missing": (
        "smartrecruiters",
        {"id": "s1", "name": "Cook", "jobAd": {"sections": {"jobDescription": {"text": "Cook."}, "qualifications": None}}},
        ("Cook", "Cook.", "s1"),
    ),
}


@pytest.mark.parametrize("kind", VARIANTS)
def test_variants_of_a_feed_are_understood(kind: str) -> None:
    name, message, expected = VARIANTS[kind]
    posting = decode(name, json.dumps(message).encode())
    assert (posting.title, posting.body, posting.posting_id) == expected


@pytest.mark.parametrize("name", ["greenhouse", "lever", "adzuna"])
def test_a_list_of_postings_in_one_message_is_no_posting(name: str) -> None:
    with pytest.raises(InvalidMessage, match=r"no_title: .*if 'jobs' is a batch of postings, let the producer send each as a"):
        decode(name, json.dumps({"jobs": [parse_json(b'{"title": "A"}'), {"title": "B"}]}).encode())


def test_several_postings_of_a_graph_are_a_batch() -> None:
    with pytest.raises(InvalidMessage, match=r"no_title: .*if '@graph' is a batch of postings, let the producer send each as a"):
        decode("schema.org", json.dumps({"@graph": [POSTING, {"@type": "Organization"}, POSTING]}).encode())
