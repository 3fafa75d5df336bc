"""The shapes in which real feeds send a posting. The demonstration mixes five of them in one topic, and deletes among them."""

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A posting before it takes a shape."""

    posting_id: str
    title: str
    body: str
    posted: str


Shape = Callable[[Row], Mapping[str, Any]]


def flat_row(row: Row) -> Mapping[str, Any]:
    """Return a row of an export."""
    return {"ID": row.posting_id, "TITLE_RAW": row.title, "BODY": row.body, "POSTED": row.posted}


def schema_org(row: Row) -> Mapping[str, Any]:
    """Return the JSON-LD that career sites embed in their pages; its description is HTML."""
    return {
        "@context": "https://schema.org/",
        "@type": "JobPosting",
        "identifier": row.posting_id,
        "title": row.title,
        "description": f"<p>{html.escape(row.body)}</p>",
        "datePosted": row.posted,
        "hiringOrganization": {"@type": "Organization", "name": "Kestrel Ridge Works"},
        "jobLocation": {"@type": "Place", "address": {"addressLocality": "Nampa", "addressRegion": "ID"}},
    }


def job_board(row: Row) -> Mapping[str, Any]:
    """Return what the API of a job board answers; its content is HTML that was escaped once more, its location an object."""
    content = html.escape(f"<p>{html.escape(row.body)}</p>")
    return {"id": row.posting_id, "title": row.title, "content": content, "location": {"name": "Boise, ID"}, "metadata": None}


def change_event(row: Row) -> Mapping[str, Any]:
    """Return what Debezium writes when a row is inserted into a table of a database."""
    after = {"id": row.posting_id, "title": row.title, "body": row.body, "salary": 31.50}
    return {"before": None, "after": after, "source": {"connector": "postgresql", "table": "postings"}, "op": "c", "ts_ms": 0}


def cloud_event(row: Row) -> Mapping[str, Any]:
    """Return a CloudEvents event in structured mode; its own `id` is not the posting's."""
    return {
        "specversion": "1.0",
        "id": f"event-of-{row.posting_id}",
        "source": "/boards/kestrel",
        "type": "example.posting.created",
        "data": {"postingId": row.posting_id, "jobTitle": row.title, "jobDescription": row.body, "datePosted": row.posted},
    }


def deleted_row(posting_id: str) -> Mapping[str, Any]:
    """Return what Debezium writes when a row is deleted from a table of a database."""
    source = {"connector": "postgresql", "table": "postings"}
    return {"before": {"id": posting_id}, "after": None, "source": source, "op": "d", "ts_ms": 0}


SHAPES: Mapping[str, Shape] = {
    "flat row": flat_row,
    "schema.org": schema_org,
    "job board": job_board,
    "Debezium": change_event,
    "CloudEvents": cloud_event,
}


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return a message's value."""
    return json.dumps(fields).encode()
