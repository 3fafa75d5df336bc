"""The AsyncAPI document is well formed, its examples fit its schemas, and it names the headers that records really have."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from consumer.dead_letter_record import HEADER_NAMES, HEADER_PREFIX
from consumer.settings import Settings
from schemas import export
from schemas.asyncapi import DEAD_LETTER_HEADERS, EVENT_HEADERS, MODEL_HEADERS, TOPICS
from tests.support.sharing import make_once

SPECIFICATION = "@asyncapi/specs@6.11.1"
"""The npm package with the official JSON Schema of AsyncAPI documents."""


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads((export.FOLDER / "asyncapi.json").read_text(encoding="utf-8"))


def resolve(document: Any, reference: str) -> Any:
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_each_reference_leads_to_something(document: Any) -> None:
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert references
    for reference in references:
        assert resolve(document, reference), reference


def test_each_operation_names_messages_of_its_own_channel(document: Any) -> None:
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
    used = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert used == {f"#/channels/{name}" for name in document["channels"]}


def test_each_example_fits_the_schemas_of_its_message(document: Any) -> None:
    examples = 0
    for message in document["components"]["messages"].values():
        for example in message.get("examples", ()):
            for part, schema in (("payload", message["payload"]), ("headers", message.get("headers", {}))):
                whole = {**schema, "components": document["components"]}
                jsonschema.Draft7Validator.check_schema(whole)
                jsonschema.Draft7Validator(whole).validate(example.get(part, {}) if part == "headers" else example[part])
            examples += 1
    assert examples == 3


def test_its_topics_are_those_of_the_settings() -> None:
    names = ("input_topic", "output_topic", "dead_letter_topic")
    assert [Settings.model_fields[name].default for name in names] == list(TOPICS.values())


def test_it_names_the_headers_of_dead_letters() -> None:
    assert set(DEAD_LETTER_HEADERS) == {HEADER_PREFIX + name for name in HEADER_NAMES}
    assert set(EVENT_HEADERS) | set(MODEL_HEADERS) == {"occustream.event-id", "occustream.model-version"}


@pytest.fixture(scope="module")
def specification(shared_folder: Path) -> Any:
    """The official JSON Schema, as npm installs it."""
    if shutil.which("npm") is None:
        pytest.skip("no JSON Schema of AsyncAPI: npm is missing")

    def install(folder: Path) -> None:
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", SPECIFICATION]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    try:
        folder = make_once(shared_folder / "asyncapi", install)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"no JSON Schema of AsyncAPI: npm does not install {SPECIFICATION}")
    return json.loads((folder / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json").read_text(encoding="utf-8"))


def test_it_is_an_asyncapi_document_by_the_official_schema(document: Any, specification: Any) -> None:
    jsonschema.Draft7Validator(specification).validate(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(specification).validate({**document, "channels": {"postings": {"address": 7}}})
