"""The Avro schema of an event, made of its pydantic model. Fields that may be missing have a default, for later readers."""

from typing import Any

from pydantic import BaseModel

from schemas.events import SCHEMA_VERSION
from schemas.shapes import ADDITIONAL, Kind, Shape, has_additional, shapes_of

NAMESPACE = f"occustream.v{SCHEMA_VERSION}"

_TYPES: dict[Kind, Any] = {
    "text": "string",
    "integer": "long",
    "number": "double",
    "flag": "boolean",
    "time": {"type": "long", "logicalType": "timestamp-micros"},
    "json": "string",
}


def make_avro_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model as a JSON document."""
    return _record(model, set()) | {"namespace": NAMESPACE}


def _record(model: type[BaseModel], named: set[str]) -> dict[str, Any]:
    named.add(model.__name__)
    fields = [_field(shape, named) for shape in shapes_of(model)]
    if has_additional(model):
        doc = "Fields that occustream does not know, each as JSON text."
        fields.append({"name": ADDITIONAL, "type": {"type": "map", "values": "string"}, "default": {}, "doc": doc})
    return {"type": "record", "name": model.__name__, "doc": _first_line(model.__doc__ or ""), "fields": fields}


def _field(shape: Shape, named: set[str]) -> dict[str, Any]:
    field: dict[str, Any] = {"name": shape.name, "type": _type(shape, named)}
    if shape.is_list:
        field |= {"type": {"type": "array", "items": field["type"]}, "default": []}
    elif shape.is_optional:
        field |= {"type": ["null", field["type"]], "default": None}
    doc = describe(shape)
    return field | {"doc": doc} if doc else field


def _type(shape: Shape, named: set[str]) -> Any:  # noqa: ANN401 - a name, or a definition
    if shape.record is None:
        return _TYPES[shape.kind]
    return shape.record.__name__ if shape.record.__name__ in named else _record(shape.record, named)


def describe(shape: Shape) -> str:
    """Return the description of a field, which says so where its value is JSON text."""
    return f"{shape.description} JSON text.".lstrip() if shape.kind == "json" else shape.description


def _first_line(docstring: str) -> str:
    return docstring.strip().splitlines()[0]
