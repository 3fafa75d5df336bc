"""The exported JSON Schemas are the models', the examples fit them, and readers of an older version survive additions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from schemas import export
from schemas.events import EnrichedPosting, JobPosting, LabelledPosting

NAMES = ("JobPosting", "EnrichedPosting", "LabelledPosting")
MODELS: Mapping[str, type[BaseModel]] = {
    "JobPosting": JobPosting,
    "EnrichedPosting": EnrichedPosting,
    "LabelledPosting": LabelledPosting,
}


def read(name: str) -> Any:
    return json.loads((export.FOLDER / name).read_text(encoding="utf-8"))


def test_exported_files_are_what_the_models_say() -> None:
    folders = (export.FOLDER, export.AVRO_FOLDER, export.PROTOBUF_FOLDER)
    assert {path for folder in folders for path in folder.iterdir()} == export.make_texts().keys()
    for path, text in export.make_texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is out of date: make schemas"


@pytest.mark.parametrize("name", NAMES)
def test_example_fits_its_schema_and_its_model(name: str) -> None:
    example = read(f"{name}.example.json")
    jsonschema.Draft202012Validator(read(f"{name}.schema.json")).validate(example)
    assert MODELS[name].model_validate(example).model_dump(mode="json") == example


@pytest.mark.parametrize("name", NAMES)
def test_unknown_additions_break_no_reader(name: str) -> None:
    example = {**read(f"{name}.example.json"), "added_in_a_later_version": {"deep": [1, None]}}
    jsonschema.Draft202012Validator(read(f"{name}.schema.json")).validate(example)
    MODELS[name].model_validate(example)


def test_additions_deep_inside_an_enriched_posting_break_no_reader() -> None:
    example = read("EnrichedPosting.example.json")
    example["occupations"][0]["evidence"] = ["later"]
    example["groups"][0]["title"] = "later"
    example["evidence"]["nearest"][0]["weight"] = 2
    example["model"]["commit"] = "later"
    jsonschema.Draft202012Validator(read("EnrichedPosting.schema.json")).validate(example)
    assert EnrichedPosting.model_validate(example).occupations[0].onet_code == "29-1141.00"


def test_a_missing_title_fits_no_schema() -> None:
    example = read("JobPosting.example.json")
    del example["title"]
    with pytest.raises(jsonschema.ValidationError, match="title"):
        jsonschema.Draft202012Validator(read("JobPosting.schema.json")).validate(example)


def test_export_writes_each_file_and_makes_its_folder(tmp_path: Path) -> None:
    export.write_files({tmp_path / "new" / path.name: text for path, text in export.make_texts().items()})
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in export.make_texts()}
