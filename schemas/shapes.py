"""The fields of a pydantic model in the few kinds that Avro and Protobuf have in common. Both schemas are made of these.

A value of any JSON shape, and each field that a model does not know, is written as JSON text.
"""

import types
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Kind = Literal["text", "integer", "number", "flag", "time", "json", "record"]

ADDITIONAL = "additional"
"""The field of a record that holds what the model does not know: a map of JSON texts by name."""

_KINDS: dict[Any, Kind] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "flag",
    datetime: "time",
    Any: "json",
    dict: "json",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A field. `record` is the model that it holds, if its kind is record."""

    name: str
    kind: Kind
    description: str
    is_list: bool = False
    is_optional: bool = False
    record: type[BaseModel] | None = None


def shapes_of(model: type[BaseModel]) -> list[Shape]:
    """Return the fields of a model in their order. Raises TypeError for a type that neither format can hold."""
    return [_shape(name, field) for name, field in model.model_fields.items()]


def has_additional(model: type[BaseModel]) -> bool:
    """Return whether the model keeps fields that it does not know."""
    return model.model_config.get("extra") == "allow"


def records_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return all models that a model holds, itself last, each after those that it holds."""
    found: dict[type[BaseModel], None] = {}
    for shape in shapes_of(model):
        if shape.record is not None:
            found |= dict.fromkeys(records_of(shape.record))
    return [*found, model]


def _shape(name: str, field: FieldInfo) -> Shape:
    kind, is_list, is_optional, record = _read(field.annotation)
    return Shape(name, kind, field.description or "", is_list, is_optional, record)


def _read(annotation: Any) -> tuple[Kind, bool, bool, type[BaseModel] | None]:  # noqa: ANN401 - any annotation
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _read(inner[0])
    if origin in (Union, types.UnionType):
        return _read_union(annotation, inner)
    if origin is tuple:
        kind, _, _, record = _read(inner[0])
        return kind, True, False, record
    if origin in (Literal, dict):
        return _KINDS[dict if origin is dict else type(inner[0])], False, False, None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "record", False, False, annotation
    if annotation in _KINDS:
        return _KINDS[annotation], False, annotation is Any, None
    raise TypeError(f"no Avro and Protobuf type stands for {annotation}")


def _read_union(annotation: Any, inner: tuple[Any, ...]) -> tuple[Kind, bool, bool, type[BaseModel] | None]:  # noqa: ANN401
    others = [choice for choice in inner if choice is not type(None)]
    if len(others) != 1 or len(inner) == 1:
        raise TypeError(f"no Avro and Protobuf type stands for {annotation}")
    kind, is_list, _, record = _read(others[0])
    return kind, is_list, True, record
