"""Turns an event into the values that Avro and Protobuf take, by the shapes that their schemas are made of."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from consumer.feeds.json_values import write_json
from schemas.shapes import ADDITIONAL, Shape, has_additional, shapes_of

_shapes_of = cache(shapes_of)


def to_values(model: BaseModel) -> dict[str, Any]:
    """Return the fields of an event by name. Times stay times; what may have any JSON shape becomes JSON text."""
    values = {shape.name: _value(shape, getattr(model, shape.name)) for shape in _shapes_of(type(model))}
    if has_additional(type(model)):
        extra: Mapping[str, Any] = model.model_extra or {}
        values[ADDITIONAL] = {name: write_json(value).decode() for name, value in extra.items()}
    return values


def _value(shape: Shape, value: Any) -> Any:  # noqa: ANN401 - any field's value
    if value is None:
        return None
    if shape.is_list:
        return [_item(shape, item) for item in value]
    return _item(shape, value)


def _item(shape: Shape, value: Any) -> Any:  # noqa: ANN401
    if shape.kind == "record":
        return to_values(value)
    return write_json(value).decode() if shape.kind == "json" else value
