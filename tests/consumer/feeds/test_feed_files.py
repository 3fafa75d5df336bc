"""The messages of real feeds beside the repository that need no profile: title, body and identifier, or the outcome."""

import json

import pytest

from consumer.errors import InvalidMessage
from consumer.feeds.kinds import Delete
from consumer.messages import Message
from schemas.events import JobPosting
from tests.support.messages import make_codec
from tests.support.paths import FEEDS, needs_feeds

pytestmark = needs_feeds

POSTINGS = {
    "01-schema-org-jsonld.json": (
        "TLW-20418",
        "Hydraulics Mechanic (Field Service)",
        "About the role\n\nRebuild hydraulic pumps & valves on site",
    ),
    "03-greenhouse.json": ("6120443", "Billing Specialist II", "Post customer payments, chase unpaid invoices & reconcile"),
    "06-ashby.json": ("6f3d8f1e-1b0e-4c4a-8d55-9a3c0b7f2e10", "Founding Product Designer", "What you will do\n\nOwn flows"),
    "08-adzuna.json": ("5120099311", "HGV Class 2 Driver", "Multi-drop chilled deliveries"),
    "09-jobtech-ad.json": ("30114477", "Undersköterska till kvällsteam", "Du arbetar i hemtjänsten"),
    "12-lightcast-export-row.json": (
        *("7c1f0d2e9b8a47c6a5e4d3b2a1908f7e6d5c4b3a", "CDL-A Regional Driver - Home Weekly $$ Sign On", "Pull dry van"),
    ),
    "13-lightcast-api-lowercase.json": ("b0f1c2d3e4a5", "Phlebotomist - Float (Sat/Sun)", "Draw and label specimens"),
    "17-debezium-update.json": ("5512", "Barista - Airport", "Make espresso drinks"),
    "19-kafka-connect-json-schema.json": ("90210", "Pool Lifeguard (Seasonal)", "Watch swimmers"),
    "20-cloudevents-structured.json": ("4471", "Veterinary Assistant", "Hold animals"),
    "22-mongo-cdc-fullDocument.json": ("65f0c0ffee65f0c0ffee65f0", "Payroll Clerk", "Run the bi-weekly payroll"),
    "26-escaped-title.json": ("x-88", "Sales & Marketing Co-ordinator (m/w/d)", "Plan fairs & mailings"),
    "28-remote-ok-style.json": ("1099887", "QA Engineer", "Break things before users do."),
    "30-pandas-nan.json.txt": ("in-77", "Line Cook", "Grill and saute."),
}
"""Identifier, title and the start of the body."""
COMPANIES = {
    "12-lightcast-export-row.json": "Prairie Loop Carriers",
    "13-lightcast-api-lowercase.json": "Juniper Diagnostics",
    "20-cloudevents-structured.json": "Meridian Pet Clinic",
    "22-mongo-cdc-fullDocument.json": {"name": "Stonebridge Foods"},
}


def decode(name: str) -> JobPosting | Delete:
    value = (FEEDS / name).read_bytes()
    if name.endswith(".hex"):
        value = bytes.fromhex(value.decode())
    return make_codec().decode(Message("postings.raw", 0, 0, None, value))


@pytest.mark.parametrize("name", POSTINGS)
def test_a_feed_that_needs_no_profile_gives_identifier_title_and_body(name: str) -> None:
    posting_id, title, body = POSTINGS[name]
    posting = decode(name)
    assert isinstance(posting, JobPosting)
    assert (posting.posting_id, posting.title) == (posting_id, title)
    assert (posting.body or "").startswith(body)


@pytest.mark.parametrize("name", COMPANIES)
def test_the_company_is_its_name_where_the_feed_has_one(name: str) -> None:
    posting = decode(name)
    assert isinstance(posting, JobPosting)
    assert posting.company == COMPANIES[name]


@pytest.mark.parametrize(("name", "kind"), [("10-jobtech-removed.json", "removed"), ("18-debezium-delete.json", "debezium")])
def test_a_feed_s_delete_is_a_delete(name: str, kind: str) -> None:
    gone = decode(name)
    assert isinstance(gone, Delete)
    assert gone.kind == kind


@pytest.mark.parametrize(
    ("name", "reason", "text"),
    [
        ("25-batch-of-two.json", "not_an_object", "a batch of 2 postings"),
        ("31-confluent-avro.hex", "schema_framing", "schema id 42"),
        ("33-confluent-json-schema.hex", "schema_framing", "schema id 44"),
    ],
)
def test_a_feed_that_cannot_be_read_says_what_it_is(name: str, reason: str, text: str) -> None:
    with pytest.raises(InvalidMessage, match=text) as refused:
        decode(name)
    assert refused.value.reason == reason


def test_each_field_of_a_feed_comes_out_as_it_came_in() -> None:
    posting = decode("01-schema-org-jsonld.json")
    assert isinstance(posting, JobPosting)
    sent = json.loads((FEEDS / "01-schema-org-jsonld.json").read_text())
    assert posting.location == sent["jobLocation"]
    assert (posting.model_extra or {})["baseSalary"] == sent["baseSalary"]
