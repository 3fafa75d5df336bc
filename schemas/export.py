"""Writes the schemas and examples of the events and the AsyncAPI document: `python -m schemas.export`.

A test compares the files with the models.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schemas.asyncapi import make_asyncapi
from schemas.avro_schema import make_avro_schema
from schemas.events import (
    SCHEMA_VERSION,
    EnrichedPosting,
    Evidence,
    Group,
    JobPosting,
    KnownExample,
    LabelledPosting,
    ModelInfo,
    OccupationMatch,
)
from schemas.protobuf_schema import make_proto_text

FOLDER = Path(__file__).parent / "json" / f"v{SCHEMA_VERSION}"
AVRO_FOLDER = Path(__file__).parent / "avro" / f"v{SCHEMA_VERSION}"
PROTOBUF_FOLDER = Path(__file__).parent / "protobuf" / f"v{SCHEMA_VERSION}"

POSTING = JobPosting.model_validate(
    {
        "posting_id": "p-1042",
        "title": "Part-time RN - Medical/Surgical Nampa (flexible schedule)",
        "company": "Treasure Valley Hospital",
        "location": "Nampa, ID",
        "posted_at": "2025-05-02",
        "language": "en",
        "requisition": "R-778",
    }
)
GROUPS = (
    Group(digits=2, code="29-0000", probability=0.97),
    Group(digits=3, code="29-1000", probability=0.96),
    Group(digits=5, code="29-1140", probability=0.94),
    Group(digits=6, code="29-1141", probability=0.94),
    Group(digits=8, code="29-1141.00", probability=0.93),
)
ENRICHED_POSTING = EnrichedPosting(
    event_id="postings.raw:3:1042",
    posting=POSTING,
    occupations=(
        OccupationMatch(
            rank=1,
            onet_code="29-1141.00",
            onet_title="Registered Nurses",
            soc_major="29",
            score=0.81,
            probability=0.93,
            soc_code="29-1141",
        ),
    ),
    decision="accept",
    groups=GROUPS,
    backoff=GROUPS[-1],
    evidence=Evidence(
        exact_title=False,
        nearest=(
            KnownExample(title="RN - Medical/Surgical", onet_code="29-1141.00", similarity=0.92),
            KnownExample(title="Medical/Surgical Nurse", onet_code="29-1141.00", similarity=0.9),
        ),
    ),
    model=ModelInfo(
        version="20250601T120000Z-1a2b",
        encoder_id="sentence-transformers/all-MiniLM-L6-v2",
        taxonomy_version="O*NET-SOC 2019",
        trained_at=datetime(2025, 6, 1, 12, tzinfo=UTC),
    ),
    enriched_at=datetime(2025, 6, 2, 8, 30, tzinfo=UTC),
)
EXAMPLES: dict[str, BaseModel] = {
    "JobPosting": POSTING,
    "EnrichedPosting": ENRICHED_POSTING,
    "LabelledPosting": LabelledPosting.model_validate(
        {
            "posting_id": "p-1042",
            "title": "Part-time RN",
            "onet_code": "29-1141.00",
            "onet_title": "Registered Nurses",
            "posted_at": "2025-05-02",
        }
    ),
}


def make_documents() -> dict[str, Any]:
    """Return the JSON documents by file name: a schema and an example of each event, and what AsyncAPI says of all."""
    files: dict[str, Any] = {"asyncapi.json": make_asyncapi(EXAMPLES)}
    for name, example in EXAMPLES.items():
        mode = "serialization" if name == "EnrichedPosting" else "validation"
        schema = type(example).model_json_schema(by_alias=False, mode=mode)  # type: ignore[arg-type]
        files[f"{name}.schema.json"] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        files[f"{name}.example.json"] = example.model_dump(mode="json")
    return files


def make_texts() -> dict[Path, str]:
    """Return the text of each exported file by its path: JSON documents, and the Avro and Protobuf schemas of the output."""
    files = {FOLDER / name: document for name, document in make_documents().items()}
    files[AVRO_FOLDER / "EnrichedPosting.avsc"] = make_avro_schema(EnrichedPosting)
    texts = {path: json.dumps(document, ensure_ascii=False, indent=2) + "\n" for path, document in files.items()}
    return texts | {PROTOBUF_FOLDER / "EnrichedPosting.proto": make_proto_text(EnrichedPosting)}


def write_files(texts: Mapping[Path, str]) -> None:
    """Write the files; folders are made if needed."""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_files(make_texts())
